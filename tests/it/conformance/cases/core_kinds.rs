//! ConfigMap, Secret and Lease: what their own kinds add.

use serde_json::json;

use super::super::step::{Case, delete, get, json_patch, merge, post, put, strategic};
use super::config_map;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a ConfigMap lives",
            [
                post(
                    "{configmaps}",
                    json!({"metadata": {"name": "one"}, "data": {"b": "2", "a": "1"}, "binaryData": {"x": "AAE="}}),
                ),
                get("{configmaps}/one"),
                get("{configmaps}"),
                merge("{configmaps}/one?fieldManager=second", json!({"data": {"c": "3", "a": null}})),
                json_patch("{configmaps}/one", json!([{"op": "add", "path": "/data/d", "value": "4"}])),
                put("{configmaps}/one", config_map("one", json!({"a": "1"}))),
                put("{configmaps}/one", config_map("one", json!({"a": "1"}))),
                delete("{configmaps}/one"),
                delete("{configmaps}/one"),
            ],
        ),
        Case::new(
            "a ConfigMap is checked",
            [
                post("{configmaps}", config_map("one", json!({"bad key!": "4"}))),
                post("{configmaps}", config_map("one", json!({"a": 1}))),
                post(
                    "{configmaps}",
                    json!({"metadata": {"name": "one"}, "data": {"a": "1"}, "binaryData": {"a": "AAE="}}),
                ),
                post("{configmaps}", json!({"metadata": {"name": "one"}, "binaryData": {"a": "!!"}})),
                post("{configmaps}", json!({"metadata": {"name": "Bad_Name"}})),
                post(
                    "{configmaps}",
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}}),
                ),
                post("{configmaps}", json!({"metadata": {"name": "one", "labels": {"a b": "c"}}})),
                post("{configmaps}", "[]"),
                post("{configmaps}", "{"),
                post("{configmaps}", ""),
            ],
        ),
        Case::new(
            "an immutable ConfigMap stays as it is",
            [
                post(
                    "{configmaps}",
                    json!({"metadata": {"name": "one"}, "data": {"a": "1"}, "immutable": true}),
                ),
                merge("{configmaps}/one", json!({"data": {"a": "2"}})),
                merge("{configmaps}/one", json!({"immutable": false})),
                merge("{configmaps}/one", json!({"metadata": {"labels": {"a": "b"}}})),
            ],
        ),
        Case::new(
            "core kinds know a strategic patch",
            [
                post("{configmaps}", config_map("one", json!({"a": "1", "b": "2"}))),
                strategic(
                    "{configmaps}/one?fieldManager=second",
                    json!({"data": {"a": null, "c": "3"}, "metadata": {"labels": {"x": "y"}}}),
                ),
                strategic("{configmaps}/one", json!({"data": {"$patch": "replace", "z": "1"}})),
                strategic("{configmaps}/one", json!({"metadata": {"finalizers": ["example.com/a"]}})),
                strategic("{configmaps}/one", json!({"metadata": {"finalizers": ["example.com/b"]}})),
                strategic(
                    "{configmaps}/one",
                    json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}}),
                ),
                strategic("{configmaps}/one", "[]"),
                strategic("{configmaps}/one", "{"),
                strategic("{configmaps}/one", json!({"data": "x"})),
                merge("{configmaps}/one", json!({})).content_type(Some("application/nonsense")),
                get("{configmaps}/one"),
            ],
        ),
        Case::new(
            "ConfigMaps are selected by name and label",
            [
                post("{configmaps}", json!({"metadata": {"name": "one", "labels": {"a": "1"}}})),
                post("{configmaps}", json!({"metadata": {"name": "two"}})),
                get("{configmaps}?labelSelector=%21a"),
                get("{configmaps}?fieldSelector=metadata.name%21%3Done"),
                get("{configmaps}?fieldSelector=data.a%3D1"),
                get("{configmaps}?limit=1").keep("next", "/metadata/continue"),
                get("{configmaps}?limit=1&continue={next}"),
            ],
        ),
        Case::new(
            "a Secret takes text and gives base64",
            [
                post(
                    "{secrets}",
                    json!({"metadata": {"name": "one"}, "stringData": {"a": "1"}, "data": {"b": "Mg=="}}),
                ),
                merge("{secrets}/one", json!({"stringData": {"c": "3"}})),
                merge("{secrets}/one", json!({"type": "example.com/other"})),
                merge("{secrets}/one", json!({"data": {"b": "!!"}})),
                post("{secrets}", json!({"metadata": {"name": "two"}, "type": "kubernetes.io/tls"})),
                post(
                    "{secrets}",
                    json!({"metadata": {"name": "two"}, "type": "example.com/own", "data": {"bad key!": "Mg=="}}),
                ),
                get("{secrets}?fieldSelector=type%3DOpaque"),
                strategic("{secrets}/one", json!({"data": {"a": null}})),
                delete("{secrets}/one"),
            ],
        ),
        Case::new(
            "a Lease is renewed",
            [
                post(
                    "{leases}",
                    json!({"metadata": {"name": "one"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15,
                    "acquireTime": "2001-01-01T00:00:00.000000Z", "renewTime": "2001-01-01T00:00:00.000001Z"}}),
                ),
                merge(
                    "{leases}/one",
                    json!({"spec": {"leaseTransitions": 1, "renewTime": "2001-01-01T00:00:05.5Z"}}),
                ),
                merge("{leases}/one", json!({"spec": {"renewTime": "now"}})),
                post(
                    "{leases}",
                    json!({"metadata": {"name": "two"}, "spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
                ),
                post("{leases}", json!({"metadata": {"name": "three"}})),
                get("{leases}"),
                delete("{leases}/one"),
            ],
        ),
    ]
}
