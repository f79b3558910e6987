//! What an object consists of: the check that it fits its shape, and the set of its fields.

use serde_json::{Map, Value};

use super::path::PathElement;
use super::set::FieldSet;
use super::shape::{Choice, Identity, List, Ref, Scalar};
use crate::apiserver::spelling;

/// Whether a list with identities may hold an item twice. Stored objects may; what is applied may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicates {
    Allowed,
    Refused,
}

/// Returns what in `value` does not fit `shape`, each as `path: message`.
pub(super) fn misfits(value: &Value, shape: &Ref, duplicates: Duplicates) -> Vec<String> {
    let mut found = Vec::new();
    let root = Trail { before: None, step: Step::Root };
    check(value, shape, duplicates, &root, &mut found);
    found
}

/// Returns the set of all fields of `value` as an applier owns them: leaves, and the items of lists with identities.
pub(super) fn fields_of(value: &Value, shape: &Ref) -> FieldSet {
    let mut set = FieldSet::default();
    collect(value, shape, &mut Vec::new(), &mut set);
    set
}

/// Returns the step to `item` in a list with identities.
pub(super) fn element_of(list: &List, item: &Value) -> Result<PathElement, String> {
    match &list.identity {
        Identity::Atomic => Err("invalid indexing of non-associative list".to_owned()),
        Identity::Value => match item {
            Value::Object(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            scalar => Ok(PathElement::Item(scalar.into())),
        },
        Identity::Keys(keys) => {
            let fields = match item {
                Value::Object(fields) => fields,
                Value::Null => {
                    return Err("associative list with keys may not have a null element".to_owned());
                }
                _ => return Err("associative list with keys may not have non-map elements".to_owned()),
            };
            key_of(keys, fields)
        }
    }
}

fn key_of(keys: &[(String, Option<Value>)], fields: &Map<String, Value>) -> Result<PathElement, String> {
    let mut key: Vec<_> = keys
        .iter()
        .filter_map(|(name, default)| {
            let value = fields.get(name).or(default.as_ref())?;
            Some((name.clone(), value.into()))
        })
        .collect();
    if key.is_empty() {
        let names: Vec<_> = keys.iter().map(|(name, _)| format!("{name:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
             values for any key fields)",
            names.join(" ")
        ));
    }
    key.sort();
    Ok(PathElement::Key(key))
}

/// The way to a value, which is spelled only when something does not fit there.
#[derive(Clone, Copy)]
struct Trail<'a> {
    before: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Element(&'a PathElement),
}

impl Trail<'_> {
    fn spell(&self) -> String {
        let before = self.before.map(Trail::spell).unwrap_or_default();
        match self.step {
            Step::Root => before,
            Step::Field(name) => format!("{before}.{name}"),
            Step::Element(element) => format!("{before}{element}"),
        }
    }

    fn located(&self, message: &str) -> String {
        let path = self.spell();
        if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") }
    }
}

fn check(value: &Value, shape: &Ref, duplicates: Duplicates, trail: &Trail<'_>, found: &mut Vec<String>) {
    match shape.atom().choose(Some(value)) {
        Choice::Scalar(scalar) => {
            if let Some(message) = scalar_misfit(scalar, value) {
                found.push(trail.located(&message));
            }
        }
        Choice::List(list) => match value {
            Value::Null => {}
            Value::Array(items) => check_list(items, list, duplicates, trail, found),
            other => found.push(trail.located(&format!("expected list, got {}", spelling::wrapped(other)))),
        },
        Choice::Map(map) => match value {
            Value::Null => {}
            Value::Object(fields) => {
                for (name, field) in fields {
                    let trail = Trail { before: Some(trail), step: Step::Field(name) };
                    let Some(shape) = map.field(name) else {
                        found.push(trail.located("field not declared in schema"));
                        return;
                    };
                    check(field, shape, duplicates, &trail, found);
                }
            }
            other => found.push(trail.located(&format!("expected map, got {}", spelling::wrapped(other)))),
        },
    }
}

fn check_list(
    items: &[Value],
    list: &List,
    duplicates: Duplicates,
    trail: &Trail<'_>,
    found: &mut Vec<String>,
) {
    let mut seen = FieldSet::default();
    for (index, item) in items.iter().enumerate() {
        let element = if list.identity == Identity::Atomic {
            PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX))
        } else {
            match element_of(list, item) {
                Ok(element) => element,
                Err(message) => {
                    found.push(trail.located(&format!("element {index}: {message}")));
                    return;
                }
            }
        };
        if duplicates == Duplicates::Refused && seen.owns(&element) {
            found.push(trail.located(&format!("duplicate entries for key {element}")));
        }
        let place = Trail { before: Some(trail), step: Step::Element(&element) };
        check(item, &list.items, duplicates, &place, found);
        if duplicates == Duplicates::Refused && list.identity != Identity::Atomic {
            seen.insert(&[element]);
        }
    }
}

/// Returns why `value` is not such a scalar; null always is one.
pub(super) fn scalar_misfit(scalar: Scalar, value: &Value) -> Option<String> {
    match (scalar, value) {
        (_, Value::Null)
        | (Scalar::Number | Scalar::Any, Value::Number(_))
        | (Scalar::Text | Scalar::Any, Value::String(_))
        | (Scalar::Boolean | Scalar::Any, Value::Bool(_)) => None,
        (Scalar::Number, other) => {
            Some(format!("expected numeric (int or float), got {}", spelling::type_name(other)))
        }
        (Scalar::Text, other) => Some(format!("expected string, got {}", spelling::wrapped_syntax(other))),
        (Scalar::Boolean, other) => Some(format!("expected boolean, got {}", spelling::wrapped(other))),
        (Scalar::Any, other) => Some(format!("expected any scalar, got {}", spelling::wrapped(other))),
    }
}

fn collect(value: &Value, shape: &Ref, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    match shape.atom().choose(Some(value)) {
        Choice::Scalar(_) => set.insert(path),
        Choice::List(list) if list.identity == Identity::Atomic => set.insert(path),
        Choice::List(list) => {
            for (element, items) in grouped(list, value.as_array().map_or(&[], Vec::as_slice)) {
                path.push(element);
                if let [item] = items.as_slice() {
                    collect(item, &list.items, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        Choice::Map(map) if map.atomic => set.insert(path),
        Choice::Map(map) => {
            let Value::Object(fields) = value else { return };
            for (name, field) in fields {
                path.push(PathElement::field(name));
                if let Some(shape) = map.field(name) {
                    collect(field, shape, path, set);
                }
                let is_empty = field.is_null() || field.as_object().is_some_and(Map::is_empty);
                if is_empty || !map.known.contains_key(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
    }
}

/// Returns the items of a list by identity, in the order of their first appearance; those without one are left out.
pub(super) fn grouped<'a>(list: &List, items: &'a [Value]) -> Vec<(PathElement, Vec<&'a Value>)> {
    let mut groups: Vec<(PathElement, Vec<&Value>)> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for item in items {
        let Ok(element) = element_of(list, item) else { continue };
        let place = *places.entry(element.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(item),
            None => groups.push((element, vec![item])),
        }
    }
    groups
}
