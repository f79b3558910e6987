//! JSON merge patch (RFC 7386), as the real server's library applies it.

use serde_json::{Map, Value};

use super::PatchError;

/// Returns `target` with a merge patch applied: null removes a field, objects merge, all else replaces.
///
/// Nulls inside something that is new fall away, also within lists.
pub fn merge_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(fields) = patch else {
        return Err(match patch {
            Value::Null => PatchError::Malformed("Invalid JSON Patch".to_owned()),
            other => PatchError::mistyped(other, "map[string]interface {}"),
        });
    };
    let mut merged = target.as_object().cloned().unwrap_or_default();
    merge_fields(&mut merged, fields);
    Ok(Value::Object(merged))
}

fn merge_fields(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match (target.get_mut(name), value) {
            (_, Value::Null) => drop(target.remove(name)),
            (Some(Value::Object(target)), Value::Object(patch)) => merge_fields(target, patch),
            (Some(target @ Value::Object(_)), other) => *target = other.clone(),
            (_, other) => drop(target.insert(name.clone(), without_nulls(other))),
        }
    }
}

/// Nulls that are items of a list stay.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
