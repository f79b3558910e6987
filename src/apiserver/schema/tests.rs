use serde_json::json;

use super::*;

/// A kind with one field for each thing that a schema can say.
const CHECK: &str = include_str!("../../../tests/testdata/apiserver/check-schema.json");

/// Objects of that kind and what became of them when they were created, one a line, recorded from kube-apiserver
/// v1.37.1.
const CREATED: &str = include_str!("../../../tests/testdata/apiserver/validation.jsonl");

#[test]
fn objects_are_taken_and_refused_as_on_the_real_server() {
    let schema = Structural::parse(&serde_json::from_str(CHECK).unwrap()).unwrap();
    let mut faults = Vec::new();
    for line in CREATED.lines() {
        let recording: Value = serde_json::from_str(line).unwrap();
        let expected = expected_answer(&recording);
        let text = recording["object"].to_string();
        let actual = created(&schema, &decode(text.as_bytes()).unwrap().value);
        if actual != expected {
            faults.push(format!("{text}\n  expected {expected}\n  actual   {actual}"));
        }
    }
    assert!(faults.is_empty(), "{} recordings differ:\n{}", faults.len(), faults.join("\n"));
}

/// What of a recording is compared. The real server lists faults of several fields in no order.
fn expected_answer(recording: &Value) -> Value {
    let unknown = &recording["unknown"];
    match recording["code"].as_u64().unwrap() {
        201 => json!({"unknown": unknown, "stored": recording["stored"]}),
        422 => {
            let mut causes = recording["causes"].as_array().unwrap().clone();
            causes.sort_by_key(Value::to_string);
            json!({"unknown": unknown, "causes": causes})
        }
        _ => {
            let message = recording["message"].as_str().unwrap();
            json!({"message": message.split_once("cannot be handled as a Check: ").unwrap().1})
        }
    }
}

fn created(schema: &Structural, object: &Value) -> Value {
    let mut fields = object.as_object().unwrap().clone();
    let mut unknown = match schema.coerce(&mut fields) {
        Ok(unknown) => unknown,
        Err(message) => return json!({"message": message}),
    };
    unknown.sort();
    // What the server itself puts into the metadata and leaves out of a new object.
    let metadata = fields["metadata"].as_object_mut().unwrap();
    for name in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.remove(name);
    }
    metadata.remove("generation");
    metadata.remove("managedFields");
    metadata.insert("namespace".to_owned(), json!("fields"));
    fields.remove("status");
    let mut object = Value::Object(fields);
    schema.fill_defaults(&mut object);
    let mut errors = schema.validate(&object, None);
    errors.extend(metadata_errors(&object));
    if errors.is_empty() {
        return json!({"unknown": unknown, "stored": object});
    }
    let mut causes: Vec<Value> =
        errors.iter().map(|error| json!([error.kind.reason(), error.path, error.body()])).collect();
    causes.sort_by_key(Value::to_string);
    json!({"unknown": unknown, "causes": causes})
}

/// The checks of the metadata that the recordings touch; they belong to the server, not to the schema.
fn metadata_errors(object: &Value) -> Vec<FieldError> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let mut errors = Vec::new();
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        for name in ["apiVersion", "kind", "name", "uid"] {
            if owner[name] == "" {
                let path = format!("metadata.ownerReferences[{index}].{name}");
                errors.push(FieldError::required(path, "must not be empty"));
            }
        }
    }
    errors
}

/// Objects that were stored before the schema forbade them, what they were replaced by, and the answer, recorded from
/// kube-apiserver v1.37.1.
const REPLACED: &str = include_str!("../../../tests/testdata/apiserver/ratcheting.jsonl");

#[test]
fn faults_that_were_there_before_pass_as_on_the_real_server() {
    let schema = Structural::parse(&serde_json::from_str(CHECK).unwrap()).unwrap();
    let read = |spec: &Value| {
        let mut object = json!({"spec": spec}).as_object().unwrap().clone();
        schema.coerce(&mut object).unwrap();
        let mut object = Value::Object(object);
        schema.fill_defaults(&mut object);
        object
    };
    for line in REPLACED.lines() {
        let recording: Value = serde_json::from_str(line).unwrap();
        let mut causes = recording["causes"].as_array().cloned().unwrap_or_default();
        causes.sort_by_key(Value::to_string);
        let errors = schema.validate(&read(&recording["new"]), Some(&read(&recording["old"])));
        let mut actual: Vec<Value> =
            errors.iter().map(|error| json!([error.kind.reason(), error.path, error.body()])).collect();
        actual.sort_by_key(Value::to_string);
        assert_eq!(actual, causes, "{line}");
    }
}

#[test]
fn the_paths_of_unknown_fields_are_told_as_far_as_an_answer_holds_them() {
    let schema = json!({"type": "object", "properties": {
        "maps": {"type": "object", "additionalProperties": {"type": "object", "properties": {}}},
    }});
    let fields: Map<String, Value> = (0..100_000).map(|number| (number.to_string(), json!(1))).collect();
    let long = "x".repeat(100_000);
    let mut object = json!({"maps": {long.as_str(): fields}});
    let unknown = Structural::parse(&schema).unwrap().prune(&mut object);
    assert_eq!(object, json!({"maps": {long.as_str(): {}}}));
    assert_eq!(unknown[0], format!("maps.{long}.0"));
    assert!((2..20).contains(&unknown.len()), "{}", unknown.len());
}
