//! Defaults of the schema are put where a value is missing.

use serde_json::Value;

use super::structural::{Additional, Node};

/// Puts defaults into `value`: for absent fields, and for nulls where null is not allowed. Objects that came from a
/// default are filled in turn.
pub(super) fn fill(value: &mut Value, schema: &Node) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                let is_missing = match fields.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !property.nullable,
                };
                if is_missing {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in fields {
                if let Some(property) = schema.properties.get(name) {
                    fill(field, property);
                } else if let Some(Additional::Schema(schema)) = &schema.additional {
                    fill_null(field, schema);
                    fill(field, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                fill_null(item, schema);
                fill(item, schema);
            }
        }
        _ => {}
    }
}

fn fill_null(value: &mut Value, schema: &Node) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}
