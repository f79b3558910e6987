use serde_json::{Value, json};

use super::*;

/// The objects that the patches were made for.
const TARGETS: &str = include_str!("../../../tests/testdata/apiserver/patch-targets.json");

/// Patches and what became of their targets, one a line, recorded from kube-apiserver v1.37.1.
const PATCHED: &str = include_str!("../../../tests/testdata/apiserver/patches.jsonl");

#[test]
fn patches_do_what_they_do_on_the_real_server() {
    let targets: Value = serde_json::from_str(TARGETS).unwrap();
    let mut faults = Vec::new();
    for line in PATCHED.lines() {
        let recording: Value = serde_json::from_str(line).unwrap();
        let patch = &recording["patch"];
        let result = match recording["kind"].as_str().unwrap() {
            "json" => json_patch(&targets["widget"], patch),
            "merge" => merge_patch(&targets["widget"], patch),
            _ => strategic_patch(&targets["configMap"], patch),
        };
        let actual = match result {
            Ok(object) => json!({"code": 200, "object": stored(&object)}),
            Err(error) => json!({"code": code_of(&error), "message": error.to_string()}),
        };
        let mut expected = recording.clone();
        for name in ["kind", "patch"] {
            expected.as_object_mut().unwrap().remove(name);
        }
        if actual != expected {
            faults.push(format!("{line}\n  actual {actual}"));
        }
    }
    assert!(faults.is_empty(), "{} recordings differ:\n{}", faults.len(), faults.join("\n"));
}

fn code_of(error: &PatchError) -> u16 {
    match error {
        PatchError::Malformed(_) => 400,
        PatchError::TooManyOperations { .. } => 413,
        PatchError::Inapplicable { .. } => 422,
        PatchError::Failed(_) => 500,
    }
}

/// What the server makes of a patched object: unknown fields fall away, and empty ones of the metadata and of typed
/// kinds.
fn stored(object: &Value) -> Value {
    let mut object = object.clone();
    for pointer in ["", "/metadata", "/spec"] {
        if let Some(fields) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
            fields.retain(|name, value| {
                let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty);
                let is_known = !pointer.is_empty()
                    || ["metadata", "spec", "data", "binaryData"].contains(&name.as_str());
                let falls_away = value.is_null() || (is_empty && pointer != "/spec");
                is_known && !falls_away
            });
        }
    }
    object
}

#[test]
fn too_many_operations_are_refused() {
    let operation = json!({"op": "test", "path": "/a", "value": 1});
    let patch = Value::Array(vec![operation; 10_001]);
    let error = json_patch(&json!({"a": 1}), &patch).unwrap_err();
    assert_eq!(error, PatchError::TooManyOperations { max: 10_000, count: 10_001 });
}

#[test]
fn copies_cannot_grow_an_object_without_bound() {
    let mut operations = vec![json!({"op": "add", "path": "/a", "value": "x".repeat(1024)})];
    for _ in 0..30 {
        operations.push(json!({"op": "copy", "from": "", "path": "/b"}));
        operations.push(json!({"op": "copy", "from": "/a", "path": "/l/-"}));
        operations.push(json!({"op": "copy", "from": "/l", "path": "/l/-"}));
    }
    let error = json_patch(&json!({"l": [], "b": 1}), &Value::Array(operations)).unwrap_err();
    assert!(matches!(error, PatchError::Inapplicable { .. }));
}

#[test]
fn a_patch_of_many_moves_makes_no_tower() {
    // Each pair of moves puts what there is into a new field; a thousand of them would overflow the stack.
    let mut operations = vec![json!({"op": "add", "path": "/x", "value": {}})];
    for _ in 0..2_000 {
        operations.push(json!({"op": "add", "path": "/y", "value": {}}));
        operations.push(json!({"op": "move", "from": "/x", "path": "/y/x"}));
        operations.push(json!({"op": "move", "from": "/y", "path": "/x"}));
    }
    let refusal = json_patch(&json!({}), &Value::Array(operations)).unwrap_err();
    assert!(matches!(refusal, PatchError::Inapplicable { .. }), "{refusal:?}");
    // Moves from one field to another lead nowhere deeper.
    let mut operations = vec![json!({"op": "add", "path": "/x", "value": {"deep": {}}})];
    for _ in 0..2_000 {
        operations.push(json!({"op": "move", "from": "/x", "path": "/y"}));
        operations.push(json!({"op": "copy", "from": "/y", "path": "/x"}));
    }
    let moved = json_patch(&json!({}), &Value::Array(operations)).unwrap();
    assert_eq!(moved, json!({"x": {"deep": {}}, "y": {"deep": {}}}));
    // What is stored has to be read again.
    let path = "/a".repeat(crate::apiserver::schema::DEPTH_LIMIT + 1);
    let operations: Vec<Value> = path
        .match_indices('/')
        .skip(1)
        .map(|(end, _)| json!({"op": "add", "path": path.get(..end), "value": {}}))
        .collect();
    let refusal = json_patch(&json!({}), &Value::Array(operations)).unwrap_err();
    assert!(matches!(refusal, PatchError::Inapplicable { .. }), "{refusal:?}");
}
