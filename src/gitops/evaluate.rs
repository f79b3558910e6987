//! From a tree of files to what it wants and what is wrong with it; asks nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use crate::digest;
use crate::domain::plan::Desired;
use crate::git::tree::Files;
use crate::gitops::cache::EvaluationCache;
use crate::gitops::finding::{LocatedFinding, Severity};
use crate::gitops::judge;
use crate::gitops::load::{self, Loaded};
use crate::gitops::render::Renderer;
use crate::validate::finding::Finding;
use crate::validate::{self, Placed};

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
/// All findings of all files come at once. Files that cannot be read are findings, and what they define is not
/// known: nothing may be pruned on the strength of such an evaluation.
pub fn evaluate(
    tree: &dyn Files,
    renderer: &dyn Renderer,
    cache: &mut EvaluationCache,
    values: Option<&Map<String, Value>>,
    context: &validate::Context,
) -> Evaluation {
    let mut loaded = load::load(tree, renderer, cache, values, context);
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
    Evaluation { desired, findings, documents: count, inventory: OnceLock::new() }
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
