//! What `kubectl explain` says of the kinds of Kubernetes itself.

use serde_json::{Map, Value};

/// A kind, a path in it with dots between the names, and what is said of it. An empty path is the kind.
type Description = (&'static str, &'static str, &'static str);

/// What stands for a kind in the table when every object's metadata is described.
const METADATA: &str = "ObjectMeta";

const DESCRIPTIONS: &[Description] = &[
    (
        METADATA,
        "",
        "What every object has: its name, its marks for people and programs, and what the server keeps about it.",
    ),
    (METADATA, "annotations", "Texts for people and programs. They cannot be selected by."),
    (METADATA, "creationTimestamp", "When the object was created. Set by the server."),
    (
        METADATA,
        "deletionGracePeriodSeconds",
        "How long the object may take to go after its deletion was asked for.",
    ),
    (
        METADATA,
        "deletionTimestamp",
        "When the deletion was asked for. The object stays as long as it has finalizers.",
    ),
    (METADATA, "finalizers", "Who must still act before a deleted object goes."),
    (METADATA, "generateName", "The beginning of the name that the server makes up when no name is given."),
    (METADATA, "generation", "Counts the changes of what is wanted. Set by the server."),
    (METADATA, "labels", "Marks that selectors find objects by."),
    (METADATA, "managedFields", "Which manager set which fields. Kept by the server."),
    (METADATA, "name", "Unique among the objects of its kind in its namespace, and fixed."),
    (METADATA, "namespace", "The namespace that the object lies in, fixed."),
    (METADATA, "ownerReferences", "The objects without which this one is garbage."),
    (
        METADATA,
        "resourceVersion",
        "Changes with every write; given in an update, it refuses the update of a newer object.",
    ),
    (METADATA, "selfLink", "Not used any more."),
    (METADATA, "uid", "Unique in time: a second object of the same name has another one. Set by the server."),
    ("ConfigMap", "", "Settings that are not secret: texts and bytes by key."),
    ("ConfigMap", "binaryData", "Values that are no text, in base64."),
    ("ConfigMap", "data", "Texts by key. A key consists of letters, digits, `-`, `_` and `.`."),
    ("ConfigMap", "immutable", "Whether the values can never be changed again."),
    ("CustomResourceDefinition", "", "A kind that this server serves. Definitions are built in: read-only."),
    ("CustomResourceDefinition", "spec", "The kind's names, and what its objects look like."),
    ("CustomResourceDefinition", "status", "The names as they are served."),
    ("Event", "", "What happened to an object, for people. Kept for an hour."),
    ("Event", "action", "What was done, or failed to be done."),
    ("Event", "count", "How often it happened."),
    ("Event", "firstTimestamp", "When it happened first."),
    ("Event", "involvedObject", "The object that it happened to."),
    ("Event", "lastTimestamp", "When it happened last."),
    ("Event", "message", "What happened, as a sentence."),
    ("Event", "note", "What happened, as a sentence."),
    ("Event", "reason", "Why it happened, as one word for programs."),
    ("Event", "regarding", "The object that it happened to."),
    ("Event", "type", "`Normal` or `Warning`."),
    ("Lease", "", "Who holds something that only one may hold, and until when."),
    ("Lease", "spec", "The holder and its times."),
    ("Namespace", "", "A place for objects. Deleting it deletes all objects in it."),
    ("Namespace", "spec", "What keeps a deleted namespace."),
    ("Namespace", "status", "Whether the namespace is in use or going."),
    ("Namespace", "status.phase", "`Active` or `Terminating`."),
    ("Secret", "", "Values that few may read, such as tokens."),
    ("Secret", "data", "Values by key, in base64."),
    ("Secret", "immutable", "Whether the values can never be changed again."),
    ("Secret", "stringData", "Values by key as plain text. Written only: they move into `data`."),
    ("Secret", "type", "What the keys mean. Unset: `Opaque`."),
    ("Service", "", "An address of a program. This server has none."),
];

/// Adds to the schema of a kind what is said of it and of its fields.
pub(super) fn describe(kind: &str, schema: &mut Value) {
    for (_, path, text) in DESCRIPTIONS.iter().filter(|(described, ..)| *described == kind) {
        if let Some(field) = field(schema, path) {
            field.insert("description".to_owned(), Value::from(*text));
        }
    }
}

/// Adds to the schema of every object's metadata what is said of its fields.
pub(super) fn describe_metadata(schema: &mut Value) {
    describe(METADATA, schema);
}

fn field<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut found = schema;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        found = found.get_mut("properties")?.get_mut(name)?;
    }
    found.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::core_kinds::{metadata_schema, resources};

    #[test]
    fn every_description_has_its_field() {
        for (kind, path, text) in DESCRIPTIONS {
            let mut schemas: Vec<Value> = resources()
                .iter()
                .filter(|resource| resource.kind == *kind)
                .map(|resource| resource.open_api.as_ref().clone())
                .collect();
            if *kind == METADATA {
                schemas.push(metadata_schema());
            }
            let is_said = schemas
                .iter_mut()
                .any(|schema| field(schema, path).is_some_and(|field| field["description"] == *text));
            assert!(is_said, "{kind} {path}");
        }
    }
}
