//! Lists that are declared sets or keyed hold each item once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::{FieldError, FieldErrorKind};
use super::structural::{Additional, ListType, Node};
use crate::apiserver::spelling;

/// Returns the items that stand in a set or keyed list for the second time.
pub(super) fn duplicates(value: &Value, schema: &Node, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    collect(value, schema, path, &mut errors);
    errors
}

fn collect(value: &Value, schema: &Node, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(Additional::Schema(schema)) = &schema.additional {
                    collect(field, schema, &format!("{path}[{name}]"), errors);
                }
            }
            for (name, field) in fields {
                if let Some(schema) = schema.properties.get(name) {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    collect(field, schema, &path, errors);
                }
            }
        }
        Value::Array(items) => {
            match &schema.list_type {
                ListType::Atomic => {}
                ListType::Set => errors.extend(repeated(items, path)),
                ListType::Map(keys) => errors.extend(repeated_keys(items, keys, path)),
            }
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    collect(item, schema, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn repeated_keys(items: &[Value], keys: &[String], path: &str) -> Vec<FieldError> {
    for (index, item) in items.iter().enumerate() {
        if !item.is_object() && !item.is_null() {
            let detail = "must be an object for an array of list-type map";
            return vec![FieldError::invalid(format!("{path}[{index}]"), item.clone(), detail)];
        }
    }
    let key_of = |item: &Value| -> Value {
        let fields: Map<String, Value> =
            keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect();
        Value::Object(fields)
    };
    repeated(&items.iter().map(key_of).collect::<Vec<_>>(), path)
}

/// Tells of each repeated value once, at its second place.
fn repeated(items: &[Value], path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let count = counts.entry(spelling::json(item)).or_default();
        *count += 1;
        if *count == 2 {
            let path = format!("{path}[{index}]");
            errors.push(FieldError::new(FieldErrorKind::Duplicate, path, item.clone(), ""));
        }
    }
    errors
}
