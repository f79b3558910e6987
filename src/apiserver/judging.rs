//! Everything that is wrong with an object: metadata, schema, rules, in the order of the real server.

use serde_json::Value;

use crate::apiserver::cause::{Cause, Causes};
use crate::apiserver::metadata;
use crate::apiserver::names;
use crate::apiserver::resource::{Resource, Violation, ViolationReason};
use crate::apiserver::schema;

/// Returns everything that is wrong with an object, given the one it replaces.
pub(crate) fn violations(
    resource: &Resource,
    new: &Value,
    old: Option<&Value>,
    subresource: &str,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(core) = resource.core {
        causes.extend(metadata::violations(new, resource.namespaced, core.validate_name));
        causes.extend(old.map(|old| metadata::update_violations(new, old)).unwrap_or_default());
        causes.extend((core.validate)(new, old));
        return causes;
    }
    // Whatever else is wrong with an object of another type is not worth saying.
    let type_faults = type_violations(resource, new);
    if !type_faults.is_empty() {
        return type_faults;
    }
    match old {
        None => {
            let names = names::dns_subdomain;
            causes.extend(metadata::violations(new, resource.namespaced, names));
        }
        Some(old) => {
            // The real server checks the changes of metadata twice and lists them twice.
            causes.extend(metadata::violations(new, resource.namespaced, names::path_segment));
            let changes = metadata::update_violations(new, old);
            causes.extend(changes.iter().cloned());
            causes.extend(changes);
        }
    }
    causes.extend(schema_violations(resource, new, old, subresource));
    causes
}

fn type_violations(resource: &Resource, object: &Value) -> Vec<Cause> {
    let expectations = [("apiVersion", resource.api_version()), ("kind", resource.kind.clone())];
    expectations
        .into_iter()
        .filter(|(field, expected)| object[*field] != expected.as_str())
        .map(|(field, expected)| Cause::invalid(field, &object[field], &format!("must be {expected}")))
        .collect()
}

fn schema_violations(resource: &Resource, new: &Value, old: Option<&Value>, subresource: &str) -> Vec<Cause> {
    let errors = match subresource {
        "status" => resource.schema.validate_status(new, old),
        _ => resource.schema.validate(new, old),
    };
    let errors = match resource.rules.as_ref().filter(|_| resource.has_rules) {
        None => errors,
        Some(rules) => schema::with_rules(errors, || {
            rules(new, old).into_iter().map(|violation| rule_error(resource, new, violation)).collect()
        }),
    };
    let mut causes = Causes::default();
    for error in &errors {
        causes.push(Cause::from(error));
    }
    causes.into_vec()
}

fn rule_error(resource: &Resource, object: &Value, violation: Violation) -> schema::FieldError {
    let Violation { path, message, reason } = violation;
    let kind = match reason {
        ViolationReason::Invalid => schema::FieldErrorKind::Invalid,
        ViolationReason::Duplicate => schema::FieldErrorKind::Duplicate,
        ViolationReason::Forbidden => return schema::FieldError::forbidden(path, message),
        ViolationReason::Required => return schema::FieldError::required(path, message),
    };
    // The real server shows the value that a rule is about, unless that is an object or a list.
    let detail = if kind == schema::FieldErrorKind::Duplicate { String::new() } else { message.clone() };
    match value_of_rule(&resource.open_api, object, &path, &message) {
        Some(value) => schema::FieldError::new(kind, path, value, detail),
        None => schema::FieldError::without_value(kind, path, detail),
    }
}

/// Returns the value at `path` when it is a single one and the schema states the rule right there.
fn value_of_rule(schema: &Value, object: &Value, path: &str, message: &str) -> Option<Value> {
    let (mut schema, mut value) = (schema, object);
    for part in path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty())
    {
        (schema, value) = match value {
            Value::Array(items) => (schema.get("items")?, items.get(part.parse::<usize>().ok()?)?),
            Value::Object(map) => {
                let known = schema.get("properties").and_then(|properties| properties.get(part));
                (known.or_else(|| schema.get("additionalProperties"))?, map.get(part)?)
            }
            _ => return None,
        };
    }
    let rules = schema.get("x-kubernetes-validations")?.as_array()?;
    let is_here = rules.iter().any(|rule| rule["message"] == message);
    (is_here && !value.is_object() && !value.is_array()).then(|| value.clone())
}
