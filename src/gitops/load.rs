//! Reads a tree of files into documents: chooses files, renders templates, parses YAML, pulls in strings from files.
//!
//! Everything that is wrong with any file is found in one go. The texts come from a [`Files`], so that a commit in
//! the object database and a folder on disk are read by the same code.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::git::id::BlobId;
use crate::git::tree::{EntryKind, Files, TreeEntry};
use crate::gitops::finding::{Lines, LocatedFinding, json_path, located};
use crate::gitops::layout::{self, FileKind, Layout};
use crate::gitops::render::Renderer;
use crate::validate::finding::FindingCode;
use crate::yaml::{self, Limits, Locator, Position, Side};

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 1024 * 1024;
/// The most definition files of one repository.
const MOST_FILES: usize = 50_000;
/// The most bytes of all definition files and templates together, and of all that `$file` pulls in.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The most faults of YAML, and of `$file`, that are told of one file.
const MOST_IN_FILE: usize = 1_000;

/// One document of a definition file.
#[derive(Debug, Clone)]
pub struct LoadedDocument {
    /// Path of the file.
    pub file: Arc<str>,
    /// Place among the documents of its file, from 0; empty documents do not count.
    pub index: usize,
    /// Where it begins.
    pub position: Position,
    /// The document, strings from files filled in.
    pub value: Arc<Value>,
}

/// What a tree holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// All documents, in path order.
    pub documents: Vec<LoadedDocument>,
    /// What is wrong with files, templates and YAML.
    pub findings: Vec<LocatedFinding>,
    /// Rendered templates, for showing places in them.
    rendered: HashMap<Arc<str>, String>,
}

/// Parsed files by content id, kept between passes so that a file that did not change is not parsed again.
#[derive(Debug, Default)]
pub struct ParseCache {
    files: HashMap<BlobId, Arc<Vec<yaml::Document>>>,
}

impl ParseCache {
    /// Returns a cache of nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Reads everything that `tree` defines; `values` win over those in the repository's `kelos.yaml`.
pub fn load(
    tree: &dyn Files,
    renderer: &dyn Renderer,
    cache: &mut ParseCache,
    values: Option<&Map<String, Value>>,
) -> Loaded {
    let by_path = regular_files(tree).map(|file| (file.path.as_str(), file)).collect();
    let mut loader = Loader { tree, loaded: Loaded::default(), by_path, comparisons: 0, pulled_in: 0 };
    let mut layout = loader.layout();
    if let (Some(values), Some(known)) = (values, layout.values.as_object_mut()) {
        known.extend(values.clone());
    }
    loader.check_entries(&layout);
    let chosen: Vec<&TreeEntry> = regular_files(tree).filter(|file| layout.selects(&file.path)).collect();
    if chosen.len() > MOST_FILES {
        loader.find_in_file(
            layout::FILE_NAME,
            FindingCode::RepositoryTooLarge,
            format!("{} definition files are more than {MOST_FILES}", chosen.len()),
            Some("split the repository, or leave folders out under 'exclude' in kelos.yaml".to_owned()),
        );
        return loader.loaded;
    }
    let is_read = |file: &&TreeEntry| layout.selects(&file.path) || layout::is_template_source(&file.path);
    let bytes: u64 = regular_files(tree).filter(is_read).map(|file| file.size.min(LARGEST_FILE)).sum();
    if bytes > MOST_BYTES {
        loader.find_in_file(
            layout::FILE_NAME,
            FindingCode::RepositoryTooLarge,
            format!("the definition files have {bytes} bytes together; {MOST_BYTES} are read at most"),
            Some("split the repository, or leave folders out under 'exclude' in kelos.yaml".to_owned()),
        );
        return loader.loaded;
    }
    let mut rendered = loader.render(&chosen, &layout, renderer);
    let mut kept = HashMap::with_capacity(chosen.len());
    for file in chosen {
        let path: Arc<str> = Arc::from(file.path.as_str());
        match layout::kind_of(&file.path) {
            Some(FileKind::Template) => {
                if let Some(text) = rendered.remove(&file.path) {
                    if let Some(documents) = loader.parse(&path, text.as_bytes()) {
                        loader.take(&path, &documents);
                    }
                    loader.loaded.rendered.insert(path, text);
                }
            }
            Some(FileKind::Yaml) | None => {
                let known =
                    file.blob.and_then(|id| cache.files.remove(&id).or_else(|| kept.get(&id).cloned()));
                let documents = known.or_else(|| {
                    loader.bytes(file).and_then(|bytes| loader.parse(&path, &bytes)).map(Arc::new)
                });
                if let Some(documents) = documents {
                    loader.take(&path, &documents);
                    if let Some(id) = file.blob {
                        kept.insert(id, documents);
                    }
                }
            }
        }
    }
    cache.files = kept;
    loader.loaded.findings.sort_by(|left, right| {
        (&left.file, left.line, left.column, &left.code).cmp(&(
            &right.file,
            right.line,
            right.column,
            &right.code,
        ))
    });
    loader.loaded
}

impl Loaded {
    /// Returns the text in which places of `file` are counted: the rendered one for a template.
    pub fn text(&self, tree: &dyn Files, file: &str) -> Option<String> {
        if let Some(rendered) = self.rendered.get(file) {
            return Some(rendered.clone());
        }
        let bytes = tree.read(tree.tree().entry(file)?, LARGEST_FILE).ok()?;
        String::from_utf8(bytes.into()).ok()
    }

    /// Returns whether the places of `file` are places in a rendered text.
    pub fn is_rendered(&self, file: &str) -> bool {
        self.rendered.contains_key(file)
    }
}

fn regular_files(tree: &dyn Files) -> impl Iterator<Item = &TreeEntry> {
    tree.tree().entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Executable))
}

struct Loader<'a> {
    tree: &'a dyn Files,
    loaded: Loaded,
    by_path: HashMap<&'a str, &'a TreeEntry>,
    /// How many paths were compared with missing ones.
    comparisons: usize,
    /// How many bytes `$file` pulled in.
    pulled_in: u64,
}

impl Loader<'_> {
    fn find_in_file(
        &mut self,
        file: &str,
        code: FindingCode,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let nowhere = Lines::default();
        self.loaded.findings.push(located(code.as_str(), file, Position::START, &nowhere, message, hint));
    }

    fn layout(&mut self) -> Layout {
        let Some(file) = self.by_path.get(layout::FILE_NAME).copied() else {
            return Layout::default();
        };
        let path: Arc<str> = Arc::from(layout::FILE_NAME);
        let Some(documents) = self.bytes(file).and_then(|bytes| self.parse(&path, &bytes)) else {
            return Layout::default();
        };
        let mut documents = documents.into_iter();
        match (documents.next(), documents.next()) {
            (None, _) => Layout::default(),
            (Some(only), None) => match Layout::from_document(only.value) {
                Ok(layout) => layout,
                Err(message) => {
                    let hint =
                        "kelos.yaml may hold 'include', 'exclude' (lists of paths) and 'values'".to_owned();
                    self.find_in_file(
                        layout::FILE_NAME,
                        FindingCode::InvalidRepositoryFile,
                        message,
                        Some(hint),
                    );
                    Layout::default()
                }
            },
            (Some(_), Some(_)) => {
                self.find_in_file(
                    layout::FILE_NAME,
                    FindingCode::InvalidRepositoryFile,
                    "kelos.yaml holds more than one document",
                    None,
                );
                Layout::default()
            }
        }
    }

    fn check_entries(&mut self, layout: &Layout) {
        let tree = self.tree;
        let odd = tree.tree().oddities.iter().map(|oddity| (oddity.path.as_str(), oddity.reason.as_str()));
        let other =
            tree.tree().entries.iter().filter(|entry| layout.selects(&entry.path)).filter_map(|entry| {
                match entry.kind {
                    EntryKind::File | EntryKind::Executable => None,
                    EntryKind::Link => {
                        Some((entry.path.as_str(), "it is a link, and links are not followed"))
                    }
                    EntryKind::Submodule => Some((entry.path.as_str(), "it is a submodule")),
                }
            });
        for (path, reason) in odd.chain(other) {
            self.find_in_file(
                path,
                FindingCode::NotAPlainFile,
                format!("the entry is not read: {reason}"),
                Some("keep definitions as regular files with plain names".to_owned()),
            );
        }
        let paths: Vec<&str> = regular_files(tree).map(|file| file.path.as_str()).collect();
        for prefix in layout.idle_includes(&paths) {
            self.find_in_file(
                layout::FILE_NAME,
                FindingCode::InvalidRepositoryFile,
                format!("'{prefix}' is included but there is no such file or folder"),
                Some("correct the path, or take it out of 'include'".to_owned()),
            );
        }
    }

    fn bytes(&mut self, file: &TreeEntry) -> Option<Vec<u8>> {
        if file.size > LARGEST_FILE {
            let message = format!("the file has {} bytes; {LARGEST_FILE} are read at most", file.size);
            self.find_in_file(
                &file.path,
                FindingCode::RepositoryTooLarge,
                message,
                Some("split it into several files".to_owned()),
            );
            return None;
        }
        match self.tree.read(file, LARGEST_FILE) {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                self.find_in_file(&file.path, FindingCode::NotAPlainFile, error.to_string(), None);
                None
            }
        }
    }

    fn text(&mut self, file: &TreeEntry) -> Option<String> {
        let bytes = self.bytes(file)?;
        if let Ok(text) = String::from_utf8(bytes) {
            Some(text)
        } else {
            self.find_in_file(&file.path, FindingCode::NotAPlainFile, "the file is not text in UTF-8", None);
            None
        }
    }

    fn render(
        &mut self,
        chosen: &[&TreeEntry],
        layout: &Layout,
        renderer: &dyn Renderer,
    ) -> HashMap<String, String> {
        let names: Vec<String> = chosen
            .iter()
            .filter(|file| layout::kind_of(&file.path) == Some(FileKind::Template))
            .map(|file| file.path.clone())
            .collect();
        if names.is_empty() {
            return HashMap::new();
        }
        let mut sources = BTreeMap::new();
        for file in regular_files(self.tree).filter(|file| layout::is_template_source(&file.path)) {
            if let Some(text) = self.text(file) {
                sources.insert(file.path.clone(), text);
            }
        }
        let first = names[0].clone();
        let names = names.into_iter().filter(|name| sources.contains_key(name)).collect();
        match renderer.render(sources.clone(), names, layout.values.clone()) {
            Err(message) => {
                self.find_in_file(&first, FindingCode::RenderFailed, message, None);
                HashMap::new()
            }
            Ok(all) => {
                let mut texts = HashMap::new();
                for (name, rendered) in all {
                    match rendered {
                        Ok(text) => {
                            texts.insert(name, text);
                        }
                        Err(fault) => {
                            let position = Position { line: fault.line.max(1), column: fault.column.max(1) };
                            let text = sources.get(&fault.file).map(String::as_str).unwrap_or_default();
                            self.loaded.findings.push(located(
                                FindingCode::RenderFailed.as_str(),
                                &fault.file,
                                position,
                                &Lines::of(text),
                                fault.message,
                                Some(
                                    "templates use [= value =], [% statement %] and [~ comment ~]".to_owned(),
                                ),
                            ));
                        }
                    }
                }
                texts
            }
        }
    }

    fn parse(&mut self, path: &Arc<str>, bytes: &[u8]) -> Option<Vec<yaml::Document>> {
        match yaml::parse_bytes(bytes, &Limits::default()) {
            Ok(documents) => Some(documents),
            Err(faults) => {
                let text = String::from_utf8_lossy(bytes);
                let lines = Lines::of(&text);
                for fault in faults.into_iter().take(MOST_IN_FILE) {
                    self.loaded.findings.push(located(
                        fault.code.as_str(),
                        path,
                        fault.position,
                        &lines,
                        fault.message,
                        fault.hint,
                    ));
                }
                None
            }
        }
    }

    fn take(&mut self, path: &Arc<str>, documents: &[yaml::Document]) {
        let mut faults = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            let value = if mentions_files(&document.value) {
                let mut value = document.value.clone();
                let mut found = Vec::new();
                self.fill_in(&mut value, &mut String::new(), &mut found);
                faults.extend(found.into_iter().map(|(pointer, message)| (index, pointer, message)));
                value
            } else {
                document.value.clone()
            };
            self.loaded.documents.push(LoadedDocument {
                file: Arc::clone(path),
                index,
                position: document.position,
                value: Arc::new(value),
            });
        }
        self.report_file_faults(path, faults);
    }

    fn fill_in(&mut self, value: &mut Value, pointer: &mut String, faults: &mut Vec<(String, String)>) {
        if let Some(wanted) = file_reference(value) {
            let filled = match wanted.as_str().map(str::to_owned) {
                Some(path) => self.string_from(&path),
                None => Err("$file takes the path of a file as a string".to_owned()),
            };
            match filled {
                Ok(text) => *value = Value::String(text),
                Err(message) => {
                    faults.push((pointer.clone(), message));
                    // Text was meant: that it could not be had is said once.
                    *value = Value::String("$file".to_owned());
                }
            }
            return;
        }
        let mut visit = |loader: &mut Self, token: &str, inner: &mut Value| {
            let length = pointer.len();
            pointer.push('/');
            pointer.push_str(token);
            loader.fill_in(inner, pointer, faults);
            pointer.truncate(length);
        };
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields.iter_mut() {
                    visit(self, &name.replace('~', "~0").replace('/', "~1"), inner);
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.iter_mut().enumerate() {
                    visit(self, &index.to_string(), inner);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn string_from(&mut self, path: &str) -> Result<String, String> {
        let wanted = path.trim_start_matches("./");
        let Some(file) = self.by_path.get(wanted).copied() else {
            let similar = self.similar_path(wanted);
            let similar = similar.map(|known| format!("; did you mean '{known}'?")).unwrap_or_default();
            return Err(format!("there is no file '{path}' in the repository{similar}"));
        };
        if file.size > LARGEST_FILE {
            return Err(format!("'{path}' has {} bytes; {LARGEST_FILE} are read at most", file.size));
        }
        self.pulled_in += file.size;
        if self.pulled_in > MOST_BYTES {
            return Err(format!("more than {MOST_BYTES} bytes are pulled in from files"));
        }
        let bytes = self.tree.read(file, LARGEST_FILE).map_err(|error| format!("'{path}': {error}"))?;
        String::from_utf8(bytes.into()).map_err(|_| format!("'{path}' is not text in UTF-8"))
    }

    /// Returns the path that is closest to one that does not exist. Of many missing ones only the first are looked at.
    fn similar_path(&mut self, wanted: &str) -> Option<&str> {
        const LONGEST: usize = 256;
        const MOST_LETTERS: usize = 3;
        const MOST_COMPARISONS: usize = 100_000;
        if wanted.len() > LONGEST || self.comparisons + self.by_path.len() > MOST_COMPARISONS {
            return None;
        }
        self.comparisons += self.by_path.len();
        let near = |known: &&str| known.len().abs_diff(wanted.len()) <= MOST_LETTERS;
        let distance = |known: &&str| strsim::damerau_levenshtein(known, wanted);
        self.by_path.keys().copied().filter(near).filter(|known| distance(known) <= MOST_LETTERS).min()
    }

    /// Reports files that could not be pulled in: document, pointer and what is wrong. The text is read once for all.
    fn report_file_faults(&mut self, path: &Arc<str>, faults: Vec<(usize, String, String)>) {
        if faults.is_empty() {
            return;
        }
        let text = self.loaded.text(self.tree, path).unwrap_or_default();
        let (locator, lines) = (Locator::new(&text), Lines::of(&text));
        for (document, pointer, message) in faults.into_iter().take(MOST_IN_FILE) {
            let position = locator.locate(document, &pointer, Side::Value);
            let hint = "paths in $file are relative to the root that is read".to_owned();
            let code = FindingCode::InvalidFileReference.as_str();
            let mut finding = located(code, path, position, &lines, message, Some(hint));
            finding.path = json_path(&pointer);
            self.loaded.findings.push(finding);
        }
    }
}

/// Returns what stands behind `$file` in `{ $file: … }`.
fn file_reference(value: &Value) -> Option<&Value> {
    let fields = value.as_object()?;
    fields.get("$file").filter(|_| fields.len() == 1)
}

fn mentions_files(value: &Value) -> bool {
    match value {
        Value::Object(fields) => file_reference(value).is_some() || fields.values().any(mentions_files),
        Value::Array(items) => items.iter().any(mentions_files),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
