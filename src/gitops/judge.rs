//! One definition file, judged by itself: what it wants, what is wrong with it, and what other objects have to know.
//!
//! The documents themselves are not kept, because ten thousand trees of values fill a machine's memory.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::digest;
use crate::domain::plan::{Desired, ManagedKind, ObjectKey, TextPackers};
use crate::git::id::BlobId;
use crate::gitops::finding::{Lines, LocatedFinding, json_path, located};
use crate::validate::finding::Finding;
use crate::validate::{self, Facts, Manifest};
use crate::yaml::{self, Limits, Locator, Position, Reading};

/// The most faults of YAML, and of `$file`, that are told of one file.
pub(super) const MOST_IN_FILE: usize = 1_000;

/// One document, judged by itself.
#[derive(Debug, Clone)]
pub(super) struct JudgedDocument {
    /// Place among the documents of its file, from 0; empty documents do not count.
    pub(super) index: usize,
    /// What the check between objects has to know.
    pub(super) facts: Facts,
    /// The object that it wants, if that can be told.
    pub(super) desired: Option<Arc<Desired>>,
}

/// All documents of one file.
#[derive(Debug, Clone)]
pub(super) struct JudgedFile {
    /// Path of the file.
    pub(super) path: Arc<str>,
    /// Its documents.
    pub(super) documents: Vec<JudgedDocument>,
    /// What is wrong with them.
    pub(super) findings: Vec<LocatedFinding>,
    /// Files that `$file` pulled in, with what they held.
    pub(super) pulled_in: Vec<(String, BlobId)>,
}

impl JudgedFile {
    /// Returns the same for the same contents at another path.
    pub(super) fn at(&self, path: &Arc<str>) -> Self {
        let mut moved = self.clone();
        moved.path = Arc::clone(path);
        for document in &mut moved.documents {
            document.desired = document
                .desired
                .as_ref()
                .map(|desired| Arc::new(Desired { file: Arc::clone(path), ..(**desired).clone() }));
        }
        for finding in &mut moved.findings {
            finding.file = path.to_string();
        }
        moved
    }
}

/// A file that was read and not judged yet.
#[derive(Debug)]
pub(super) struct ReadFile {
    /// Path of the file.
    pub(super) path: Arc<str>,
    /// The text in which places are counted: the rendered one for a template.
    pub(super) text: String,
    /// Whether it was rendered.
    pub(super) is_rendered: bool,
    /// Its documents.
    pub(super) documents: Vec<yaml::Document>,
    /// Files that `$file` pulled in, with what they held.
    pub(super) pulled_in: Vec<(String, BlobId)>,
    /// Scalars that YAML readers read differently: they stand as strings in the documents.
    pub(super) ambiguities: Vec<LocatedFinding>,
}

/// Parses a file; otherwise what is wrong with its text.
pub(super) fn read(
    path: &Arc<str>,
    bytes: Vec<u8>,
    is_rendered: bool,
) -> Result<ReadFile, Vec<LocatedFinding>> {
    let Reading { documents, faults } = yaml::read_bytes(&bytes, &Limits::default());
    let mut findings = Vec::new();
    if !faults.is_empty() {
        let text = String::from_utf8_lossy(&bytes);
        let lines = Lines::of(&text);
        let of = |fault: yaml::Fault| {
            located(fault.code.as_str(), path, fault.position, &lines, fault.message, fault.hint)
        };
        findings.extend(faults.into_iter().take(MOST_IN_FILE).map(of));
        if documents.is_empty() {
            return Err(findings);
        }
    }
    Ok(ReadFile {
        path: Arc::clone(path),
        // It is UTF-8, or it would not have been parsed.
        text: String::from_utf8(bytes).unwrap_or_default(),
        is_rendered,
        documents,
        pulled_in: Vec::new(),
        ambiguities: findings,
    })
}

/// Judges the documents of a file. Without `looks`, only what other objects have to know is taken from them.
pub(super) fn judge(
    file: ReadFile,
    context: &validate::Context,
    looks: bool,
    packers: &TextPackers,
) -> JudgedFile {
    let ReadFile { path, text, is_rendered, documents, pulled_in, ambiguities } = file;
    let mut unlocated = Vec::new();
    let mut judged = Vec::with_capacity(documents.len());
    for (index, yaml::Document { value, position }) in documents.into_iter().enumerate() {
        if looks {
            let manifest = Manifest { file: &path, document: index, value: &value };
            unlocated.extend(validate::check_object(&manifest, context));
        }
        let facts = validate::facts(&value);
        let desired = desired_of(value, &path, position, packers).map(Arc::new);
        judged.push(JudgedDocument { index, facts, desired });
    }
    let mut findings = locate(&text, unlocated, is_rendered);
    if !ambiguities.is_empty() {
        // That a string stands in such a place is no finding of its own.
        let places: HashSet<(usize, usize)> =
            ambiguities.iter().map(|finding| (finding.line, finding.column)).collect();
        findings.retain(|finding| !places.contains(&(finding.line, finding.column)));
        findings.extend(ambiguities);
    }
    JudgedFile { path, documents: judged, findings, pulled_in }
}

/// Turns JSON pointers into lines and columns of `text`, which is read a second time if there are any.
pub(super) fn locate(text: &str, findings: Vec<Finding>, is_rendered: bool) -> Vec<LocatedFinding> {
    if findings.is_empty() {
        return Vec::new();
    }
    let (locator, lines) = (Locator::new(text), Lines::of(text));
    let place = |finding: Finding| {
        let position = locator.locate(finding.document, &finding.pointer, finding.side);
        with_place(finding, position, &lines, is_rendered)
    };
    findings.into_iter().map(place).collect()
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
fn desired_of(
    document: Value,
    file: &Arc<str>,
    position: Position,
    packers: &TextPackers,
) -> Option<Desired> {
    let Value::Object(mut document) = document else { return None };
    let kind = ManagedKind::from_manifest(document.get("kind")?.as_str()?)?;
    let Some(Value::Object(metadata)) = document.remove("metadata") else { return None };
    let name = metadata.get("name")?.as_str()?.to_owned();
    let kept: Map<String, Value> = metadata
        .into_iter()
        .filter(|(key, value)| matches!(key.as_str(), "name" | "labels" | "annotations") && !value.is_null())
        .collect();
    let mut spec = document.remove("spec").unwrap_or_else(|| Value::Object(Map::new()));
    // Invariant: git never sends `suspend: false`, which is the same as nothing: it would undo a suspend by hand that
    // was set while the pass was under way.
    if kind == ManagedKind::TaskSpawner
        && let Some(fields) = spec.as_object_mut()
        && fields.get("suspend") == Some(&Value::Bool(false))
    {
        fields.remove("suspend");
    }
    // Digests are of the canonical JSON: keys in order, as `serde_json` keeps them.
    let spec_digest = digest::sha256_hex(spec.to_string());
    let depends_on = match kind {
        ManagedKind::Task => spec
            .get("dependsOn")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default(),
        ManagedKind::Workspace | ManagedKind::AgentConfig | ManagedKind::TaskSpawner => Vec::new(),
    };
    let mut manifest = Map::new();
    manifest.insert("apiVersion".to_owned(), document.remove("apiVersion")?);
    manifest.insert("kind".to_owned(), Value::String(kind.as_str().to_owned()));
    manifest.insert("metadata".to_owned(), Value::Object(kept));
    manifest.insert("spec".to_owned(), spec);
    let manifest = Value::Object(manifest).to_string();
    Some(Desired {
        key: ObjectKey { kind, name },
        digest: digest::sha256_hex(&manifest),
        spec_digest,
        manifest: packers.pack(kind, &manifest),
        file: Arc::clone(file),
        line: position.line,
        depends_on,
    })
}
