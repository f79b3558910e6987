//! Replacing a whole object.

use serde_json::json;

use super::super::step::{Case, get, post, put};
use super::{full, gadget, gadget_with, small};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a spec that changes moves the generation",
            [
                post("{gadgets}", small("one")),
                put("{gadgets}/one?fieldManager=second", gadget("one", json!({"size": 6}))),
                put(
                    "{gadgets}/one?fieldManager=second",
                    gadget_with("one", json!({"labels": {"a": "b"}}), json!({"size": 6})),
                ),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "an update that changes nothing writes nothing",
            [
                post("{gadgets}", small("one")),
                put("{gadgets}/one", small("one")),
                put("{gadgets}/one?fieldManager=second", small("one")),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "an update of an older version is refused",
            [
                post("{gadgets}", small("one")).keep("version", "/metadata/resourceVersion"),
                put(
                    "{gadgets}/one",
                    gadget_with("one", json!({"resourceVersion": "{version}"}), json!({"size": 6})),
                ),
                put(
                    "{gadgets}/one",
                    gadget_with("one", json!({"resourceVersion": "{version}"}), json!({"size": 7})),
                ),
                put(
                    "{gadgets}/one",
                    gadget_with("one", json!({"resourceVersion": "nonsense"}), json!({"size": 7})),
                ),
            ],
        ),
        Case::new(
            "an update must fit the path and the object",
            [
                post("{gadgets}", small("one")),
                put("{gadgets}/one", small("other")),
                put("{gadgets}/absent", small("absent")),
                put(
                    "{gadgets}/one",
                    gadget_with(
                        "one",
                        json!({"uid": "00000000-0000-0000-0000-000000000000"}),
                        json!({"size": 7}),
                    ),
                ),
                put("{gadgets}/one", gadget_with("one", json!({"namespace": "other"}), json!({"size": 7}))),
                put(
                    "{gadgets}/one",
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "spec": {"size": 1}}),
                ),
                put(
                    "{gadgets}/one",
                    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}}),
                ),
                put("{gadgets}/one", "{"),
            ],
        ),
        Case::new(
            "fields that an update leaves out are gone",
            [
                post("{gadgets}?fieldManager=first", full("one")),
                put("{gadgets}/one?fieldManager=second", small("one")),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "what the server sets survives an update",
            [
                post("{gadgets}", small("one")),
                put(
                    "{gadgets}/one",
                    gadget_with(
                        "one",
                        json!({"generation": 50, "creationTimestamp": "2001-01-01T00:00:00Z"}),
                        json!({"size": 8}),
                    ),
                ),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "owners of fields change hands with updates",
            [
                post(
                    "{gadgets}?fieldManager=first",
                    gadget("one", json!({"size": 1, "code": "abc", "settings": {"a": "1", "b": "2"}})),
                ),
                put(
                    "{gadgets}/one?fieldManager=second",
                    gadget("one", json!({"size": 2, "code": "abc", "settings": {"a": "1", "b": "3"}})),
                ),
                put(
                    "{gadgets}/one?fieldManager=third",
                    gadget("one", json!({"size": 2, "settings": {"c": "1"}})),
                ),
                put(
                    "{gadgets}/one?fieldManager=first",
                    gadget(
                        "one",
                        json!({"size": 2, "tags": ["x"], "keys": ["a", "b"],
                    "ports": [{"name": "p", "number": 1}], "selector": {"app": "a"}, "blob": {"x": {"y": 1}}}),
                    ),
                ),
                put(
                    "{gadgets}/one?fieldManager=second",
                    gadget(
                        "one",
                        json!({"size": 2, "tags": ["x", "y"], "keys": ["b", "c"],
                    "ports": [{"name": "q", "number": 1}, {"name": "p", "number": 2}], "selector": {"app": "a", "tier": "t"}, "blob": {"x": {"z": 1}}}),
                    ),
                ),
            ],
        ),
    ]
}
