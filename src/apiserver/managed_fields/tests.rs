//! Replays of what a real server answered, and properties that hold for any sequence of writes.

use serde_json::{Map, Value, json};

use super::*;
use crate::apiserver::patch::merge_patch;
use crate::apiserver::schema::{FieldError, Structural, invalid_message};

/// The kind that the recordings are about: `widgets.fields.example.com`, with a status subresource.
const WIDGET: &str = include_str!("../../../tests/testdata/apiserver/widget-schema.json");

/// Scenarios written by hand, recorded from kube-apiserver v1.37.1. One a line: a name and its steps, each a request
/// and the answer. Each step was made in a second of its own; the seconds are counted from 2026-01-01T00:00:00Z.
const SCENARIOS: &str = include_str!("../../../tests/testdata/apiserver/ownership-scenarios.jsonl");

/// Random sequences of writes, recorded from kube-apiserver v1.37.1 in the same form.
const SEQUENCES: &str = include_str!("../../../tests/testdata/apiserver/ownership-sequences.jsonl");

const API_VERSION: &str = "fields.example.com/v1";

#[test]
fn scenarios_end_as_on_the_real_server() {
    replay(SCENARIOS);
}

#[test]
fn random_sequences_end_as_on_the_real_server() {
    replay(SEQUENCES);
}

/// Writes to objects of built-in kinds, recorded from kube-apiserver v1.37.1 in the same form, with the kind.
const CORE_SCENARIOS: &str = include_str!("../../../tests/testdata/apiserver/ownership-core.jsonl");

/// What else the server does to such objects is not played here, so only the entries are compared, and each step
/// starts from the recorded object.
#[test]
fn entries_of_built_in_kinds_are_as_on_the_real_server() {
    for line in CORE_SCENARIOS.lines() {
        let recording: Value = serde_json::from_str(line).unwrap();
        let name = recording["name"].as_str().unwrap();
        let (api_version, kind) =
            (recording["apiVersion"].as_str().unwrap(), recording["kind"].as_str().unwrap());
        let shape = Shape::of_core(api_version, kind).unwrap();
        let mut live: Option<Value> = None;
        for (index, step) in recording["steps"].as_array().unwrap().iter().enumerate() {
            let now = format!("2026-01-01T00:00:{index:02}Z").parse().unwrap();
            let manager = step["manager"].as_str().unwrap();
            let writer = Writer { manager, api_version, subresource: "", reset: &[], now };
            let mut body = step["body"].clone();
            let result = if step["op"] == "merge" {
                let mut new = patched(live.as_ref().unwrap(), &body);
                // Typed kinds drop what is empty when they are read, and have what is always there.
                new.as_object_mut().unwrap().retain(|name, value| name != "data" || *value != json!({}));
                if kind == "Lease" && new.get("spec").is_none() {
                    new["spec"] = json!({});
                }
                Ok(update(&shape, live.as_ref(), new, &writer))
            } else {
                body["apiVersion"] = json!(api_version);
                body["kind"] = json!(kind);
                body["metadata"]["name"] = json!(name);
                if step["op"] == "apply" {
                    apply(&shape, live.as_ref(), &body, &writer, step["force"] == true)
                } else {
                    Ok(update(&shape, live.as_ref(), body, &writer))
                }
            };
            if step["code"].as_u64().unwrap() >= 300 {
                assert_eq!(result.unwrap_err().to_string(), step["message"], "{name} step {index}");
                continue;
            }
            let expected = &step["object"]["metadata"]["managedFields"];
            assert_eq!(&result.unwrap()["metadata"]["managedFields"], expected, "{name} step {index}");
            live = Some(with_identity(step["object"].clone()));
        }
    }
}

fn replay(recordings: &str) {
    let widgets = Widgets::new();
    let mut faults = Vec::new();
    for line in recordings.lines() {
        let recording: Value = serde_json::from_str(line).unwrap();
        let name = recording["name"].as_str().unwrap();
        let mut live: Option<Value> = None;
        for (index, step) in recording["steps"].as_array().unwrap().iter().enumerate() {
            let now: Timestamp =
                format!("2026-01-01T00:{:02}:{:02}Z", index / 60, index % 60).parse().unwrap();
            let outcome = widgets.write(live.as_ref(), step, name, now);
            let is_accepted = step["code"].as_u64().unwrap() < 300;
            let expected = if is_accepted { step["object"].clone() } else { refusal_of(step) };
            let actual = match &outcome {
                Ok(object) => object.clone(),
                Err(refusal) => refusal.clone(),
            };
            if actual != expected {
                let request = json!([
                    step["op"],
                    step["sub"],
                    step["manager"],
                    step["force"],
                    step["body"],
                    step["edit"]
                ]);
                let mut differences = Vec::new();
                differ(&expected, &actual, "", &mut differences);
                faults.push(format!("{name} step {index}: {request}\n  {}", differences.join("\n  ")));
                break;
            }
            if let Ok(object) = outcome {
                live = Some(object);
            }
        }
    }
    assert!(faults.is_empty(), "{} recordings differ:\n{}", faults.len(), faults.join("\n"));
}

/// Collects the places where two values differ.
fn differ(expected: &Value, actual: &Value, path: &str, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(left), Value::Object(right)) => {
            let names: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for name in names {
                let (left, right) = (left.get(name), right.get(name));
                if left.is_none() || right.is_none() {
                    found.push(format!("{path}.{name}: expected {left:?}, got {right:?}"));
                } else if let (Some(left), Some(right)) = (left, right) {
                    differ(left, right, &format!("{path}.{name}"), found);
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differ(left, right, &format!("{path}[{index}]"), found);
            }
        }
        _ if expected != actual => found.push(format!("{path}: expected {expected}, got {actual}")),
        _ => {}
    }
}

fn refusal_of(step: &Value) -> Value {
    let code = step["code"].as_u64().unwrap();
    refusal(code, step["message"].as_str().unwrap(), step["causes"].as_array().unwrap().clone())
}

/// The write path of a server, as far as fields are concerned.
struct Widgets {
    schema: Structural,
    shape: Shape,
}

impl Widgets {
    fn new() -> Self {
        let schema = Structural::parse(&serde_json::from_str(WIDGET).unwrap()).unwrap();
        let shape = Shape::of_custom_resource(&schema);
        Self { schema, shape }
    }

    fn write(&self, live: Option<&Value>, step: &Value, name: &str, now: Timestamp) -> Result<Value, Value> {
        let subresource = step["sub"].as_str().unwrap_or_default();
        let writer = Writer {
            manager: step["manager"].as_str().unwrap(),
            api_version: API_VERSION,
            subresource,
            reset: if subresource.is_empty() { RESET_BY_MAIN } else { RESET_BY_STATUS },
            now,
        };
        let live = live.cloned().map(with_identity);
        let body = &step["body"];
        let merged = match step["op"].as_str().unwrap() {
            "apply" => return self.apply(live.as_ref(), &named(body, name), step["force"] == true, &writer),
            "create" | "put" => named(body, name),
            "edit" => patched(live.as_ref().unwrap(), &step["edit"]),
            "merge" => patched(live.as_ref().unwrap(), body),
            other => panic!("unknown operation {other}"),
        };
        if merged["metadata"]["name"].is_null() {
            let message = format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            );
            return Err(refusal(400, &message, Vec::new()));
        }
        let mut new = with_coerced_metadata(merged);
        self.schema.prune(&mut new);
        self.schema.fill_defaults(&mut new);
        let new = update(&self.shape, live.as_ref(), new, &writer);
        self.store(live.as_ref(), new, subresource)
    }

    fn apply(
        &self,
        live: Option<&Value>,
        applied: &Value,
        force: bool,
        writer: &Writer<'_>,
    ) -> Result<Value, Value> {
        let mut new = apply(&self.shape, live, applied, writer, force).map_err(|error| match &error {
            ApplyError::Conflicts(conflicts) => {
                let causes: Vec<Value> = conflicts
                    .causes()
                    .into_iter()
                    .map(|cause| json!([cause.reason, cause.field, cause.message]))
                    .collect();
                refusal(409, &error.to_string(), causes)
            }
            ApplyError::BadRequest(_) => refusal(400, &error.to_string(), Vec::new()),
            ApplyError::Applied(..) | ApplyError::Stored(_) => refusal(500, &error.to_string(), Vec::new()),
        })?;
        self.schema.fill_defaults(&mut new);
        self.store(live, new, writer.subresource)
    }

    fn store(&self, live: Option<&Value>, mut new: Value, subresource: &str) -> Result<Value, Value> {
        let fields = new.as_object_mut().unwrap();
        let status = live.and_then(|live| live.get("status")).cloned();
        if subresource.is_empty() {
            fields.remove("status");
            if let Some(status) = status {
                fields.insert("status".to_owned(), status);
            }
        } else {
            let status = fields.remove("status");
            let entries = fields["metadata"].get("managedFields").cloned();
            *fields = live.unwrap().as_object().unwrap().clone();
            fields.remove("status");
            fields.extend(status.map(|status| ("status".to_owned(), status)));
            let metadata = fields["metadata"].as_object_mut().unwrap();
            metadata.remove("managedFields");
            metadata.extend(entries.map(|entries| ("managedFields".to_owned(), entries)));
        }
        if let Some(live) = live {
            keep_times_of_unchanged(live, &mut new);
        }
        let mut errors = metadata_errors(&new);
        errors.extend(if subresource.is_empty() {
            self.schema.validate(&new, live)
        } else {
            self.schema.validate_status(&new, live)
        });
        if !errors.is_empty() {
            let causes =
                errors.iter().map(|error| json!([error.kind.reason(), error.path, error.body()])).collect();
            let name = new["metadata"]["name"].as_str().unwrap();
            return Err(refusal(422, &invalid_message("Widget.fields.example.com", name, &errors), causes));
        }
        // What is read back from the store went through the decoder of requests.
        self.schema.prune(&mut new);
        new = with_coerced_metadata(new);
        let metadata = new["metadata"].as_object_mut().unwrap();
        metadata.remove("uid");
        metadata.insert("namespace".to_owned(), json!("fields"));
        Ok(new)
    }
}

/// What of a refusal is compared. The real server lists invalid fields in no order.
fn refusal(code: u64, message: &str, mut causes: Vec<Value>) -> Value {
    causes.sort_by_key(ToString::to_string);
    let message = if code == 422 && causes.len() > 1 { "" } else { message };
    json!({"code": code, "message": message, "causes": causes})
}

/// The checks of the metadata that the recordings touch; they belong to the server, not to this module.
fn metadata_errors(object: &Value) -> Vec<FieldError> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten().enumerate();
    let mut errors: Vec<FieldError> = entries
        .flat_map(|(index, entry)| entry_errors(entry, &format!("metadata.managedFields[{index}]")))
        .collect();
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        if owner["uid"].as_str().is_none_or(str::is_empty) {
            let path = format!("metadata.ownerReferences[{index}].uid");
            errors.push(FieldError::required(path, "must not be empty"));
        }
    }
    errors
}

fn named(body: &Value, name: &str) -> Value {
    let mut object = body.as_object().cloned().unwrap_or_default();
    object.insert("apiVersion".to_owned(), json!(API_VERSION));
    object.insert("kind".to_owned(), json!("Widget"));
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    metadata["name"] = json!(name);
    Value::Object(object)
}

/// The fields that the server adds and that the recordings leave out.
fn with_identity(mut object: Value) -> Value {
    object["metadata"]["uid"] = json!("1");
    object
}

fn patched(live: &Value, patch: &Value) -> Value {
    merge_patch(live, patch).unwrap()
}

/// Reading the metadata into a typed structure and back drops what is empty.
fn with_coerced_metadata(mut object: Value) -> Value {
    let Some(metadata) = object["metadata"].as_object_mut() else { return object };
    metadata.retain(|_, value| {
        !(value.is_null()
            || value.as_object().is_some_and(Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty))
    });
    object
}
