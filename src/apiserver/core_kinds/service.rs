//! Service: read-only, and there are none.
//!
//! kubectl asks for the Services of the machine before it says where the control plane is, and knows the category
//! `all` by them. Nothing runs here that could serve one.

use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::core_kinds::shape::{ANY, METADATA, Shape, kept, optional};
use crate::apiserver::core_kinds::{
    CREATED, Column, CoreKind, age_cell, column, keep_all, no_rules, nothing,
};
use crate::apiserver::names;

static SHAPE: Shape =
    Shape::Struct(&[kept("metadata", &METADATA), optional("spec", &ANY), optional("status", &ANY)]);

static COLUMNS: [Column; 1] = [column("Age", "string", CREATED)];

pub(super) static KIND: CoreKind = CoreKind {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    namespaced: true,
    has_status: false,
    storage_group: "",
    hash_group: "",
    shape: &SHAPE,
    face: None,
    read_only: true,
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
    validate: no_rules,
    validate_name: names::dns_label,
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![age_cell(object, now)]
}
