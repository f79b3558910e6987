//! JSON patches and merge patches.

use serde_json::{Value, json};

use super::super::step::{Call, Case, get, json_patch, merge, post, strategic};
use super::{full, small};

fn after_full(calls: impl IntoIterator<Item = Call>) -> Vec<Call> {
    [post("{gadgets}?fieldManager=first", full("one"))].into_iter().chain(calls).collect()
}

fn json_patches(patches: &[Value]) -> Vec<Call> {
    after_full(patches.iter().map(|patch| json_patch("{gadgets}/one", patch.clone())))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a merge patch sets, removes and nests",
            after_full([
                merge(
                    "{gadgets}/one?fieldManager=second",
                    json!({"spec": {"code": "xyz", "color": null, "settings": {"c": "d"}}}),
                ),
                merge(
                    "{gadgets}/one?fieldManager=second",
                    json!({"spec": {"settings": null, "nested": {"inner": null}, "tags": ["z"]}}),
                ),
                merge(
                    "{gadgets}/one?fieldManager=second",
                    json!({"metadata": {"labels": {"app": null, "new": "1"}, "annotations": null}}),
                ),
                get("{gadgets}/one"),
            ]),
        ),
        Case::new(
            "a merge patch that changes nothing writes nothing",
            [
                post("{gadgets}", small("one")),
                merge("{gadgets}/one?fieldManager=second", json!({"spec": {"size": 5}})),
                merge("{gadgets}/one", json!({})),
            ],
        ),
        Case::new(
            "a merge patch must be an object and fit the object",
            [
                post("{gadgets}", small("one")),
                merge("{gadgets}/one", "[]"),
                merge("{gadgets}/one", "\"x\""),
                merge("{gadgets}/one", "null"),
                merge("{gadgets}/one", "{"),
                merge("{gadgets}/one", ""),
                merge("{gadgets}/absent", json!({})),
                merge("{gadgets}/one", json!({"metadata": {"name": "other"}})),
                merge("{gadgets}/one", json!({"metadata": {"namespace": "other"}})),
                merge("{gadgets}/one", json!({"metadata": {"uid": "other"}})),
                merge("{gadgets}/one", json!({"kind": "Other"})),
                merge("{gadgets}/one", json!({"apiVersion": "example.com/v2"})),
                merge("{gadgets}/one", json!({"metadata": {"resourceVersion": "1"}, "spec": {"size": 9}})),
                merge("{gadgets}/one", json!({"metadata": null})),
                merge("{gadgets}/one", json!({"spec": null})),
                merge("{gadgets}/one", json!({"spec": {"size": 0}})),
                merge("{gadgets}/one?force=true", json!({"spec": {"size": 9}})),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "a patch may name the version that it is for",
            [
                post("{gadgets}", small("one")).keep("version", "/metadata/resourceVersion"),
                merge(
                    "{gadgets}/one",
                    json!({"metadata": {"resourceVersion": "{version}"}, "spec": {"size": 9}}),
                ),
                merge(
                    "{gadgets}/one",
                    json!({"metadata": {"resourceVersion": "{version}"}, "spec": {"size": 10}}),
                ),
            ],
        ),
        Case::new(
            "a JSON patch works in order",
            json_patches(&[
                json!([{"op": "test", "path": "/spec/code", "value": "abc"}, {"op": "replace", "path": "/spec/size", "value": 11},
                       {"op": "add", "path": "/spec/tags", "value": ["a"]}, {"op": "add", "path": "/spec/tags/-", "value": "b"},
                       {"op": "add", "path": "/spec/tags/0", "value": "c"}, {"op": "remove", "path": "/spec/code"}]),
                json!([{"op": "copy", "from": "/spec/settings/a", "path": "/spec/code"}, {"op": "remove", "path": "/spec/code"}]),
                json!([{"op": "move", "from": "/spec/tags/0", "path": "/spec/tags/1"}]),
                json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "x"}]),
                json!([]),
            ]),
        ),
        Case::new(
            "a JSON patch that cannot be done is refused",
            json_patches(&[
                json!([{"op": "test", "path": "/spec/size", "value": 1}]),
                json!([{"op": "test", "path": "/spec/absent", "value": 1}]),
                json!([{"op": "remove", "path": "/spec/absent"}]),
                json!([{"op": "replace", "path": "/spec/absent", "value": 1}]),
                json!([{"op": "add", "path": "/spec/a/b/c", "value": 1}]),
                json!([{"op": "add", "path": "/spec/tags/9", "value": "c"}]),
                json!([{"op": "nonsense", "path": "/spec/size"}]),
                json!([{"path": "/spec/size"}]),
                json!([{"op": "copy", "from": "/spec/absent", "path": "/spec/code"}]),
                json!([{"op": "move", "from": "/spec/code", "path": "/metadata/annotations"}]),
                json!([{"op": "replace", "path": "", "value": 1}]),
                json!([{"op": "replace", "path": "/spec/size", "value": 0}]),
                json!({}),
                json!("x"),
            ]),
        ),
        Case::new(
            "custom kinds know no strategic patch",
            [
                post("{gadgets}", small("one")),
                strategic("{gadgets}/one", json!({"spec": {"size": 3}})),
                merge("{gadgets}/one", json!({"spec": {"size": 3}})).content_type(Some("application/json")),
                merge("{gadgets}/one", json!({"spec": {"size": 3}})).content_type(None),
                merge("{gadgets}/one", json!({"spec": {"size": 3}})).content_type(Some("text/plain")),
            ],
        ),
        Case::new(
            "a dry run of a patch changes nothing",
            [
                post("{gadgets}", small("one")),
                merge("{gadgets}/one?dryRun=All", json!({"spec": {"size": 3}})),
                json_patch(
                    "{gadgets}/one?dryRun=All",
                    json!([{"op": "replace", "path": "/spec/size", "value": 4}]),
                ),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "the list of owners can be set and reset by clients",
            [
                post("{gadgets}?fieldManager=first", small("one")),
                json_patch(
                    "{gadgets}/one?fieldManager=second",
                    json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]),
                ),
                merge("{gadgets}/one?fieldManager=third", json!({"spec": {"size": 12}})),
                merge("{gadgets}/one?fieldManager=third", json!({"metadata": {"managedFields": []}})),
                merge(
                    "{gadgets}/one?fieldManager=third",
                    json!({"metadata": {"managedFields": null}, "spec": {"size": 13}}),
                ),
                merge(
                    "{gadgets}/one?fieldManager=third",
                    json!({"metadata": {"managedFields": [{"manager": "x", "operation": "Apply",
                    "apiVersion": "example.com/v1", "time": "2001-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:size": {}}}}]}}),
                ),
                merge(
                    "{gadgets}/one?fieldManager=third",
                    json!({"metadata": {"managedFields": [{"manager": "x", "operation": "Nonsense",
                    "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:size": {}}}}]}}),
                ),
                merge(
                    "{gadgets}/one?fieldManager=third",
                    json!({"metadata": {"managedFields": [{"manager": "x", "operation": "Update",
                    "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": {"spec": {}}}]}}),
                ),
                get("{gadgets}/one"),
            ],
        ),
    ]
}
