//! What is wrong with an object, or with all objects of a config repository, found without asking anybody.
//!
//! Everything here is pure: broken input gives all findings at once, and whoever holds the files turns their JSON
//! pointers into lines and columns. Objects are looked at as plain values, so that one mistake hides no other.
//!
//! ```text
//! Manifest --document--> kind and metadata --shape--> JSON Schema --rules--> rules between fields
//!          --values, pod, templates--> what a schema cannot say      all of them --references--> what lies between objects
//! ```

pub mod finding;
pub mod pointer;
pub mod rules;

mod document;
mod pod;
mod references;
mod secrets;
mod shape;
pub(crate) mod suggestion;
mod templates;
mod values;

use std::collections::BTreeSet;

use serde_json::Value;

pub use crate::validate::references::{Facts, Placed};

use crate::api::kind::Kind;
use crate::validate::finding::{Finding, FindingCode};
use crate::yaml::Side;

/// One document of a config repository.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a> {
    /// File, from the root of the repository.
    pub file: &'a str,
    /// Which of the documents of the file that are not empty, from 0.
    pub document: usize,
    /// What it holds, with `$file` already replaced.
    pub value: &'a Value,
}

/// Which Secrets the objects of a repository may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedSecrets {
    /// All of the namespace.
    All,
    /// These.
    Named(BTreeSet<String>),
}

/// What is known beside the objects themselves.
#[derive(Clone, Debug)]
pub struct Context {
    /// Namespace that is applied to. Unset: nobody knows yet, and any one namespace will do.
    pub namespace: Option<String>,
    /// Which Secrets may be named.
    pub allowed_secrets: AllowedSecrets,
    /// Objects of the namespace that may be referred to though they are not in the repository: those that it does not
    /// own, and Tasks that a record remembers.
    pub live: BTreeSet<(Kind, String)>,
}

impl Default for Context {
    /// Knows nothing: any namespace, all Secrets, no live objects.
    fn default() -> Self {
        Self { namespace: None, allowed_secrets: AllowedSecrets::All, live: BTreeSet::new() }
    }
}

/// Returns everything that is wrong with the objects of a config repository: with each by itself, in the order of the
/// objects, and then between them.
pub fn check(manifests: &[Manifest<'_>], context: &Context) -> Vec<Finding> {
    let facts: Vec<Facts> = manifests.iter().map(|manifest| facts(manifest.value)).collect();
    let objects: Vec<Placed<'_>> = manifests
        .iter()
        .zip(&facts)
        .map(|(manifest, facts)| Placed { file: manifest.file, document: manifest.document, facts })
        .collect();
    let mut findings: Vec<Finding> =
        manifests.iter().flat_map(|manifest| check_object(manifest, context)).collect();
    findings.extend(check_tree(&objects, context));
    findings
}

/// Returns what is wrong with one object by itself, ordered by pointer. It depends on nothing but the object, the namespace and the allowed
/// Secrets, so the answer may be kept as long as they stay.
pub fn check_object(manifest: &Manifest<'_>, context: &Context) -> Vec<Finding> {
    let mut report = Report::new(manifest);
    if let Some(kind) = document::check(&mut report, context) {
        let agent_known = shape::check(&mut report, kind);
        for violation in rules::violations(kind.as_str(), manifest.value, None) {
            if agent_known || violation.reason != crate::api::rule::RuleReason::Required {
                report.add(FindingCode::RuleBroken, violation.pointer, Side::Value, violation.message);
            }
        }
        values::check(&mut report, kind);
        pod::check(&mut report, kind);
        templates::check(&mut report, kind);
        secrets::check(&mut report, context);
    }
    report.findings.sort_by(|one, other| {
        (&one.pointer, one.line, one.code).cmp(&(&other.pointer, other.line, other.code))
    });
    report.findings
}

/// Returns what [`check_tree`] has to know of an object; it depends on nothing else.
pub fn facts(object: &Value) -> Facts {
    references::facts(object)
}

/// Returns what is wrong between the objects: duplicates, references, circles.
pub fn check_tree(objects: &[Placed<'_>], context: &Context) -> Vec<Finding> {
    references::check(objects, context)
}

/// Findings of one manifest, as they are gathered.
#[derive(Debug)]
struct Report<'a> {
    manifest: Manifest<'a>,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    fn new(manifest: &Manifest<'a>) -> Self {
        Self { manifest: *manifest, findings: Vec::new() }
    }

    /// Adds a finding and returns it, so that a hint can be put in.
    fn add(
        &mut self,
        code: FindingCode,
        pointer: impl Into<String>,
        side: Side,
        message: impl Into<String>,
    ) -> &mut Finding {
        let Manifest { file, document, .. } = self.manifest;
        self.findings.push(Finding::new(code, file, document, pointer, side, message));
        self.findings.last_mut().expect("because one was just pushed")
    }

    /// Returns the value at a pointer, unless it is absent or null.
    fn get(&self, pointer: &str) -> Option<&'a Value> {
        pointer::lookup(self.manifest.value, pointer).filter(|value| !value.is_null())
    }

    fn text(&self, pointer: &str) -> Option<&'a str> {
        self.get(pointer)?.as_str()
    }
}

impl Finding {
    fn new(
        code: FindingCode,
        file: &str,
        document: usize,
        pointer: impl Into<String>,
        side: Side,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: code.severity(),
            file: file.to_owned(),
            document,
            pointer: pointer.into(),
            side,
            line: None,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}

#[cfg(test)]
mod tests;
