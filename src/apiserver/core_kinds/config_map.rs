//! ConfigMap.

use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::cause::{Cause, Causes};
use crate::apiserver::core_kinds::secret::{SIZE_LIMIT, decoded_length};
use crate::apiserver::core_kinds::shape::{
    BOOLEAN, BYTES_MAP, METADATA, Shape, TEXT_MAP, kept, optional, pointer,
};
use crate::apiserver::core_kinds::{CREATED, Column, CoreKind, age_cell, column, keep_all, nothing};
use crate::apiserver::names;

static SHAPE: Shape = Shape::Struct(&[
    kept("metadata", &METADATA),
    pointer("immutable", &BOOLEAN),
    optional("data", &TEXT_MAP),
    optional("binaryData", &BYTES_MAP),
]);

static COLUMNS: [Column; 2] = [
    column(
        "Data",
        "string",
        "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the keys in the BinaryData field, this is enforced during validation process.",
    ),
    column("Age", "string", CREATED),
];

pub(super) static KIND: CoreKind = CoreKind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    categories: &[],
    namespaced: true,
    has_status: false,
    storage_group: "",
    hash_group: "",
    shape: &SHAPE,
    face: None,
    read_only: false,
    creates_on_update: false,
    updates_unconditionally: true,
    has_generation: false,
    selectable: &[],
    columns: &COLUMNS,
    name_column: 0,
    name_priority: 0,
    cells,
    default: nothing,
    prepare: keep_all,
    validate,
    validate_name: names::dns_subdomain,
};

fn length(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let data = length(&object["data"]) + length(&object["binaryData"]);
    vec![Value::from(data), age_cell(object, now)]
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut errors = Causes::default();
    let mut total = 0;
    for (field, bytes) in [("data", false), ("binaryData", true)] {
        for (key, value) in new[field].as_object().into_iter().flatten() {
            if errors.is_full() {
                return errors.into_vec();
            }
            let path = format!("{field}[{key}]");
            for message in names::config_key(key) {
                errors.push(Cause::invalid(&path, &Value::from(key.as_str()), &message));
            }
            let text = value.as_str().unwrap_or_default();
            total += if bytes { decoded_length(text) } else { text.len() };
            if !bytes && new["binaryData"].get(key).is_some() {
                errors.push(Cause::invalid(
                    &path,
                    &Value::from(key.as_str()),
                    "duplicate of key present in binaryData",
                ));
            }
        }
    }
    if total > SIZE_LIMIT {
        errors.push(Cause::too_long("", SIZE_LIMIT));
    }
    let Some(old) = old else { return errors.into_vec() };
    if old["immutable"] == Value::Bool(true) {
        if new["immutable"] != Value::Bool(true) {
            errors.push(Cause::forbidden("immutable", "field is immutable when `immutable` is set"));
        }
        for field in ["data", "binaryData"] {
            if new[field] != old[field] {
                errors.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
            }
        }
    }
    errors.into_vec()
}
