//! What will behave differently: two sets of definitions, or definitions and a cluster, compared for reviewers.
//!
//! Nothing here asks anybody: the caller brings both sides, and the plan where there is a cluster.

mod fields;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use crate::gitops::diff::fields::{FieldChange, changes};

use crate::api::labels;
use crate::domain::plan::{Action, ApplyReason, Desired, ManagedKind, Notice, ObjectKey, Plan};
use crate::lang::cron::Schedule;

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// It is created.
    Added,
    /// It changes.
    Changed,
    /// It was changed on the server and is set back.
    SetBack,
    /// It is deleted.
    Removed,
    /// It would be deleted, and waits for a confirmation because so much is.
    RemovalHeld,
    /// It is a Task that runs.
    Runs,
    /// It is a Task that ran, and runs again because its spec changed.
    RunsAgain,
    /// It is a Task that runs again once its older run has ended.
    RunsAgainLater,
    /// It is a Task that runs once one that it depends on, which changed, is made anew.
    RunsAfterDependency,
    /// Only what does not make a Task run changes.
    RunStands,
}

/// One object that is not as it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDifference {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub effect: Effect,
    /// File that defines it, empty for an object that is defined no more.
    pub file: String,
    /// Line on which it begins, from 1; 0 without a file.
    pub line: usize,
    /// The fields that differ.
    pub fields: Vec<FieldChange>,
    /// When a TaskSpawner with a schedule fires next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fires: Option<Fires>,
}

/// Next ticks of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fires {
    /// As it was; none for a spawner that is new, suspended, or never fires.
    pub before: Option<Timestamp>,
    /// As it becomes.
    pub after: Option<Timestamp>,
}

/// Everything that differs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Objects, in the order in which they are applied; removals last.
    pub objects: Vec<ObjectDifference>,
    /// What is left as it is although git says otherwise.
    pub notices: Vec<String>,
}

impl Difference {
    /// Returns whether everything stays as it is.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Compares two sets of definitions; without a cluster, a Task counts as run by the older one.
pub fn between<D: Borrow<Desired>>(before: &[D], after: &[D], now: Timestamp) -> Difference {
    let before = || before.iter().map(Borrow::<Desired>::borrow);
    let old: BTreeMap<&ObjectKey, &Desired> = before().map(|object| (&object.key, object)).collect();
    let wanted: BTreeSet<&ObjectKey> = after.iter().map(|object| &object.borrow().key).collect();
    let mut difference = Difference::default();
    for index in crate::domain::plan::apply_order(after) {
        let desired = after[index].borrow();
        let known = old.get(&desired.key);
        if known.is_some_and(|known| known.digest == desired.digest) {
            continue;
        }
        let effect = match (known, desired.key.kind) {
            (None, ManagedKind::Task) => Effect::Runs,
            (None, _) => Effect::Added,
            (Some(known), ManagedKind::Task) if known.spec_digest == desired.spec_digest => Effect::RunStands,
            (Some(_), ManagedKind::Task) => Effect::RunsAgain,
            (Some(_), _) => Effect::Changed,
        };
        let known = known.map(|known| known.manifest.to_value());
        difference.objects.push(of(desired, effect, known.as_ref(), &desired.manifest.to_value(), now));
    }
    let mut gone: Vec<&Desired> = before().filter(|object| !wanted.contains(&object.key)).collect();
    gone.sort_by(|left, right| removal_order(&left.key, &right.key));
    difference.objects.extend(gone.into_iter().map(|object| removed(&object.key, Effect::Removed)));
    difference
}

/// Tells what a plan does to a cluster.
///
/// `live` holds the objects that change as they are, `preview` what the server would make of them; without a preview
/// the definition stands in for it.
pub fn planned<D: Borrow<Desired>>(
    desired: &[D],
    plan: &Plan,
    live: &BTreeMap<ObjectKey, Value>,
    preview: &BTreeMap<usize, Value>,
    now: Timestamp,
) -> Difference {
    let mut difference = Difference::default();
    for action in &plan.actions {
        let (index, effect) = match action {
            Action::Apply { desired, reason: ApplyReason::Missing, .. } => (*desired, Effect::Added),
            Action::Apply { desired, reason: ApplyReason::Changed, .. } => (*desired, Effect::Changed),
            Action::Apply { desired, reason: ApplyReason::Drifted(_), .. } => (*desired, Effect::SetBack),
            Action::Run { desired } => (*desired, Effect::Runs),
            Action::RunAgain { desired, .. } => (*desired, Effect::RunsAgain),
            Action::Prune { key, .. } => {
                difference.objects.push(removed(key, Effect::Removed));
                continue;
            }
        };
        let object = desired[index].borrow();
        let after = preview.get(&index).cloned().unwrap_or_else(|| object.manifest.to_value());
        difference.objects.push(of(object, effect, live.get(&object.key), &after, now));
    }
    for key in &plan.held_prunes {
        difference.objects.push(removed(key, Effect::RemovalHeld));
    }
    for notice in &plan.notices {
        match notice {
            Notice::WaitsForOlderRun(key) => {
                difference.objects.extend(later(desired, key, Effect::RunsAgainLater, live, now));
            }
            Notice::WaitsForDependency { task, .. } => {
                difference.objects.extend(later(desired, task, Effect::RunsAfterDependency, live, now));
            }
            Notice::OwnedByAnother(key) => {
                difference.notices.push(format!("{key} belongs to somebody else and is not touched"));
            }
            Notice::SuspendedByHand(key) => {
                difference.notices.push(format!("{key} was suspended by hand and stays suspended"));
            }
            Notice::BeingDeleted(key) => {
                difference.notices.push(format!("{key} is being deleted; it is made anew after that"));
            }
        }
    }
    difference
}

/// Tells of a Task that the plan leaves to a later pass.
fn later<D: Borrow<Desired>>(
    desired: &[D],
    key: &ObjectKey,
    effect: Effect,
    live: &BTreeMap<ObjectKey, Value>,
    now: Timestamp,
) -> Option<ObjectDifference> {
    let object = desired.iter().map(Borrow::<Desired>::borrow).find(|object| object.key == *key)?;
    Some(of(object, effect, live.get(key), &object.manifest.to_value(), now))
}

fn of(
    desired: &Desired,
    effect: Effect,
    before: Option<&Value>,
    after: &Value,
    now: Timestamp,
) -> ObjectDifference {
    let fields = before.map_or_else(Vec::new, |before| {
        let (mut old, mut new) = (comparable(before), comparable(after));
        // What others noted on a live Task is no part of its definition.
        if before.pointer("/metadata/uid").is_some() && after.pointer("/metadata/uid").is_none() {
            (old["metadata"], new["metadata"]) = (Value::Null, Value::Null);
        }
        changes(&old, &new)
    });
    let (next_before, next_after) = (before.and_then(|before| next_tick(before, now)), next_tick(after, now));
    ObjectDifference {
        kind: desired.key.kind.as_str(),
        name: desired.key.name.clone(),
        effect,
        file: desired.file.to_string(),
        line: desired.line,
        fields,
        fires: is_scheduled(after).then_some(Fires { before: next_before, after: next_after }),
    }
}

/// Returns the parts of an object that git decides, without what the pass itself notes on it.
fn comparable(object: &Value) -> Value {
    let noted = [
        labels::MANIFEST_DIGEST,
        labels::SPEC_DIGEST,
        labels::PROMPT_DIGEST,
        labels::CONFIG_REVISION,
        labels::CONFIG_FILE,
        labels::CONFIG_LINE,
        labels::OWNER_UID,
        labels::OWNER_NAME,
    ];
    let kept = |pointer: &str| -> Map<String, Value> {
        let all = object.pointer(pointer).and_then(Value::as_object);
        all.into_iter()
            .flatten()
            .filter(|(key, _)| !noted.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    json!({
        "metadata": {"labels": kept("/metadata/labels"), "annotations": kept("/metadata/annotations")},
        "spec": object.get("spec").cloned().unwrap_or_default(),
    })
}

fn removed(key: &ObjectKey, effect: Effect) -> ObjectDifference {
    ObjectDifference {
        kind: key.kind.as_str(),
        name: key.name.clone(),
        effect,
        file: String::new(),
        line: 0,
        fields: Vec::new(),
        fires: None,
    }
}

/// Removals go against the order of applying.
fn removal_order(left: &ObjectKey, right: &ObjectKey) -> std::cmp::Ordering {
    right.kind.cmp(&left.kind).then_with(|| left.name.cmp(&right.name))
}

fn is_scheduled(object: &Value) -> bool {
    object["kind"] == ManagedKind::TaskSpawner.as_str()
        && object.pointer("/spec/when/cron/schedule").is_some()
}

/// Returns when a TaskSpawner fires next; a suspended one does not.
fn next_tick(object: &Value, now: Timestamp) -> Option<Timestamp> {
    let cron = object.pointer("/spec/when/cron")?;
    if object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return None;
    }
    let zone = cron.get("timeZone").and_then(Value::as_str);
    Schedule::parse(cron.get("schedule")?.as_str()?, zone).ok()?.next_after(now)
}
