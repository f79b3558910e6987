//! Who owns whom, as far as anybody has to act on it.
//!
//! Only objects with owners, and objects that wait for their dependents, are held. Every change answers with what has
//! to be looked at again; nothing is decided here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use crate::apiserver::metadata::{FOREGROUND, ORPHAN};

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// Whether the object with this uid still has a reason to be there.
    Attempt(Arc<str>),
    /// The dependents of the object with this uid are to be released.
    Orphan(Arc<str>),
    /// This namespace is to be emptied.
    Sweep(Arc<str>),
}

/// One owner reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Owner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    block_owner_deletion: Option<bool>,
}

impl Owner {
    /// Whether the owner may not go before its dependent.
    pub(super) fn blocks(&self) -> bool {
        self.block_owner_deletion == Some(true)
    }
}

/// The part of an object that is looked at here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub(super) metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) uid: String,
    pub(super) creation_timestamp: Option<String>,
    pub(super) deletion_timestamp: Option<String>,
    finalizers: Option<Vec<String>>,
    owner_references: Option<Vec<Owner>>,
    managed_fields: Option<Vec<ManagedFields>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ManagedFields {
    time: Option<String>,
}

impl Head {
    /// Reads the head of a stored object; one that cannot be read has none.
    pub(super) fn of(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    pub(super) fn owners(&self) -> &[Owner] {
        self.metadata.owner_references.as_deref().unwrap_or_default()
    }

    pub(super) fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.metadata.finalizers.iter().flatten().map(String::as_str)
    }

    pub(super) fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers().any(|finalizer| finalizer == name)
    }

    pub(super) fn stage(&self) -> Stage {
        if self.metadata.deletion_timestamp.is_none() {
            Stage::Live
        } else if self.has_finalizer(FOREGROUND) {
            Stage::Foreground
        } else if self.has_finalizer(ORPHAN) {
            Stage::Orphan
        } else {
            Stage::Terminating
        }
    }

    /// Returns the times at which the server is known to have written the object, as texts.
    pub(super) fn write_times(&self) -> impl Iterator<Item = &str> {
        let managed = self.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_deref());
        self.metadata.creation_timestamp.as_deref().into_iter().chain(managed)
    }
}

/// How far the deletion of an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Live,
    /// Deleted, and held by finalizers that are not ours.
    Terminating,
    /// Deleted, and waiting for the dependents to go.
    Foreground,
    /// Deleted, and waiting for the dependents to be released.
    Orphan,
}

#[derive(Debug)]
struct Node {
    key: Arc<str>,
    owners: Vec<Owner>,
    stage: Stage,
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Arc<str>, Node>,
    // By the uid of the owner, which need not exist.
    dependents: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Graph {
    /// Takes note of an object that was written.
    pub(super) fn observe(&mut self, key: &Arc<str>, head: &Head) -> Vec<Work> {
        let uid: Arc<str> = Arc::from(head.metadata.uid.as_str());
        let old = self.nodes.remove(&uid);
        let (old_owners, old_stage) = old.map_or((Vec::new(), Stage::Live), |node| (node.owners, node.stage));
        let (owners, stage) = (head.owners(), head.stage());
        let mut work = Vec::new();
        if owners != old_owners && !owners.is_empty() {
            work.push(Work::Attempt(Arc::clone(&uid)));
        }
        let by_uid: HashMap<&str, &Owner> =
            owners.iter().rev().map(|owner| (owner.uid.as_str(), owner)).collect();
        for owner in &old_owners {
            let now = by_uid.get(owner.uid.as_str());
            if owner.blocks() && now.is_none_or(|now| !now.blocks()) {
                work.push(Work::Attempt(Arc::from(owner.uid.as_str())));
            }
            if now.is_none() {
                self.unlink(&owner.uid, &uid);
            }
        }
        for owner in owners {
            self.dependents.entry(Arc::from(owner.uid.as_str())).or_default().insert(Arc::clone(&uid));
        }
        match stage {
            Stage::Foreground if old_stage != stage => {
                work.extend(self.dependents(&uid).map(|(dependent, _)| Work::Attempt(Arc::clone(dependent))));
                work.push(Work::Attempt(Arc::clone(&uid)));
            }
            Stage::Orphan if old_stage != stage => work.push(Work::Orphan(Arc::clone(&uid))),
            Stage::Live | Stage::Terminating | Stage::Foreground | Stage::Orphan => {}
        }
        if !owners.is_empty() || matches!(stage, Stage::Foreground | Stage::Orphan) {
            self.nodes.insert(uid, Node { key: Arc::clone(key), owners: owners.to_vec(), stage });
        }
        work
    }

    /// Takes note of an object that is gone.
    pub(super) fn forget(&mut self, uid: &str) -> Vec<Work> {
        let mut work: Vec<Work> =
            self.dependents(uid).map(|(dependent, _)| Work::Attempt(Arc::clone(dependent))).collect();
        if let Some(node) = self.nodes.remove(uid) {
            for owner in &node.owners {
                self.unlink(&owner.uid, uid);
                if self.nodes.get(owner.uid.as_str()).is_some_and(|owner| owner.stage == Stage::Foreground) {
                    work.push(Work::Attempt(Arc::from(owner.uid.as_str())));
                }
            }
        }
        work
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    /// Returns the key in the store of the object with this uid, if it is held here.
    pub(super) fn key(&self, uid: &str) -> Option<&Arc<str>> {
        self.nodes.get(uid).map(|node| &node.key)
    }

    /// Returns uid and key of everything that names `uid` as an owner.
    pub(super) fn dependents(&self, uid: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let dependents = self.dependents.get(uid).into_iter().flatten();
        dependents.filter_map(|dependent| Some((dependent, &self.nodes.get(dependent)?.key)))
    }

    /// Returns the dependents that `uid` may not go before, and whether each waits for dependents of its own.
    pub(super) fn blocking(&self, uid: &str) -> Vec<(Arc<str>, bool)> {
        let blocks = |node: &Node| node.owners.iter().any(|owner| owner.uid == uid && owner.blocks());
        self.dependents(uid)
            .filter_map(|(dependent, _)| Some((dependent, self.nodes.get(dependent)?)))
            .filter(|(_, node)| blocks(node))
            .map(|(dependent, node)| (Arc::clone(dependent), node.stage == Stage::Foreground))
            .collect()
    }

    /// Returns whether any dependent of `uid` waits for dependents of its own.
    pub(super) fn has_waiting_dependent(&self, uid: &str) -> bool {
        self.dependents(uid).any(|(dependent, _)| {
            self.nodes.get(dependent).is_some_and(|node| node.stage == Stage::Foreground)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn observe(graph: &mut Graph, uid: &str, metadata: Value) -> Vec<Work> {
        let mut metadata = metadata;
        metadata["uid"] = json!(uid);
        let head = Head::of(json!({"metadata": metadata}).to_string().as_bytes());
        graph.observe(&Arc::from(format!("key/{uid}")), &head)
    }

    fn attempt(uid: &str) -> Work {
        Work::Attempt(Arc::from(uid))
    }

    #[test]
    fn an_object_without_owners_is_not_held() {
        let mut graph = Graph::default();
        assert_eq!(observe(&mut graph, "a", json!({})), []);
        assert!(graph.nodes.is_empty());
        assert_eq!(graph.forget("a"), []);
    }

    #[test]
    fn dependents_are_looked_at_when_their_owner_goes() {
        let mut graph = Graph::default();
        let owned = json!({"ownerReferences": [{"uid": "a"}]});
        assert_eq!(observe(&mut graph, "b", owned.clone()), [attempt("b")]);
        assert_eq!(observe(&mut graph, "b", owned), [], "nothing changed");
        assert_eq!(graph.forget("a"), [attempt("b")]);
        assert_eq!(graph.forget("b"), []);
        assert!(graph.nodes.is_empty() && graph.dependents.is_empty());
    }

    #[test]
    fn an_owner_that_waits_is_looked_at_when_it_is_no_longer_blocked() {
        let waiting = json!({"deletionTimestamp": "t", "finalizers": [FOREGROUND]});
        let owned = |blocks: bool| json!({"ownerReferences": [{"uid": "a", "blockOwnerDeletion": blocks}]});
        let mut graph = Graph::default();
        observe(&mut graph, "b", owned(true));
        assert_eq!(observe(&mut graph, "a", waiting), [attempt("b"), attempt("a")]);
        assert_eq!(graph.blocking("a"), [(Arc::from("b"), false)]);
        assert_eq!(observe(&mut graph, "b", owned(false)), [attempt("b"), attempt("a")]);
        assert_eq!(graph.blocking("a"), []);
        assert_eq!(graph.forget("b"), [attempt("a")]);
    }

    #[test]
    fn the_stage_follows_from_the_finalizers() {
        let stage = |metadata: Value| Head::of(json!({"metadata": metadata}).to_string().as_bytes()).stage();
        assert_eq!(stage(json!({"finalizers": [FOREGROUND]})), Stage::Live);
        assert_eq!(stage(json!({"finalizers": null, "deletionTimestamp": "t"})), Stage::Terminating);
        assert_eq!(
            stage(json!({"finalizers": ["x", FOREGROUND], "deletionTimestamp": "t"})),
            Stage::Foreground
        );
        assert_eq!(stage(json!({"finalizers": [ORPHAN], "deletionTimestamp": "t"})), Stage::Orphan);
    }
}
