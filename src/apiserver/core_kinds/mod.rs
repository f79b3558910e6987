//! The few kinds of Kubernetes itself that our kinds need: Namespace, Secret, ConfigMap, Event, Lease,
//! CustomResourceDefinition; and Service, of which there are none.
//!
//! Each is a [`CoreKind`]: the shape of its struct, its rules, and the cells of its table.

mod config_map;
mod definition;
mod descriptions;
mod event;
mod lease;
mod namespace;
mod secret;
mod service;
pub(crate) mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apiserver::cause::Cause;
use crate::apiserver::core_kinds::shape::Shape;
use crate::apiserver::managed_fields::Shape as MergeShape;
use crate::apiserver::resource::Resource;
use crate::apiserver::schema::Structural;

pub(crate) use crate::apiserver::core_kinds::definition::established;

/// A kind of Kubernetes itself.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent property of a kind")]
pub(crate) struct CoreKind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) namespaced: bool,
    pub(crate) has_status: bool,
    /// The group in the store's keys; two groups may share one stored kind.
    pub(crate) storage_group: &'static str,
    /// The group in the fingerprint of the stored kind, and its version where that is another one.
    pub(crate) hash_group: &'static str,
    /// The fields after `kind` and `apiVersion`.
    pub(crate) shape: &'static Shape,
    /// How the stored form differs from this one, for kinds that share it.
    pub(crate) face: Option<Face>,
    /// Whether clients cannot write.
    pub(crate) read_only: bool,
    /// Whether a PUT may create.
    pub(crate) creates_on_update: bool,
    /// Whether an update may leave out the resource version.
    pub(crate) updates_unconditionally: bool,
    /// Whether `metadata.generation` is kept.
    pub(crate) has_generation: bool,
    /// The fields beside `metadata.name` and `metadata.namespace` that selectors may name.
    pub(crate) selectable: &'static [Selectable],
    /// The columns of its table beside the name.
    pub(crate) columns: &'static [Column],
    /// Where the name stands among the columns.
    pub(crate) name_column: usize,
    /// The priority of the name's column.
    pub(crate) name_priority: i32,
    /// The cells beside the name.
    pub(crate) cells: fn(&Value, Timestamp) -> Vec<Value>,
    /// Sets what the server decides, such as defaults.
    pub(crate) default: fn(&mut Value),
    /// Takes back what this write may not change.
    pub(crate) prepare: fn(&mut Value, Option<&Value>, Option<&str>),
    /// The rules of the kind.
    pub(crate) validate: fn(&Value, Option<&Value>) -> Vec<Cause>,
    /// What is wrong with a name.
    pub(crate) validate_name: fn(&str) -> Vec<String>,
}

/// How a kind that is stored as another one is turned into it and back.
#[derive(Debug)]
pub(crate) struct Face {
    pub(crate) stored_shape: &'static Shape,
    pub(crate) to_stored: fn(Value) -> Value,
    pub(crate) from_stored: fn(Value) -> Value,
    /// The stored field that a field selector means.
    pub(crate) stored_field: fn(&str) -> Option<String>,
}

/// A field that field selectors may name.
#[derive(Debug)]
pub(crate) struct Selectable {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    /// What an absent field counts as.
    pub(crate) absent: &'static str,
}

const fn selectable(name: &'static str) -> Selectable {
    Selectable { name, path: name, absent: "" }
}

/// A column of a table.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) priority: i32,
    pub(crate) description: &'static str,
}

const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, priority: 0, description }
}

const fn wide_column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, priority: 1, description }
}

/// What `kubectl explain` says of the creation timestamp; table columns for ages repeat it.
pub(crate) const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

static KINDS: [&CoreKind; 8] = [
    &config_map::KIND,
    &definition::KIND,
    &event::KIND,
    &event::NEWER_KIND,
    &lease::KIND,
    &namespace::KIND,
    &secret::KIND,
    &service::KIND,
];

/// Whether a kind is one of these.
pub(crate) fn is_known(api_version: &str, kind: &str) -> bool {
    KINDS.iter().any(|core| {
        let group_version = if core.group.is_empty() {
            core.version.to_owned()
        } else {
            format!("{}/{}", core.group, core.version)
        };
        core.kind == kind && group_version == api_version
    })
}

/// Returns the OpenAPI schema of every object's metadata.
pub(crate) fn metadata_schema() -> Value {
    let Shape::Struct(fields) = &shape::METADATA else { return json!({"type": "object"}) };
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), field.shape.open_api())).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    descriptions::describe_metadata(&mut schema);
    schema
}

/// Returns the prefixes of the store's keys under which secrets lie; what they held is to leave the disk at once.
pub fn secret_prefixes() -> Vec<String> {
    resources().iter().filter(|resource| resource.kind == "Secret").map(Resource::prefix).collect()
}

/// Returns the resources of all these kinds.
pub(crate) fn resources() -> Vec<Resource> {
    KINDS.iter().map(|core| core.resource()).collect()
}

impl CoreKind {
    fn resource(&'static self) -> Resource {
        let mut open_api = self.shape.open_api();
        descriptions::describe(self.kind, &mut open_api);
        let schema = Structural::parse(&open_api).expect("because shapes make structural schemas");
        let api_version = if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        };
        let merge_shape = MergeShape::of_core(&api_version, self.kind)
            .unwrap_or_else(|| MergeShape::of_custom_resource(&schema));
        Resource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
            list_kind: format!("{}List", self.kind),
            plural: self.plural.to_owned(),
            singular: self.singular.to_owned(),
            short_names: self.short_names.iter().map(|&name| name.to_owned()).collect(),
            categories: self.categories.iter().map(|&name| name.to_owned()).collect(),
            namespaced: self.namespaced,
            has_status: self.has_status,
            schema: Arc::new(schema),
            merge_shape: Arc::new(merge_shape),
            open_api: Arc::new(open_api),
            columns: Vec::new(),
            selectable_fields: Vec::new(),
            rules: None,
            has_rules: false,
            definition: None,
            core: Some(self),
            subresources: BTreeMap::new(),
        }
    }
}

impl Shape {
    /// Returns the OpenAPI v3 schema of the shape.
    fn open_api(&self) -> Value {
        match self {
            Self::Struct(fields) if std::ptr::eq(self, &raw const shape::METADATA) => {
                debug_assert!(!fields.is_empty());
                json!({"type": "object"})
            }
            Self::Struct(fields) => {
                let properties: serde_json::Map<String, Value> =
                    fields.iter().map(|field| (field.name.to_owned(), field.shape.open_api())).collect();
                json!({"type": "object", "properties": properties})
            }
            Self::Map(inner) => json!({"type": "object", "additionalProperties": inner.open_api()}),
            Self::List(inner) => json!({"type": "array", "items": inner.open_api()}),
            Self::Text => json!({"type": "string"}),
            Self::Integer => json!({"type": "integer", "format": "int64"}),
            Self::Integer32 => json!({"type": "integer", "format": "int32"}),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Bytes => json!({"type": "string", "format": "byte"}),
            Self::Time | Self::MicroTime => json!({"type": "string", "format": "date-time"}),
            Self::Recursive(_) | Self::Any => {
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
            }
        }
    }
}

fn nothing(_: &mut Value) {}

fn keep_all(_: &mut Value, _: Option<&Value>, _: Option<&str>) {}

fn no_rules(_: &Value, _: Option<&Value>) -> Vec<Cause> {
    Vec::new()
}

/// Returns a text the way tables show it: empty where there is none.
fn text_cell(value: &Value) -> Value {
    Value::from(value.as_str().unwrap_or_default())
}

/// Returns the age of an object the way tables show it.
fn age_cell(object: &Value, now: Timestamp) -> Value {
    Value::from(crate::apiserver::table::age(&object["metadata"]["creationTimestamp"], now))
}
