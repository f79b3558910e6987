//! Who owns what after a write: the rules of `Apply` and `Update`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::Writer;
use super::compare::{Comparison, compare};
use super::contents::fields_of;
use super::merge::merge;
use super::path::{PathElement, same_value};
use super::remove::{is_reconciled, reconciled, with_named_parents, without_fields};
use super::set::FieldSet;
use super::shape::Ref;
use super::wire::{ManagerId, Operation, Owned, Owners};

/// Update entries beyond this many are merged into one, oldest first.
const MAX_UPDATE_MANAGERS: usize = 10;

/// The manager of merged Update entries.
const MERGED_MANAGER: &str = "ancient-changes";

/// Fields that nobody owns, whoever wrote them.
static NEVER_OWNED: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// A field that is applied with another value than its owner gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) id: ManagerId,
    pub(super) api_version: String,
    pub(super) path: Vec<PathElement>,
}

/// Gives the fields that differ between `live` and `new` to the writer and takes them from all others.
pub(super) fn own_changes(owners: &mut Owners, live: &Value, new: &Value, shape: &Ref, writer: &Writer<'_>) {
    reconcile(owners, shape);
    let comparison = compare(live, new, shape).without(&FieldSet::of_fields(writer.reset));
    give_up(owners, None, &comparison, writer.api_version);
    let changed = comparison.modified.union(&comparison.added).difference(&NEVER_OWNED);
    if !changed.is_empty() {
        let id = ManagerId::new(writer.manager, Operation::Update, writer.api_version, writer.subresource);
        let previous = owners.sets.remove(&id).map(|owned| owned.set).unwrap_or_default();
        let set = changed.union(&previous);
        owners.sets.insert(id.clone(), Owned { api_version: writer.api_version.to_owned(), set });
        owners.times.insert(id, writer.now);
    }
    merge_oldest(owners);
}

/// Merges `applied` into `live`; returns the new object, or nothing when it is equal to the live one.
pub(super) fn own_applied(
    owners: &mut Owners,
    live: &Value,
    applied: &Value,
    shape: &Ref,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Option<Value>, Vec<Clash>> {
    reconcile(owners, shape);
    let id = ManagerId::new(writer.manager, Operation::Apply, writer.api_version, writer.subresource);
    let merged = merge(live, applied, shape);
    let reset = FieldSet::of_fields(writer.reset);
    let set = fields_of(applied, shape).without_subtrees(&reset);
    let known = owners.sets.get(&id).filter(|last| last.api_version == writer.api_version);
    let is_known = known.is_some_and(|known| known.set == set.difference(&NEVER_OWNED));
    if is_known && same_value(live, &merged) {
        // What most applies find: the same configuration on an object that has all of it. Nothing is gained, given up or
        // dropped then.
        owners.sets.retain(|_, owned| !owned.set.is_empty());
        return Ok(None);
    }
    let sent = set.clone();
    let last = owners.sets.insert(id.clone(), Owned { api_version: writer.api_version.to_owned(), set });
    let new = match last {
        // Without a field that was applied last time and is not now there is nothing to drop.
        Some(last) if last.api_version == writer.api_version && !last.set.is_subset(&sent) => {
            prune(&merged, owners, &last.set, shape, writer.api_version)
        }
        _ => merged,
    };
    let comparison = compare(live, &new, shape).without(&reset);
    let clashes = clashes(owners, &id, &comparison, writer.api_version);
    if !force && !clashes.is_empty() {
        return Err(clashes);
    }
    give_up(owners, Some(&id), &comparison, writer.api_version);
    if let Some(owned) = owners.sets.get_mut(&id) {
        owned.set = owned.set.difference(&NEVER_OWNED);
        if owned.set.is_empty() {
            owners.sets.remove(&id);
        }
    }
    if same_value(live, &new) {
        return Ok(None);
    }
    owners.times.insert(id, writer.now);
    Ok(Some(new))
}

/// Puts the sets into the terms of the present schema.
fn reconcile(owners: &mut Owners, shape: &Ref) {
    for owned in owners.sets.values_mut().filter(|owned| !is_reconciled(&owned.set, shape)) {
        owned.set = reconciled(&owned.set, shape);
    }
}

/// Takes from all managers but `keeper` what changed or went away; managers with nothing left are forgotten.
fn give_up(owners: &mut Owners, keeper: Option<&ManagerId>, comparison: &Comparison, api_version: &str) {
    let taken = comparison.modified.union(&comparison.added).union(&comparison.removed);
    for (id, owned) in &mut owners.sets {
        if Some(id) != keeper && owned.api_version == api_version {
            owned.set = owned.set.difference(&taken);
        }
    }
    owners.sets.retain(|_, owned| !owned.set.is_empty());
}

fn clashes(owners: &Owners, applier: &ManagerId, comparison: &Comparison, api_version: &str) -> Vec<Clash> {
    let changed = comparison.modified.union(&comparison.added);
    owners
        .sets
        .iter()
        .filter(|(id, owned)| *id != applier && owned.api_version == api_version)
        .flat_map(|(id, owned)| {
            owned.set.intersection(&changed).paths().into_iter().map(|path| Clash {
                id: id.clone(),
                api_version: owned.api_version.clone(),
                path,
            })
        })
        .collect()
}

/// Takes out of `merged` what the applier applied last time, not this time, and nobody else owns.
fn prune(merged: &Value, owners: &Owners, last: &FieldSet, shape: &Ref, api_version: &str) -> Value {
    let named = |set: &FieldSet| with_named_parents(set, shape);
    let pruned = without_fields(merged, &named(last), shape);

    // Give back what some manager, or the new configuration, owns.
    let managed = owners
        .sets
        .values()
        .filter(|owned| owned.api_version == api_version)
        .fold(FieldSet::default(), |all, owned| all.union(&owned.set));
    let merged_set = named(&fields_of(merged, shape));
    let pruned_set = named(&fields_of(&pruned, shape));
    let unowned = merged_set.difference(&pruned_set.union(&named(&managed)));
    let pruned = without_fields(merged, &unowned, shape);

    // Give back what the applier did not own either.
    let pruned_set = named(&fields_of(&pruned, shape));
    let dropped = merged_set.difference(&pruned_set).intersection(&named(last));
    without_fields(merged, &dropped, shape)
}

/// Merges the oldest Update entries until there are few enough.
fn merge_oldest(owners: &mut Owners) {
    let mut updaters: Vec<ManagerId> =
        owners.sets.keys().filter(|id| id.operation == Operation::Update).cloned().collect();
    let mut count = updaters.len();
    if count <= MAX_UPDATE_MANAGERS {
        return;
    }
    updaters.sort_by_key(|id| (owners.times.get(id).map_or(0, |time| time.as_second()), id.clone()));
    let mut firsts: BTreeMap<String, ManagerId> = BTreeMap::new();
    for id in updaters {
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        let Some(api_version) = owners.sets.get(&id).map(|owned| owned.api_version.clone()) else { continue };
        let Some(first) = firsts.get(&api_version) else {
            firsts.insert(api_version, id);
            continue;
        };
        let bucket = ManagerId::new(MERGED_MANAGER, Operation::Update, &api_version, "");
        let taken_over = if owners.sets.contains_key(&bucket) { bucket.clone() } else { first.clone() };
        let old = owners.sets.remove(&taken_over).map(|owned| owned.set).unwrap_or_default();
        let new = owners.sets.remove(&id).map(|owned| owned.set).unwrap_or_default();
        owners.sets.insert(bucket.clone(), Owned { api_version, set: old.union(&new) });
        count -= 1;
        // The merged entry is as old as the newest that went into it.
        match owners.times.get(&id).copied() {
            Some(time) => owners.times.insert(bucket, time),
            None => owners.times.remove(&bucket),
        };
    }
}
