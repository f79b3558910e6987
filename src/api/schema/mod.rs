//! Schemas rendered from the Rust types: CRDs for API servers, JSON Schemas for config repositories and editors.
//!
//! Both come from one cleaned schema. A CRD is structural (no references, unknown fields pruned) and carries the rules;
//! a JSON Schema refuses unknown fields, so that a typing mistake in a repository is found before it is applied.

mod clean;
mod reference;

use kube::CustomResourceExt as _;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::api::agent_config::{AgentConfig, AgentConfigSpec};
use crate::api::config_repository::{ConfigRepository, ConfigRepositorySpec, ConfigRepositoryStatus};
use crate::api::kind::Kind;
use crate::api::rule::{RULES, Rule, RuleReason};
use crate::api::run_record::{RunRecord, RunRecordSpec, RunRecordStatus};
use crate::api::task::{Task, TaskSpec, TaskStatus};
use crate::api::task_spawner::{TaskSpawner, TaskSpawnerSpec, TaskSpawnerStatus};
use crate::api::workspace::{Workspace, WorkspaceSpec};
use crate::yaml;

/// What every generated file says of itself, in its own comment syntax.
pub const DO_NOT_EDIT: &str =
    "Generated from the Rust types in src/api. Do not edit; run the tests with UPDATE_GENERATED=1 instead.";

/// Returns the CustomResourceDefinition of every kind, as an API server takes it.
pub fn crds() -> Vec<Value> {
    Kind::ALL.iter().copied().map(crd).collect()
}

/// Returns the CustomResourceDefinition of one kind.
pub fn crd(kind: Kind) -> Value {
    let definition = match kind {
        Kind::Task => Task::crd(),
        Kind::TaskSpawner => TaskSpawner::crd(),
        Kind::Workspace => Workspace::crd(),
        Kind::AgentConfig => AgentConfig::crd(),
        Kind::ConfigRepository => ConfigRepository::crd(),
        Kind::RunRecord => RunRecord::crd(),
    };
    let about = kind.meaning();
    let mut properties = json!({
        "apiVersion": { "type": "string", "description": "Group and version of the kind." },
        "kind": { "type": "string", "description": "The kind." },
        "metadata": { "type": "object" },
        "spec": structural(spec_schema(kind)),
    });
    if let (Some(status), Some(properties)) = (status_schema(kind), properties.as_object_mut()) {
        properties.insert("status".to_owned(), structural(status));
    }
    let mut root =
        json!({ "type": "object", "description": about, "required": ["spec"], "properties": properties });
    for rule in RULES.iter().filter(|rule| rule.kind == kind) {
        add_rule(&mut root, rule);
    }
    let mut definition = serde_json::to_value(definition).expect("because a CRD is plain data");
    definition["spec"]["versions"][0]["schema"] = json!({ "openAPIV3Schema": root });
    definition
}

/// Returns the JSON Schema of every kind by file name, as `task.json`.
pub fn json_schemas() -> Vec<(String, Value)> {
    let file = |kind: Kind| format!("{}.json", kind.as_str().to_ascii_lowercase());
    Kind::ALL.iter().map(|&kind| (file(kind), json_schema(kind))).collect()
}

/// Returns the JSON Schema of one kind: a manifest as it stands in git, without status, unknown fields refused.
pub fn json_schema(kind: Kind) -> Value {
    let (spec, mut definitions) = take_definitions(spec_schema(kind));
    let (metadata, more) = take_definitions(clean::schema(of::<ManifestMetadata>()));
    definitions.extend(more);
    definitions.insert("Spec".to_owned(), spec);
    definitions.insert("Metadata".to_owned(), metadata);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": DO_NOT_EDIT,
        "title": kind.as_str(),
        "description": kind.meaning(),
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "const": kind.api_version() },
            "kind": { "const": kind.as_str() },
            "metadata": { "$ref": "#/$defs/Metadata" },
            "spec": { "$ref": "#/$defs/Spec" },
        },
        "$defs": definitions,
    });
    clean::refuse_unknown_fields(&mut schema);
    schema
}

/// Returns path, from the root of this project, and contents of every file that is generated from the types.
pub fn generated() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (name, schema) in json_schemas() {
        let text = serde_json::to_string_pretty(&schema).expect("because a schema is plain data");
        files.push((format!("schemas/{name}"), format!("{text}\n")));
    }
    for kind in Kind::ALL {
        let name = format!("deploy/crds/{}_{}.yaml", kind.group(), kind.plural());
        files.push((name, format!("# {DO_NOT_EDIT}\n{}", yaml::write(&crd(*kind)))));
    }
    files.push(("docs/reference/api.md".to_owned(), reference::api()));
    files.push(("docs/reference/conditions.md".to_owned(), reference::conditions()));
    files
}

/// Metadata that a manifest in git may have. The rest belongs to the server.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ManifestMetadata {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    name: Option<String>,
    /// Prefix of a name that the server completes. Not for config repositories.
    #[schemars(rename = "generateName")]
    generate_name: Option<String>,
    /// Namespace of the object. In a config repository it is absent, or the namespace that is applied to.
    namespace: Option<String>,
    /// Labels of the object.
    labels: Option<std::collections::BTreeMap<String, String>>,
    /// Annotations of the object.
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

fn spec_schema(kind: Kind) -> Value {
    clean::schema(match kind {
        Kind::Task => of::<TaskSpec>(),
        Kind::TaskSpawner => of::<TaskSpawnerSpec>(),
        Kind::Workspace => of::<WorkspaceSpec>(),
        Kind::AgentConfig => of::<AgentConfigSpec>(),
        Kind::ConfigRepository => of::<ConfigRepositorySpec>(),
        Kind::RunRecord => of::<RunRecordSpec>(),
    })
}

fn status_schema(kind: Kind) -> Option<Value> {
    let schema = match kind {
        Kind::Task => of::<TaskStatus>(),
        Kind::TaskSpawner => of::<TaskSpawnerStatus>(),
        Kind::ConfigRepository => of::<ConfigRepositoryStatus>(),
        Kind::RunRecord => of::<RunRecordStatus>(),
        Kind::Workspace | Kind::AgentConfig => return None,
    };
    Some(clean::schema(schema))
}

fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.meta_schema = None)
        .into_generator()
        .into_root_schema_for::<T>()
}

fn take_definitions(mut schema: Value) -> (Value, Map<String, Value>) {
    let definitions = schema.as_object_mut().and_then(|schema| schema.remove("$defs"));
    let definitions = match definitions {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    (schema, definitions)
}

fn structural(schema: Value) -> Value {
    let (mut schema, definitions) = take_definitions(schema);
    clean::inline(&mut schema, &definitions);
    schema
}

/// Puts a rule into the schema at its path.
fn add_rule(root: &mut Value, rule: &Rule) {
    let mut pointer = String::new();
    for segment in rule.path.split('.').filter(|segment| !segment.is_empty()) {
        let field = segment.trim_end_matches("[*]");
        pointer.push_str("/properties/");
        pointer.push_str(field);
        if field != segment {
            pointer.push_str("/items");
        }
    }
    let node = root.pointer_mut(&pointer).and_then(Value::as_object_mut);
    let node = node.expect("because a test looks up the path of every rule");
    let mut validation = json!({ "rule": rule.cel, "message": rule.message });
    if rule.reason == RuleReason::Required {
        validation["reason"] = "FieldValueRequired".into();
    }
    if let Some(field_path) = rule.field_path {
        validation["fieldPath"] = field_path.into();
    }
    let validations = node.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    if let Some(validations) = validations.as_array_mut() {
        validations.push(validation);
    }
}

#[cfg(test)]
mod tests;
