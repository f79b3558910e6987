//! How objects are read and listed.

use serde_json::json;

use super::super::step::{Call, Case, METADATA_ONLY, YAML, call, get, post};
use super::{gadget, gadget_with, small};

fn labelled() -> Vec<Call> {
    let one = gadget_with("one", json!({"labels": {"app": "x", "tier": "front"}}), json!({"size": 1}));
    let two = gadget_with("two", json!({"labels": {"app": "y"}}), json!({"size": 2}));
    vec![
        post("{gadgets}", one),
        post("{gadgets}", two),
        post("{gadgets}", gadget("three", json!({"size": 3}))),
    ]
}

fn after_labelled(calls: impl IntoIterator<Item = Call>) -> Vec<Call> {
    labelled().into_iter().chain(calls).collect()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "an absent object is not found",
            [
                get("{gadgets}/absent"),
                get("{gadgets}/absent/status"),
                get("{configmaps}/absent"),
                get("/apis/example.com/v1/namespaces/{namespace}/nothings"),
                get("/apis/example.com/v1/namespaces/{namespace}/nothings/one"),
                get("{gadgets}/one/two/three"),
                get("/apis/example.com/v9/gadgets"),
                get("/apis/absent.example.com/v1/gadgets"),
                get("/nowhere"),
            ],
        ),
        Case::new("an empty list", [get("{gadgets}"), get("{configmaps}"), get("{gadgets}?limit=1")]),
        Case::new("a list is in the order of names", after_labelled([get("{gadgets}")])),
        Case::new(
            "lists are selected by labels",
            after_labelled(
                [
                    "app=x",
                    "app==x",
                    "app!=x",
                    "app in (x,y)",
                    "app notin (x)",
                    "app",
                    "!app",
                    "app=x,tier=front",
                    "app,tier",
                    "app=",
                    "size>3",
                    "app===x",
                    "app in x",
                    "a b=c",
                    "app in ()",
                    ",",
                    "app=x,",
                    "!",
                ]
                .map(|selector| get(&format!("{{gadgets}}?labelSelector={}", encoded(selector)))),
            ),
        ),
        Case::new(
            "lists are selected by name and namespace",
            after_labelled(
                [
                    "metadata.name=one",
                    "metadata.name==one",
                    "metadata.name!=one",
                    "metadata.namespace={namespace}",
                    "metadata.namespace=other",
                    "metadata.name=one,metadata.namespace={namespace}",
                    "spec.size=1",
                    "nonsense",
                    "metadata.name=a\\,b",
                ]
                .map(|selector| get(&format!("{{gadgets}}?fieldSelector={}", encoded(selector)))),
            ),
        ),
        Case::new(
            "all namespaces are listed at once",
            [
                post(
                    "{gadgets}",
                    gadget_with("one", json!({"labels": {"only": "{namespace}"}}), json!({"size": 1})),
                ),
                get("/apis/example.com/v1/gadgets?labelSelector=only%3D{namespace}"),
                get("/apis/example.com/v1/gadgets?fieldSelector=metadata.namespace%3D{namespace}"),
            ],
        ),
        Case::new(
            "a list is read in pages",
            after_labelled([
                get("{gadgets}?limit=1").keep("next", "/metadata/continue"),
                get("{gadgets}?limit=1&continue={next}").keep("next", "/metadata/continue"),
                get("{gadgets}?limit=1&continue={next}"),
                get("{gadgets}?limit=2&labelSelector=app").keep("next", "/metadata/continue"),
            ]),
        ),
        Case::new(
            "a page shows the state of the first page",
            after_labelled([
                get("{gadgets}?limit=1").keep("next", "/metadata/continue"),
                post("{gadgets}", small("tail")),
                call("DELETE", "{gadgets}/two"),
                get("{gadgets}?continue={next}"),
            ]),
        ),
        Case::new(
            "paging and versions are checked",
            after_labelled([
                get("{gadgets}").keep("version", "/metadata/resourceVersion"),
                get("{gadgets}?limit=1").keep("next", "/metadata/continue"),
                get("{gadgets}?limit=1&continue=nonsense"),
                get("{gadgets}?limit=abc"),
                get("{gadgets}?limit=1&continue={next}&resourceVersion={version}"),
                get("{gadgets}?resourceVersion=0"),
                get("{gadgets}?resourceVersion={version}"),
                get("{gadgets}?resourceVersion={version}&resourceVersionMatch=Exact"),
                get("{gadgets}?resourceVersion={version}&resourceVersionMatch=NotOlderThan"),
                get("{gadgets}?resourceVersionMatch=Exact"),
                get("{gadgets}?resourceVersion={version}&resourceVersionMatch=Nonsense"),
                get("{gadgets}?resourceVersion=0&resourceVersionMatch=Exact"),
                get("{gadgets}?resourceVersion=nonsense"),
                get("{gadgets}/one?resourceVersion=0"),
                get("{gadgets}/one?resourceVersion=nonsense"),
            ]),
        ),
        Case::new(
            "an older state can be listed",
            [
                post("{gadgets}", small("one")).keep("version", "/metadata/resourceVersion"),
                post("{gadgets}", small("two")),
                get("{gadgets}?resourceVersion={version}&resourceVersionMatch=Exact"),
            ],
        ),
        Case::new(
            "a version of the future does not come",
            [get("{gadgets}?resourceVersion=99999999"), get("{gadgets}/one?resourceVersion=99999999")],
        ),
        Case::new(
            "initial events are for watches",
            [get("{gadgets}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan")],
        ),
        Case::new(
            "the form of an answer is negotiated",
            [
                post("{gadgets}", small("one")),
                get("{gadgets}/one").accept(YAML),
                get("{gadgets}/one").accept("*/*"),
                get("{gadgets}/one").header("accept", None),
                get("{gadgets}/one").accept("application/*"),
                get("{gadgets}/one").accept("text/html"),
                get("{gadgets}/one").accept("text/html, application/json;q=0.5"),
                get("{gadgets}/one").accept("application/vnd.kubernetes.protobuf"),
                get("{gadgets}/one").accept("application/vnd.kubernetes.protobuf,application/json"),
                get("{gadgets}/one?pretty=true"),
                get("{gadgets}/absent").accept(YAML),
            ],
        ),
        Case::new(
            "only metadata can be asked for",
            [
                post("{gadgets}", small("one")),
                get("{gadgets}/one").accept(METADATA_ONLY),
                get("{gadgets}").accept(METADATA_ONLY),
                get("{gadgets}/one").accept("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
                get("{gadgets}").accept("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
            ],
        ),
        Case::new(
            "methods that a path does not know are refused",
            [
                post("{gadgets}", small("one")),
                call("PUT", "{gadgets}"),
                call("PATCH", "{gadgets}"),
                call("OPTIONS", "{gadgets}"),
                call("TRACE", "{gadgets}/one"),
                call("HEAD", "{gadgets}/one"),
                call("DELETE", "{gadgets}/one/status"),
                call("POST", "{gadgets}/one/status"),
                get("{gadgets}/one/scale"),
                get("{configmaps}/one/status"),
            ],
        ),
    ]
}

fn encoded(selector: &str) -> String {
    let escape = |character: char| match character {
        ' ' => "%20".to_owned(),
        '=' => "%3D".to_owned(),
        ',' => "%2C".to_owned(),
        '!' => "%21".to_owned(),
        '>' => "%3E".to_owned(),
        '\\' => "%5C".to_owned(),
        other => other.to_string(),
    };
    selector.chars().map(escape).collect()
}
