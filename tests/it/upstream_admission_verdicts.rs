//! Manifests written for upstream are accepted and refused as upstream does, with the same defaults and the same pruning.
//!
//! The cases are recordings of upstream's own CRDs; what we mean to do otherwise stands in a table with its reason.

use kelos::api::kind::Kind;
use kelos::api::rule::RuleReason;
use kelos::api::schema;
use kelos::apiserver::schema::{FieldError, Structural};
use kelos::validate::rules;
use serde_json::Value;

const RECORDED: &str = include_str!("../testdata/kinds/upstream-admission.jsonl");

/// Cases with another verdict than upstream's, and why.
const OTHER_VERDICT: [(&str, &str); 1] = [(
    "contextSources: [{name: a, http: {url: 'https://x'}}, {name: a, http: {url: 'https://x'}}]",
    "upstream's rule for unique names can never be broken; ours is what its message says",
)];

/// What a server adds when the schema already refuses an object; the recordings leave it out.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid";

#[test]
fn verdicts_defaults_and_pruning_are_upstreams() {
    let mut seen = [0; OTHER_VERDICT.len()];
    let mut count = 0;
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap();
        let (object, errors) = admit(&case["input"]["object"], case["input"].get("oldObject"));
        let expected = &case["output"];
        count += 1;
        if let Some(index) = OTHER_VERDICT.iter().position(|(part, _)| name.contains(part)) {
            seen[index] += 1;
            assert_ne!(errors.is_empty(), expected["valid"].as_bool().unwrap(), "{name} agrees by now");
            continue;
        }
        assert_eq!(errors.is_empty(), expected["valid"].as_bool().unwrap(), "{name}: {errors:?}");
        if errors.is_empty() {
            if let Some(stored) = expected.get("storedSpec") {
                assert_eq!(object["spec"], *stored, "{name}");
            }
            continue;
        }
        let mut texts: Vec<String> =
            expected["errors"].as_array().unwrap().iter().map(as_we_say_it).collect();
        let credentials_are_a_rule = texts.iter().any(|text| text.contains("type: Required value"));
        // A missing credential is broken as a rule, and rules are asked only when the schema agrees.
        texts.retain(|text| !(credentials_are_a_rule && text.contains(".credentials: Required value")));
        texts.sort();
        assert_eq!(errors, texts, "{name}");
    }
    assert_eq!(count, 146);
    assert!(seen.iter().all(|count| *count > 0), "cases of the table that are not recorded: {seen:?}");
}

/// Upstream's text with our differences: the agent type `shell`, credentials that only other agents need,
/// repositories over ssh on any port, and of the machine itself.
fn as_we_say_it(text: &Value) -> String {
    let text = text.as_str().unwrap();
    let text = text.replace("\"opencode\", \"cursor\"", "\"opencode\", \"cursor\", \"shell\"");
    let is_repository = text.starts_with("spec.repo:");
    let text = text.replace("git://|git@", "git://|ssh://|git@");
    let text = if is_repository { text.replace("|git@).*", "|git@|file:///).*") } else { text };
    if text.ends_with(".credentials: Required value") {
        return format!("{text}: credentials are required unless the type is shell");
    }
    text
}

/// Takes an object through schema, defaults and rules as the embedded server does.
fn admit(object: &Value, old: Option<&Value>) -> (Value, Vec<String>) {
    let kind: Kind = object["kind"].as_str().unwrap().parse().unwrap();
    let definition = schema::crd(kind);
    let structural =
        Structural::parse(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]).unwrap();
    let admission = structural.admit(object.clone(), old, |new, old| {
        let violations = rules::violations(kind.as_str(), new, old);
        violations
            .into_iter()
            .map(|violation| match violation.reason {
                RuleReason::Required => FieldError::required(violation.path, violation.message),
                // The recorded texts leave objects and lists out, as newer servers do.
                RuleReason::Invalid => {
                    FieldError::invalid(violation.path, Value::Null, format!("@{}", violation.message))
                }
            })
            .collect()
    });
    let texts = admission.errors.iter().map(|error| error.to_string().replace("null: @", ""));
    let mut texts: Vec<String> = texts.filter(|text| !text.contains(NOT_CHECKED)).collect();
    texts.sort();
    (admission.object, texts)
}
