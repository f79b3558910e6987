//! Values that the schema does not allow, and how that is said.

use serde_json::{Value, json};

use super::super::step::{Call, Case, get, merge, post, put};
use super::{gadget, small};

/// A create of a Gadget with these fields in its spec, beside a valid size, which is not stored.
fn attempt(fields: Value) -> Call {
    let mut spec = json!({"size": 5});
    if let (Some(spec), Value::Object(fields)) = (spec.as_object_mut(), fields) {
        spec.extend(fields);
    }
    post("{gadgets}?dryRun=All", gadget("one", spec))
}

fn attempts(fields: impl IntoIterator<Item = Value>) -> Vec<Call> {
    fields.into_iter().map(attempt).collect()
}

fn with_spec(spec: &str) -> Call {
    let body = format!(
        r#"{{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{{"name":"one"}},"spec":{spec}}}"#
    );
    post("{gadgets}?dryRun=All", body.as_str())
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "all faults are said at once",
            [post(
                "{gadgets}",
                gadget(
                    "one",
                    json!({
                "size": 0, "color": "pink", "code": "A", "ratio": 0, "enabled": "yes", "when": "yesterday", "port": 1.5,
                "nested": {"depth": "x", "inner": {}}, "tags": ["a", "b", "c", "d", "eeeeeeeeeeeeee"], "keys": ["a", "a"],
                "parts": [], "ports": [{"name": "a", "number": 0}, {"name": "a"}],
                "settings": {"a": 1, "b": "2", "c": "3", "d": "4"}, "limits": {"x": "y"}}),
                ),
            )],
        ),
        Case::new(
            "faults of values without faults of types",
            [post(
                "{gadgets}",
                gadget(
                    "one",
                    json!({
                "size": 0, "color": "pink", "code": "A", "ratio": 0, "when": "yesterday",
                "nested": {"inner": {"name": ""}}, "tags": ["a", "b", "c", "d", "eeeeeeeeeeeeee"], "keys": ["a", "a"],
                "parts": [], "ports": [{"name": "a", "number": 0}, {"name": "a"}],
                "settings": {"a": "1", "b": "2", "c": "3", "d": "4"}}),
                ),
            )],
        ),
        Case::new(
            "numbers",
            attempts([
                json!({"size": 0}),
                json!({"size": 101}),
                json!({"size": 5.5}),
                json!({"size": 5_000_000_000_i64}),
                json!({"size": "5"}),
                json!({"size": null}),
                json!({"size": true}),
                json!({"ratio": 0}),
                json!({"ratio": 0.75}),
                json!({"ratio": 2}),
                json!({"ratio": "1"}),
                json!({"big": 9_223_372_036_854_775_807_i64}),
                json!({"big": 9_223_372_036_854_775_808_u64}),
                json!({"big": 1e20}),
                json!({"nested": {"depth": -1}}),
            ])
            .into_iter()
            .chain([
                with_spec(r#"{"size":5.0}"#),
                with_spec(r#"{"size":5e0}"#),
                with_spec(r#"{"size":5,"ratio":1.50}"#),
            ]),
        ),
        Case::new(
            "texts",
            attempts([
                json!({"code": "A"}),
                json!({"code": "a"}),
                json!({"code": "abcdefghijkl"}),
                json!({"code": ""}),
                json!({"code": 1}),
                json!({"code": "héé"}),
                json!({"color": "pink"}),
                json!({"color": ""}),
                json!({"color": 1}),
                json!({"when": "yesterday"}),
                json!({"when": "2001-01-01"}),
                json!({"when": "2001-01-01T00:00:00+01:00"}),
                json!({"when": ""}),
                json!({"port": 1.5}),
                json!({"port": true}),
                json!({"port": 80}),
                json!({"port": null}),
                json!({"enabled": "yes"}),
                json!({"enabled": null}),
                json!({"code": ["a"]}),
            ]),
        ),
        Case::new(
            "lists",
            attempts([
                json!({"tags": ["a", "b", "c", "d"]}),
                json!({"tags": ["eeeeeeeeeeeeee"]}),
                json!({"tags": "x"}),
                json!({"tags": [1]}),
                json!({"tags": [null]}),
                json!({"tags": {}}),
                json!({"keys": ["a", "b", "a"]}),
                json!({"parts": []}),
                json!({"parts": [{"count": -1}]}),
                json!({"parts": [{"name": "x", "count": 1.5}]}),
                json!({"parts": ["x"]}),
                json!({"parts": [{"name": "x", "labels": {"a": 1}}]}),
                json!({"ports": [{"number": 1}]}),
                json!({"ports": [{"name": "a"}, {"name": "a"}]}),
                json!({"ports": [{"name": null}]}),
                json!({"ports": [{"name": "a", "number": 0}, {"name": "b", "number": "x"}]}),
            ]),
        ),
        Case::new(
            "objects",
            attempts([
                json!({"nested": []}),
                json!({"nested": "x"}),
                json!({"nested": {"inner": {}}}),
                json!({"nested": {"inner": {"name": ""}}}),
                json!({"nested": {"inner": null}}),
                json!({"settings": {"a": 1}}),
                json!({"settings": {"a": null}}),
                json!({"settings": {"a": "1", "b": "2", "c": "3", "d": "4"}}),
                json!({"settings": []}),
                json!({"limits": {"x": "y"}}),
                json!({"limits": {"x": 1.5}}),
                json!({"selector": {"app": 1}}),
                json!({"blob": "x"}),
                json!({"blob": [1]}),
                json!({"anything": null}),
                json!({"template": {"known": 1, "other": 1}}),
                json!({"nothing": null}),
                json!({"nothing": 1}),
            ]),
        ),
        Case::new(
            "a spec that is missing or no object",
            [
                post(
                    "{gadgets}?dryRun=All",
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "one"}}),
                ),
                with_spec("null"),
                with_spec("\"x\""),
                with_spec("[]"),
                with_spec("{}"),
            ],
        ),
        Case::new(
            "an update is checked as a create is",
            [
                post("{gadgets}", small("one")),
                put("{gadgets}/one", gadget("one", json!({"size": 0, "color": "pink"}))),
                merge("{gadgets}/one", json!({"spec": {"code": "NO", "nested": {"inner": {}}}})),
                merge("{gadgets}/one", json!({"spec": {"size": null}})),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "metadata and spec are both checked",
            [
                post("{gadgets}", gadget("Bad_Name", json!({"size": 0}))),
                post(
                    "{gadgets}",
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "one", "labels": {"a b": "c"}}, "spec": {"size": 0}}),
                ),
            ],
        ),
    ]
}
