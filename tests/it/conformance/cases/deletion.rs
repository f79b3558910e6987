//! Deletion, finalizers, preconditions, and what follows from an owner's end.

use serde_json::{Value, json};

use super::super::step::{Case, Step, delete, delete_with, get, merge, post, put};
use super::{gadget_with, small};

fn held(name: &str, finalizers: &[&str]) -> Value {
    gadget_with(name, json!({"finalizers": finalizers}), json!({"size": 5}))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a deleted object is gone",
            [post("{gadgets}", small("one")), delete("{gadgets}/one"), delete("{gadgets}/one"), get("{gadgets}/one"), post("{gadgets}", small("one"))],
        ),
        Case::new(
            "a finalizer holds an object",
            [
                post("{gadgets}", held("one", &["example.com/hold", "example.com/two"])),
                delete("{gadgets}/one"),
                delete("{gadgets}/one"),
                get("{gadgets}/one"),
                merge("{gadgets}/one", json!({"spec": {"size": 9}})),
                merge("{gadgets}/one/status", json!({"status": {"count": 1}})),
                merge("{gadgets}/one", json!({"metadata": {"finalizers": ["example.com/hold", "example.com/two", "example.com/new"]}})),
                merge("{gadgets}/one", json!({"metadata": {"deletionTimestamp": null}})),
                post("{gadgets}", small("one")),
                merge("{gadgets}/one", json!({"metadata": {"finalizers": ["example.com/two"]}})),
                merge("{gadgets}/one", json!({"metadata": {"finalizers": null}})),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "an update can remove the last finalizer",
            [
                post("{gadgets}", held("one", &["example.com/hold"])),
                delete("{gadgets}/one"),
                put("{gadgets}/one", small("one")),
                get("{gadgets}/one"),
            ],
        ),
        Case::new(
            "finalizers come and go without a deletion",
            [
                post("{gadgets}", small("one")),
                merge("{gadgets}/one", json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}})),
                merge("{gadgets}/one", json!({"metadata": {"finalizers": []}})),
                delete("{gadgets}/one"),
            ],
        ),
        Case::new(
            "a deletion may name what it is for",
            [
                post("{gadgets}", small("one")).keep("uid", "/metadata/uid").keep("version", "/metadata/resourceVersion"),
                delete_with("{gadgets}/one", json!({"preconditions": {"uid": "wrong"}})),
                delete_with("{gadgets}/one", json!({"preconditions": {"resourceVersion": "1"}})),
                delete_with("{gadgets}/one", json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "{uid}", "resourceVersion": "{version}"}})),
            ],
        ),
        Case::new(
            "a dry run of a deletion",
            [
                post("{gadgets}", small("one")),
                delete("{gadgets}/one?dryRun=All"),
                delete_with("{gadgets}/one", json!({"dryRun": ["All"]})),
                get("{gadgets}/one"),
                post("{gadgets}", held("two", &["example.com/hold"])),
                delete("{gadgets}/two?dryRun=All"),
                get("{gadgets}/two"),
            ],
        ),
        Case::new(
            "options of a deletion are checked",
            [
                post("{gadgets}", small("one")),
                delete_with("{gadgets}/one", json!({"propagationPolicy": "Nonsense"})),
                delete_with("{gadgets}/one", "{"),
                delete_with("{gadgets}/one", json!({"kind": "Nonsense", "apiVersion": "v1"})),
                delete_with("{gadgets}/one", json!({"propagationPolicy": "Background", "orphanDependents": true})),
                delete("{gadgets}/one?propagationPolicy=Nonsense"),
                delete_with("{gadgets}/one", json!({"gracePeriodSeconds": "x"})),
                get("{gadgets}/one"),
                delete_with("{gadgets}/one?propagationPolicy=Background&gracePeriodSeconds=5", json!({"nonsense": 1})),
            ],
        ),
        Case::new(
            "background deletion answers at once",
            [post("{gadgets}", small("one")), delete_with("{gadgets}/one", json!({"propagationPolicy": "Background"})), get("{gadgets}/one")],
        ),
        Case::new(
            "a collection is deleted by label",
            [
                post("{gadgets}", gadget_with("one", json!({"labels": {"c": "1"}}), json!({"size": 1}))),
                post("{gadgets}", gadget_with("two", json!({"labels": {"c": "1"}, "finalizers": ["example.com/x"]}), json!({"size": 1}))),
                post("{gadgets}", small("three")),
                delete("{gadgets}?labelSelector=c%3D1&dryRun=All"),
                delete("{gadgets}?labelSelector=c%3D1"),
                get("{gadgets}"),
                delete("{gadgets}?labelSelector=c%3D2"),
                merge("{gadgets}/two", json!({"metadata": {"finalizers": null}})),
                delete("{gadgets}"),
                get("{gadgets}"),
            ],
        ),
        Case::new(
            "a dependent goes with its owner",
            [
                Step::from(post("{gadgets}", small("owner")).keep("uid", "/metadata/uid")),
                post(
                    "{configmaps}",
                    json!({"metadata": {"name": "child", "ownerReferences": [
                        {"apiVersion": "example.com/v1", "kind": "Gadget", "name": "owner", "uid": "{uid}"}]}}),
                )
                .into(),
                delete_with("{gadgets}/owner", json!({"propagationPolicy": "Background"})).into(),
                Step::Await(get("{configmaps}/child"), 404),
            ],
        ),
        Case::new(
            "a dependent of nobody goes",
            [
                Step::from(post(
                    "{configmaps}",
                    json!({"metadata": {"name": "child", "ownerReferences": [
                        {"apiVersion": "example.com/v1", "kind": "Gadget", "name": "never", "uid": "11111111-2222-3333-4444-555555555555"}]}}),
                )),
                Step::Await(get("{configmaps}/child"), 404),
            ],
        ),
    ]
}
