//! CustomResourceDefinition: readable like any object, written by the server alone.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::apiserver::core_kinds::shape::{
    ANY, BOOLEAN, INTEGER, METADATA, Shape, TEXT, TEXTS, TIME, kept, optional, pointer,
};
use crate::apiserver::core_kinds::{Column, CoreKind, column, keep_all, no_rules, nothing, wide_column};
use crate::apiserver::names;

static NAMES: Shape = Shape::Struct(&[
    kept("plural", &TEXT),
    optional("singular", &TEXT),
    optional("shortNames", &TEXTS),
    kept("kind", &TEXT),
    optional("listKind", &TEXT),
    optional("categories", &TEXTS),
]);

static VALIDATION_RULE: Shape = Shape::Struct(&[
    kept("rule", &TEXT),
    optional("message", &TEXT),
    optional("messageExpression", &TEXT),
    pointer("reason", &TEXT),
    optional("fieldPath", &TEXT),
    pointer("optionalOldSelf", &BOOLEAN),
]);

static INNER: Shape = Shape::Recursive(&SCHEMA);

static SCHEMAS: Shape = Shape::List(&INNER);

static SCHEMA_MAP: Shape = Shape::Map(&INNER);

static SCHEMA: Shape = Shape::Struct(&[
    optional("id", &TEXT),
    optional("$schema", &TEXT),
    pointer("$ref", &TEXT),
    optional("description", &TEXT),
    optional("type", &TEXT),
    optional("format", &TEXT),
    optional("title", &TEXT),
    pointer("default", &ANY),
    pointer("maximum", &ANY),
    optional("exclusiveMaximum", &BOOLEAN),
    pointer("minimum", &ANY),
    optional("exclusiveMinimum", &BOOLEAN),
    pointer("maxLength", &INTEGER),
    pointer("minLength", &INTEGER),
    optional("pattern", &TEXT),
    pointer("maxItems", &INTEGER),
    pointer("minItems", &INTEGER),
    optional("uniqueItems", &BOOLEAN),
    pointer("multipleOf", &ANY),
    optional("enum", &Shape::List(&ANY)),
    pointer("maxProperties", &INTEGER),
    pointer("minProperties", &INTEGER),
    optional("required", &TEXTS),
    pointer("items", &INNER),
    optional("allOf", &SCHEMAS),
    optional("oneOf", &SCHEMAS),
    optional("anyOf", &SCHEMAS),
    pointer("not", &INNER),
    optional("properties", &SCHEMA_MAP),
    // A schema or a boolean.
    pointer("additionalProperties", &ANY),
    optional("patternProperties", &SCHEMA_MAP),
    optional("definitions", &SCHEMA_MAP),
    pointer("externalDocs", &ANY),
    pointer("example", &ANY),
    optional("nullable", &BOOLEAN),
    pointer("x-kubernetes-preserve-unknown-fields", &BOOLEAN),
    optional("x-kubernetes-embedded-resource", &BOOLEAN),
    optional("x-kubernetes-int-or-string", &BOOLEAN),
    optional("x-kubernetes-list-map-keys", &TEXTS),
    pointer("x-kubernetes-list-type", &TEXT),
    pointer("x-kubernetes-map-type", &TEXT),
    optional("x-kubernetes-validations", &Shape::List(&VALIDATION_RULE)),
]);

static VERSION: Shape = Shape::Struct(&[
    kept("name", &TEXT),
    kept("served", &BOOLEAN),
    kept("storage", &BOOLEAN),
    optional("deprecated", &BOOLEAN),
    pointer("deprecationWarning", &TEXT),
    pointer("schema", &Shape::Struct(&[pointer("openAPIV3Schema", &SCHEMA)])),
    pointer("subresources", &Shape::Struct(&[pointer("status", &ANY), pointer("scale", &ANY)])),
    optional("additionalPrinterColumns", &Shape::List(&PRINTER_COLUMN)),
    optional("selectableFields", &Shape::List(&Shape::Struct(&[kept("jsonPath", &TEXT)]))),
]);

static PRINTER_COLUMN: Shape = Shape::Struct(&[
    kept("name", &TEXT),
    kept("type", &TEXT),
    optional("format", &TEXT),
    optional("description", &TEXT),
    optional("priority", &INTEGER),
    kept("jsonPath", &TEXT),
]);

static SPEC: Shape = Shape::Struct(&[
    kept("group", &TEXT),
    kept("names", &NAMES),
    kept("scope", &TEXT),
    kept("versions", &Shape::List(&VERSION)),
    pointer("conversion", &Shape::Struct(&[kept("strategy", &TEXT), pointer("webhook", &ANY)])),
    optional("preserveUnknownFields", &BOOLEAN),
]);

static STATUS: Shape = Shape::Struct(&[
    kept("conditions", &Shape::List(&CONDITION)),
    kept("acceptedNames", &NAMES),
    kept("storedVersions", &TEXTS),
]);

static CONDITION: Shape = Shape::Struct(&[
    kept("type", &TEXT),
    kept("status", &TEXT),
    kept("lastTransitionTime", &TIME),
    optional("reason", &TEXT),
    optional("message", &TEXT),
]);

static SHAPE: Shape =
    Shape::Struct(&[kept("metadata", &METADATA), kept("spec", &SPEC), kept("status", &STATUS)]);

static COLUMNS: [Column; 7] = [
    column("Scope", "string", "Cluster/Namespaced"),
    column("Versions", "string", "Served versions"),
    column("Created At", "date", super::CREATED),
    wide_column("Group", "string", "API group"),
    wide_column("Kind", "string", "CustomResource kind"),
    wide_column("ShortNames", "string", "Short names"),
    wide_column("Established", "boolean", "Established status"),
];

pub(super) static KIND: CoreKind = CoreKind {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    namespaced: false,
    has_status: true,
    storage_group: "apiextensions.k8s.io",
    hash_group: "apiextensions.k8s.io/v1beta1",
    shape: &SHAPE,
    face: None,
    read_only: true,
    creates_on_update: false,
    updates_unconditionally: false,
    has_generation: true,
    selectable: &[],
    columns: &COLUMNS,
    name_column: 0,
    name_priority: 0,
    cells,
    default: nothing,
    prepare: keep_all,
    validate: no_rules,
    validate_name: names::dns_subdomain,
};

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let mut versions: Vec<String> = Vec::new();
    for version in spec["versions"].as_array().into_iter().flatten() {
        if version["served"] == Value::Bool(true) {
            let name = version["name"].as_str().unwrap_or_default();
            let mark = if version["storage"] == Value::Bool(true) { "(storage)" } else { "" };
            versions.push(format!("{name}{mark}"));
        }
    }
    versions.sort();
    let short_names = spec["names"]["shortNames"].as_array().into_iter().flatten();
    let short_names: Vec<&str> = short_names.filter_map(Value::as_str).collect();
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let is_established = conditions
        .into_iter()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
    vec![
        spec["scope"].clone(),
        Value::from(versions.join(",")),
        object["metadata"]["creationTimestamp"].clone(),
        spec["group"].clone(),
        spec["names"]["kind"].clone(),
        Value::from(short_names.join(",")),
        Value::from(is_established),
    ]
}

/// Returns a definition as the server shows it: defaulted, accepted and established since `time`.
pub(crate) fn established(definition: &Value, time: &str) -> Value {
    let mut object = Map::new();
    object.insert("metadata".to_owned(), definition["metadata"].clone());
    let mut spec = definition["spec"].clone();
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    if spec["names"]["listKind"].is_null() {
        spec["names"]["listKind"] = Value::from(format!("{kind}List"));
    }
    if spec["names"]["singular"].is_null() {
        spec["names"]["singular"] = Value::from(kind.to_lowercase());
    }
    if spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time, "reason": reason, "message": message});
    let stored: Vec<Value> = spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == Value::Bool(true))
        .map(|version| version["name"].clone())
        .collect();
    let status = json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": spec["names"],
        "storedVersions": stored,
    });
    object.insert("spec".to_owned(), spec);
    object.insert("status".to_owned(), status);
    Value::Object(object)
}
