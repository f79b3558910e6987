//! Taking fields out of an object, and the two set operations that need the shape for it.

use serde_json::{Map, Value};

use super::contents::element_of;
use super::path::PathElement;
use super::set::FieldSet;
use super::shape::{Choice, Fields, Identity, List, Ref};

/// Returns `value` without the fields and list items of `unwanted`; containers that lose all they hold become null,
/// which the real server (since v1.36.3) leaves for validation to refuse.
pub(super) fn without_fields(value: &Value, unwanted: &FieldSet, shape: &Ref) -> Value {
    match shape.atom().choose(Some(value)) {
        Choice::Scalar(_) => value.clone(),
        Choice::List(list) => list_without(list, value, unwanted),
        Choice::Map(map) => map_without(map, value, unwanted),
    }
}

/// Returns the set with each named field added that has something below it in the set.
pub(super) fn with_named_parents(set: &FieldSet, shape: &Ref) -> FieldSet {
    let map = shape.atom().map.as_ref();
    set.rebuild(|element, owned, below| {
        let is_named = match element {
            PathElement::Field(name) => map.is_some_and(|map| map.known.contains_key(name)),
            _ => false,
        };
        let owned = owned || (is_named && !below.is_empty());
        (owned, with_named_parents(below, &child_shape(shape, element)))
    })
}

/// Returns the set as the schema of today would have it: what became a leaf since is owned as a whole.
pub(super) fn reconciled(set: &FieldSet, shape: &Ref) -> FieldSet {
    let atom = shape.atom();
    match (&atom.map, &atom.scalar, &atom.list) {
        (Some(map), _, _) => {
            let is_deduced = map.known.is_empty() && map.others.as_ref().is_some_and(Ref::is_deduced);
            if is_deduced {
                return set.clone();
            }
            set.rebuild(|element, owned, below| match element {
                PathElement::Field(name) => reconciled_step(owned, below, map.field(name)),
                _ => reconciled_step(owned, below, map.others.as_ref()),
            })
        }
        (None, None, Some(list)) => {
            set.rebuild(|_, owned, below| reconciled_step(owned, below, Some(&list.items)))
        }
        _ => set.clone(),
    }
}

/// Returns whether the set is already as [`reconciled`] would make it, as it is unless the schema changed.
pub(super) fn is_reconciled(set: &FieldSet, shape: &Ref) -> bool {
    let is_settled = |below: &FieldSet, shape: Option<&Ref>| match shape {
        Some(shape) if is_leaf(shape) => below.is_empty(),
        Some(shape) => is_reconciled(below, shape),
        None => true,
    };
    let atom = shape.atom();
    match (&atom.map, &atom.scalar, &atom.list) {
        (Some(map), _, _) => set.all(|element, _, below| match element {
            PathElement::Field(name) => below.is_empty() || is_settled(below, map.field(name)),
            _ => is_settled(below, map.others.as_ref()),
        }),
        (None, None, Some(list)) => set.all(|_, _, below| is_settled(below, Some(&list.items))),
        _ => true,
    }
}

fn reconciled_step(owned: bool, below: &FieldSet, shape: Option<&Ref>) -> (bool, FieldSet) {
    match shape {
        Some(shape) if is_leaf(shape) && !below.is_empty() => (true, FieldSet::default()),
        Some(shape) => (owned, reconciled(below, shape)),
        None => (owned, below.clone()),
    }
}

/// Returns whether the values of a place with one alternative are owned as a whole.
fn is_leaf(shape: &Ref) -> bool {
    let atom = shape.atom();
    match (&atom.map, &atom.scalar, &atom.list) {
        (Some(map), _, _) => map.atomic,
        (None, None, Some(list)) => list.identity == Identity::Atomic,
        _ => false,
    }
}

fn child_shape(shape: &Ref, element: &PathElement) -> Ref {
    let atom = shape.atom();
    let child = match element {
        PathElement::Field(name) => atom.map.as_ref().and_then(|map| map.field(name)),
        PathElement::Key(_) => atom.list.as_ref().map(|list| &list.items),
        PathElement::Item(_) | PathElement::Index(_) => None,
    };
    child.cloned().unwrap_or(Ref::Deduced)
}

fn map_without(map: &Fields, value: &Value, unwanted: &FieldSet) -> Value {
    let fields = match value {
        Value::Object(fields) if !map.atomic && !fields.is_empty() => fields,
        _ => return Value::Null,
    };
    let mut kept = Map::new();
    for (name, field) in fields {
        let element = PathElement::field(name);
        if unwanted.owns(&element) {
            continue;
        }
        let field = match unwanted.below(&element) {
            None => field.clone(),
            Some(below) => {
                let shape = map.field(name).unwrap_or(&Ref::Deduced);
                without_fields(field, below, shape)
            }
        };
        kept.insert(name.clone(), field);
    }
    if kept.is_empty() { Value::Null } else { Value::Object(kept) }
}

fn list_without(list: &List, value: &Value, unwanted: &FieldSet) -> Value {
    let items = match value {
        Value::Array(items) if list.identity != Identity::Atomic && !items.is_empty() => items,
        _ => return Value::Null,
    };
    let mut kept = Vec::new();
    for item in items {
        let Ok(element) = element_of(list, item) else {
            kept.push(item.clone());
            continue;
        };
        if unwanted.owns(&element) {
            continue;
        }
        kept.push(match unwanted.below(&element) {
            None => item.clone(),
            Some(below) => without_fields(item, below, &list.items),
        });
    }
    if kept.is_empty() { Value::Null } else { Value::Array(kept) }
}
