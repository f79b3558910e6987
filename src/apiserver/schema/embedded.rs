//! Objects inside objects: places that the schema marks as holding a whole resource.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::error::FieldError;
use super::object_meta;
use super::structural::{Additional, Node};

/// Reads the metadata of all embedded resources; returns the paths of unknown metadata fields, or what cannot be read.
pub(super) fn coerce(value: &mut Value, schema: &Node, path: &str) -> Result<Vec<String>, FieldError> {
    let mut unknown = Vec::new();
    match value {
        Value::Object(fields) => {
            if schema.embedded_resource {
                unknown.extend(coerce_meta(fields, path)?);
            }
            for (name, field) in fields {
                if let Some((schema, path)) = child(schema, path, name) {
                    unknown.extend(coerce(field, schema, &path)?);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                if let Some(schema) = &schema.items {
                    unknown.extend(coerce(item, schema, &format!("{path}[{index}]"))?);
                }
            }
        }
        _ => {}
    }
    unknown.sort();
    Ok(unknown)
}

/// Returns what is wrong with the types of embedded resources.
pub(super) fn type_errors(value: &Value, schema: &Node, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match value {
        Value::Object(fields) => {
            if schema.embedded_resource {
                errors.extend(type_errors_of(fields, path));
            }
            for (name, field) in fields {
                if let Some((schema, path)) = child(schema, path, name) {
                    errors.extend(type_errors(field, schema, &path));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(schema) = &schema.items {
                    errors.extend(type_errors(item, schema, &format!("{path}[{index}]")));
                }
            }
        }
        _ => {}
    }
    errors
}

fn child<'a>(schema: &'a Node, path: &str, name: &str) -> Option<(&'a Node, String)> {
    if let Some(property) = schema.properties.get(name) {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        return Some((property, path));
    }
    match &schema.additional {
        Some(Additional::Schema(schema)) => Some((schema, format!("{path}[{name}]"))),
        _ => None,
    }
}

fn coerce_meta(fields: &mut Map<String, Value>, path: &str) -> Result<Vec<String>, FieldError> {
    for name in ["apiVersion", "kind"] {
        if let Some(value) = fields.get(name).filter(|value| !value.is_string()) {
            return Err(FieldError::invalid(format!("{path}.{name}"), value.clone(), "must be a string"));
        }
    }
    let given = fields.get("metadata").cloned().unwrap_or_default();
    let unknown = object_meta::coerce(fields, &format!("{path}.metadata"))
        .map_err(|message| FieldError::invalid(format!("{path}.metadata"), given, message))?;
    Ok(unknown)
}

fn type_errors_of(fields: &Map<String, Value>, path: &str) -> Vec<FieldError> {
    static KIND: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$")
            .expect("because the pattern is a constant that tests compile")
    });
    let mut errors = Vec::new();
    let at = |name: &str| format!("{path}.{name}");
    for name in ["apiVersion", "kind"] {
        if !fields.contains_key(name) {
            errors.push(FieldError::required(at(name), ""));
        }
    }
    match fields.get("apiVersion").and_then(Value::as_str) {
        Some("") => errors.push(FieldError::invalid(at("apiVersion"), "", "must not be empty")),
        Some(version) if version.matches('/').count() > 1 => {
            let detail = format!("unexpected GroupVersion string: {version}");
            errors.push(FieldError::invalid(at("apiVersion"), version, detail));
        }
        _ => {}
    }
    match fields.get("kind").and_then(Value::as_str) {
        Some("") => errors.push(FieldError::invalid(at("kind"), "", "must not be empty")),
        Some(kind) if kind.len() > 63 || !KIND.is_match(&kind.to_lowercase()) => {
            let mut faults = Vec::new();
            if kind.len() > 63 {
                faults.push("must be no more than 63 characters".to_owned());
            }
            if !KIND.is_match(&kind.to_lowercase()) {
                faults.push(
                    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
                     regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
                        .to_owned(),
                );
            }
            let detail = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
            errors.push(FieldError::invalid(at("kind"), kind, detail));
        }
        _ => {}
    }
    errors
}
