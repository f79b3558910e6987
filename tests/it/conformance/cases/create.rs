//! How objects come to be.

use serde_json::{Value, json};

use super::super::step::{Case, YAML, get, merge, post, put};
use super::{full, gadget, gadget_with, small};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a created object is read back with defaults and its owner",
            [post("{gadgets}", small("one")), get("{gadgets}/one")],
        ),
        Case::new(
            "every type of field is kept",
            [post("{gadgets}?fieldManager=tester", full("one")), get("{gadgets}/one")],
        ),
        Case::new(
            "fields that no schema names are pruned with a warning",
            [
                post("{gadgets}", gadget("one", json!({"size": 5, "sizes": 6, "nested": {"a": 1}}))),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "nulls are dropped unless the schema allows them",
            [
                post(
                    "{gadgets}",
                    gadget("one", json!({"size": 5, "color": null, "nothing": null, "nested": null})),
                ),
                post(
                    "{gadgets}",
                    gadget("two", json!({"size": 5, "code": null, "settings": null, "tags": null})),
                ),
            ],
        ),
        Case::new(
            "an object may be sent as YAML",
            [
                post(
                    "{gadgets}",
                    "apiVersion: example.com/v1\nkind: Gadget\nmetadata:\n  name: one\nspec:\n  size: 3\n",
                )
                .content_type(Some(YAML)),
                get("{gadgets}/one").accept(YAML),
            ],
        ),
        Case::new(
            "a body without a type is JSON",
            [post("{gadgets}", small("one")).content_type(None), get("{gadgets}/one")],
        ),
        Case::new(
            "a name is generated",
            [post(
                "{gadgets}",
                json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"generateName": "generated-"},
                       "spec": {"size": 1}}),
            )],
        ),
        Case::new(
            "a given name wins over a generated one",
            [post(
                "{gadgets}",
                gadget_with("one", json!({"generateName": "generated-"}), json!({"size": 1})),
            )],
        ),
        Case::new(
            "an object needs a name",
            [post(
                "{gadgets}",
                json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {}, "spec": {"size": 1}}),
            )],
        ),
        Case::new(
            "a name can be taken once",
            [post("{gadgets}", small("one")), post("{gadgets}", small("one"))],
        ),
        Case::new(
            "a new object has no version",
            [post("{gadgets}", gadget_with("one", json!({"resourceVersion": "5"}), json!({"size": 1})))],
        ),
        Case::new(
            "what the server sets cannot be given",
            [
                post(
                    "{gadgets}",
                    gadget_with(
                        "one",
                        json!({"generation": 7, "uid": "abc", "creationTimestamp": "2001-01-01T00:00:00Z",
                               "deletionTimestamp": "2001-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5,
                               "selfLink": "/x"}),
                        json!({"size": 1}),
                    ),
                ),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "names, labels, annotations, finalizers and owners are checked",
            [
                post("{gadgets}", small("Bad_Name")),
                post("{gadgets}", small("-a")),
                post("{gadgets}", small(&"a".repeat(254))),
                post("{gadgets}", gadget_with("one", json!({"labels": {"a b": "c d"}}), json!({"size": 1}))),
                post(
                    "{gadgets}",
                    gadget_with("one", json!({"labels": {"a": "x".repeat(64)}}), json!({"size": 1})),
                ),
                post(
                    "{gadgets}",
                    gadget_with("one", json!({"annotations": {"x y": "1"}}), json!({"size": 1})),
                ),
                post(
                    "{gadgets}",
                    gadget_with("one", json!({"finalizers": ["nodomain", "bad name/x"]}), json!({"size": 1})),
                ),
                post(
                    "{gadgets}",
                    gadget_with(
                        "one",
                        json!({"ownerReferences": [
                            {"apiVersion": "v1", "kind": "ConfigMap", "name": "", "uid": ""},
                            {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "1", "controller": true},
                            {"apiVersion": "v1", "kind": "ConfigMap", "name": "b", "uid": "2", "controller": true}]}),
                        json!({"size": 1}),
                    ),
                ),
            ],
        ),
        Case::new(
            "managers that cannot be stored",
            [
                json!([{"manager": "a\u{1}b", "operation": "Update", "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": {}}]),
                json!([{"manager": "x".repeat(129), "operation": "Update", "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": {}}]),
                json!([{"manager": "a", "operation": "Update", "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": {}, "subresource": "x".repeat(257)}]),
                json!([{"manager": "a", "operation": "Other", "apiVersion": "example.com/v1", "fieldsType": "FieldsV2", "fieldsV1": {}}]),
            ]
            .into_iter()
            .flat_map(|entries| {
                let metadata = json!({"managedFields": entries});
                [
                    post("{gadgets}?dryRun=All", gadget_with("one", metadata.clone(), json!({"size": 1}))),
                    post("{configmaps}?dryRun=All", json!({"metadata": {"name": "one", "managedFields": entries}})),
                    put("{gadgets}/none?dryRun=All", gadget_with("none", metadata, json!({"size": 1}))),
                ]
            }),
        ),
        Case::new(
            "a manager that cannot be named",
            [
                post("{gadgets}?fieldManager=a%01b", small("one")),
                post("{gadgets}?fieldManager=a%E2%80%8Bb%C2%A0", small("one")),
                post(&format!("{{gadgets}}?fieldManager={}", "x".repeat(129)), small("one")),
            ],
        ),
        Case::new(
            "an owner that is named twice",
            [
                post("{gadgets}", gadget_with("one", owners(&["1", "1", "2", "1"]), json!({"size": 1}))),
                post("{configmaps}", json!({"metadata": {"name": "one", "ownerReferences": owners(&["1", "2", "2"])["ownerReferences"]}})),
                put("{gadgets}/one?dryRun=All", gadget_with("one", owners(&["3", "3"]), json!({"size": 1}))),
                merge("{gadgets}/one", json!({"metadata": owners(&["3", "4", "3"])})),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "metadata of a wrong type is refused",
            [
                post("{gadgets}", gadget_with("one", json!({"ownerReferences": [5]}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"ownerReferences": 5}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"ownerReferences": [{"uid": 5}]}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"uid": 5}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"creationTimestamp": 5}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"creationTimestamp": "yesterday"}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"finalizers": "x"}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"managedFields": [{"operation": 5}]}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"generation": "x"}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"deletionGracePeriodSeconds": 1.5}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("one", json!({"labels": {"a": 1}}), json!({"size": 1}))),
                post(
                    "{gadgets}",
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": 1}, "spec": {"size": 1}}),
                ),
                post(
                    "{gadgets}",
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": "x", "spec": {"size": 1}}),
                ),
            ],
        ),
        Case::new(
            "unknown metadata is dropped",
            [post("{gadgets}", gadget_with("one", json!({"foo": "x"}), json!({"size": 1})))],
        ),
        Case::new(
            "the body must agree with the path",
            [
                post("{gadgets}", gadget_with("one", json!({"namespace": "other"}), json!({"size": 1}))),
                post(
                    "{gadgets}",
                    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}}),
                ),
                post(
                    "{gadgets}",
                    json!({"apiVersion": "example.com/v2", "kind": "Gadget", "metadata": {"name": "one"}}),
                ),
                post("{gadgets}", json!({"metadata": {"name": "one"}, "spec": {"size": 1}})),
                post(
                    "{gadgets}",
                    json!({"kind": "Gadget", "metadata": {"name": "one"}, "spec": {"size": 1}}),
                ),
            ],
        ),
        Case::new(
            "a body must be an object",
            [
                post("{gadgets}", "{\"a\""),
                post("{gadgets}", ""),
                post("{gadgets}", "[]"),
                post("{gadgets}", "null"),
                post("{gadgets}", "text").content_type(Some("text/plain")),
                post("{gadgets}", "a: [").content_type(Some(YAML)),
            ],
        ),
        Case::new(
            "an object is made in the collection of a namespace that exists",
            [
                post("/apis/example.com/v1/namespaces/absent/gadgets", small("one")),
                post("/apis/example.com/v1/gadgets", small("one")),
                post("{gadgets}/one", small("one")),
            ],
        ),
        Case::new(
            "a dry run answers and changes nothing",
            [
                post("{gadgets}?dryRun=All", small("one")),
                get("{gadgets}/one"),
                post("{gadgets}", small("one")),
                put("{gadgets}/one?dryRun=All", gadget("one", json!({"size": 50}))),
                get("{gadgets}/one"),
                post("{gadgets}?dryRun=Some", small("two")),
            ],
        ),
        Case::new(
            "who writes is told by the field manager or the user agent",
            [
                post("{gadgets}?fieldManager=tester", small("one")),
                post("{gadgets}", small("two")).header("user-agent", Some("kubectl/v1.30 (linux)")),
                post("{gadgets}", small("three")).header("user-agent", None),
                post(&format!("{{gadgets}}?fieldManager={}", "x".repeat(129)), small("four")),
                post("{gadgets}?fieldManager=a%0Ab", small("five")),
            ],
        ),
    ]
}

/// Returns metadata with an owner of each uid.
fn owners(uids: &[&str]) -> Value {
    let owner = |uid: &&str| json!({"apiVersion": "v1", "kind": "Nothing", "name": "none", "uid": uid});
    json!({"ownerReferences": uids.iter().map(owner).collect::<Vec<_>>()})
}
