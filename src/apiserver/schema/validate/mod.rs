//! Checks a value against its schema, with the verdicts, texts and choices of the real server's validator.
//!
//! Where that validator goes through fields in no order, this one goes by name.

mod formats;
mod outcome;
mod scalars;

use std::fmt::Write as _;

use serde_json::{Map, Value};

use self::outcome::Outcome;
use super::error::{FieldError, FieldErrorKind};
use super::structural::{Additional, ListType, Node};
use crate::apiserver::spelling;

/// Checks `value`. With the object that it replaces, faults of parts that are equal in both are let pass.
pub(super) fn check(value: &Value, old: Option<&Value>, schema: &Node, path: &str) -> Vec<FieldError> {
    let correlated = old.map(|old| Correlated { old, schema });
    visit(value, schema, &mut path.to_owned(), correlated).into_errors()
}

/// The value that stood at a place before, with the schema by which parts of the two are matched.
#[derive(Clone, Copy)]
struct Correlated<'a> {
    old: &'a Value,
    schema: &'a Node,
}

impl Correlated<'_> {
    fn field(self, name: &str) -> Option<Self> {
        Some(Self { old: self.old.as_object()?.get(name)?, schema: self.schema.field(name)? })
    }

    /// Only items of lists with keys can be matched.
    fn item(self, item: &Value) -> Option<Self> {
        let ListType::Map(keys) = &self.schema.list_type else { return None };
        let schema = self.schema.items.as_deref()?;
        let key =
            |item: &Value| -> Vec<Option<Value>> { keys.iter().map(|key| item.get(key).cloned()).collect() };
        let wanted = key(item);
        let old = self.old.as_array()?.iter().find(|old| key(old) == wanted)?;
        Some(Self { old, schema })
    }

    /// Returns whether nothing changed; fields without a schema count as changed, as they do for the real server.
    fn is_equal(self, value: &Value) -> bool {
        match (self.old, value) {
            (Value::Object(old), Value::Object(new)) => {
                old.len() == new.len()
                    && new
                        .iter()
                        .all(|(name, value)| self.field(name).is_some_and(|child| child.is_equal(value)))
            }
            (old, new) => old == new,
        }
    }
}

/// Checks a value at `path`, which is longer while what lies below is checked and as it was after that.
fn visit(value: &Value, schema: &Node, path: &mut String, correlated: Option<Correlated<'_>>) -> Outcome {
    let outcome = visit_fresh(value, schema, path, correlated);
    let is_unchanged = !outcome.is_valid() && correlated.is_some_and(|correlated| correlated.is_equal(value));
    if is_unchanged { outcome.forgiven() } else { outcome }
}

fn visit_fresh(
    value: &Value,
    schema: &Node,
    path: &mut String,
    correlated: Option<Correlated<'_>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    if value.is_null() {
        outcome.merge(check_type(value, schema, path));
        outcome.merge(check_enum(value, schema, path));
        return outcome;
    }
    let has_type = !schema.type_names().is_empty() || formats::effective(schema).is_some();
    if has_type {
        outcome.merge(check_type(value, schema, path));
        outcome.count();
    }
    outcome.merge(check_combinations(value, schema, path));
    outcome.count();
    match value {
        Value::String(text) => {
            outcome.merge(scalars::check_text(text, schema, path));
            outcome.count();
            if let Some(format) = formats::effective(schema).filter(|format| formats::is_text_format(format))
            {
                outcome.merge(formats::check(text, format, path));
                outcome.count();
            }
        }
        Value::Number(number) => {
            outcome.merge(scalars::check_number(number, schema, path));
            outcome.count();
        }
        Value::Array(items) => {
            outcome.merge(check_items(items, schema, path, correlated));
            outcome.count();
        }
        _ => {}
    }
    outcome.merge(check_enum(value, schema, path));
    outcome.count();
    if let Value::Object(fields) = value {
        outcome.merge(check_fields(fields, schema, path, correlated));
        outcome.count();
    }
    outcome.count();
    outcome
}

fn check_type(value: &Value, schema: &Node, path: &str) -> Outcome {
    let mut outcome = Outcome::counted();
    let wanted = schema.type_names();
    let is_wanted = |name: &str| wanted.contains(&name);
    let (name, own_format) = type_of(value);
    if value.is_null() {
        if !wanted.is_empty() && !schema.nullable {
            return Outcome::of(type_error(path, &wanted.join(","), name));
        }
        return outcome;
    }
    let is_integral =
        value.as_f64().is_some_and(scalars::is_integral) && value.as_i64().is_none() && is_wanted("integer");
    let is_widened = name == "integer" && is_wanted("number");
    let format = formats::effective(schema);
    let is_text_or_list = value.is_string() || value.is_array();
    if let Some(format) = format {
        let fits = is_wanted(name) || own_format == format || is_integral || is_widened;
        if !is_text_or_list && !fits {
            return Outcome::of(type_error(path, format, own_format));
        }
        if is_text_or_list && !is_wanted("number") && !is_wanted("integer") {
            return outcome;
        }
    }
    if !(is_wanted(name) || is_integral || is_widened) {
        outcome = Outcome::of(type_error(path, &wanted.join(","), name));
    }
    outcome
}

/// Returns the JSON type of a value and the format that goes with its representation.
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) if number.is_i64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

fn type_error(path: &str, wanted: &str, found: &str) -> (String, FieldError) {
    let message = format!("{path} in body must be of type {wanted}: {}", spelling::quoted(found));
    (message.clone(), FieldError::new(FieldErrorKind::TypeInvalid, trimmed(path), found, message))
}

fn check_enum(value: &Value, schema: &Node, path: &str) -> Outcome {
    let allowed = &schema.validation.allowed;
    if allowed.is_empty() || allowed.iter().any(|choice| is_choice(value, choice)) {
        return Outcome::default();
    }
    let names: Vec<String> = allowed
        .iter()
        .map(|choice| match choice {
            Value::String(text) => text.clone(),
            other => spelling::json(other),
        })
        .collect();
    let message = format!("{path} in body should be one of [{}]", names.join(" "));
    Outcome::of((message, FieldError::not_supported(trimmed(path), value.clone(), &names)))
}

/// Numbers are compared in the type of the choice.
#[expect(clippy::cast_possible_truncation, reason = "the real server converts in the same way")]
fn is_choice(value: &Value, choice: &Value) -> bool {
    match (value, choice) {
        (Value::Number(value), Value::Number(choice)) => match (value.as_f64(), choice.as_i64()) {
            (Some(value), Some(choice)) => value as i64 == choice,
            (Some(value), None) => Some(value) == choice.as_f64(),
            (None, _) => false,
        },
        _ => value == choice,
    }
}

fn check_combinations(value: &Value, schema: &Node, path: &mut String) -> Outcome {
    let mut outcome = Outcome::default();
    let rules = &schema.validation;
    let visit_all = |schemas: &[Node], path: &mut String| -> Vec<Outcome> {
        schemas.iter().map(|schema| visit(value, schema, path, None)).collect()
    };
    if !rules.any_of.is_empty() {
        let mut best: Option<Outcome> = None;
        let mut success = None;
        for schema in &rules.any_of {
            let result = visit(value, schema, path, None);
            if result.is_valid() {
                success = Some(result);
                break;
            }
            if best.as_ref().is_none_or(|best| result.matches() > best.matches()) {
                best = Some(result);
            }
        }
        match (success, best) {
            (Some(success), _) => outcome.merge(success),
            (None, best) => {
                outcome.add_loose(format!("{} must validate at least one schema (anyOf)", quoted(path)));
                outcome.merge(best.unwrap_or_default());
            }
        }
    }
    if !rules.one_of.is_empty() {
        outcome.merge(choose_one(visit_all(&rules.one_of, path), path));
    }
    if !rules.all_of.is_empty() {
        let results = visit_all(&rules.all_of, path);
        let (count, valid) = (results.len(), results.iter().filter(|result| result.is_valid()).count());
        for result in results {
            outcome.merge(result);
        }
        if valid != count {
            let none = if valid == 0 { ". None validated" } else { "" };
            outcome.add_loose(format!("{} must validate all the schemas (allOf){none}", quoted(path)));
        }
    }
    if let Some(schema) = &rules.not
        && visit(value, schema, path, None).is_valid()
    {
        outcome.add_loose(format!("{} must not validate the schema (not)", quoted(path)));
    }
    outcome.count();
    outcome
}

fn choose_one(results: Vec<Outcome>, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let valid = results.iter().filter(|result| result.is_valid()).count();
    if valid == 1 {
        results.into_iter().filter(Outcome::is_valid).for_each(|result| outcome.merge(result));
        return outcome;
    }
    let found =
        if valid == 0 { "Found none valid".to_owned() } else { format!("Found {valid} valid alternatives") };
    outcome.add_loose(format!("{} must validate one and only one schema (oneOf). {found}", quoted(path)));
    if valid == 0 {
        let mut best: Option<Outcome> = None;
        for result in results {
            if best.as_ref().is_none_or(|best| result.matches() > best.matches()) {
                best = Some(result);
            }
        }
        outcome.merge(best.unwrap_or_default());
    }
    outcome
}

fn check_items(
    items: &[Value],
    schema: &Node,
    path: &mut String,
    correlated: Option<Correlated<'_>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(schema) = &schema.items {
        for (index, item) in items.iter().enumerate() {
            let correlated = correlated.and_then(|correlated| correlated.item(item));
            let length = path.len();
            let _infallible = write!(path, "[{index}]");
            outcome.merge(visit(item, schema, path, correlated));
            path.truncate(length);
        }
    }
    let rules = &schema.validation;
    let size = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(min) = rules.min_items.filter(|min| size < *min) {
        outcome.add(invalid(path, size, &format!("should have at least {min} items")));
    }
    if let Some(max) = rules.max_items.filter(|max| size > *max) {
        outcome.add(too_many(path, size, max, &format!("should have at most {max} items")));
    }
    let mut seen = std::collections::BTreeSet::new();
    if rules.unique_items && !items.iter().all(|item| seen.insert(spelling::json(item))) {
        outcome.add(invalid(path, "", "shouldn't contain duplicates"));
    }
    outcome.count();
    outcome
}

fn check_fields(
    fields: &Map<String, Value>,
    schema: &Node,
    path: &mut String,
    correlated: Option<Correlated<'_>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let rules = &schema.validation;
    let size = i64::try_from(fields.len()).unwrap_or(i64::MAX);
    if let Some(min) = rules.min_properties.filter(|min| size < *min) {
        outcome.add(invalid(path, size, &format!("should have at least {min} properties")));
    }
    if let Some(max) = rules.max_properties.filter(|max| size > *max) {
        outcome.add(too_many(path, size, max, &format!("should have at most {max} properties")));
    }
    let (length, is_root) = (path.len(), path.is_empty());
    let correlate = |name: &str| {
        let is_type_meta = is_root && (name == "kind" || name == "apiVersion");
        correlated.filter(|_| !is_type_meta).and_then(|correlated| correlated.field(name))
    };
    for (name, field) in fields {
        if schema.properties.contains_key(name) {
            continue;
        }
        match &schema.additional {
            Some(Additional::Any(false)) => {
                let message = format!("{path}.{name} in body is a forbidden property");
                outcome.add((message.clone(), FieldError::invalid(trimmed(path), name.as_str(), message)));
            }
            Some(Additional::Schema(schema)) => {
                path.push('.');
                path.push_str(name);
                outcome.merge(visit(field, schema, path, correlate(name)));
                path.truncate(length);
            }
            Some(Additional::Any(true)) | None => {}
        }
    }
    for (name, property) in &schema.properties {
        if let Some(field) = fields.get(name) {
            if !is_root {
                path.push('.');
            }
            path.push_str(name);
            outcome.merge(visit(field, property, path, correlate(name)));
            path.truncate(length);
        }
    }
    for name in &rules.required {
        if !fields.contains_key(name) {
            let path = format!("{path}.{name}");
            outcome.add((format!("{path} in body is required"), FieldError::required(trimmed(&path), "")));
        }
    }
    outcome
}

/// Returns the error that the value at `path` is not what it should be.
fn invalid(path: &str, value: impl Into<Value>, should: &str) -> (String, FieldError) {
    let message = format!("{path} in body {should}");
    (message.clone(), FieldError::invalid(trimmed(path), value, message))
}

fn too_many(path: &str, size: i64, max: i64, should: &str) -> (String, FieldError) {
    let items = if max == 1 { "item" } else { "items" };
    let detail = format!("must have at most {max} {items}");
    let error = FieldError::new(FieldErrorKind::TooMany, trimmed(path), size, detail);
    (format!("{path} in body {should}"), error)
}

/// Paths below an unnamed root begin with a dot, which is not shown.
fn trimmed(path: &str) -> &str {
    path.strip_prefix('.').unwrap_or(path)
}

fn quoted(path: &str) -> String {
    spelling::quoted(path)
}
