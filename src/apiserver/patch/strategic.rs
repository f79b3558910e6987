//! Strategic merge patch, which knows the lists of the built-in kinds.
//!
//! Only these merge: finalizers (a set), owner references (by uid), conditions of a namespace (by type). All other
//! lists are replaced.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::PatchError;
use crate::apiserver::spelling;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// How a list takes a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Replace,
    Set,
    Keyed(&'static str),
}

/// Returns `target`, an object of a built-in kind, with a strategic merge patch applied.
pub fn strategic_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let fields = match patch {
        Value::Object(fields) => fields.clone(),
        Value::Null => Map::new(),
        other => {
            let found = spelling::json_name(other);
            return Err(PatchError::Malformed(format!(
                "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )));
        }
    };
    let target = target.as_object().cloned().unwrap_or_default();
    merge_fields(target, fields, "").map(Value::Object)
}

fn strategy_at(path: &str) -> Strategy {
    match path {
        "/metadata/finalizers" => Strategy::Set,
        "/metadata/ownerReferences" => Strategy::Keyed("uid"),
        "/status/conditions" => Strategy::Keyed("type"),
        _ => Strategy::Replace,
    }
}

fn merge_fields(
    mut target: Map<String, Value>,
    mut patch: Map<String, Value>,
    path: &str,
) -> Result<Map<String, Value>, PatchError> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Map::new()),
            _ => Err(unknown_directive(&directive, patch)),
        };
    }
    retain_keys(&mut target, &mut patch)?;
    order_lists(&mut target, &mut patch, path)?;
    for (name, value) in patch {
        let (name, is_deletion) = match name.strip_prefix(DELETE_FROM) {
            Some(name) => (name.to_owned(), true),
            None => (name, false),
        };
        if value.is_null() {
            target.remove(&name);
            continue;
        }
        let path = format!("{path}/{name}");
        let merged = match (target.remove(&name), value) {
            (Some(Value::Object(target)), Value::Object(patch)) => {
                Some(Value::Object(merge_fields(target, patch, &path)?))
            }
            (Some(Value::Array(target)), Value::Array(patch)) if is_deletion => {
                let deleted: HashSet<&Value> = patch.iter().collect();
                Some(target.into_iter().filter(|item| !deleted.contains(item)).collect())
            }
            (Some(Value::Array(target)), Value::Array(patch)) => {
                Some(Value::Array(merge_list(target, patch, strategy_at(&path), &path)?))
            }
            (target, _) if is_deletion => target,
            (_, value) => without_directives(without_nulls(value)),
        };
        if let Some(merged) = merged {
            target.insert(name, merged);
        }
    }
    Ok(target)
}

/// Obeys `$retainKeys`: what it does not list goes, and the patch may set nothing else.
fn retain_keys(target: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let keys = keys.as_array().ok_or_else(malformed)?;
    let kept: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let is_kept = |name: &str| kept.contains(name);
    let is_allowed = |(name, value): (&String, &Value)| {
        value.is_null() || name.starts_with(DELETE_FROM) || name.starts_with(SET_ORDER) || is_kept(name)
    };
    if !patch.iter().all(is_allowed) {
        return Err(malformed());
    }
    target.retain(|name, _| is_kept(name));
    Ok(())
}

/// Obeys `$setElementOrder`: the lists it names are merged and put into that order.
fn order_lists(
    target: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    path: &str,
) -> Result<(), PatchError> {
    let orders: Vec<String> = patch.keys().filter(|name| name.starts_with(SET_ORDER)).cloned().collect();
    for order in orders {
        let name = order.strip_prefix(SET_ORDER).unwrap_or_default().to_owned();
        let not_a_list = |value: Option<&Value>| {
            let found = spelling::type_name(value.unwrap_or(&Value::Null));
            PatchError::Failed(format!("expected a []interface {{}}, but received a {found}"))
        };
        let order = match patch.remove(&order) {
            Some(Value::Array(order)) => order,
            other => return Err(not_a_list(other.as_ref())),
        };
        let path = format!("{path}/{name}");
        let strategy = strategy_at(&path);
        let (known, given) = match (target.get(&name), patch.get(&name)) {
            (Some(Value::Array(_)) | None, Some(Value::Array(_)) | None) => {
                (target.remove(&name), patch.remove(&name))
            }
            (Some(Value::Array(_)) | None, other) | (other, _) => return Err(not_a_list(other)),
        };
        let as_list = |value: Option<Value>| match value {
            Some(Value::Array(items)) => Some(items),
            _ => None,
        };
        let (known, given) = (as_list(known), as_list(given));
        check_order(given.as_deref().unwrap_or_default(), &order, strategy)?;
        let before = known.clone().unwrap_or_default();
        let merged = match (known, given) {
            (None, None) => continue,
            (Some(known), None) => known,
            (None, Some(given)) => given.into_iter().filter_map(without_directives).collect(),
            (Some(known), Some(given)) => merge_list(known, given, strategy, &path)?,
        };
        let ordered = in_order(merged, &order, &order, &before, strategy);
        target.insert(name, Value::Array(ordered));
    }
    Ok(())
}

/// The items of a patch have to stand in the order that the patch itself demands.
fn check_order(given: &[Value], order: &[Value], strategy: Strategy) -> Result<(), PatchError> {
    let mut places = order.iter();
    for item in given.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        if !places.any(|place| is_same(place, item, strategy)) {
            let shown = |items: &[Value]| spelling::plain(&Value::Array(items.to_vec()));
            return Err(PatchError::Failed(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                shown(given),
                shown(order)
            )));
        }
    }
    Ok(())
}

fn merge_list(
    target: Vec<Value>,
    patch: Vec<Value>,
    strategy: Strategy,
    path: &str,
) -> Result<Vec<Value>, PatchError> {
    if target.is_empty() && patch.is_empty() {
        return Ok(target);
    }
    if strategy != Strategy::Replace {
        let first = target.iter().chain(&patch).next();
        let is_odd = |item: &Value| Some(item.is_object()) != first.map(Value::is_object);
        if target.iter().chain(&patch).any(is_odd) {
            let shown = spelling::plain(&Value::Array(vec![Value::Array(target), Value::Array(patch)]));
            return Err(PatchError::Failed(format!("list element types are not identical: {shown}")));
        }
    }
    match strategy {
        Strategy::Replace => Ok(patch),
        Strategy::Set => {
            let mut known = HashSet::new();
            let all = target.iter().chain(&patch);
            let merged = all.filter(|item| known.insert(*item)).cloned().collect();
            Ok(in_order(merged, &patch, &patch, &target, strategy))
        }
        Strategy::Keyed(key) => merge_keyed(target, patch, key, path),
    }
}

fn merge_keyed(
    mut target: Vec<Value>,
    patch: Vec<Value>,
    key: &'static str,
    path: &str,
) -> Result<Vec<Value>, PatchError> {
    let strategy = Strategy::Keyed(key);
    let mut given = Vec::new();
    let mut deleted = HashSet::new();
    let mut replaces = false;
    for item in patch {
        let Value::Object(fields) = &item else {
            return Err(PatchError::Failed(format!("{path}: items must be objects")));
        };
        match fields.get(DIRECTIVE).map(|directive| (directive, directive.as_str())) {
            None => given.push(item),
            Some((_, Some("delete"))) => {
                deleted.insert(fields.get(key).ok_or_else(|| no_key(&item, key))?.clone());
            }
            Some((_, Some("replace"))) => replaces = true,
            Some((_, Some("merge"))) => {
                return Err(PatchError::Failed(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
            Some((directive, _)) => return Err(unknown_directive(directive, fields.clone())),
        }
    }
    if replaces {
        let before = given.clone();
        return Ok(in_order(given, &[], &[], &before, strategy));
    }
    target.retain(|item| item.get(key).is_none_or(|identity| !deleted.contains(identity)));
    let mut merged = target.clone();
    let mut places: HashMap<Value, usize> = HashMap::new();
    for (place, item) in target.iter().enumerate() {
        if let Some(identity) = item.get(key) {
            places.entry(identity.clone()).or_insert(place);
        }
    }
    for item in &given {
        let identity = item.get(key).ok_or_else(|| no_key(item, key))?;
        let place = *places.entry(identity.clone()).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(known) => {
                let (known_fields, fields) = (known.as_object().cloned(), item.as_object().cloned());
                let path = format!("{path}/-");
                *known = Value::Object(merge_fields(
                    known_fields.unwrap_or_default(),
                    fields.unwrap_or_default(),
                    &path,
                )?);
            }
            None => merged.push(item.clone()),
        }
    }
    Ok(in_order(merged, &given, &given, &target, strategy))
}

/// Puts the items that `order` names into that order, and the others, in the order in which the server had them,
/// where they stood before the named ones.
fn in_order(
    items: Vec<Value>,
    named: &[Value],
    order: &[Value],
    before: &[Value],
    strategy: Strategy,
) -> Vec<Value> {
    let [named, order, before] = [named, order, before].map(|list| Places::of(list, strategy));
    let (mut ours, mut others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| named.get(item).is_some());
    ours.sort_by_cached_key(|item| order.get(item));
    others.sort_by_cached_key(|item| before.get(item));
    let mut ordered = Vec::with_capacity(ours.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in ours {
        let limit = before.get(&item);
        while let Some(other) = others.next_if(|other| match (before.get(other), limit) {
            (Some(other), Some(limit)) => other < limit,
            _ => false,
        }) {
            ordered.push(other);
        }
        ordered.push(item);
    }
    ordered.extend(others);
    ordered
}

/// Where each item of a list stands first.
struct Places<'a> {
    places: HashMap<&'a Value, usize>,
    strategy: Strategy,
}

impl<'a> Places<'a> {
    fn of(list: &'a [Value], strategy: Strategy) -> Self {
        let mut places = HashMap::with_capacity(list.len());
        for (place, item) in list.iter().enumerate() {
            if let Some(identity) = identity(item, strategy) {
                places.entry(identity).or_insert(place);
            }
        }
        Self { places, strategy }
    }

    fn get(&self, item: &Value) -> Option<usize> {
        self.places.get(identity(item, self.strategy)?).copied()
    }
}

/// Returns what tells an item from others, if it has that.
fn identity(item: &Value, strategy: Strategy) -> Option<&Value> {
    match strategy {
        Strategy::Keyed(key) => item.get(key),
        Strategy::Set | Strategy::Replace => Some(item),
    }
}

fn is_same(left: &Value, right: &Value, strategy: Strategy) -> bool {
    identity(left, strategy).is_some() && identity(left, strategy) == identity(right, strategy)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// Returns what of a new value is to be stored: objects that hold a directive are none.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => Some(
            fields.into_iter().filter_map(|(name, value)| Some((name, without_directives(value)?))).collect(),
        ),
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

fn unknown_directive(directive: &Value, mut patch: Map<String, Value>) -> PatchError {
    patch.insert(DIRECTIVE.to_owned(), directive.clone());
    let (kind, map) = (spelling::plain(directive), spelling::plain(&Value::Object(patch)));
    PatchError::Failed(format!("unknown patch type: {kind} in map: {map}"))
}

fn no_key(item: &Value, key: &str) -> PatchError {
    PatchError::Failed(format!("map: {} does not contain declared merge key: {key}", spelling::plain(item)))
}
