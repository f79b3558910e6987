//! Lease.

use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::cause::Cause;
use crate::apiserver::core_kinds::shape::{INTEGER_32, METADATA, MICRO_TIME, Shape, TEXT, kept, pointer};
use crate::apiserver::core_kinds::{CREATED, Column, CoreKind, age_cell, column, keep_all, nothing};
use crate::apiserver::names;

static SPEC: Shape = Shape::Struct(&[
    pointer("holderIdentity", &TEXT),
    pointer("leaseDurationSeconds", &INTEGER_32),
    pointer("acquireTime", &MICRO_TIME),
    pointer("renewTime", &MICRO_TIME),
    pointer("leaseTransitions", &INTEGER_32),
    pointer("strategy", &TEXT),
    pointer("preferredHolder", &TEXT),
]);

static SHAPE: Shape = Shape::Struct(&[kept("metadata", &METADATA), kept("spec", &SPEC)]);

static COLUMNS: [Column; 2] = [
    column(
        "Holder",
        "string",
        "holderIdentity contains the identity of the holder of a current lease. If Coordinated Leader Election is used, the holder identity must be equal to the elected LeaseCandidate.metadata.name field.",
    ),
    column("Age", "string", CREATED),
];

pub(super) static KIND: CoreKind = CoreKind {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    short_names: &[],
    categories: &[],
    namespaced: true,
    has_status: false,
    storage_group: "coordination.k8s.io",
    hash_group: "coordination.k8s.io",
    shape: &SHAPE,
    face: None,
    read_only: false,
    creates_on_update: true,
    updates_unconditionally: false,
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

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let holder = object["spec"]["holderIdentity"].as_str().unwrap_or_default();
    vec![Value::from(holder), age_cell(object, now)]
}

fn validate(new: &Value, _: Option<&Value>) -> Vec<Cause> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|&seconds| seconds <= 0) {
        errors.push(Cause::invalid(
            "spec.leaseDurationSeconds",
            &Value::from(seconds),
            "must be greater than 0",
        ));
    }
    if let Some(count) = spec["leaseTransitions"].as_i64().filter(|&count| count < 0) {
        errors.push(Cause::invalid(
            "spec.leaseTransitions",
            &Value::from(count),
            "must be greater than or equal to 0",
        ));
    }
    errors
}
