//! Namespace.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apiserver::core_kinds::shape::{METADATA, Shape, TEXT, TEXTS, TIME, kept, optional};
use crate::apiserver::core_kinds::{
    CREATED, Column, CoreKind, Selectable, age_cell, column, no_rules, selectable, text_cell,
};
use crate::apiserver::names;

static SPEC: Shape = Shape::Struct(&[optional("finalizers", &TEXTS)]);

static STATUS: Shape =
    Shape::Struct(&[optional("phase", &TEXT), optional("conditions", &Shape::List(&CONDITION))]);

static CONDITION: Shape = Shape::Struct(&[
    kept("type", &TEXT),
    kept("status", &TEXT),
    kept("lastTransitionTime", &TIME),
    optional("reason", &TEXT),
    optional("message", &TEXT),
]);

static SHAPE: Shape =
    Shape::Struct(&[kept("metadata", &METADATA), kept("spec", &SPEC), kept("status", &STATUS)]);

static COLUMNS: [Column; 2] =
    [column("Status", "string", "The status of the namespace"), column("Age", "string", CREATED)];

static SELECTABLE: [Selectable; 2] = [
    selectable("status.phase"),
    // The real server lets old clients say `name`.
    Selectable { name: "name", path: "metadata.name", absent: "" },
];

pub(super) static KIND: CoreKind = CoreKind {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    namespaced: false,
    has_status: true,
    storage_group: "",
    hash_group: "",
    shape: &SHAPE,
    face: None,
    read_only: false,
    creates_on_update: false,
    updates_unconditionally: true,
    has_generation: false,
    selectable: &SELECTABLE,
    columns: &COLUMNS,
    name_column: 0,
    name_priority: 0,
    cells,
    default,
    prepare,
    validate: no_rules,
    validate_name: names::dns_label,
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![text_cell(&object["status"]["phase"]), age_cell(object, now)]
}

/// Every Namespace carries its own name as a label, so that selectors can mean it.
fn default(object: &mut Value) {
    let name = object["metadata"]["name"].clone();
    if name.as_str().is_some_and(|name| !name.is_empty()) {
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
}

fn prepare(new: &mut Value, old: Option<&Value>, subresource: Option<&str>) {
    match (old, subresource) {
        (None, _) => {
            new["spec"] = json!({"finalizers": ["kubernetes"]});
            new["status"] = json!({"phase": "Active"});
        }
        (Some(old), Some("finalize")) => new["status"] = old["status"].clone(),
        (Some(old), Some(_)) => new["spec"] = old["spec"].clone(),
        (Some(old), None) => {
            new["spec"]["finalizers"] = old["spec"]["finalizers"].clone();
            if new["spec"]["finalizers"].is_null() {
                new["spec"] = json!({});
            }
            new["status"] = old["status"].clone();
        }
    }
}
