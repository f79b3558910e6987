//! Unknown and duplicate fields: refused, warned of, or ignored.

use super::super::step::{APPLY, Call, Case, JSON_PATCH, MERGE, YAML, call, get, post, put};
use super::small;

const UNKNOWN: &str = r#"{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"one","foo":1},"spec":{"size":1,"size":2,"sizes":3,"nested":{"inner":{"name":"a","foo":1}},"parts":[{"name":"a","bar":1}],"ports":[{"name":"a","name":"a"}]},"extra":1}"#;
const UNKNOWN_YAML: &str = "apiVersion: example.com/v1\nkind: Gadget\nmetadata:\n  name: one\nspec:\n  size: 1\n  size: 2\n  sizes: 3\n";
const CORE_UNKNOWN: &str = r#"{"metadata":{"name":"one","foo":1},"data":{"a":"1","a":"2"},"foo":1}"#;

const MODES: [&str; 4] = ["", "&fieldValidation=Strict", "&fieldValidation=Warn", "&fieldValidation=Ignore"];

fn in_each_mode(request: impl Fn(&str) -> Call) -> Vec<Call> {
    MODES.iter().map(|mode| request(&format!("?dryRun=All{mode}"))).collect()
}

fn patches(content_type: &'static str, body: &'static str, query: &'static str) -> Vec<Call> {
    let patch = |mode: &str| {
        let mut call =
            call("PATCH", &format!("{{gadgets}}/one{mode}{query}")).content_type(Some(content_type));
        call.body = body.to_owned();
        call
    };
    [post("{gadgets}", small("one"))].into_iter().chain(in_each_mode(patch)).collect()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "create with unknown fields",
            in_each_mode(|mode| post(&format!("{{gadgets}}{mode}"), UNKNOWN)),
        ),
        Case::new(
            "create with unknown fields as YAML",
            in_each_mode(|mode| post(&format!("{{gadgets}}{mode}"), UNKNOWN_YAML).content_type(Some(YAML))),
        ),
        Case::new(
            "update with unknown fields",
            [post("{gadgets}", small("one"))]
                .into_iter()
                .chain(in_each_mode(|mode| put(&format!("{{gadgets}}/one{mode}"), UNKNOWN))),
        ),
        Case::new(
            "merge patch with unknown fields",
            patches(MERGE, r#"{"spec":{"size":3,"size":4,"foo":1}}"#, ""),
        ),
        Case::new(
            "JSON patch with unknown fields",
            patches(JSON_PATCH, r#"[{"op":"add","path":"/spec/foo","value":1,"value":2,"x":1}]"#, ""),
        ),
        Case::new("apply with unknown fields", patches(APPLY, UNKNOWN_YAML, "&fieldManager=one&force=true")),
        Case::new(
            "create of a core kind with unknown fields",
            in_each_mode(|mode| post(&format!("{{configmaps}}{mode}"), CORE_UNKNOWN)),
        ),
        Case::new(
            "a mode that does not exist",
            [post("{gadgets}?fieldValidation=Nonsense", small("one")), get("{gadgets}/one")],
        ),
        Case::new(
            "unknown fields at the top and in metadata alone",
            [
                post(
                    "{gadgets}?fieldValidation=Strict",
                    r#"{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"one","foo":1},"spec":{"size":1}}"#,
                ),
                post(
                    "{gadgets}?fieldValidation=Strict",
                    r#"{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"one"},"spec":{"size":1},"foo":1}"#,
                ),
                post(
                    "{gadgets}?fieldValidation=Strict",
                    r#"{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"one"},"spec":{"size":1},"spec":{"size":2}}"#,
                ),
                post(
                    "{gadgets}?fieldValidation=Strict",
                    r#"{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"one","labels":{"a":"1","a":"2"}},"spec":{"size":1}}"#,
                ),
                post(
                    "{gadgets}?fieldValidation=Strict",
                    r#"{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"one"},"spec":{"size":0,"foo":1}}"#,
                ),
                post(
                    "{gadgets}?fieldValidation=Strict",
                    r#"{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"one"},"spec":{"size":1},"status":{"foo":1}}"#,
                ),
            ],
        ),
    ]
}
