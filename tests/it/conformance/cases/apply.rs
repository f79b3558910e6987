//! Server-side apply: who owns what, and what happens when two want the same.

use serde_json::{Value, json};

use super::super::step::{Call, Case, YAML, apply, force, get, merge, post, put};
use super::{full, gadget, gadget_with, small};

const ONE: &str = "{gadgets}/one";

fn by(manager: &str, spec: Value) -> Call {
    apply(manager, ONE, gadget("one", spec))
}

fn forced_by(manager: &str, spec: Value) -> Call {
    force(manager, ONE, gadget("one", spec))
}

pub(super) fn cases() -> Vec<Case> {
    [ownership(), shapes(), refusals(), metadata()].into_iter().flatten().collect()
}

fn ownership() -> Vec<Case> {
    let rich = json!({"size": 5, "color": "blue", "nested": {"depth": 1}, "tags": ["a"], "settings": {"a": "1"},
                      "ports": [{"name": "x", "number": 1}]});
    vec![
        Case::new(
            "apply creates and owns only what it sent",
            [by("one", rich.clone()), by("one", rich.clone()), get(ONE)],
        ),
        Case::new("apply of everything", [apply("one", ONE, full("one")), apply("one", ONE, full("one"))]),
        Case::new(
            "two managers share an object",
            [
                by("one", rich.clone()),
                by(
                    "two",
                    json!({"size": 5, "code": "abc", "settings": {"b": "2"}, "ports": [{"name": "y"}]}),
                ),
                by("one", json!({"size": 5})),
                by("two", json!({"size": 5})),
            ],
        ),
        Case::new(
            "a conflict names every field and its owner",
            [
                by("one", rich.clone()),
                by(
                    "two",
                    json!({"size": 6, "color": "green", "tags": ["b"], "ports": [{"name": "x", "number": 2}], "settings": {"a": "2"}}),
                ),
                by("two", json!({"size": 6})),
                get(ONE),
            ],
        ),
        Case::new(
            "force takes fields over",
            [
                by("one", rich.clone()),
                forced_by(
                    "two",
                    json!({"size": 6, "color": "green", "tags": ["b"], "ports": [{"name": "x", "number": 2}], "settings": {"a": "2"}}),
                ),
                by("one", json!({"size": 6})),
                by("two", json!({"size": 6})),
                by("one", rich),
            ],
        ),
        Case::new(
            "three managers and a conflict with two of them",
            [
                by("one", json!({"size": 5, "code": "abc"})),
                by("two", json!({"size": 5, "color": "red"})),
                by("three", json!({"size": 6, "code": "xyz", "color": "blue"})),
                forced_by("three", json!({"size": 6, "code": "xyz", "color": "blue"})),
            ],
        ),
        Case::new(
            "an update stands beside an apply",
            [
                by("one", json!({"size": 5, "code": "abc"})),
                merge("{gadgets}/one?fieldManager=updater", json!({"spec": {"size": 7}})),
                by("one", json!({"size": 8, "code": "abc"})),
                by("one", json!({"size": 7, "code": "abc"})),
                by("one", json!({"size": 7})),
                put("{gadgets}/one?fieldManager=updater", gadget("one", json!({"size": 9}))),
                forced_by("one", json!({"size": 10})),
            ],
        ),
        Case::new(
            "the same manager applies and updates",
            [
                by("one", json!({"size": 5, "code": "abc"})),
                merge("{gadgets}/one?fieldManager=one", json!({"spec": {"size": 7, "tags": ["x"]}})),
                by("one", json!({"size": 8, "code": "abc"})),
                forced_by("one", json!({"size": 8})),
            ],
        ),
        Case::new(
            "an object without owners belongs to before-first-apply",
            [
                post("{gadgets}?fieldManager=first", gadget("one", json!({"size": 5, "code": "abc"}))),
                merge(ONE, json!({"metadata": {"managedFields": [{}]}})),
                by("one", json!({"size": 6})),
                forced_by("one", json!({"size": 6, "code": "abc"})),
            ],
        ),
        Case::new(
            "defaults belong to nobody until somebody says them",
            [
                by("one", json!({"size": 5})),
                by("two", json!({"size": 5, "color": "green"})),
                by("one", json!({"size": 5, "color": "red"})),
                by("two", json!({"size": 5})),
                by("one", json!({"size": 5, "nested": {}})),
                by("one", json!({"size": 5, "nested": {"inner": {"name": "a"}}})),
            ],
        ),
        Case::new(
            "more than ten updaters are folded together",
            [post("{gadgets}?fieldManager=m00", small("one"))].into_iter().chain((1..13).map(|number| {
                merge(
                    &format!("{{gadgets}}/one?fieldManager=m{number:02}"),
                    json!({"spec": {"blob": {format!("k{number:02}"): 1}}}),
                )
            })),
        ),
    ]
}

fn shapes() -> Vec<Case> {
    vec![
        Case::new(
            "lists with keys are merged by key",
            [
                by(
                    "one",
                    json!({"size": 1, "ports": [{"name": "a", "number": 1}, {"name": "b", "number": 2}]}),
                ),
                by(
                    "two",
                    json!({"size": 1, "ports": [{"name": "c", "number": 3}, {"name": "a", "protocol": "TCP"}]}),
                ),
                by("one", json!({"size": 1, "ports": [{"name": "b", "number": 2}]})),
                by("two", json!({"size": 1, "ports": [{"name": "c"}]})),
                by("two", json!({"size": 1})),
            ],
        ),
        Case::new(
            "sets are merged by value",
            [
                by("one", json!({"size": 1, "keys": ["a", "b"]})),
                by("two", json!({"size": 1, "keys": ["c", "b"]})),
                by("one", json!({"size": 1, "keys": ["z"]})),
                by("two", json!({"size": 1, "keys": []})),
                by("one", json!({"size": 1})),
            ],
        ),
        Case::new(
            "lists without a type are one value",
            [
                by("one", json!({"size": 1, "tags": ["a", "b"], "parts": [{"name": "a"}]})),
                by("two", json!({"size": 1, "tags": ["a", "b"]})),
                by("two", json!({"size": 1, "tags": ["b", "a"]})),
                by("two", json!({"size": 1, "parts": [{"name": "a", "count": 1}]})),
                forced_by("two", json!({"size": 1, "parts": [{"name": "b"}]})),
                by("one", json!({"size": 1})),
            ],
        ),
        Case::new(
            "atomic maps are one value",
            [
                by("one", json!({"size": 1, "selector": {"app": "x"}})),
                by("two", json!({"size": 1, "selector": {"tier": "y"}})),
                forced_by("two", json!({"size": 1, "selector": {"tier": "y"}})),
                by("one", json!({"size": 1})),
                by("two", json!({"size": 1, "selector": {}})),
            ],
        ),
        Case::new(
            "fields without a schema are merged by their shape",
            [
                by(
                    "one",
                    json!({"size": 1, "blob": {"a": {"b": [1, {"c": 2}]}}, "anything": {"x": [1]}, "template": {"known": "a", "other": {"z": 1}}}),
                ),
                by("two", json!({"size": 1, "blob": {"a": {"d": 1}}, "template": {"other": {"y": 1}}})),
                by("two", json!({"size": 1, "blob": {"a": {"b": [2]}}})),
                by("two", json!({"size": 1, "anything": "text"})),
                forced_by("two", json!({"size": 1, "anything": "text", "blob": {"a": "text"}})),
                by("one", json!({"size": 1})),
                by("two", json!({"size": 1})),
            ],
        ),
        Case::new(
            "maps of texts and numbers",
            [
                by("one", json!({"size": 1, "settings": {"a": "1", "b": "2"}, "limits": {"x": 1}})),
                by("two", json!({"size": 1, "settings": {"c": "3"}, "limits": {"x": 1, "y": 2}})),
                by("one", json!({"size": 1, "settings": {}})),
                by("two", json!({"size": 1})),
                by("one", json!({"size": 1})),
            ],
        ),
        Case::new(
            "empty values and nulls",
            [
                by(
                    "one",
                    json!({"size": 1, "settings": {}, "tags": [], "nested": {}, "blob": {}, "ports": [], "keys": []}),
                ),
                by("one", json!({"size": 1, "code": null, "settings": null, "tags": null, "nothing": null})),
                by("one", json!({"size": 1, "nested": null, "blob": null, "anything": null})),
                by("one", json!({"size": 1, "settings": {"a": null}, "blob": {"a": null}})),
            ],
        ),
        Case::new("a null where the schema names no type", [by("one", json!({"size": 1, "anything": null}))]),
        Case::new(
            "empty labels",
            [apply(
                "one",
                ONE,
                gadget_with(
                    "one",
                    json!({"labels": {}, "annotations": {}, "finalizers": []}),
                    json!({"size": 1}),
                ),
            )],
        ),
        Case::new(
            "int or string",
            [
                by("one", json!({"size": 1, "port": 80})),
                by("two", json!({"size": 1, "port": "80"})),
                forced_by("two", json!({"size": 1, "port": "80"})),
            ],
        ),
    ]
}

fn refusals() -> Vec<Case> {
    vec![
        Case::new(
            "apply needs a manager and fits the path",
            [
                by("one", json!({"size": 1})),
                apply("", ONE, small("one")),
                apply("one", ONE, small("two")),
                apply(
                    "one",
                    ONE,
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {}, "spec": {"size": 2}}),
                ),
                apply(
                    "one",
                    ONE,
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "spec": {"size": 2}}),
                ),
                apply("one", ONE, json!({"metadata": {"name": "one"}, "spec": {"size": 1}})),
                apply(
                    "one",
                    ONE,
                    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}}),
                ),
                apply(
                    "one",
                    ONE,
                    json!({"apiVersion": "example.com/v2", "kind": "Gadget", "metadata": {"name": "one"}}),
                ),
                apply("one", ONE, gadget_with("one", json!({"namespace": "other"}), json!({"size": 1}))),
                apply("one", "{gadgets}/one?force=maybe", small("one")),
                apply("one", ONE, "a: ["),
                apply("one", ONE, "[]"),
                apply("one", ONE, ""),
            ],
        ),
        Case::new(
            "apply may name a version and a uid but no owners",
            [
                by("one", json!({"size": 1}))
                    .keep("version", "/metadata/resourceVersion")
                    .keep("uid", "/metadata/uid"),
                apply(
                    "one",
                    ONE,
                    gadget_with("one", json!({"managedFields": [{"manager": "x"}]}), json!({"size": 1})),
                ),
                apply("one", ONE, gadget_with("one", json!({"managedFields": []}), json!({"size": 1}))),
                apply(
                    "one",
                    ONE,
                    gadget_with(
                        "one",
                        json!({"resourceVersion": "{version}", "uid": "{uid}"}),
                        json!({"size": 2}),
                    ),
                ),
                apply(
                    "one",
                    ONE,
                    gadget_with("one", json!({"resourceVersion": "{version}"}), json!({"size": 3})),
                ),
                apply("one", ONE, gadget_with("one", json!({"uid": "other"}), json!({"size": 4}))),
                apply(
                    "one",
                    "{gadgets}/two",
                    gadget_with("two", json!({"resourceVersion": "1"}), json!({"size": 1})),
                ),
                apply(
                    "one",
                    "{gadgets}/three",
                    gadget_with("three", json!({"uid": "other"}), json!({"size": 1})),
                ),
                get(ONE),
            ],
        ),
        Case::new(
            "what is applied is checked",
            [
                by("one", json!({"size": 1})),
                by("one", json!({"size": 0, "color": "pink"})),
                by("one", json!({"size": "x"})),
                by("one", json!({"tags": ["a"]})),
                by("one", json!({"size": 1, "foo": 1})),
                by("one", json!({"size": 1, "nested": {"foo": 1}})),
                by("one", json!({"size": 1, "nested": "x"})),
                by("one", json!({"size": 1, "ports": [{"name": "a"}, {"name": "a"}]})),
                by("one", json!({"size": 1, "ports": [{"number": 1}]})),
                by("one", json!({"size": 1, "keys": ["a", "a"]})),
                by("one", json!({"size": 1, "tags": "x"})),
                get(ONE),
            ],
        ),
        Case::new(
            "a dry run of an apply",
            [
                apply("one", "{gadgets}/one?dryRun=All", small("one")),
                get(ONE),
                by("one", json!({"size": 1})),
                apply("one", "{gadgets}/one?dryRun=All", gadget("one", json!({"size": 50}))),
                apply("two", "{gadgets}/one?dryRun=All", gadget("one", json!({"size": 50}))),
                get(ONE),
            ],
        ),
    ]
}

fn metadata() -> Vec<Case> {
    let meta = |metadata: Value| {
        let mut object = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": metadata});
        object["metadata"]["name"] = json!("one");
        object
    };
    vec![
        Case::new(
            "labels, annotations, finalizers and owners are applied too",
            [
                by("one", json!({"size": 1})),
                apply(
                    "meta",
                    ONE,
                    meta(
                        json!({"labels": {"l": "1"}, "annotations": {"a": "1"}, "finalizers": ["example.com/f"],
                    "ownerReferences": [{"apiVersion": "example.org/v1", "kind": "Unserved", "name": "o", "uid": "123"}]}),
                    ),
                ),
                apply(
                    "other",
                    ONE,
                    meta(json!({"labels": {"l": "2", "m": "1"}, "finalizers": ["example.com/g"],
                    "ownerReferences": [{"apiVersion": "example.org/v1", "kind": "Unserved", "name": "p", "uid": "124"}]})),
                ),
                force(
                    "other",
                    ONE,
                    meta(json!({"labels": {"l": "2", "m": "1"}, "finalizers": ["example.com/g"],
                    "ownerReferences": [{"apiVersion": "example.org/v1", "kind": "Unserved", "name": "p", "uid": "124"}]})),
                ),
                apply("meta", ONE, meta(json!({}))),
                apply("other", ONE, meta(json!({}))),
            ],
        ),
        Case::new(
            "apply sent as YAML",
            [
                apply(
                    "one",
                    ONE,
                    "apiVersion: example.com/v1\nkind: Gadget\nmetadata:\n  name: one\n  labels: {a: \"1\"}\nspec:\n  size: 3\n",
                ),
                get(ONE).accept(YAML),
            ],
        ),
        Case::new(
            "apply to an object that is being deleted",
            [
                apply(
                    "one",
                    ONE,
                    gadget_with("one", json!({"finalizers": ["example.com/hold"]}), json!({"size": 1})),
                ),
                super::super::step::delete(ONE),
                apply(
                    "one",
                    ONE,
                    gadget_with("one", json!({"finalizers": ["example.com/hold"]}), json!({"size": 2})),
                ),
                apply("one", ONE, gadget("one", json!({"size": 2}))),
                get(ONE),
            ],
        ),
        Case::new(
            "core kinds are applied by their own schema",
            [
                apply(
                    "one",
                    "{configmaps}/one",
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}}),
                ),
                apply(
                    "two",
                    "{configmaps}/one",
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "2", "b": "1"}}),
                ),
                force(
                    "two",
                    "{configmaps}/one",
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "2", "b": "1"}}),
                ),
                apply(
                    "one",
                    "{configmaps}/one",
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}),
                ),
                apply(
                    "two",
                    "{configmaps}/one",
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "datas": {"a": "2"}}),
                ),
                apply(
                    "two",
                    "{configmaps}/one",
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}),
                ),
                apply(
                    "one",
                    "{secrets}/one",
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "stringData": {"a": "1"}}),
                ),
                apply(
                    "one",
                    "{leases}/one",
                    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "one"},
                    "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}),
                ),
            ],
        ),
    ]
}
