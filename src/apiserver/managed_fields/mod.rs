//! Field ownership: server-side apply, and the record of who wrote what in `metadata.managedFields`.
//!
//! All of it is pure: a stored object, a new one and a writer go in, an object with up-to-date `managedFields` comes
//! out. The rules are those of kube-apiserver for schemas whose lists are leaves, with the lists of the metadata that
//! have identities (finalizers, owner references). Nothing here prunes, defaults or validates: that is
//! [`crate::apiserver::schema`], before and after.

mod compare;
mod contents;
mod merge;
mod owners;
mod path;
#[cfg(test)]
mod properties;
mod remove;
mod set;
mod shape;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;
use serde_json::{Map, Value};

pub use self::shape::Shape;

use self::contents::{Duplicates, misfits};
use self::owners::Clash;
use self::path::PathElement;
use self::set::FieldSet;
use self::wire::{Operation, Owners};
use crate::apiserver::schema::FieldError;
use crate::apiserver::spelling;

/// The manager of fields that were there before the first apply to an object without entries.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The annotation in which kubectl's client-side apply keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The longest name of a field manager.
pub(crate) const MAX_MANAGER_BYTES: usize = 128;

/// The longest name of a subresource in an entry.
const MAX_SUBRESOURCE_BYTES: usize = 256;

/// Who writes, through what, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager; an empty one is recorded as `unknown`.
    pub manager: &'a str,
    /// The version that the request names, as `group/version`.
    pub api_version: &'a str,
    /// The subresource of the request, such as `status`; empty for the object itself.
    pub subresource: &'a str,
    /// Paths of field names that this write cannot change, so that it gains and takes nothing there:
    /// [`RESET_BY_MAIN`] or [`RESET_BY_STATUS`] where a kind has a status subresource, else empty.
    pub reset: &'a [&'a [&'a str]],
    /// The current time; entries record it in whole seconds.
    pub now: Timestamp,
}

/// What a write to an object with a status subresource cannot change.
pub const RESET_BY_MAIN: &[&[&str]] = &[&["status"]];

/// What a write to the status subresource of a custom resource cannot change.
pub const RESET_BY_STATUS: &[&[&str]] = &[&["metadata"], &["spec"]];

/// Why an apply was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own applied fields with other values: status 409, reason `Conflict`.
    #[error("{0}")]
    Conflicts(Conflicts),
    /// The request is not an apply: status 400.
    #[error("{0}")]
    BadRequest(String),
    /// The applied configuration does not fit the schema; the real server answers with status 500.
    #[error("failed to create typed patch object ({0}): {1}")]
    Applied(String, String),
    /// The stored object does not fit the schema, or its entries cannot be read: status 500.
    #[error("{0}")]
    Stored(String),
}

/// The fields that other managers own with other values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(Vec<Clash>);

/// One conflict, as a cause of the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Always `FieldManagerConflict`.
    pub reason: &'static str,
    /// Such as `conflict with "kubectl-edit" using example.com/v1`.
    pub message: String,
    /// Such as `.spec.size`.
    pub field: String,
}

/// Merges `applied` into `live` and records `writer` as the applier of its fields.
///
/// `live` is the stored object, none when the apply creates it. Fields that the writer applied before and leaves out
/// now are removed unless somebody else owns them. The result still has to get its defaults, to be validated, and then
/// to be coerced: the merge leaves null where an object lost its last field, which validation is to see. An apply that
/// changes nothing returns an object equal to the live one.
///
/// `applied` is to be decoded and nothing else: unknown fields in it are errors here, and defaults would be owned.
pub fn apply(
    shape: &Shape,
    live: Option<&Value>,
    applied: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    let live = live.unwrap_or(shape.blank());
    let mut owners = Owners::decode(live)
        .map_err(|error| ApplyError::Stored(format!("failed to decode managed fields: {error}")))?;
    if wire::entries(applied).is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let unfit = misfits(applied, shape.root(), Duplicates::Refused);
    if !unfit.is_empty() {
        return Err(ApplyError::Applied(described(applied), joined(&unfit)));
    }
    let unfit = misfits(live, shape.root(), Duplicates::Allowed);
    if !unfit.is_empty() {
        let message = format!("failed to create typed live object ({}): {}", described(live), joined(&unfit));
        return Err(ApplyError::Stored(message));
    }
    if owners.sets.is_empty() {
        let before = Writer { manager: BEFORE_FIRST_APPLY, ..*writer };
        owners::own_changes(&mut owners, shape.blank(), live, shape.root(), &before);
    }
    // Only kubectl's apply is tried again.
    let mut attempt = if writer.manager == "kubectl" { owners.clone() } else { std::mem::take(&mut owners) };
    let mut outcome = owners::own_applied(&mut attempt, live, applied, shape.root(), writer, force);
    if let Err(clashes) = &outcome
        && writer.manager == "kubectl"
        && let Some(allowed) = last_applied_fields(live, shape, writer.api_version)
    {
        let remaining: Vec<Clash> =
            clashes.iter().filter(|clash| !allowed.contains(&clash.path)).cloned().collect();
        outcome = if remaining.is_empty() {
            attempt = owners.clone();
            owners::own_applied(&mut attempt, live, applied, shape.root(), writer, true)
        } else {
            Err(remaining)
        };
    }
    let merged = outcome.map_err(|clashes| ApplyError::Conflicts(Conflicts(clashes)))?;
    let mut object = merged.unwrap_or_else(|| live.clone());
    attempt.encode_into(&mut object);
    if writer.manager == "kubectl" {
        refresh_last_applied(&mut object, applied);
    }
    Ok(object)
}

/// Records `writer` as the owner of all fields by which `new` differs from `live`, and returns `new` with its entries.
///
/// `live` is none on create. For writes to the object itself, `managedFields` inside `new` are obeyed as the real
/// server does: readable ones replace the stored ones, an empty list or one empty entry forgets all owners, and
/// unreadable, foreign or absent ones count as the stored ones. (An empty list gets here for built-in kinds only:
/// custom resources lose it when [`crate::apiserver::schema::Structural::coerce`] reads their metadata.) An object
/// whose owners were forgotten stays without until the next apply.
pub fn update(shape: &Shape, live: Option<&Value>, mut new: Value, writer: &Writer<'_>) -> Value {
    let is_create = live.is_none();
    let live = live.unwrap_or(shape.blank());
    let mut owners = owners_to_start_from(shape, live, &new, writer);
    wire::clear(&mut new);
    if owners.sets.is_empty() && !is_create {
        return new;
    }
    let fits = |value: &Value| misfits(value, shape.root(), Duplicates::Allowed).is_empty();
    if !fits(&new) || !fits(live) {
        // The real server gives up ownership here; validation refuses such an object right after.
        return new;
    }
    owners::own_changes(&mut owners, live, &new, shape.root(), writer);
    owners.encode_into(&mut new);
    new
}

/// Puts the times of `old` entries back into `new` when nothing else differs, so that such a write changes nothing.
///
/// To be called with the object that would be stored, just before it is.
pub fn keep_times_of_unchanged(old: &Value, new: &mut Value) {
    let pointer = "/metadata/managedFields";
    let (Some(Value::Array(old_entries)), Some(slot)) = (wire::entries(old), new.pointer_mut(pointer)) else {
        return;
    };
    let Value::Array(new_entries) = &*slot else { return };
    let is_same = |(old, new): (&Value, &Value)| match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let timeless =
                |fields: &Map<String, Value>| fields.len() - usize::from(fields.contains_key("time"));
            timeless(old) == timeless(new)
                && old.iter().all(|(name, value)| name == "time" || new.get(name) == Some(value))
        }
        (old, new) => old == new,
    };
    let is_candidate = old_entries.len() == new_entries.len()
        && old_entries != new_entries
        && old_entries.iter().zip(new_entries).all(is_same);
    if !is_candidate {
        return;
    }
    let new_entries = std::mem::replace(slot, Value::Array(old_entries.clone()));
    if new == old {
        return;
    }
    if let Some(slot) = new.pointer_mut(pointer) {
        *slot = new_entries;
    }
}

/// Returns what is wrong with an entry, at `path`, that clients may write but the server may not store.
pub fn entry_errors(entry: &Value, path: &str) -> Vec<FieldError> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut errors = manager_errors(text("manager"), &format!("{path}.manager"));
    if text("subresource").len() > MAX_SUBRESOURCE_BYTES {
        errors.push(FieldError::too_long(format!("{path}.subresource"), MAX_SUBRESOURCE_BYTES));
    }
    errors
}

/// Returns what is wrong with the name of a field manager; `path` is where the name stands.
pub fn manager_errors(manager: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if manager.len() > MAX_MANAGER_BYTES {
        errors.push(FieldError::too_long(path, MAX_MANAGER_BYTES));
    }
    for (position, character) in manager.char_indices() {
        if !spelling::is_printable(character) {
            let detail = format!("should only contain printable characters (at position {position})");
            errors.push(FieldError::invalid(path, manager, detail));
        }
    }
    errors
}

impl Conflicts {
    /// Returns the causes of the 409 status.
    pub fn causes(&self) -> Vec<Cause> {
        self.0
            .iter()
            .map(|clash| Cause {
                reason: "FieldManagerConflict",
                message: format!("conflict with {}", shown_manager(clash)),
                field: shown_path(&clash.path),
            })
            .collect()
    }
}

impl Display for Conflicts {
    /// Writes the message of the 409 status.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if let [clash] = self.0.as_slice() {
            let (manager, path) = (shown_manager(clash), shown_path(&clash.path));
            return write!(formatter, "Apply failed with 1 conflict: conflict with {manager}: {path}");
        }
        let mut by_manager: BTreeMap<_, Vec<&Clash>> = BTreeMap::new();
        for clash in &self.0 {
            by_manager.entry(&clash.id).or_default().push(clash);
        }
        write!(formatter, "Apply failed with {} conflicts: ", self.0.len())?;
        for (index, clashes) in by_manager.values().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            if let [first, ..] = clashes.as_slice() {
                write!(formatter, "{newline}conflicts with {}:", shown_manager(first))?;
            }
            for clash in clashes {
                write!(formatter, "\n- {}", shown_path(&clash.path))?;
            }
        }
        Ok(())
    }
}

fn owners_to_start_from(shape: &Shape, live: &Value, new: &Value, writer: &Writer<'_>) -> Owners {
    let stored = || Owners::decode(live).unwrap_or_default();
    if !writer.subresource.is_empty() {
        return stored();
    }
    if wire::asks_for_reset(new) {
        return Owners::default();
    }
    let is_foreign = |owners: &Owners| {
        shape.has_only_one_version()
            && owners.sets.values().any(|owned| owned.api_version != writer.api_version)
    };
    match Owners::decode(new) {
        Ok(owners) if !owners.sets.is_empty() && !is_foreign(&owners) => owners,
        _ => stored(),
    }
}

/// Returns the fields that client-side apply set and that still have the values it gave them.
fn last_applied_fields(live: &Value, shape: &Shape, api_version: &str) -> Option<FieldSet> {
    let text = last_applied(live)?;
    let applied: Value = serde_json::from_str(text).ok()?;
    if applied.get("apiVersion").and_then(Value::as_str) != Some(api_version) {
        return None;
    }
    if !misfits(&applied, shape.root(), Duplicates::Refused).is_empty() {
        return None;
    }
    let differences = compare::compare(&applied, live, shape.root());
    Some(
        contents::fields_of(&applied, shape.root())
            .difference(&differences.modified)
            .difference(&differences.added)
            .difference(&differences.removed),
    )
}

/// Keeps the annotation of client-side apply in step, if the object has one.
fn refresh_last_applied(object: &mut Value, applied: &Value) {
    if last_applied(object).is_none() {
        return;
    }
    let mut configuration = applied.clone();
    if let Some(metadata) = configuration.get_mut("metadata").and_then(Value::as_object_mut) {
        let is_empty = match metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            Some(annotations) => {
                annotations.remove(LAST_APPLIED);
                annotations.is_empty()
            }
            None => false,
        };
        if is_empty {
            metadata.remove("annotations");
        }
    }
    let pointer = "/metadata/annotations";
    if let Some(annotations) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        annotations.insert(LAST_APPLIED.to_owned(), Value::from(format!("{configuration}\n")));
    }
}

fn last_applied(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str().filter(|text| !text.is_empty())
}

fn shown_manager(clash: &Clash) -> String {
    let mut shown = spelling::quoted(&clash.id.manager);
    if !clash.id.subresource.is_empty() {
        shown = format!("{shown} with subresource {}", spelling::quoted(&clash.id.subresource));
    }
    if clash.id.operation == Operation::Update {
        shown = format!("{shown} using {}", clash.api_version);
    }
    shown
}

fn shown_path(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// Returns how errors name an object: `namespace/name; group/version, Kind=kind`.
fn described(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let separator = if api_version.contains('/') { "" } else { "/" };
    format!("{namespace}/{name}; {separator}{api_version}, Kind={kind}")
}

fn joined(messages: &[String]) -> String {
    match messages {
        [message] => message.clone(),
        _ => format!("errors:\n  {}", messages.join("\n  ")),
    }
}
