//! `{ $file: … }` in a definition: a string out of another file of the same tree.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::git::id::BlobId;
use crate::git::tree::{Files, TreeEntry};
use crate::gitops::finding::{Lines, LocatedFinding, json_path, located};
use crate::gitops::judge::{JudgedFile, MOST_IN_FILE, ReadFile};
use crate::gitops::load::{LARGEST_FILE, MOST_BYTES, regular_files};
use crate::validate::finding::FindingCode;
use crate::yaml::{Locator, Position, Side};

/// Fills strings from files in, and counts what that costs.
pub(super) struct PullIn<'a> {
    tree: &'a dyn Files,
    by_path: HashMap<&'a str, &'a TreeEntry>,
    /// How many paths were compared with missing ones.
    comparisons: usize,
    /// How many bytes were pulled in.
    bytes: u64,
}

/// What is wrong with one `$file`: the document, where in it, and a sentence.
type Fault = (usize, String, String);

impl<'a> PullIn<'a> {
    pub(super) fn new(tree: &'a dyn Files) -> Self {
        let by_path = regular_files(tree).map(|file| (file.path.as_str(), file)).collect();
        Self { tree, by_path, comparisons: 0, bytes: 0 }
    }

    /// Counts what a file that was judged before pulled in; returns a finding when that is too much.
    pub(super) fn count(&mut self, file: &JudgedFile) -> Option<LocatedFinding> {
        let size = |path: &String| self.by_path.get(path.as_str()).map_or(0, |entry| entry.size);
        let sizes: u64 = file.pulled_in.iter().map(|(path, _)| size(path)).sum();
        self.bytes += sizes;
        (sizes > 0 && self.bytes > MOST_BYTES).then(|| {
            let code = FindingCode::InvalidFileReference.as_str();
            located(code, &file.path, Position::START, &Lines::default(), too_much(), None)
        })
    }

    /// Fills in what the documents of a file ask for, and returns what is wrong with that.
    pub(super) fn fill_in(&mut self, file: &mut ReadFile) -> Vec<LocatedFinding> {
        let mut faults = Vec::new();
        for (index, document) in file.documents.iter_mut().enumerate() {
            if mentions_files(&document.value) {
                let mut work = Document { index, faults: &mut faults, pulled_in: &mut file.pulled_in };
                self.fill_in_value(&mut document.value, &mut String::new(), &mut work);
            }
        }
        if faults.is_empty() {
            return Vec::new();
        }
        let (locator, lines) = (Locator::new(&file.text), Lines::of(&file.text));
        let path: &Arc<str> = &file.path;
        let finding = |(document, pointer, message): Fault| {
            let position = locator.locate(document, &pointer, Side::Value);
            let hint = "paths in $file are relative to the root that is read".to_owned();
            let code = FindingCode::InvalidFileReference.as_str();
            let mut finding = located(code, path, position, &lines, message, Some(hint));
            finding.path = json_path(&pointer);
            finding
        };
        faults.into_iter().take(MOST_IN_FILE).map(finding).collect()
    }

    fn fill_in_value(&mut self, value: &mut Value, pointer: &mut String, document: &mut Document<'_>) {
        if let Some(wanted) = file_reference(value) {
            let filled = match wanted.as_str().map(str::to_owned) {
                Some(path) => self.string_from(&path, document.pulled_in),
                None => Err("$file takes the path of a file as a string".to_owned()),
            };
            match filled {
                Ok(text) => *value = Value::String(text),
                Err(message) => {
                    document.faults.push((document.index, pointer.clone(), message));
                    // A string stands in for the text, so that it could not be had is said once.
                    *value = Value::String("$file".to_owned());
                }
            }
            return;
        }
        let mut visit = |filler: &mut Self, token: &str, inner: &mut Value| {
            let length = pointer.len();
            pointer.push('/');
            pointer.push_str(token);
            filler.fill_in_value(inner, pointer, document);
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

    fn string_from(&mut self, path: &str, pulled_in: &mut Vec<(String, BlobId)>) -> Result<String, String> {
        let wanted = path.trim_start_matches("./");
        let Some(file) = self.by_path.get(wanted).copied() else {
            let similar = self.similar_path(wanted);
            let similar = similar.map(|known| format!("; did you mean '{known}'?")).unwrap_or_default();
            return Err(format!("there is no file '{path}' in the repository{similar}"));
        };
        if file.size > LARGEST_FILE {
            return Err(format!("'{path}' has {} bytes; {LARGEST_FILE} are read at most", file.size));
        }
        self.bytes += file.size;
        if self.bytes > MOST_BYTES {
            return Err(too_much());
        }
        let bytes = self.tree.read(file, LARGEST_FILE).map_err(|error| format!("'{path}': {error}"))?;
        pulled_in.extend(file.blob.map(|blob| (file.path.clone(), blob)));
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
}

/// Where the faults and the sources of one document go.
struct Document<'a> {
    index: usize,
    faults: &'a mut Vec<Fault>,
    pulled_in: &'a mut Vec<(String, BlobId)>,
}

fn too_much() -> String {
    format!("more than {MOST_BYTES} bytes are pulled in from files")
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
