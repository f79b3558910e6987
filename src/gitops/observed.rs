//! What the cluster holds, kept up by watches, so that a pass over an unchanged tree asks the API nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use futures::StreamExt as _;
use futures::stream::SelectAll;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::api::kind::Kind;
use crate::api::labels;
use crate::api::phase::TaskPhase;
use crate::api::run_record::{Departure, RunOutcome};
use crate::domain::outcome;
use crate::domain::plan::{Cluster, Drift, ManagedKind, ObjectKey, ObjectText, Observed, RequestEnd};

/// A state of one namespace of an [`ObservedCluster`]: as long as it stays the same, so do all answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    namespace: u64,
    repositories: u64,
}

/// Live objects of the kinds that config repositories define, and the runs that were recorded, by namespace.
#[derive(Debug, Default)]
pub struct ObservedCluster {
    // Held for map operations only, never across an await.
    state: RwLock<State>,
    touched: Touched,
}

/// Namespaces in which something happened, until somebody asks.
#[derive(Debug, Default)]
struct Touched {
    namespaces: Mutex<BTreeSet<String>>,
    some: Notify,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<String, HashMap<ObjectKey, Entry>>,
    /// Records by namespace and name.
    records: HashMap<String, HashMap<String, Record>>,
    /// How many records stand for a run request.
    requests: HashMap<String, HashMap<RunRequest, Ends>>,
    /// Uids of the ConfigRepositories there are, by namespace and name.
    repositories: HashMap<(String, String), String>,
    /// How often something changed in a namespace that a plan may depend on.
    changes: HashMap<String, u64>,
    /// How often a ConfigRepository came or went.
    repository_changes: u64,
    /// What a listing that is going on has shown so far, by kind.
    listing: HashMap<Watched, HashSet<(String, String)>>,
}

#[derive(Debug, Clone)]
struct Entry {
    observed: Arc<Observed>,
    resource_version: String,
    /// It stays when it leaves git.
    kept: bool,
    /// Somebody beside config repositories and controllers holds a field of its spec.
    shared: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RunRequest {
    task_name: String,
    spec_digest: String,
}

/// What a RunRecord says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    /// Which run request it stands for.
    request: RunRequest,
    /// How that ended.
    end: RequestEnd,
    /// The Task left by its time to live: whoever depends on it goes by this record.
    has_expired: bool,
}

/// How many records of a run request there are, by how it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends {
    succeeded: u32,
    failed: u32,
    dependency_failed: u32,
}

impl Ends {
    fn count(&mut self, end: RequestEnd) -> &mut u32 {
        match end {
            RequestEnd::Succeeded => &mut self.succeeded,
            RequestEnd::Failed => &mut self.failed,
            RequestEnd::DependencyFailed => &mut self.dependency_failed,
        }
    }

    /// Returns the end that counts most; `None` when there are no records.
    fn first(self) -> Option<RequestEnd> {
        let ends = [
            (self.succeeded, RequestEnd::Succeeded),
            (self.failed, RequestEnd::Failed),
            (self.dependency_failed, RequestEnd::DependencyFailed),
        ];
        ends.into_iter().find_map(|(count, end)| (count > 0).then_some(end))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Watched {
    Managed(ManagedKind),
    RunRecord,
    ConfigRepository,
}

impl Watched {
    fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::Managed(kind) => (crate::api::KELOS_GROUP, kind.as_str(), kind.plural()),
            Self::RunRecord => (crate::api::GITOPS_GROUP, "RunRecord", "runrecords"),
            Self::ConfigRepository => {
                (crate::api::GITOPS_GROUP, Kind::ConfigRepository.as_str(), Kind::ConfigRepository.plural())
            }
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, crate::api::VERSION, kind), plural)
    }
}

impl ObservedCluster {
    /// Returns a view of nothing; [`ObservedCluster::follow`] fills it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the view of one namespace.
    pub fn namespace<'a>(&'a self, namespace: &'a str) -> ObservedNamespace<'a> {
        ObservedNamespace { cluster: self, namespace }
    }

    /// Follows the cluster for ever; a watch that breaks is resumed.
    ///
    /// `ready` becomes true once every kind was listed; its receivers wait with passes until then.
    pub async fn follow(self: Arc<Self>, client: kube::Client, ready: watch::Sender<bool>) {
        let mut waiting: HashSet<Watched> = ManagedKind::ALL.into_iter().map(Watched::Managed).collect();
        waiting.extend([Watched::RunRecord, Watched::ConfigRepository]);
        let mut streams = SelectAll::new();
        for watched in waiting.iter().copied().collect::<Vec<_>>() {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &watched.resource());
            let events = watcher(api, watcher::Config::default()).default_backoff();
            streams.push(events.map(move |event| (watched, event)).boxed());
        }
        while let Some((watched, event)) = streams.next().await {
            self.note(watched, &event);
            match event {
                Ok(watcher::Event::Init) => self.write(|state| {
                    state.listing.insert(watched, HashSet::new());
                }),
                Ok(watcher::Event::InitApply(object)) => self.write(|state| {
                    if let Some(seen) = state.listing.get_mut(&watched) {
                        seen.insert(name_of(&object));
                    }
                    state.put(watched, object);
                }),
                Ok(watcher::Event::Apply(object)) => self.write(|state| state.put(watched, object)),
                Ok(watcher::Event::Delete(object)) => self.write(|state| state.delete(watched, &object)),
                Ok(watcher::Event::InitDone) => {
                    self.write(|state| state.end_listing(watched));
                    waiting.remove(&watched);
                    if waiting.is_empty() {
                        ready.send_replace(true);
                    }
                }
                Err(error) => tracing::warn!(kind = ?watched, %error, "Watch failed and is resumed"),
            }
        }
    }

    /// Returns the namespaces in which Tasks, definitions or records changed since the last time, once there are some.
    ///
    /// One waits at a time: what one is told no other is.
    pub async fn touched(&self) -> BTreeSet<String> {
        loop {
            let told = self.touched.some.notified();
            let namespaces = std::mem::take(&mut *self.touched.lock());
            if !namespaces.is_empty() {
                return namespaces;
            }
            told.await;
        }
    }

    fn note(&self, watched: Watched, event: &Result<watcher::Event<DynamicObject>, watcher::Error>) {
        use watcher::Event;
        let (Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)), true) =
            (event, watched != Watched::ConfigRepository)
        else {
            return;
        };
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let mut namespaces = self.touched.lock();
        if !namespaces.contains(namespace) {
            namespaces.insert(namespace.to_owned());
            self.touched.some.notify_one();
        }
    }

    /// Takes note of what an apply of ours returned, ahead of the watch: what the server made of it is no drift.
    pub fn applied(&self, kind: ManagedKind, object: DynamicObject) {
        self.write(|state| state.put_managed(kind, object, true));
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Touched {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a live object up; `is_ours` says that an apply of ours returned it, so that it is as its manifest says.
    fn put_managed(&mut self, kind: ManagedKind, object: DynamicObject, is_ours: bool) {
        let (namespace, name) = name_of(&object);
        let objects = self.objects.entry(namespace.clone()).or_default();
        let key = ObjectKey { kind, name };
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let known = objects.get(&key);
        // The watch may still bring what was replaced by our own apply; or it was faster than the answer to that.
        let is_past = known.is_some_and(|known| {
            known.resource_version == version || is_older(&version, &known.resource_version)
        });
        if is_past && !is_ours {
            return;
        }
        let observed = observe(kind, &object);
        let same = known.filter(|known| known.observed.is_as(&observed));
        if let Some(known) = same.filter(|_| is_ours) {
            known.observed.drift.settle();
        }
        if is_past {
            return;
        }
        let (kept, shared) = (is_kept(&object), is_shared(&object));
        // A status that changed is no change to a plan, and what was compared need not be compared again.
        let same = same.filter(|known| known.kept == kept && known.shared == shared);
        let same = same.map(|known| Arc::clone(&known.observed));
        if same.is_none() {
            *self.changes.entry(namespace).or_default() += 1;
        }
        let observed = same.unwrap_or_else(|| {
            let drift = if is_ours { Drift::none() } else { drift(kind, object) };
            Arc::new(Observed { drift: Arc::new(drift), ..observed })
        });
        objects.insert(key, Entry { observed, resource_version: version, kept, shared });
    }

    fn put(&mut self, watched: Watched, object: DynamicObject) {
        let (namespace, name) = name_of(&object);
        match watched {
            Watched::Managed(kind) => self.put_managed(kind, object, false),
            Watched::RunRecord => {
                let record = record(&object);
                let known = self.records.get(&namespace).and_then(|records| records.get(&name));
                if known == Some(&record) {
                    return;
                }
                self.remove(watched, &namespace, &name);
                *self.changes.entry(namespace.clone()).or_default() += 1;
                let requests = self.requests.entry(namespace.clone()).or_default();
                *requests.entry(record.request.clone()).or_default().count(record.end) += 1;
                self.records.entry(namespace).or_default().insert(name, record);
            }
            Watched::ConfigRepository => {
                let uid = object.metadata.uid.unwrap_or_default();
                let known = self.repositories.insert((namespace, name), uid.clone());
                self.repository_changes += u64::from(known != Some(uid));
            }
        }
    }

    fn delete(&mut self, watched: Watched, object: &DynamicObject) {
        let (namespace, name) = name_of(object);
        if let Watched::Managed(kind) = watched {
            let key = ObjectKey { kind, name: name.clone() };
            let known = self.objects.get(&namespace).and_then(|objects| objects.get(&key));
            let version = object.metadata.resource_version.as_deref().unwrap_or_default();
            // The watch may still bring the end of a namesake that our own create replaced.
            if known.is_some_and(|known| is_older(version, &known.resource_version)) {
                return;
            }
        }
        self.remove(watched, &namespace, &name);
    }

    fn remove(&mut self, watched: Watched, namespace: &str, name: &str) {
        *self.changes.entry(namespace.to_owned()).or_default() += 1;
        match watched {
            Watched::Managed(kind) => {
                if let Some(objects) = self.objects.get_mut(namespace) {
                    objects.remove(&ObjectKey { kind, name: name.to_owned() });
                }
            }
            Watched::RunRecord => {
                let Some(record) = self.records.get_mut(namespace).and_then(|records| records.remove(name))
                else {
                    return;
                };
                if let Some(requests) = self.requests.get_mut(namespace)
                    && let Some(ends) = requests.get_mut(&record.request)
                {
                    *ends.count(record.end) -= 1;
                    if ends.first().is_none() {
                        requests.remove(&record.request);
                    }
                }
            }
            Watched::ConfigRepository => {
                self.repositories.remove(&(namespace.to_owned(), name.to_owned()));
                self.repository_changes += 1;
            }
        }
    }

    fn end_listing(&mut self, watched: Watched) {
        let Some(seen) = self.listing.remove(&watched) else { return };
        let gone: Vec<(String, String)> = match watched {
            Watched::Managed(kind) => self
                .objects
                .iter()
                .flat_map(|(namespace, objects)| objects.keys().map(move |key| (namespace, key)))
                .filter(|(_, key)| key.kind == kind)
                .map(|(namespace, key)| (namespace.clone(), key.name.clone()))
                .filter(|place| !seen.contains(place))
                .collect(),
            Watched::RunRecord => self
                .records
                .iter()
                .flat_map(|(namespace, records)| {
                    records.keys().map(move |name| (namespace.clone(), name.clone()))
                })
                .filter(|place| !seen.contains(place))
                .collect(),
            Watched::ConfigRepository => {
                self.repositories.keys().filter(|place| !seen.contains(*place)).cloned().collect()
            }
        };
        for (namespace, name) in gone {
            self.remove(watched, &namespace, &name);
        }
    }
}

/// One namespace of an [`ObservedCluster`].
#[derive(Debug, Clone, Copy)]
pub struct ObservedNamespace<'a> {
    cluster: &'a ObservedCluster,
    namespace: &'a str,
}

impl ObservedNamespace<'_> {
    /// Returns in which state the namespace is, for seeing that nothing changed since.
    pub fn stage(&self) -> Stage {
        self.cluster.read(|state| Stage {
            namespace: state.changes.get(self.namespace).copied().unwrap_or_default(),
            repositories: state.repository_changes,
        })
    }

    /// Returns the objects that `owner` does not own, and the Tasks that expired and left a record: what its definitions
    /// may refer to without defining it.
    pub fn others(&self, owner: &str) -> BTreeSet<(Kind, String)> {
        self.cluster.read(|state| {
            let objects = state.objects.get(self.namespace).into_iter().flatten();
            let foreign = objects.filter(|(_, entry)| entry.observed.owner.as_deref() != Some(owner));
            let records = state.records.get(self.namespace).into_iter().flat_map(HashMap::values);
            let expired = records.filter(|record| record.has_expired);
            foreign
                .map(|(key, _)| (key.kind.in_api(), key.name.clone()))
                .chain(expired.map(|record| (Kind::Task, record.request.task_name.clone())))
                .collect()
        })
    }

    /// Returns whether somebody beside config repositories and controllers holds a field of the object's spec.
    pub fn is_shared(&self, key: &ObjectKey) -> bool {
        self.cluster.read(|state| {
            state.objects.get(self.namespace).and_then(|all| all.get(key)).is_some_and(|entry| entry.shared)
        })
    }
}

impl Cluster for ObservedNamespace<'_> {
    fn get(&self, key: &ObjectKey) -> Option<Arc<Observed>> {
        self.cluster.read(|state| {
            let observed = &state.objects.get(self.namespace)?.get(key)?.observed;
            // Who is gone owns nothing: a ConfigRepository that was made anew takes its objects up.
            let lives = |owner: &String| state.repositories.values().any(|uid| uid == owner);
            if observed.owner.as_ref().is_none_or(lives) {
                return Some(Arc::clone(observed));
            }
            Some(Arc::new(Observed { owner: None, ..(**observed).clone() }))
        })
    }

    fn owned_by(&self, owner: &str) -> Vec<(ObjectKey, String)> {
        self.cluster.read(|state| {
            let objects = state.objects.get(self.namespace).into_iter().flatten();
            objects
                .filter(|(_, entry)| {
                    entry.observed.owner.as_deref() == Some(owner) && !entry.observed.deleting && !entry.kept
                })
                .map(|(key, entry)| (key.clone(), entry.observed.uid.clone()))
                .collect()
        })
    }

    fn ended(&self, task_name: &str, spec_digest: &str) -> Option<RequestEnd> {
        let request = RunRequest { task_name: task_name.to_owned(), spec_digest: spec_digest.to_owned() };
        self.cluster.read(|state| state.requests.get(self.namespace)?.get(&request)?.first())
    }

    fn expired_well(&self, task_name: &str) -> bool {
        self.cluster.read(|state| {
            let records = state.records.get(self.namespace).into_iter().flat_map(HashMap::values);
            let expired =
                records.filter(|record| record.has_expired && record.request.task_name == task_name);
            let mut ends = expired.map(|record| record.end).peekable();
            ends.peek().is_some() && ends.all(|end| end == RequestEnd::Succeeded)
        })
    }
}

fn name_of(object: &DynamicObject) -> (String, String) {
    (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone().unwrap_or_default())
}

/// Returns whether the version `left` comes before `right`; versions that are no numbers cannot be compared.
fn is_older(left: &str, right: &str) -> bool {
    matches!((left.parse::<u64>(), right.parse::<u64>()), (Ok(left), Ok(right)) if left < right)
}

/// Returns what a plan has to know of an object, but for its drift.
fn observe(kind: ManagedKind, object: &DynamicObject) -> Observed {
    let annotation = |key: &str| object.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let label = |key: &str| object.metadata.labels.as_ref().and_then(|all| all.get(key)).cloned();
    Observed {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        owner: label(labels::OWNER_UID),
        digest: annotation(labels::MANIFEST_DIGEST),
        spec_digest: annotation(labels::SPEC_DIGEST),
        ended: if kind == ManagedKind::Task { task_end(object) } else { None },
        deleting: object.metadata.deletion_timestamp.is_some(),
        suspended_by_hand: kind == ManagedKind::TaskSpawner && is_suspended_by_hand(object),
        content: content(kind, object),
        drift: Arc::new(Drift::none()),
    }
}

/// Returns how a Task ended, by its status.
fn task_end(object: &DynamicObject) -> Option<RequestEnd> {
    let text = |field: &str| object.data.pointer(field).and_then(Value::as_str);
    let phase = text("/status/phase")?.parse::<TaskPhase>().ok().filter(|phase| phase.is_terminal())?;
    let reason = text("/status/reason").and_then(|reason| reason.parse().ok());
    Some(end_of(outcome::recorded(phase, reason)))
}

/// Returns what a RunRecord says.
fn record(object: &DynamicObject) -> Record {
    let text = |field: &str| object.data.pointer(field).and_then(Value::as_str).unwrap_or_default();
    let request = RunRequest {
        task_name: text("/spec/taskName").to_owned(),
        spec_digest: text("/spec/specDigest").to_owned(),
    };
    // An outcome of another version counts as a run: what may have been paid for is not paid for twice.
    let end = text("/spec/outcome").parse().map_or(RequestEnd::Failed, end_of);
    Record { request, end, has_expired: text("/status/departure") == Departure::Expired.as_str() }
}

fn end_of(outcome: RunOutcome) -> RequestEnd {
    match outcome {
        RunOutcome::Succeeded => RequestEnd::Succeeded,
        RunOutcome::DependencyFailed => RequestEnd::DependencyFailed,
        RunOutcome::Failed
        | RunOutcome::NeverStarted
        | RunOutcome::Interrupted
        | RunOutcome::DeadlineExceeded
        | RunOutcome::Cancelled => RequestEnd::Failed,
    }
}

/// Returns a hash of what drift is looked for in. The generation stands for the spec.
fn content(kind: ManagedKind, object: &DynamicObject) -> u64 {
    if kind == ManagedKind::Task {
        return 0;
    }
    let ObjectMeta { generation, labels, annotations, .. } = &object.metadata;
    let mut hasher = DefaultHasher::new();
    (generation, labels, annotations).hash(&mut hasher);
    hasher.finish()
}

/// Returns the drift of an object that was not compared yet. Tasks take no part in drift.
fn drift(kind: ManagedKind, mut object: DynamicObject) -> Drift {
    if kind == ManagedKind::Task {
        return Drift::none();
    }
    Drift::of(ObjectText::of(&json!({
        "apiVersion": kind.in_api().api_version(), "kind": kind.as_str(),
        "metadata": {
            "name": object.metadata.name.take(), "labels": object.metadata.labels.take(),
            "annotations": object.metadata.annotations.take(),
        },
        "spec": object.data["spec"].take(),
    })))
}

/// Returns whether `spec.suspend` is true and held by a manager that is no config repository.
fn is_suspended_by_hand(object: &DynamicObject) -> bool {
    object.data.pointer("/spec/suspend") == Some(&Value::Bool(true))
        && is_held_by_hand(object, "/f:spec/f:suspend")
}

/// Returns whether somebody else holds a part of the spec, so that what git says is not all that the object becomes.
fn is_shared(object: &DynamicObject) -> bool {
    is_held_by_hand(object, "/f:spec")
}

fn is_held_by_hand(object: &DynamicObject, field: &str) -> bool {
    object.metadata.managed_fields.iter().flatten().any(|entry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        !manager.starts_with(labels::CONFIG_MANAGER_PREFIX)
            && manager != labels::CONTROLLER_MANAGER
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer(field).is_some())
    })
}

fn is_kept(object: &DynamicObject) -> bool {
    object
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(labels::PRUNE))
        .is_some_and(|value| value == "disabled")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_record(uid: &str, task: &str, outcome: &str, departure: Option<&str>) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": uid, "namespace": "n"},
            "spec": {"taskName": task, "specDigest": "1", "outcome": outcome},
            "status": {"departure": departure},
        }))
        .unwrap()
    }

    #[test]
    fn a_record_says_how_a_request_ended_and_whether_others_may_depend_on_it() {
        let cluster = ObservedCluster::new();
        let put = |record: DynamicObject| cluster.write(|state| state.put(Watched::RunRecord, record));
        let view = cluster.namespace("n");
        let is_offered = |name: &str| view.others("o").contains(&(Kind::Task, name.to_owned()));
        put(run_record("1", "a", "DependencyFailed", None));
        assert_eq!(view.ended("a", "1"), Some(RequestEnd::DependencyFailed));
        put(run_record("2", "a", "Succeeded", None));
        assert_eq!(view.ended("a", "1"), Some(RequestEnd::Succeeded), "it was carried out in the end");
        assert_eq!(view.ended("a", "2"), None);
        assert!(!is_offered("a") && !view.expired_well("a"), "its Task is there, or was deleted");
        put(run_record("1", "a", "DependencyFailed", Some("Deleted")));
        let before = view.stage();
        put(run_record("2", "a", "Succeeded", Some("Expired")));
        assert_ne!(view.stage(), before);
        assert!(is_offered("a") && view.expired_well("a"));
        put(run_record("3", "a", "Failed", Some("Expired")));
        assert!(is_offered("a") && !view.expired_well("a"));
        for uid in ["1", "2", "3"] {
            cluster.write(|state| state.delete(Watched::RunRecord, &run_record(uid, "a", "Failed", None)));
        }
        assert_eq!(view.ended("a", "1"), None);
        assert!(!is_offered("a"));
    }
}
