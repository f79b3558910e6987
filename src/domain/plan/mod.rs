//! What a pass over a config repository has to do: desired and observed objects in, actions out.
//!
//! A Task manifest is a run request, not a state to hold: it runs once for each digest of its spec, whatever
//! became of the object since. The other kinds are held at what git says. Nothing here reads a clock or a
//! cluster; the caller brings the cluster's view and carries the actions out in the order given.

mod drift;
mod tasks;
mod text;

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

pub use drift::{Drift, drifted_fields};
pub use tasks::RequestEnd;
pub use text::{ObjectText, TextPackers};

use crate::api::kind::Kind;
use crate::domain::graph;
use crate::domain::plan::tasks::TaskPlanner;

/// A kind that a config repository may define, in the order in which objects are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManagedKind {
    /// Where a run works.
    Workspace,
    /// What an agent is told and given.
    AgentConfig,
    /// What makes Tasks.
    TaskSpawner,
    /// One run.
    Task,
}

impl ManagedKind {
    /// All kinds, in apply order; objects are pruned in the reverse order.
    pub const ALL: [Self; 4] = [Self::Workspace, Self::AgentConfig, Self::TaskSpawner, Self::Task];

    /// Returns the kind among all that are served.
    pub const fn in_api(self) -> Kind {
        match self {
            Self::Workspace => Kind::Workspace,
            Self::AgentConfig => Kind::AgentConfig,
            Self::TaskSpawner => Kind::TaskSpawner,
            Self::Task => Kind::Task,
        }
    }

    /// Returns the kind as it stands in a manifest.
    pub const fn as_str(self) -> &'static str {
        self.in_api().as_str()
    }

    /// Returns the plural that API paths use.
    pub const fn plural(self) -> &'static str {
        self.in_api().plural()
    }

    /// Returns the kind that a manifest names, if a config repository may define it.
    pub fn from_manifest(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }
}

/// Names one object of the target namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The object's kind.
    pub kind: ManagedKind,
    /// The object's name.
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// One object as the config repository wants it.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Which object.
    pub key: ObjectKey,
    /// `apiVersion`, `kind`, `metadata` (name, labels, annotations) and `spec`, as git says.
    pub manifest: ObjectText,
    /// Digest of the manifest.
    pub digest: String,
    /// Digest of `spec` alone: the identity of a run request.
    pub spec_digest: String,
    /// Path of the file, relative to the root of the repository.
    pub file: Arc<str>,
    /// Line where the document begins, from 1.
    pub line: usize,
    /// Names of Tasks that this Task depends on; empty for other kinds.
    pub depends_on: Vec<String>,
}

/// One object as the cluster has it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The object's uid.
    pub uid: String,
    /// The uid of the ConfigRepository whose ownership label it carries, if there still is one of this uid.
    pub owner: Option<String>,
    /// The digest of the manifest it was last applied from.
    pub digest: Option<String>,
    /// The digest of the spec it was created from; only Tasks carry it.
    pub spec_digest: Option<String>,
    /// How a Task ended; `None` while it has not, and for other kinds.
    pub ended: Option<RequestEnd>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether a manager other than the pass holds `spec.suspend` at true.
    pub suspended_by_hand: bool,
    /// Equal for two states of the object only if drift is the same in both; anything for Tasks, which do not drift.
    pub content: u64,
    /// In which fields the live object is not as the manifest of `digest` says.
    pub drift: Arc<Drift>,
}

impl Observed {
    /// Returns whether a plan makes the same of both.
    pub fn is_as(&self, other: &Self) -> bool {
        let Self { uid, owner, digest, spec_digest, ended, deleting, suspended_by_hand, content, drift: _ } =
            self;
        *uid == other.uid
            && *owner == other.owner
            && *digest == other.digest
            && *spec_digest == other.spec_digest
            && *ended == other.ended
            && *deleting == other.deleting
            && *suspended_by_hand == other.suspended_by_hand
            && *content == other.content
    }
}

/// Why an object is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyReason {
    /// It is not there.
    Missing,
    /// The manifest changed since it was applied.
    Changed,
    /// Somebody changed these fields (JSON pointers) on the cluster.
    Drifted(Vec<String>),
}

/// One step of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Brings an object to what git says; `desired` is its index in the input.
    Apply {
        /// Index into the desired objects.
        desired: usize,
        /// What made it necessary.
        reason: ApplyReason,
        /// `spec.suspend` stays with the person who set it.
        keep_suspended: bool,
    },
    /// Creates the Task of a run request that was never carried out.
    Run {
        /// Index into the desired objects.
        desired: usize,
    },
    /// Deletes the finished Task of an older request; once it is gone, the next pass creates that of the new one.
    RunAgain {
        /// Index into the desired objects.
        desired: usize,
        /// The uid of the Task to delete.
        uid: String,
    },
    /// Deletes an object that left the repository.
    Prune {
        /// Which object.
        key: ObjectKey,
        /// Its uid: a namesake created since is not touched.
        uid: String,
    },
}

/// Something that the pass leaves as it is, and says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A changed run request waits until the Task of the older one has ended.
    WaitsForOlderRun(ObjectKey),
    /// A run request waits until a Task that it depends on is that of its own newest request.
    WaitsForDependency {
        /// The Task that waits.
        task: ObjectKey,
        /// The name of the Task that it depends on.
        dependency: String,
    },
    /// The object belongs to another ConfigRepository, or a Task of this name was made by somebody else.
    OwnedByAnother(ObjectKey),
    /// `spec.suspend` was set by hand and is kept.
    SuspendedByHand(ObjectKey),
    /// The object is being deleted; the pass waits for that to end.
    BeingDeleted(ObjectKey),
}

/// How pruning is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneGuard {
    /// Whether objects that left the repository are deleted at all.
    pub enabled: bool,
    /// The largest share of owned objects, in percent, that is deleted without confirmation.
    pub limit_percent: u8,
    /// Whether somebody confirmed the deletions of this revision.
    pub confirmed: bool,
    /// How many objects were owned when deletions were held back that wait still; `None` when none wait. What came since
    /// does not make their share smaller.
    pub held_of: Option<usize>,
}

impl PruneGuard {
    /// Returns of how many objects deletions are a share, when so many are owned now.
    pub fn base(&self, owned: usize) -> usize {
        self.held_of.map_or(owned, |before| before.min(owned))
    }
}

/// The outcome of planning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Steps in the order in which they are to be taken: applies and runs first, then prunes.
    pub actions: Vec<Action>,
    /// What is left alone and why.
    pub notices: Vec<Notice>,
    /// Objects that would be pruned but wait for confirmation.
    pub held_prunes: Vec<ObjectKey>,
    /// How many desired objects are as git says already.
    pub unchanged: usize,
}

/// What the cluster holds in the target namespace.
pub trait Cluster {
    /// Returns the object, if it is there.
    fn get(&self, key: &ObjectKey) -> Option<Arc<Observed>>;
    /// Returns key and uid of every object that carries the ownership label of `owner` and may be pruned.
    fn owned_by(&self, owner: &str) -> Vec<(ObjectKey, String)>;
    /// Returns how the request with this Task name and spec digest ended, whatever became of the object; `None` when no
    /// record says that it did. That it was carried out counts more than that it once was not.
    fn ended(&self, task_name: &str, spec_digest: &str) -> Option<RequestEnd>;
    /// Returns whether Tasks of this name are known that expired, and all of them had succeeded.
    fn expired_well(&self, task_name: &str) -> bool;

    /// Returns the Task, if it is there.
    fn task(&self, name: &str) -> Option<Arc<Observed>> {
        self.get(&ObjectKey { kind: ManagedKind::Task, name: name.to_owned() })
    }
}

/// Decides what brings the cluster to `desired` for the ConfigRepository with the uid `owner`.
pub fn plan<D: Borrow<Desired>>(
    desired: &[D],
    cluster: &dyn Cluster,
    owner: &str,
    guard: PruneGuard,
) -> Plan {
    let mut plan = Plan::default();
    let mut tasks = TaskPlanner::new(cluster, owner);
    for index in apply_order(desired) {
        let wanted = desired[index].borrow();
        if wanted.key.kind == ManagedKind::Task {
            tasks.plan(&mut plan, index, wanted);
        } else {
            plan_held(&mut plan, index, wanted, cluster, owner);
        }
    }
    plan_prunes(&mut plan, desired, cluster, owner, guard);
    plan
}

fn plan_held(plan: &mut Plan, index: usize, desired: &Desired, cluster: &dyn Cluster, owner: &str) {
    let Some(observed) = cluster.get(&desired.key) else {
        plan.actions.push(Action::Apply {
            desired: index,
            reason: ApplyReason::Missing,
            keep_suspended: false,
        });
        return;
    };
    if observed.owner.as_deref().is_some_and(|other| other != owner) {
        plan.notices.push(Notice::OwnedByAnother(desired.key.clone()));
        return;
    }
    if observed.deleting {
        plan.notices.push(Notice::BeingDeleted(desired.key.clone()));
        return;
    }
    let keep_suspended = observed.suspended_by_hand
        && desired.manifest.to_value().pointer("/spec/suspend") != Some(&Value::Bool(true));
    if keep_suspended {
        plan.notices.push(Notice::SuspendedByHand(desired.key.clone()));
    }
    let reason = if observed.digest.as_deref() != Some(desired.digest.as_str()) || observed.owner.is_none() {
        Some(ApplyReason::Changed)
    } else {
        let is_kept = |field: &&String| keep_suspended && *field == "/spec/suspend";
        let drift = observed.drift.from(&desired.manifest);
        let fields: Vec<String> = drift.iter().filter(|field| !is_kept(field)).cloned().collect();
        (!fields.is_empty()).then_some(ApplyReason::Drifted(fields))
    };
    match reason {
        Some(reason) => plan.actions.push(Action::Apply { desired: index, reason, keep_suspended }),
        None => plan.unchanged += 1,
    }
}

fn plan_prunes<D: Borrow<Desired>>(
    plan: &mut Plan,
    desired: &[D],
    cluster: &dyn Cluster,
    owner: &str,
    guard: PruneGuard,
) {
    if !guard.enabled {
        return;
    }
    let wanted: HashSet<&ObjectKey> = desired.iter().map(|object| &object.borrow().key).collect();
    let owned = cluster.owned_by(owner);
    let mut leaving: Vec<&(ObjectKey, String)> =
        owned.iter().filter(|(key, _)| !wanted.contains(key)).collect();
    if leaving.is_empty() {
        return;
    }
    leaving
        .sort_by(|(left, _), (right, _)| right.kind.cmp(&left.kind).then_with(|| left.name.cmp(&right.name)));
    let base = guard.base(owned.len());
    let over_limit = leaving.len() * 100 > base * usize::from(guard.limit_percent);
    if (over_limit || leaving.len() >= base) && !guard.confirmed {
        plan.held_prunes = leaving.into_iter().map(|(key, _)| key.clone()).collect();
        return;
    }
    plan.actions
        .extend(leaving.into_iter().map(|(key, uid)| Action::Prune { key: key.clone(), uid: uid.clone() }));
}

/// Returns the indexes of `desired` in apply order: by kind, Tasks after the Tasks they depend on, then by name.
///
/// With a dependency cycle Tasks stay in name order; the validation refuses cycles before this is reached.
pub fn apply_order<D: Borrow<Desired>>(desired: &[D]) -> Vec<usize> {
    let key = |index: usize| &desired[index].borrow().key;
    let mut indexes: Vec<usize> = (0..desired.len()).collect();
    indexes.sort_by(|left, right| key(*left).cmp(key(*right)));
    let first_task = indexes.partition_point(|index| key(*index).kind < ManagedKind::Task);
    let tasks = indexes.split_off(first_task);
    indexes.extend(dependency_order(desired, &tasks));
    indexes
}

fn dependency_order<D: Borrow<Desired>>(desired: &[D], tasks: &[usize]) -> Vec<usize> {
    let task = |index: usize| desired[index].borrow();
    let by_name: BTreeMap<&str, usize> =
        tasks.iter().map(|index| (task(*index).key.name.as_str(), *index)).collect();
    let needs = |index: usize| task(index).depends_on.iter().map(String::as_str).collect();
    let dependencies: graph::Dependencies<'_> =
        by_name.iter().map(|(name, index)| (*name, needs(*index))).collect();
    match graph::order(&dependencies) {
        Ok(names) => names.into_iter().filter_map(|name| by_name.get(name).copied()).collect(),
        Err(_) => tasks.to_vec(),
    }
}

#[cfg(test)]
mod tests;
