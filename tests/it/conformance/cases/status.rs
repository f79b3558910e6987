//! The status subresource.

use serde_json::{Value, json};

use super::super::step::{Case, apply, force, get, json_patch, merge, post, put};
use super::{gadget, gadget_with, small};

fn with_status(mut object: Value, status: Value) -> Value {
    object["status"] = status;
    object
}

fn only_status(status: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "one"}, "status": status})
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a status is written by its own path only",
            [
                post("{gadgets}", with_status(small("one"), json!({"phase": "Ready"}))),
                put(
                    "{gadgets}/one",
                    with_status(gadget("one", json!({"size": 6})), json!({"phase": "Ready"})),
                ),
                merge("{gadgets}/one", json!({"status": {"phase": "Ready"}})),
                put(
                    "{gadgets}/one/status",
                    with_status(gadget("one", json!({"size": 99})), json!({"phase": "Ready", "count": 3})),
                ),
                get("{gadgets}/one"),
                get("{gadgets}/one/status"),
                put("{gadgets}/one", gadget("one", json!({"size": 7}))),
            ],
        ),
        Case::new(
            "a status write leaves spec and generation alone",
            [
                post("{gadgets}", small("one")),
                merge(
                    "{gadgets}/one/status",
                    json!({"status": {"count": 4}, "spec": {"size": 44},
                    "metadata": {"labels": {"s": "t"}, "annotations": {"a": "b"}, "finalizers": ["example.com/x"]}}),
                ),
                put(
                    "{gadgets}/one/status",
                    with_status(
                        gadget_with("one", json!({"labels": {"x": "y"}}), json!({"size": 9})),
                        json!({"count": 5}),
                    ),
                ),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "a status is patched and checked",
            [
                post("{gadgets}", small("one")),
                merge(
                    "{gadgets}/one/status?fieldManager=second",
                    json!({"status": {"count": 4, "conditions": [{"type": "Ready", "status": "True"}]}}),
                ),
                merge("{gadgets}/one/status?fieldManager=second", json!({"status": {"count": 4}})),
                json_patch(
                    "{gadgets}/one/status?fieldManager=second",
                    json!([{"op": "replace", "path": "/status/count", "value": 5}]),
                ),
                json_patch(
                    "{gadgets}/one/status",
                    json!([{"op": "replace", "path": "/status/absent", "value": 5}]),
                ),
                merge("{gadgets}/one/status", json!({"status": {"phase": "Nonsense", "count": "x"}})),
                merge(
                    "{gadgets}/one/status",
                    json!({"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "A", "status": "True"}, {"type": "B"}]}}),
                ),
                merge("{gadgets}/one/status?fieldValidation=Strict", json!({"status": {"nonsense": 4}})),
                merge("{gadgets}/one/status", json!({"status": null})),
                put("{gadgets}/one/status?dryRun=All", with_status(small("one"), json!({"count": 50}))),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "a status write of an older version is refused",
            [
                post("{gadgets}", small("one")).keep("version", "/metadata/resourceVersion"),
                merge("{gadgets}/one", json!({"spec": {"size": 9}})),
                put(
                    "{gadgets}/one/status",
                    with_status(
                        gadget_with("one", json!({"resourceVersion": "{version}"}), json!({"size": 5})),
                        json!({"count": 1}),
                    ),
                ),
                put("{gadgets}/absent/status", with_status(small("absent"), json!({"count": 1}))),
                merge("{gadgets}/absent/status", json!({"status": {"count": 1}})),
            ],
        ),
        Case::new(
            "a status is applied by several managers",
            [
                post("{gadgets}?fieldManager=first", small("one")),
                apply(
                    "one",
                    "{gadgets}/one/status",
                    only_status(
                        json!({"phase": "Ready", "conditions": [{"type": "Ready", "status": "True"}]}),
                    ),
                ),
                apply(
                    "two",
                    "{gadgets}/one/status",
                    only_status(json!({"conditions": [{"type": "Other", "status": "True"}]})),
                ),
                apply(
                    "two",
                    "{gadgets}/one/status",
                    only_status(
                        json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}),
                    ),
                ),
                force(
                    "two",
                    "{gadgets}/one/status",
                    only_status(
                        json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}),
                    ),
                ),
                apply("one", "{gadgets}/one/status", only_status(json!({}))),
                apply("two", "{gadgets}/one/status", only_status(json!({}))),
                apply(
                    "one",
                    "{gadgets}/absent/status",
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "absent"}, "status": {}}),
                ),
                apply("one", "{gadgets}/one", with_status(small("one"), json!({"phase": "Ready"}))),
                get("{gadgets}/one"),
            ],
        ),
    ]
}
