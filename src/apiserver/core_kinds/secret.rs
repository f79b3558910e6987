//! Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::apiserver::cause::{Cause, Causes};
use crate::apiserver::core_kinds::shape::{
    BOOLEAN, BYTES_MAP, METADATA, Shape, TEXT, TEXT_MAP, kept, optional, pointer,
};
use crate::apiserver::core_kinds::{
    CREATED, Column, CoreKind, Selectable, age_cell, column, keep_all, selectable, text_cell,
};
use crate::apiserver::names;

static SHAPE: Shape = Shape::Struct(&[
    kept("metadata", &METADATA),
    pointer("immutable", &BOOLEAN),
    optional("data", &BYTES_MAP),
    optional("stringData", &TEXT_MAP),
    optional("type", &TEXT),
]);

static COLUMNS: [Column; 3] = [
    column(
        "Type",
        "string",
        "Used to facilitate programmatic handling of secret data. More info: https://kubernetes.io/docs/concepts/configuration/secret/#secret-types",
    ),
    column(
        "Data",
        "string",
        "Data contains the secret data. Each key must consist of alphanumeric characters, '-', '_' or '.'. The serialized form of the secret data is a base64 encoded string, representing the arbitrary (possibly non-string) data value here. Described in https://tools.ietf.org/html/rfc4648#section-4",
    ),
    column("Age", "string", CREATED),
];

static SELECTABLE: [Selectable; 1] = [selectable("type")];

pub(super) static KIND: CoreKind = CoreKind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
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
    selectable: &SELECTABLE,
    columns: &COLUMNS,
    name_column: 0,
    name_priority: 0,
    cells,
    default,
    prepare: keep_all,
    validate,
    validate_name: names::dns_subdomain,
};

/// The keys that a Secret of a type must have.
static REQUIRED_KEYS: [(&str, &[&str]); 4] = [
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];

/// The largest sum of all values of a Secret or a ConfigMap, in bytes.
pub(super) const SIZE_LIMIT: usize = 1 << 20;

/// Returns the number of bytes that Base64 text stands for.
pub(super) fn decoded_length(text: &str) -> usize {
    (text.len() / 4 * 3).saturating_sub(text.bytes().rev().take_while(|&byte| byte == b'=').count())
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let data = object["data"].as_object().map_or(0, Map::len);
    vec![text_cell(&object["type"]), Value::from(data), age_cell(object, now)]
}

fn default(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    if let Some(Value::Object(plain)) = map.remove("stringData") {
        let data = map.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if let Some(data) = data.as_object_mut() {
            for (key, value) in plain {
                let text = STANDARD.encode(value.as_str().unwrap_or_default());
                data.insert(key, Value::from(text));
            }
        }
    }
    map.entry("type").or_insert_with(|| Value::from("Opaque"));
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut errors = Causes::default();
    let mut total = 0;
    let data = &new["data"];
    for (key, value) in data.as_object().into_iter().flatten() {
        if errors.is_full() {
            return errors.into_vec();
        }
        for message in names::config_key(key) {
            errors.push(Cause::invalid(&format!("data[{key}]"), &Value::from(key.as_str()), &message));
        }
        total += decoded_length(value.as_str().unwrap_or_default());
    }
    if total > SIZE_LIMIT {
        errors.push(Cause::too_long("data", SIZE_LIMIT));
    }
    let kind = new["type"].as_str().unwrap_or_default();
    for (_, keys) in REQUIRED_KEYS.iter().filter(|(required, _)| *required == kind) {
        for key in *keys {
            if data.get(key).is_none() {
                errors.push(Cause::required(&format!("data[{key}]"), ""));
            }
        }
    }
    if kind == "kubernetes.io/basic-auth" && data.get("username").is_none() && data.get("password").is_none()
    {
        for key in ["username", "password"] {
            errors.push(Cause::required(&format!("data[{key}]"), ""));
        }
    }
    let Some(old) = old else { return errors.into_vec() };
    if new["type"] != old["type"] {
        errors.push(Cause::invalid("type", &new["type"], "field is immutable"));
    }
    if old["immutable"] == Value::Bool(true) {
        if new["immutable"] != Value::Bool(true) {
            errors.push(Cause::forbidden("immutable", "field is immutable when `immutable` is set"));
        }
        if new["data"] != old["data"] {
            errors.push(Cause::forbidden("data", "field is immutable when `immutable` is set"));
        }
    }
    errors.into_vec()
}
