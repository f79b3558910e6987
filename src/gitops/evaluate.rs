//! From a tree of files to what it wants and what is wrong with it; asks nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::digest;
use crate::domain::plan::{Desired, ManagedKind, ObjectKey};
use crate::git::tree::Files;
use crate::gitops::finding::{Lines, LocatedFinding, Severity, json_path};
use crate::gitops::load::{self, Loaded, LoadedDocument, ParseCache};
use crate::gitops::render::Renderer;
use crate::validate::finding::Finding;
use crate::validate::{self, Manifest};
use crate::yaml::{Locator, Position};

/// What a tree wants, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// The objects that it defines; complete only when [`Evaluation::is_valid`].
    pub desired: Vec<Desired>,
    /// Everything that is wrong, errors and warnings, in the order of files and lines.
    pub findings: Vec<LocatedFinding>,
    /// How many definition files and documents were read.
    pub documents: usize,
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
}

/// Reads, renders and judges everything that `tree` defines.
///
/// All findings of all files come at once. Files that cannot be read are findings, and what they define is not
/// known: nothing may be pruned on the strength of such an evaluation.
pub fn evaluate(
    tree: &dyn Files,
    renderer: &dyn Renderer,
    cache: &mut ParseCache,
    values: Option<&Map<String, Value>>,
    context: &validate::Context,
) -> Evaluation {
    let mut loaded = load::load(tree, renderer, cache, values);
    let manifests: Vec<Manifest<'_>> = loaded
        .documents
        .iter()
        .map(|document| Manifest { file: &document.file, document: document.index, value: &document.value })
        .collect();
    let unlocated = validate::check(&manifests, context);
    let mut findings = std::mem::take(&mut loaded.findings);
    findings.extend(locate(tree, &loaded, unlocated));
    findings.sort_by(|left, right| {
        (&left.file, left.line, left.column, &left.code).cmp(&(
            &right.file,
            right.line,
            right.column,
            &right.code,
        ))
    });
    let desired = loaded.documents.iter().filter_map(desired_of).collect();
    Evaluation { desired, findings, documents: loaded.documents.len() }
}

/// Turns JSON pointers into lines and columns; each text is read and indexed once.
fn locate(tree: &dyn Files, loaded: &Loaded, findings: Vec<Finding>) -> Vec<LocatedFinding> {
    let mut by_file: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        by_file.entry(finding.file.clone()).or_default().push(finding);
    }
    let mut located = Vec::new();
    for (file, findings) in by_file {
        let text = loaded.text(tree, &file).unwrap_or_default();
        let (locator, lines) = (Locator::new(&text), Lines::of(&text));
        for finding in findings {
            let position = locator.locate(finding.document, &finding.pointer, finding.side);
            located.push(with_place(finding, position, &lines, loaded.is_rendered(&file)));
        }
    }
    located
}

fn with_place(finding: Finding, position: Position, lines: &Lines<'_>, is_rendered: bool) -> LocatedFinding {
    let mut message = finding.message;
    if is_rendered {
        message.push_str(" (in the rendered text of the template)");
    }
    LocatedFinding {
        code: finding.code.as_str().to_owned(),
        severity: finding.severity,
        file: finding.file,
        line: position.line,
        column: position.column,
        path: json_path(&finding.pointer),
        message,
        hint: finding.hint,
        excerpt: None,
    }
    .with_excerpt_from(lines)
}

/// Returns the object that a document wants, freed of what git does not decide.
fn desired_of(document: &LoadedDocument) -> Option<Desired> {
    let kind = ManagedKind::from_manifest(document.value.get("kind")?.as_str()?)?;
    let metadata = document.value.get("metadata")?.as_object()?;
    let name = metadata.get("name")?.as_str()?.to_owned();
    let kept: Map<String, Value> = metadata
        .iter()
        .filter(|(key, value)| matches!(key.as_str(), "name" | "labels" | "annotations") && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut spec = document.value.get("spec").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    // Invariant: git never sends `suspend: false`, which is the same as nothing: it would undo a suspend by hand that
    // was set while the pass was under way.
    if kind == ManagedKind::TaskSpawner
        && let Some(fields) = spec.as_object_mut()
        && fields.get("suspend") == Some(&Value::Bool(false))
    {
        fields.remove("suspend");
    }
    let spec_digest = digest_of(&spec);
    let depends_on = match kind {
        ManagedKind::Task => spec
            .get("dependsOn")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default(),
        ManagedKind::Workspace | ManagedKind::AgentConfig | ManagedKind::TaskSpawner => Vec::new(),
    };
    let mut manifest = Map::new();
    manifest.insert("apiVersion".to_owned(), document.value.get("apiVersion")?.clone());
    manifest.insert("kind".to_owned(), Value::String(kind.as_str().to_owned()));
    manifest.insert("metadata".to_owned(), Value::Object(kept));
    manifest.insert("spec".to_owned(), spec);
    let manifest = Value::Object(manifest);
    Some(Desired {
        key: ObjectKey { kind, name },
        digest: digest_of(&manifest),
        spec_digest,
        manifest: Arc::new(manifest),
        file: Arc::clone(&document.file),
        line: document.position.line,
        depends_on,
    })
}

/// Digests are of the canonical JSON: keys in order, as `serde_json` keeps them.
fn digest_of(value: &Value) -> String {
    digest::sha256_hex(value.to_string())
}
