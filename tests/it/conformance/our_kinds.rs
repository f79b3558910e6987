//! Objects of our own kinds, sound and unsound, as cases.

use kelos::api::kind::Kind;
use serde_json::{Value, json};

use super::step::{Case, TABLE, get, post, put};

/// Objects made to break each rule, and to keep it.
const RULES: &str = include_str!("../../testdata/kinds/rule-corpus.jsonl");

/// Objects whose verdicts upstream's definitions gave.
const UPSTREAM: &str = include_str!("../../testdata/kinds/upstream-admission.jsonl");

/// Returns a case for each object: it is created, or it replaces the older one that stands beside it.
pub(crate) fn cases() -> Vec<Case> {
    RULES.lines().chain(UPSTREAM.lines()).map(case).collect()
}

fn case(line: &str) -> Case {
    let line: Value = serde_json::from_str(line).expect("each line is a case");
    let name = line["case"].as_str().expect("a case has a name");
    let (object, path) = placed(&line["input"]["object"]);
    match line["input"].get("oldObject") {
        None => Case::new(name, [post(&path, object), get(&path).accept(TABLE)]),
        Some(old) => {
            let own = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap_or("xx"));
            Case::new(name, [post(&path, placed(old).0), put(&own, object), get(&own).accept(TABLE)])
        }
    }
}

/// Returns an object for the namespace of its case, and the path of its collection.
fn placed(object: &Value) -> (Value, String) {
    let mut object = object.clone();
    object["metadata"]["namespace"] = json!("{namespace}");
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let kind =
        Kind::ALL.iter().find(|kind| object["kind"] == kind.as_str()).expect("the corpus holds our kinds");
    let path = format!("/apis/{version}/namespaces/{{namespace}}/{}", kind.plural());
    (object, path)
}
