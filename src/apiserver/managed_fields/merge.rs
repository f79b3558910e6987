//! The merge of an applied configuration into the stored object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::contents::{element_of, scalar_misfit};
use super::path::PathElement;
use super::shape::{Choice, Fields, Identity, List, Ref};

/// Returns `live` with all that `applied` says put over it. Nothing is removed.
pub(super) fn merge(live: &Value, applied: &Value, shape: &Ref) -> Value {
    value(Some(live), Some(applied), shape).unwrap_or(Value::Null)
}

fn value(live: Option<&Value>, applied: Option<&Value>, shape: &Ref) -> Option<Value> {
    let atom = shape.atom();
    let chosen = if applied.is_some() { applied } else { live };
    chosen?;
    match atom.choose(chosen) {
        Choice::Scalar(scalar) => {
            let fits =
                |value: Option<&Value>| value.is_none_or(|value| scalar_misfit(scalar, value).is_none());
            (fits(live) || fits(applied)).then(|| chosen.cloned()).flatten()
        }
        Choice::List(list) => merge_lists(list, live, applied),
        Choice::Map(map) => merge_maps(map, live, applied),
    }
}

fn merge_maps(map: &Fields, live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
    let (before, over) = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
    let is_empty = |fields: Option<&Map<String, Value>>| fields.is_none_or(Map::is_empty);
    if map.atomic || (is_empty(before) && is_empty(over)) {
        return applied.or(live).cloned();
    }
    let names: BTreeSet<&String> =
        before.into_iter().flat_map(Map::keys).chain(over.into_iter().flat_map(Map::keys)).collect();
    let merged: Map<String, Value> = names
        .into_iter()
        .filter_map(|name| {
            let shape = map.field(name).unwrap_or(&Ref::Deduced);
            let field = value(
                before.and_then(|fields| fields.get(name)),
                over.and_then(|fields| fields.get(name)),
                shape,
            )?;
            Some((name.clone(), field))
        })
        .collect();
    (!merged.is_empty()).then_some(Value::Object(merged))
}

fn merge_lists(list: &List, live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
    let items = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, over) = (items(live), items(applied));
    if list.identity == Identity::Atomic || (before.is_empty() && over.is_empty()) {
        return applied.or(live).cloned();
    }
    let merged = merge_items(list, &before, &over);
    (!merged.is_empty()).then_some(Value::Array(merged))
}

/// Merges two lists with identities. The order of the applied list holds for the items it has; other live items keep
/// their place relative to the shared ones around them.
fn merge_items(list: &List, before: &[Value], over: &[Value]) -> Vec<Value> {
    let live = indexed(list, before);
    let applied = indexed(list, over);
    let mut live_values: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (element, item) in &live {
        // Items that stand twice are not merged with what is applied, they are replaced by it.
        live_values.entry(element).and_modify(|known| *known = None).or_insert(Some(*item));
    }
    let applied_values: BTreeMap<&PathElement, &Value> =
        applied.iter().map(|(element, item)| (element, *item)).collect();
    let mut shared =
        applied.iter().map(|(element, _)| element).filter(|element| live_values.contains_key(*element));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let mut merged = Vec::new();
    let (mut left, mut right) = (0, 0);
    while left < live.len() || right < applied.len() {
        if let (Some((element, _)), Some((other, item))) = (live.get(left), applied.get(right)) {
            if element == other {
                done.insert(element);
                let known = live_values.get(element).copied().flatten();
                merged.extend(value(known, Some(*item), &list.items));
                left += 1;
                right += 1;
                next_shared = shared.next();
                continue;
            }
            if applied_values.contains_key(element) && next_shared.is_some_and(|next| next != element) {
                // A shared item, but its place is a later one.
                left += 1;
                continue;
            }
        }
        if let Some((element, item)) = live.get(left) {
            if !applied_values.contains_key(element) {
                merged.extend(value(Some(*item), None, &list.items));
                left += 1;
                continue;
            }
            if done.contains(element) {
                left += 1;
            }
        }
        if let Some((element, item)) = applied.get(right) {
            done.insert(element);
            let known = live_values.get(element).copied().flatten();
            merged.extend(value(known, Some(*item), &list.items));
            right += 1;
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        }
    }
    merged
}

fn indexed<'a>(list: &List, items: &'a [Value]) -> Vec<(PathElement, &'a Value)> {
    items.iter().filter_map(|item| element_of(list, item).ok().map(|element| (element, item))).collect()
}
