//! What a schema does not know, and nulls that mean nothing, are taken out of an object before it is stored.

use serde_json::Value;

use super::structural::{Additional, Node};

/// The fields that every object has, whatever its schema says.
const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Takes unknown fields out of `object`; returns their paths, sorted.
pub(super) fn prune_unknown(object: &mut Value, schema: &Node) -> Vec<String> {
    let mut pruning = Pruning { unknown: Vec::new() };
    pruning.value(object, Some(schema), "");
    pruning.unknown.sort();
    pruning.unknown
}

/// Takes out nulls of fields that are neither nullable nor have a default to replace them.
pub(super) fn prune_nulls(value: &mut Value, schema: Option<&Node>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| {
                !(field.is_null()
                    && schema
                        .and_then(|schema| schema.field(name))
                        .is_some_and(|schema| !schema.nullable && schema.default.is_none()))
            });
            for (name, field) in fields {
                prune_nulls(field, schema.and_then(|schema| schema.field(name)));
            }
        }
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            for item in items {
                prune_nulls(item, schema);
            }
        }
        _ => {}
    }
}

struct Pruning {
    unknown: Vec<String>,
}

impl Pruning {
    fn value(&mut self, value: &mut Value, schema: Option<&Node>, path: &str) {
        if let Some(schema) = schema
            && schema.preserve_unknown_fields
        {
            self.preserved(value, schema, path);
            return;
        }
        match value {
            Value::Object(fields) => {
                fields.retain(|name, field| {
                    let is_meta = META_FIELDS.contains(&name.as_str());
                    let Some(schema) = schema else {
                        self.unknown.push(child(path, name));
                        return false;
                    };
                    // The object itself is a resource, whatever its schema says.
                    if (schema.embedded_resource || path.is_empty()) && is_meta {
                        return true;
                    }
                    if let Some(property) = schema.properties.get(name) {
                        self.value(field, Some(property), &child(path, name));
                        return true;
                    }
                    match &schema.additional {
                        Some(Additional::Schema(schema)) => {
                            self.value(field, Some(schema), &child(path, name));
                        }
                        Some(Additional::Any(_)) => self.value(field, None, &child(path, name)),
                        None => {
                            self.unknown.push(child(path, name));
                            return false;
                        }
                    }
                    true
                });
            }
            Value::Array(items) => {
                let schema = schema.and_then(|schema| schema.items.as_deref());
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, schema, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }

    /// Below a place that keeps unknown fields, the known ones are still pruned.
    fn preserved(&mut self, value: &mut Value, schema: &Node, path: &str) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let is_resource = schema.embedded_resource || path.is_empty();
                    if is_resource && META_FIELDS.contains(&name.as_str()) {
                        continue;
                    }
                    if let Some(property) = schema.properties.get(name) {
                        self.value(field, Some(property), &child(path, name));
                    } else {
                        match &schema.additional {
                            Some(Additional::Schema(schema)) => {
                                self.value(field, Some(schema), &child(path, name));
                            }
                            Some(Additional::Any(_)) => self.value(field, None, &child(path, name)),
                            None => {}
                        }
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = schema.items.as_deref() else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    self.preserved(item, schema, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
