//! Which Tasks of each spawner have not ended, kept up by one watch, so that a look at a spawner costs no request.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;

use crate::api::labels;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;

/// How many listings may pass a Task by that we created before it is given up for gone.
const PATIENCE: u8 = 2;

/// Unfinished Tasks by spawner. All of it can be lost: a listing brings it back.
#[derive(Debug, Default)]
pub(super) struct ActiveTasks {
    // Held for map operations only, never across an await.
    state: Mutex<State>,
}

type SpawnerRef = ObjectRef<TaskSpawner>;
type Names = HashMap<SpawnerRef, HashSet<String>>;

#[derive(Debug, Default)]
struct State {
    unfinished: Names,
    /// Tasks that are being created and that the watch has not shown yet, by namespace and name: their spawner, and
    /// how many listings passed them by.
    unseen: BTreeMap<(String, String), (SpawnerRef, u8)>,
    /// What a listing that is going on has shown so far.
    listing: Option<Names>,
}

impl ActiveTasks {
    /// Returns how many Tasks of the spawner have not ended; those that were expected count.
    pub(super) fn count(&self, spawner: &TaskSpawner) -> usize {
        self.with(|state| state.unfinished.get(&ObjectRef::from_obj(spawner)).map_or(0, HashSet::len))
    }

    /// Counts a Task that is about to be created. The watch may take a while to show it.
    pub(super) fn expect(&self, spawner: &TaskSpawner, task: &str) {
        self.with(|state| {
            let spawner = ObjectRef::from_obj(spawner);
            state.unseen.insert(place(&spawner, task), (spawner.clone(), 0));
            state.unfinished.entry(spawner).or_default().insert(task.to_owned());
        });
    }

    /// Forgets a Task that was expected and is not there, or has ended already.
    pub(super) fn withdraw(&self, spawner: &TaskSpawner, task: &str) {
        self.with(|state| {
            let spawner = ObjectRef::from_obj(spawner);
            state.unseen.remove(&place(&spawner, task));
            state.remove(&spawner, task);
        });
    }

    /// Takes an event of the watch up, and returns the spawners for which it makes a difference.
    pub(super) fn observe(&self, event: &watcher::Event<Task>) -> Vec<SpawnerRef> {
        self.with(|state| match event {
            watcher::Event::Init => {
                state.listing = Some(HashMap::new());
                Vec::new()
            }
            watcher::Event::InitApply(task) => {
                if let (Some(spawner), Some(listing)) = (spawner_of(task), state.listing.as_mut()) {
                    let name = task.name_any();
                    if !task.has_ended() {
                        listing.entry(spawner.clone()).or_default().insert(name.clone());
                    }
                    state.unseen.remove(&place(&spawner, &name));
                }
                Vec::new()
            }
            watcher::Event::InitDone => state.end_listing(),
            watcher::Event::Apply(task) => state.change(task, !task.has_ended()),
            watcher::Event::Delete(task) => state.change(task, false),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn change(&mut self, task: &Task, unfinished: bool) -> Vec<SpawnerRef> {
        let Some(spawner) = spawner_of(task) else { return Vec::new() };
        let name = task.name_any();
        self.unseen.remove(&place(&spawner, &name));
        let changed = if unfinished {
            self.unfinished.entry(spawner.clone()).or_default().insert(name)
        } else {
            self.remove(&spawner, &name)
        };
        if changed { vec![spawner] } else { Vec::new() }
    }

    fn remove(&mut self, spawner: &SpawnerRef, task: &str) -> bool {
        let Entry::Occupied(mut names) = self.unfinished.entry(spawner.clone()) else { return false };
        let removed = names.get_mut().remove(task);
        if names.get().is_empty() {
            names.remove();
        }
        removed
    }

    fn end_listing(&mut self) -> Vec<SpawnerRef> {
        let Some(mut listed) = self.listing.take() else { return Vec::new() };
        self.unseen.values_mut().for_each(|(_, passed_by)| *passed_by += 1);
        self.unseen.retain(|_, (_, passed_by)| *passed_by < PATIENCE);
        for ((_, name), (spawner, _)) in &self.unseen {
            listed.entry(spawner.clone()).or_default().insert(name.clone());
        }
        let before = std::mem::replace(&mut self.unfinished, listed);
        let differs = |spawner: &&SpawnerRef| before.get(*spawner) != self.unfinished.get(*spawner);
        let all: HashSet<&SpawnerRef> = before.keys().chain(self.unfinished.keys()).collect();
        all.into_iter().filter(differs).cloned().collect()
    }
}

/// A Task lies in the namespace of its spawner.
fn place(spawner: &SpawnerRef, task: &str) -> (String, String) {
    (spawner.namespace.clone().unwrap_or_default(), task.to_owned())
}

fn spawner_of(task: &Task) -> Option<SpawnerRef> {
    let name = task.labels().get(labels::TASK_SPAWNER)?;
    Some(ObjectRef::new(name).within(&task.namespace().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spawner(name: &str) -> TaskSpawner {
        serde_json::from_value(json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "TaskSpawner",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"when": {}, "taskTemplate": {"type": "shell"}},
        }))
        .unwrap()
    }

    fn task(name: &str, phase: &str) -> Task {
        serde_json::from_value(json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "Task",
            "metadata": {"name": name, "namespace": "default", "labels": {labels::TASK_SPAWNER: "nightly"}},
            "spec": {"type": "shell", "prompt": "true"}, "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_makes_a_difference_wakes_the_spawner() {
        let (active, nightly) = (ActiveTasks::default(), spawner("nightly"));
        let woken = |event| active.observe(&event).len();
        assert_eq!(woken(watcher::Event::Apply(task("a", "Pending"))), 1);
        assert_eq!(woken(watcher::Event::Apply(task("a", "Running"))), 0);
        assert_eq!(active.count(&nightly), 1);
        assert_eq!(woken(watcher::Event::Apply(task("a", "Failed"))), 1);
        assert_eq!(woken(watcher::Event::Delete(task("a", "Failed"))), 0);
        active.expect(&nightly, "b");
        assert_eq!(active.count(&nightly), 1);
        assert_eq!(woken(watcher::Event::Apply(task("b", "Waiting"))), 0);
        assert_eq!(woken(watcher::Event::Delete(task("b", "Waiting"))), 1);
        assert_eq!((active.count(&nightly), active.count(&spawner("other"))), (0, 0));
    }

    #[test]
    fn a_listing_replaces_what_was_known_but_for_what_is_being_created() {
        let (active, nightly) = (ActiveTasks::default(), spawner("nightly"));
        active.observe(&watcher::Event::Apply(task("gone", "Running")));
        active.expect(&nightly, "new");
        let list = |tasks: &[Task]| {
            active.observe(&watcher::Event::Init);
            for task in tasks {
                active.observe(&watcher::Event::InitApply(task.clone()));
            }
            active.observe(&watcher::Event::InitDone)
        };
        assert_eq!(list(&[task("kept", "Running"), task("old", "Succeeded")]).len(), 1);
        assert_eq!(active.count(&nightly), 2, "kept and new");
        assert_eq!(list(&[task("kept", "Running")]).len(), 1);
        assert_eq!(active.count(&nightly), 1, "what no listing shows is not there");
        assert_eq!(list(&[task("kept", "Running")]).len(), 0);
        active.expect(&nightly, "refused");
        active.withdraw(&nightly, "refused");
        assert_eq!(active.count(&nightly), 1);
    }
}
