//! The list of behaviours, a file for each subject.

#![expect(clippy::too_many_lines, reason = "a list of cases is data, however long")]
#![expect(clippy::needless_pass_by_value, reason = "bodies are written where they are passed")]

mod apply;
mod core_kinds;
mod create;
mod deletion;
mod discovery;
mod events;
mod field_validation;
mod namespaces;
mod patch;
mod read;
mod status;
mod table;
mod update;
mod validation;
mod watch;

use serde_json::{Value, json};

use super::step::Case;

/// Returns the whole list.
pub(crate) fn all() -> Vec<Case> {
    [
        discovery::cases(),
        create::cases(),
        read::cases(),
        table::cases(),
        update::cases(),
        patch::cases(),
        status::cases(),
        validation::cases(),
        field_validation::cases(),
        apply::cases(),
        deletion::cases(),
        watch::cases(),
        core_kinds::cases(),
        events::cases(),
        namespaces::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns a Gadget.
pub(super) fn gadget(name: &str, spec: Value) -> Value {
    gadget_with(name, json!({}), spec)
}

/// Returns a Gadget with further metadata.
fn gadget_with(name: &str, metadata: Value, spec: Value) -> Value {
    let mut object =
        json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": metadata, "spec": spec});
    object["metadata"]["name"] = json!(name);
    object
}

/// Returns the smallest valid Gadget.
fn small(name: &str) -> Value {
    gadget(name, json!({"size": 5}))
}

/// Returns a Gadget with a value in most fields.
fn full(name: &str) -> Value {
    gadget_with(
        name,
        json!({"labels": {"app": "x"}, "annotations": {"note": "1"}}),
        json!({
            "size": 7, "color": "blue", "code": "abc", "ratio": 1.5, "big": 9_007_199_254_740_993_i64,
            "enabled": false, "when": "2001-02-03T04:05:06Z", "port": "http",
            "nested": {"inner": {"name": "n"}}, "tags": ["b", "a"], "keys": ["k2", "k1"],
            "parts": [{"name": "a"}, {"name": "b", "count": 2, "labels": {"x": "y"}}],
            "ports": [{"name": "x", "number": 1}, {"name": "y"}], "settings": {"a": "b"}, "limits": {"cpu": 3},
            "selector": {"app": "x"}, "blob": {"x": {"y": [1, {"z": null}]}}, "anything": [1, "a", null],
            "template": {"known": "a", "other": {"deep": true}}
        }),
    )
}

/// Returns a ConfigMap.
fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}
