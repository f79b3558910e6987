//! Reads a tree of files and judges each: chooses files, renders templates, parses YAML, pulls in strings from files.
//!
//! Everything that is wrong with any file is found in one go. The texts come from a [`Files`], so that a commit in
//! the object database and a folder on disk are read by the same code.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::digest;
use crate::git::tree::{EntryKind, Files, TreeEntry};
use crate::gitops::cache::{ContentId, EvaluationCache, Rendering};
use crate::gitops::finding::{Lines, LocatedFinding, json_path, located};
use crate::gitops::judge::{self, JudgedFile, ReadFile};
use crate::gitops::layout::{self, FileKind, Layout, LayoutFault};
use crate::gitops::parallel::in_parallel;
use crate::gitops::pull_in::PullIn;
use crate::gitops::render::{Rendered, Renderer, RendererError, TemplateFault};
use crate::validate::Context;
use crate::validate::finding::FindingCode;
use crate::yaml::{Locator, Position, Side};

/// The largest file that is read, in bytes.
pub(super) const LARGEST_FILE: u64 = 1024 * 1024;
/// The most definition files of one repository.
const MOST_FILES: usize = 50_000;
/// The most bytes of all definition files and templates together, and of all that `$file` pulls in.
pub(super) const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Once there are so many findings, no further file is looked at closely.
const MOST_FINDINGS: usize = 100_000;

/// How many files are read before they are judged, and their trees of values dropped.
const BATCH_FILES: usize = 512;
/// The same in bytes.
const BATCH_BYTES: u64 = 1024 * 1024;

/// What a tree holds.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// All definition files that could be read, in path order.
    pub(super) files: Vec<Arc<JudgedFile>>,
    /// What is wrong with files, templates and YAML.
    pub(super) findings: Vec<LocatedFinding>,
    /// Rendered templates, for showing places in them.
    rendered: Arc<BTreeMap<String, Rendered>>,
}

/// Reads and judges everything that `tree` defines; `values` win over those in the repository's `kelos.yaml`.
///
/// # Errors
/// When the renderer fails for a reason that lies outside the tree.
pub(super) fn load(
    tree: &dyn Files,
    renderer: &dyn Renderer,
    cache: &mut EvaluationCache,
    values: Option<&Map<String, Value>>,
    context: &Context,
) -> Result<Loaded, RendererError> {
    cache.prepare(context);
    let by_path: HashMap<&str, &TreeEntry> =
        regular_files(tree).map(|file| (file.path.as_str(), file)).collect();
    let mut loader = Loader { tree, context, loaded: Loaded::default(), by_path };
    let mut layout = loader.layout();
    if let (Some(values), Some(known)) = (values, layout.values.as_object_mut()) {
        known.extend(values.clone());
    }
    loader.check_entries(&layout);
    let chosen: Vec<&TreeEntry> = regular_files(tree).filter(|file| layout.selects(&file.path)).collect();
    let hint = || Some("split the repository, or leave folders out under 'exclude' in kelos.yaml".to_owned());
    if chosen.len() > MOST_FILES {
        let message = format!("{} definition files are more than {MOST_FILES}", chosen.len());
        loader.find_in_file(layout::FILE_NAME, FindingCode::RepositoryTooLarge, message, hint());
        return Ok(loader.loaded);
    }
    let is_read = |file: &&TreeEntry| layout.selects(&file.path) || layout::is_template_source(&file.path);
    let bytes: u64 = regular_files(tree).filter(is_read).map(|file| file.size.min(LARGEST_FILE)).sum();
    if bytes > MOST_BYTES {
        let message =
            format!("the definition files have {bytes} bytes together; {MOST_BYTES} are read at most");
        loader.find_in_file(layout::FILE_NAME, FindingCode::RepositoryTooLarge, message, hint());
        return Ok(loader.loaded);
    }
    let rendering = loader.render(&chosen, &layout, renderer, cache)?;
    cache.keep_rendering(rendering);
    let mut kept = HashMap::with_capacity(chosen.len());
    let mut pull_in = PullIn::new(tree);
    for batch in batches(chosen) {
        loader.judge(batch, cache, &mut pull_in, &mut kept);
    }
    cache.keep(kept);
    Ok(loader.loaded)
}

/// Divides files into groups that are read and judged together.
fn batches(files: Vec<&TreeEntry>) -> Vec<Vec<&TreeEntry>> {
    let mut batches: Vec<Vec<&TreeEntry>> = Vec::new();
    let mut room = (0, 0);
    for file in files {
        let size = file.size.min(LARGEST_FILE);
        if room.0 == 0 || room.1 < size {
            batches.push(Vec::new());
            room = (BATCH_FILES, BATCH_BYTES.max(size));
        }
        room = (room.0 - 1, room.1 - size);
        batches.last_mut().expect("because the first file opened one").push(file);
    }
    batches
}

impl Loaded {
    /// Returns the text in which places of `file` are counted: the rendered one for a template.
    pub(super) fn text(&self, tree: &dyn Files, file: &str) -> Option<String> {
        if let Some(Ok(rendered)) = self.rendered.get(file) {
            return Some(rendered.clone());
        }
        let bytes = tree.read(tree.tree().entry(file)?, LARGEST_FILE).ok()?;
        String::from_utf8(bytes.into()).ok()
    }

    /// Returns whether the places of `file` are places in a rendered text.
    pub(super) fn is_rendered(&self, file: &str) -> bool {
        matches!(self.rendered.get(file), Some(Ok(_)))
    }
}

pub(super) fn regular_files(tree: &dyn Files) -> impl Iterator<Item = &TreeEntry> {
    tree.tree().entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Executable))
}

/// A file on its way to being judged.
enum Step {
    /// It was judged before.
    Judged(Arc<JudgedFile>, ContentId),
    /// It was read, and its documents may pull in files.
    Read(ReadFile, Option<ContentId>),
    /// It cannot be read.
    Faulty(Vec<LocatedFinding>),
    /// What is wrong with it was said before.
    Nothing,
}

struct Loader<'a> {
    tree: &'a dyn Files,
    context: &'a Context,
    loaded: Loaded,
    by_path: HashMap<&'a str, &'a TreeEntry>,
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
        let bytes = match self.bytes(file) {
            Ok(bytes) => bytes,
            Err(finding) => {
                self.loaded.findings.push(*finding);
                return Layout::default();
            }
        };
        let read = match judge::read(&Arc::from(layout::FILE_NAME), bytes, false) {
            Ok(read) => read,
            Err(findings) => {
                self.loaded.findings.extend(findings);
                return Layout::default();
            }
        };
        if !read.ambiguities.is_empty() {
            self.loaded.findings.extend(read.ambiguities);
            return Layout::default();
        }
        let mut documents = read.documents.into_iter();
        let layout = match (documents.next(), documents.next()) {
            (None, _) => return Layout::default(),
            (Some(_), Some(_)) => {
                let message = "kelos.yaml holds more than one document";
                self.find_in_file(layout::FILE_NAME, FindingCode::InvalidRepositoryFile, message, None);
                return Layout::default();
            }
            (Some(only), None) => Layout::from_document(only.value),
        };
        let paths: Vec<&str> = self.by_path.keys().copied().collect();
        let idle = |layout: &Layout| {
            let fault = |(index, path): (usize, &str)| LayoutFault {
                pointer: format!("/include/{index}"),
                side: Side::Value,
                message: format!("'{path}' is included but there is no such file or folder"),
                hint: "correct the path, or take it out of 'include'",
            };
            layout.idle_includes(&paths).into_iter().map(fault).collect::<Vec<_>>()
        };
        let (layout, faults) = match layout {
            Ok(layout) => {
                let faults = idle(&layout);
                (layout, faults)
            }
            Err(fault) => (Layout::default(), vec![fault]),
        };
        if !faults.is_empty() {
            let (locator, lines) = (Locator::new(&read.text), Lines::of(&read.text));
            let finding = |fault: LayoutFault| {
                let position = locator.locate(0, &fault.pointer, fault.side);
                let code = FindingCode::InvalidRepositoryFile.as_str();
                let hint = Some(fault.hint.to_owned());
                let mut finding = located(code, layout::FILE_NAME, position, &lines, fault.message, hint);
                finding.path = json_path(&fault.pointer);
                finding
            };
            self.loaded.findings.extend(faults.into_iter().map(finding));
        }
        layout
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
    }

    /// Reads a file; otherwise what is wrong with it.
    fn bytes(&self, file: &TreeEntry) -> Result<Vec<u8>, Box<LocatedFinding>> {
        let fault = |code: FindingCode, message: String, hint: Option<String>| {
            Box::new(located(code.as_str(), &file.path, Position::START, &Lines::default(), message, hint))
        };
        if file.size > LARGEST_FILE {
            let message = format!("the file has {} bytes; {LARGEST_FILE} are read at most", file.size);
            let hint = Some("split it into several files".to_owned());
            return Err(fault(FindingCode::RepositoryTooLarge, message, hint));
        }
        let read = self.tree.read(file, LARGEST_FILE);
        read.map(Vec::from).map_err(|error| fault(FindingCode::NotAPlainFile, error.to_string(), None))
    }

    fn text(&mut self, file: &TreeEntry) -> Option<String> {
        match self.bytes(file).map(String::from_utf8) {
            Ok(Ok(text)) => return Some(text),
            Ok(Err(_)) => {
                let message = "the file is not text in UTF-8";
                self.find_in_file(&file.path, FindingCode::NotAPlainFile, message, None);
            }
            Err(finding) => self.loaded.findings.push(*finding),
        }
        None
    }

    /// Renders the templates among the chosen files, unless they see what they saw the last time.
    fn render(
        &mut self,
        chosen: &[&TreeEntry],
        layout: &Layout,
        renderer: &dyn Renderer,
        cache: &EvaluationCache,
    ) -> Result<Option<Rendering>, RendererError> {
        let is_template = |file: &&&TreeEntry| layout::kind_of(&file.path) == Some(FileKind::Template);
        let names: Vec<String> = chosen.iter().filter(is_template).map(|file| file.path.clone()).collect();
        let Some(first) = names.first().cloned() else { return Ok(None) };
        let tree = self.tree;
        let files: Vec<&TreeEntry> =
            regular_files(tree).filter(|file| layout::is_template_source(&file.path)).collect();
        // A folder of the disk knows no ids, and nothing is kept of it.
        let ids: Option<Vec<String>> =
            files.iter().map(|file| Some(format!("{} {}", file.path, file.blob?))).collect();
        let seen = ids.map(|ids| digest::sha256_hex(json!([ids, names, layout.values]).to_string()));
        if let Some(known) = seen.as_ref().and_then(|seen| cache.rendering(seen)) {
            self.loaded.rendered = Arc::clone(&known.texts);
            return Ok(Some(known));
        }
        let (mut sources, count) = (BTreeMap::new(), files.len());
        for file in files {
            if let Some(text) = self.text(file) {
                sources.insert(file.path.clone(), text);
            }
        }
        let names = names.into_iter().filter(|name| sources.contains_key(name)).collect();
        match renderer.render(sources.clone(), names, layout.values.clone()) {
            Err(error @ RendererError::Exceeded(_)) => {
                self.find_in_file(&first, FindingCode::RenderFailed, error.to_string(), None);
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(texts) => {
                let faults: Vec<LocatedFinding> = texts
                    .values()
                    .filter_map(|text| text.as_ref().err())
                    .map(|fault| fault_of(fault, &sources))
                    .collect();
                let sound = sources.len() == count && faults.is_empty();
                self.loaded.findings.extend(faults);
                self.loaded.rendered = Arc::new(texts);
                let texts = Arc::clone(&self.loaded.rendered);
                Ok(seen.filter(|_| sound).map(|seen| Rendering { seen, texts }))
            }
        }
    }

    /// Reads and judges files, and keeps for the next time what does not depend on anything else.
    fn judge(
        &mut self,
        files: Vec<&TreeEntry>,
        cache: &EvaluationCache,
        pull_in: &mut PullIn<'_>,
        kept: &mut HashMap<ContentId, Arc<JudgedFile>>,
    ) {
        let steps = in_parallel(files, |file| self.step(file, cache));
        let mut waiting = Vec::new();
        for step in steps {
            match step {
                Step::Nothing => {}
                Step::Faulty(findings) => self.loaded.findings.extend(findings),
                Step::Judged(file, id) => {
                    self.loaded.findings.extend(pull_in.count(&file));
                    waiting.push(Step::Judged(file, id));
                }
                Step::Read(mut file, id) => {
                    let findings = pull_in.fill_in(&mut file);
                    // What was missing may be there the next time.
                    let id = id.filter(|_| findings.is_empty());
                    self.loaded.findings.extend(findings);
                    waiting.push(Step::Read(file, id));
                }
            }
        }
        let looks = self.loaded.findings.len() < MOST_FINDINGS;
        let context = self.context;
        let judged = in_parallel(waiting, |step| match step {
            Step::Judged(file, id) => Some((file, Some(id))),
            Step::Read(file, id) => {
                Some((Arc::new(judge::judge(file, context, looks, &cache.packers)), id.filter(|_| looks)))
            }
            Step::Faulty(_) | Step::Nothing => None,
        });
        for (file, id) in judged.into_iter().flatten() {
            if let Some(id) = id {
                kept.insert(id, Arc::clone(&file));
            }
            self.loaded.files.push(file);
        }
    }

    fn step(&self, file: &TreeEntry, cache: &EvaluationCache) -> Step {
        let path: Arc<str> = Arc::from(file.path.as_str());
        let is_template = layout::kind_of(&file.path) == Some(FileKind::Template);
        let rendered = match self.loaded.rendered.get(&file.path) {
            Some(Ok(text)) if is_template => Some(text),
            _ if is_template => return Step::Nothing,
            _ => None,
        };
        let id = match rendered {
            Some(text) => Some(ContentId::of_rendered(text)),
            None => file.blob.map(ContentId::Blob),
        };
        let is_there = |path: &str, blob| self.by_path.get(path).is_some_and(|file| file.blob == Some(blob));
        if let Some(id) = &id
            && let Some(known) = cache.get(id, &path, is_there)
        {
            return Step::Judged(known, id.clone());
        }
        let bytes = match rendered {
            Some(text) => text.clone().into_bytes(),
            None => match self.bytes(file) {
                Ok(bytes) => bytes,
                Err(finding) => return Step::Faulty(vec![*finding]),
            },
        };
        match judge::read(&path, bytes, is_template) {
            Ok(read) => Step::Read(read, id),
            Err(findings) => Step::Faulty(findings),
        }
    }
}

/// Returns the finding for a template that cannot be rendered.
fn fault_of(fault: &TemplateFault, sources: &BTreeMap<String, String>) -> LocatedFinding {
    let position = Position { line: fault.line.max(1), column: fault.column.max(1) };
    let text = sources.get(&fault.file).map(String::as_str).unwrap_or_default();
    let hint = "templates use [= value =], [% statement %] and [~ comment ~]".to_owned();
    let code = FindingCode::RenderFailed.as_str();
    located(code, &fault.file, position, &Lines::of(text), fault.message.clone(), Some(hint))
}
