//! What a schema does not know, and nulls that mean nothing, are taken out of an object before it is stored.

use std::fmt::Write as _;

use serde_json::Value;

use super::error::TEXTS_LIMIT;
use super::structural::{Additional, Node};

/// The fields that every object has, whatever its schema says.
const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Takes unknown fields out of `object`; returns their paths, sorted, as many as an answer holds.
pub(super) fn prune_unknown(object: &mut Value, schema: &Node) -> Vec<String> {
    let mut pruning = Pruning { path: String::new(), unknown: Vec::new(), bytes: 0 };
    pruning.value(object, Some(schema));
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
    /// The place that is looked at, longer while what lies below is looked at and as it was after that: documents of
    /// clients can make names long and fields many.
    path: String,
    unknown: Vec<String>,
    /// How long the paths of the unknown fields are together.
    bytes: usize,
}

impl Pruning {
    /// Does `look` at the field `name` of the place that is looked at.
    fn at<T>(&mut self, name: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = look(self);
        self.path.truncate(length);
        result
    }

    /// Does `look` at each item of a list.
    fn at_items(&mut self, items: &mut [Value], mut look: impl FnMut(&mut Self, &mut Value)) {
        let length = self.path.len();
        for (index, item) in items.iter_mut().enumerate() {
            let _infallible = write!(self.path, "[{index}]");
            look(self, item);
            self.path.truncate(length);
        }
    }

    fn note_unknown(&mut self, name: &str) {
        if self.bytes <= TEXTS_LIMIT {
            let path = self.at(name, |pruning| pruning.path.clone());
            self.bytes += path.len();
            self.unknown.push(path);
        }
    }

    fn value(&mut self, value: &mut Value, schema: Option<&Node>) {
        if let Some(schema) = schema
            && schema.preserve_unknown_fields
        {
            self.preserved(value, schema);
            return;
        }
        match value {
            Value::Object(fields) => fields.retain(|name, field| {
                let is_meta = META_FIELDS.contains(&name.as_str());
                // The object itself is a resource, whatever its schema says.
                if schema.is_some_and(|schema| schema.embedded_resource || self.path.is_empty()) && is_meta {
                    return true;
                }
                let is_known = schema.is_some_and(|schema| self.known_field(name, field, schema));
                if !is_known {
                    self.note_unknown(name);
                }
                is_known
            }),
            Value::Array(items) => {
                let schema = schema.and_then(|schema| schema.items.as_deref());
                self.at_items(items, |pruning, item| pruning.value(item, schema));
            }
            _ => {}
        }
    }

    /// Prunes a field that `schema`, that of the place, knows; `false` for one that it does not know.
    fn known_field(&mut self, name: &str, field: &mut Value, schema: &Node) -> bool {
        let schema = match (schema.properties.get(name), &schema.additional) {
            (Some(property), _) => Some(property),
            (None, Some(Additional::Schema(schema))) => Some(&**schema),
            (None, Some(Additional::Any(_))) => None,
            (None, None) => return false,
        };
        self.at(name, |pruning| pruning.value(field, schema));
        true
    }

    /// Below a place that keeps unknown fields, the known ones are still pruned.
    fn preserved(&mut self, value: &mut Value, schema: &Node) {
        match value {
            Value::Object(fields) => {
                let is_resource = schema.embedded_resource || self.path.is_empty();
                for (name, field) in fields {
                    if !is_resource || !META_FIELDS.contains(&name.as_str()) {
                        self.known_field(name, field, schema);
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = schema.items.as_deref() else { return };
                self.at_items(items, |pruning, item| pruning.preserved(item, schema));
            }
            _ => {}
        }
    }
}
