//! What the server itself decides about an object's metadata, and the rules that every kind shares.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::apiserver::cause::{Cause, Causes};
use crate::apiserver::core_kinds::shape::{OWNER_REFERENCES, Ordered};
use crate::apiserver::encode;
use crate::apiserver::managed_fields;
use crate::apiserver::names;

/// The finalizer that waits for dependents to be deleted.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer that waits for dependents to be released.
pub(crate) const ORPHAN: &str = "orphan";

/// The largest sum of all annotations, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 << 10;

/// Returns an instant as Kubernetes writes it: whole seconds, UTC.
pub(crate) fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the metadata of `object`, made if it is missing.
pub(crate) fn of(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    object["metadata"].as_object_mut().expect("because it was just made an object")
}

/// Returns a text of the metadata, empty when it is absent.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Returns the resource version as a number, when there is a readable one.
pub(crate) fn revision(object: &Value) -> Option<u64> {
    text(object, "resourceVersion").parse().ok()
}

/// Sets the resource version.
pub(crate) fn set_revision(object: &mut Value, revision: u64) {
    of(object).insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
}

/// Returns the finalizers.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether the object is on its way out.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Removes what only the server may set, as before a create.
pub(crate) fn wipe(object: &mut Value) {
    let metadata = of(object);
    for field in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "uid", "selfLink"] {
        metadata.remove(field);
    }
}

/// Drops owner references that repeat another one. Returns the warning about them, if there were any; the real server
/// words it differently for patches, `is_patch`.
pub(crate) fn dedupe_owners(object: &mut Value, is_patch: bool) -> Option<String> {
    let mut repeated = Vec::new();
    if let Some(Value::Array(references)) = object.pointer_mut("/metadata/ownerReferences") {
        let mut seen: HashSet<Value> = HashSet::with_capacity(references.len());
        references.retain(|reference| {
            let is_new = seen.insert(reference.clone());
            if !is_new {
                repeated.push(reference["uid"].as_str().unwrap_or_default().to_owned());
            }
            is_new
        });
    }
    let when = if is_patch { " after mutating admission happens" } else { "" };
    (!repeated.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            repeated.join(", ")
        )
    })
}

/// Carries over from `old` what an update can neither set nor remove.
pub(crate) fn carry_over(new: &mut Value, old: &Value) {
    let old = &old["metadata"];
    let metadata = of(new);
    if metadata.get("uid").is_none_or(|uid| uid.as_str().unwrap_or_default().is_empty()) {
        metadata.insert("uid".to_owned(), old["uid"].clone());
    }
    if !old["creationTimestamp"].is_null() {
        metadata.insert("creationTimestamp".to_owned(), old["creationTimestamp"].clone());
    }
    if !old["deletionTimestamp"].is_null() {
        metadata.insert("deletionTimestamp".to_owned(), old["deletionTimestamp"].clone());
    }
    let grace = "deletionGracePeriodSeconds";
    if !old[grace].is_null() && metadata.get(grace).is_none_or(Value::is_null) {
        metadata.insert(grace.to_owned(), old[grace].clone());
    }
    metadata.remove("selfLink");
}

/// Returns what is wrong with the metadata of any object.
pub(crate) fn violations(
    object: &Value,
    namespaced: bool,
    check_name: fn(&str) -> Vec<String>,
) -> Vec<Cause> {
    let mut causes = Causes::default();
    let field = |name: &str| format!("metadata.{name}");
    let generate_name = text(object, "generateName");
    if !generate_name.is_empty() {
        // What stands after the last character is generated, so a trailing dash is fine.
        let sample = match generate_name.strip_suffix('-') {
            Some(stem) => format!("{stem}-a"),
            None => generate_name.to_owned(),
        };
        for message in check_name(&sample) {
            causes.push(Cause::invalid(&field("generateName"), &Value::from(generate_name), &message));
        }
    }
    let name = text(object, "name");
    if name.is_empty() {
        causes.push(Cause::required(&field("name"), "name or generateName is required"));
    }
    for message in if name.is_empty() { Vec::new() } else { check_name(name) } {
        causes.push(Cause::invalid(&field("name"), &Value::from(name), &message));
    }
    let namespace = text(object, "namespace");
    if !namespaced && !namespace.is_empty() {
        causes.push(Cause::forbidden(&field("namespace"), "not allowed on this type"));
    }
    if namespaced && namespace.is_empty() {
        causes.push(Cause::required(&field("namespace"), ""));
    }
    for message in if namespaced && !namespace.is_empty() { names::dns_label(namespace) } else { Vec::new() }
    {
        causes.push(Cause::invalid(&field("namespace"), &Value::from(namespace), &message));
    }
    judge_labels(object, &mut causes);
    judge_annotations(object, &mut causes);
    judge_owners(object, &mut causes);
    judge_finalizers(object, &mut causes);
    judge_managed_fields(object, &mut causes);
    causes.into_vec()
}

fn judge_labels(object: &Value, causes: &mut Causes) {
    let path = "metadata.labels";
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        if causes.is_full() {
            return;
        }
        for message in names::qualified(key) {
            causes.push(Cause::invalid(path, &Value::from(key.as_str()), &message));
        }
        for message in names::label_value(value.as_str().unwrap_or_default()) {
            causes.push(Cause::invalid(path, value, &message));
        }
    }
}

fn judge_annotations(object: &Value, causes: &mut Causes) {
    let path = "metadata.annotations";
    let mut size = 0;
    for (key, value) in object["metadata"]["annotations"].as_object().into_iter().flatten() {
        if causes.is_full() {
            return;
        }
        for message in names::qualified(&key.to_lowercase()) {
            causes.push(Cause::invalid(path, &Value::from(key.as_str()), &message));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        causes.push(Cause::too_long(path, ANNOTATIONS_LIMIT));
    }
}

fn judge_owners(object: &Value, causes: &mut Causes) {
    let path = "metadata.ownerReferences";
    let references = &object["metadata"]["ownerReferences"];
    let mut controller: Option<String> = None;
    for (index, reference) in references.as_array().into_iter().flatten().enumerate() {
        if causes.is_full() {
            return;
        }
        let field = |name: &str| format!("{path}[{index}].{name}");
        let part = |name: &str| reference[name].as_str().unwrap_or_default();
        let version = part("apiVersion");
        if version.is_empty() {
            causes.push(Cause::required(&field("apiVersion"), "must not be empty"));
        } else if version.ends_with('/') || version.matches('/').count() > 1 {
            let detail = "must be <group>/<version> or <version>";
            causes.push(Cause::invalid(&field("apiVersion"), &Value::from(version), detail));
        }
        for name in ["kind", "name", "uid"] {
            if part(name).is_empty() {
                causes.push(Cause::required(&field(name), "must not be empty"));
            }
        }
        if version == "v1" && part("kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(Cause::invalid(&format!("{path}[{index}]"), reference, detail));
        }
        if reference["controller"] == Value::Bool(true) {
            let this = format!("{}/{}", part("kind"), part("name"));
            match &controller {
                Some(first) => {
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    );
                    causes.push(Cause::invalid_shown(path, &shown_references(references), &detail));
                }
                None => controller = Some(this),
            }
        }
    }
}

/// Returns owner references in the order of their fields.
fn shown_references(references: &Value) -> String {
    encode::to_text(&Ordered { value: references, shape: &OWNER_REFERENCES })
}

fn judge_finalizers(object: &Value, causes: &mut Causes) {
    let path = "metadata.finalizers";
    let finalizers = finalizers(object);
    for finalizer in &finalizers {
        if causes.is_full() {
            return;
        }
        for message in names::qualified(finalizer) {
            causes.push(Cause::invalid(path, &Value::from(*finalizer), &message));
        }
    }
    if finalizers.contains(&FOREGROUND) && finalizers.contains(&ORPHAN) {
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        causes.push(Cause::invalid(path, &Value::from(finalizers), &detail));
    }
}

fn judge_managed_fields(object: &Value, causes: &mut Causes) {
    for (index, entry) in object["metadata"]["managedFields"].as_array().into_iter().flatten().enumerate() {
        if causes.is_full() {
            return;
        }
        let path = format!("metadata.managedFields[{index}]");
        let part = |name: &str| entry[name].as_str().unwrap_or_default();
        if !matches!(part("operation"), "Apply" | "Update") {
            let field = format!("{path}.operation");
            causes.push(Cause::invalid(
                &field,
                &Value::from(part("operation")),
                "must be `Apply` or `Update`",
            ));
        }
        if !matches!(part("fieldsType"), "" | "FieldsV1") {
            let field = format!("{path}.fieldsType");
            causes.push(Cause::invalid(&field, &Value::from(part("fieldsType")), "must be `FieldsV1`"));
        }
        for error in managed_fields::entry_errors(entry, &path) {
            causes.push(Cause::from(&error));
        }
    }
}

/// Returns what an update may not change about the metadata.
pub(crate) fn update_violations(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Causes::default();
    if is_terminating(old) {
        let before: HashSet<&str> = finalizers(old).into_iter().collect();
        let mut extra: Vec<&str> =
            finalizers(new).into_iter().filter(|finalizer| !before.contains(finalizer)).collect();
        extra.sort_unstable();
        extra.dedup();
        if !extra.is_empty() {
            let listed: Vec<String> = extra.iter().map(|finalizer| format!("{finalizer:?}")).collect();
            causes.push(Cause::forbidden(
                "metadata.finalizers",
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    listed.join(", ")
                ),
            ));
        }
    }
    if text(new, "resourceVersion").is_empty() {
        causes.push(Cause::invalid(
            "metadata.resourceVersion",
            &Value::from(text(new, "resourceVersion")),
            "must be specified for an update",
        ));
    }
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        if new["metadata"][field] != old["metadata"][field] {
            causes.push(Cause::invalid(
                &format!("metadata.{field}"),
                &new["metadata"][field],
                "field is immutable",
            ));
        }
    }
    judge_labels(new, &mut causes);
    judge_annotations(new, &mut causes);
    judge_owners(new, &mut causes);
    judge_managed_fields(new, &mut causes);
    causes.into_vec()
}

/// The characters of generated name endings: no vowels, so that no words come out.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// How long a generated ending is.
const SUFFIX_LENGTH: usize = 5;

/// The longest stem that is kept before a generated ending.
const STEM_LIMIT: usize = 58;

/// Returns `stem` with a random ending.
pub(crate) fn generate_name(stem: &str) -> String {
    let mut end = stem.len().min(STEM_LIMIT);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = stem.get(..end).unwrap_or_default().to_owned();
    let random = uuid::Uuid::new_v4();
    for byte in random.as_bytes().iter().take(SUFFIX_LENGTH) {
        let index = usize::from(*byte) % SUFFIX_ALPHABET.len();
        name.push(char::from(SUFFIX_ALPHABET[index]));
    }
    name
}

/// Whether two objects differ in what generation counts: everything but metadata, and status where it is apart.
pub(crate) fn differs_in_content(new: &Value, old: &Value, status_is_apart: bool) -> bool {
    let ignored = |key: &str| key == "metadata" || (status_is_apart && key == "status");
    let fields = |object: &'_ Value| -> usize {
        object.as_object().into_iter().flatten().filter(|(key, _)| !ignored(key)).count()
    };
    let is_same = |(key, value): (&String, &Value)| ignored(key) || old.get(key) == Some(value);
    fields(new) != fields(old) || !new.as_object().into_iter().flatten().all(is_same)
}
