//! From a tree of files to what it wants and what is wrong with it; asks nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::digest;
use crate::domain::plan::Desired;
use crate::git::error::{GitError, GitErrorClass};
use crate::git::tree::{Files, Tree, TreeEntry};
use crate::gitops::cache::EvaluationCache;
use crate::gitops::finding::{LocatedFinding, Severity};
use crate::gitops::judge;
use crate::gitops::load::{self, Loaded};
use crate::gitops::render::{Renderer, RendererError};
use crate::validate::finding::Finding;
use crate::validate::{self, Placed};

/// Why a tree could not be judged: a fault of the moment or of this machine, which says nothing about the tree.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A file that was listed could not be read.
    #[error("cannot read the definitions")]
    Read(#[source] GitError),
    /// The process that renders templates could not do its work, and no template is to blame.
    #[error("cannot render the templates")]
    Render(#[source] RendererError),
}

/// What a tree wants, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// The objects that it defines; complete only when [`Evaluation::is_valid`].
    pub desired: Vec<Arc<Desired>>,
    /// Everything that is wrong, errors and warnings, in the order of files and lines.
    pub findings: Vec<LocatedFinding>,
    /// How many definition files and documents were read.
    pub documents: usize,
    inventory: OnceLock<String>,
}

impl Evaluation {
    /// Returns whether nothing keeps the tree from being applied.
    pub fn is_valid(&self) -> bool {
        self.errors() == 0
    }

    /// Returns how many findings keep the tree from being applied.
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// Returns a digest of all objects that the tree defines; it is worked out once.
    pub fn inventory_digest(&self) -> &str {
        self.inventory.get_or_init(|| {
            let mut lines: Vec<String> =
                self.desired.iter().map(|object| format!("{} {}\n", object.key, object.digest)).collect();
            lines.sort_unstable();
            digest::sha256_hex(lines.concat())
        })
    }
}

/// Reads, renders and judges everything that `tree` defines; what `cache` knows is not judged again.
///
/// All findings of all files come at once. Files that hold what cannot be read are findings, and what they define is not
/// known: nothing may be pruned on the strength of such an evaluation.
///
/// # Errors
/// When the files or the renderer fail for a reason that lies outside the tree: the same tree may be judged later.
pub fn evaluate(
    tree: &dyn Files,
    renderer: &dyn Renderer,
    cache: &mut EvaluationCache,
    values: Option<&Map<String, Value>>,
    context: &validate::Context,
) -> Result<Evaluation, EvaluateError> {
    let tree = &Watched { files: tree, fault: Mutex::new(None) };
    let mut loaded = load::load(tree, renderer, cache, values, context).map_err(EvaluateError::Render)?;
    let documents =
        || loaded.files.iter().flat_map(|file| file.documents.iter().map(|document| (&*file.path, document)));
    let objects: Vec<Placed<'_>> = documents()
        .map(|(file, document)| Placed { file, document: document.index, facts: &document.facts })
        .collect();
    let between = locate(tree, &loaded, validate::check_tree(&objects, context));
    let count = objects.len();
    let desired = documents().filter_map(|(_, document)| document.desired.clone()).collect();
    let mut findings = std::mem::take(&mut loaded.findings);
    findings.extend(loaded.files.iter().flat_map(|file| file.findings.iter().cloned()));
    findings.extend(between);
    findings.sort_by(|left, right| {
        (&left.file, left.line, left.column, &left.code).cmp(&(
            &right.file,
            right.line,
            right.column,
            &right.code,
        ))
    });
    match tree.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(fault) => Err(EvaluateError::Read(fault)),
        None => Ok(Evaluation { desired, findings, documents: count, inventory: OnceLock::new() }),
    }
}

/// Files of which is remembered that one could not be read: whatever is made of it, it is no verdict on the tree.
#[derive(Debug)]
struct Watched<'a> {
    files: &'a dyn Files,
    // Held for one assignment only.
    fault: Mutex<Option<GitError>>,
}

impl Files for Watched<'_> {
    fn tree(&self) -> &Tree {
        self.files.tree()
    }

    fn read(&self, entry: &TreeEntry, max: u64) -> Result<Bytes, GitError> {
        let read = self.files.read(entry, max);
        if let Err(error) = &read
            && error.class() != GitErrorClass::TooLarge
        {
            self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
        read
    }
}

/// Finds the places of what is wrong between objects; each text is read once.
fn locate(tree: &dyn Files, loaded: &Loaded, findings: Vec<Finding>) -> Vec<LocatedFinding> {
    let mut by_file: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        by_file.entry(finding.file.clone()).or_default().push(finding);
    }
    let of_file = |(file, findings): (String, Vec<Finding>)| {
        let text = loaded.text(tree, &file).unwrap_or_default();
        judge::locate(&text, findings, loaded.is_rendered(&file))
    };
    by_file.into_iter().flat_map(of_file).collect()
}
