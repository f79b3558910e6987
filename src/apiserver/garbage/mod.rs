//! What a cluster's controllers do behind the API's back: objects whose owners are gone are collected, deleted
//! namespaces are emptied, old Events expire.
//!
//! One loop reads the store's watch and acts through the same functions as requests do. It holds no state that a
//! restart would miss: everything is rebuilt from the objects. Whether an owner exists is decided by its uid, at the
//! place that the reference names; an owner of a kind that is not served is left in peace, as is its dependent.
//!
//! ```text
//! store --watch--> graph, namespaces, expiry --work--> delete, release, sweep --> store
//! ```

mod expiry;
mod graph;
mod namespaces;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use serde_json::Value;

use crate::apiserver::delete;
use crate::apiserver::garbage::expiry::Expiry;
use crate::apiserver::garbage::graph::{Graph, Head, Owner, Stage, Work};
use crate::apiserver::metadata::{self, FOREGROUND, ORPHAN};
use crate::apiserver::options::{DeleteOptions, Propagation};
use crate::apiserver::resource::Resource;
use crate::apiserver::server::State;
use crate::apiserver::status::ApiError;
use crate::apiserver::write::{self, Place};
use crate::store::{Change, Event, MutateError, StoreError, Watch};

/// The name under which this module's changes stand in `managedFields`: that of the program that does the same in a
/// cluster.
const MANAGER: &str = "kube-controller-manager";

/// How much work is done at once, so that its writes share commits.
const AT_ONCE: usize = 64;

/// The wait before work that failed is tried again; it doubles with each failure in a row.
const RETRY: Duration = Duration::from_millis(100);

/// No wait is longer: clocks jump and machines sleep.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Keeps house in `state`'s store until the server stops or the store is closed.
pub(crate) async fn run(state: &State) {
    while !state.stopping.is_cancelled() {
        let mut collector = Collector::start(state);
        loop {
            collector.settle().await;
            if !collector.wait().await {
                break;
            }
        }
        if !collector.watch.lagged() {
            return;
        }
        tracing::debug!("Garbage collection begins anew after too many changes at once");
    }
}

struct Collector<'a> {
    state: &'a State,
    watch: Watch,
    /// The resources by the prefix of their keys; one of each stored kind.
    resources: BTreeMap<String, Arc<Resource>>,
    graph: Graph,
    /// Namespaces that are being deleted.
    terminating: BTreeSet<Arc<str>>,
    expiry: Expiry,
    queue: BTreeSet<Work>,
    /// Work that failed and waits to be tried again.
    failed: BTreeSet<Work>,
    /// How many rounds in a row had failures.
    failures: u32,
}

impl<'a> Collector<'a> {
    /// Reads everything and begins to watch right behind it.
    fn start(state: &'a State) -> Self {
        let mut resources = BTreeMap::new();
        for resource in state.registry.all() {
            // Two groups may share one stored kind; the one whose name the keys bear stands for it.
            let is_home = resource.core.is_none_or(|core| core.group == core.storage_group);
            if is_home || !resources.contains_key(&resource.prefix()) {
                resources.insert(resource.prefix(), Arc::clone(resource));
            }
        }
        let (page, watch) = loop {
            let page = state.store.list("", None, None);
            // Fails only when the whole history went by in between.
            if let Ok(watch) = state.store.watch("", page.revision) {
                break (page, watch);
            }
        };
        let mut collector = Self {
            state,
            watch,
            resources,
            graph: Graph::default(),
            terminating: BTreeSet::new(),
            expiry: Expiry::default(),
            queue: BTreeSet::new(),
            failed: BTreeSet::new(),
            failures: 0,
        };
        let now = state.clock.now();
        for entry in &page.entries {
            let head = Head::of(&entry.value);
            if is_event(&entry.key) {
                collector.expiry.note(&entry.key, expiry::last_written(&head, now), entry.revision);
            }
            collector.observe(&entry.key, &head);
        }
        collector
    }

    /// Does everything that there is to do now. What fails stays for later.
    async fn settle(&mut self) {
        self.queue.append(&mut self.failed);
        let mut has_failed = false;
        self.expire().await;
        loop {
            while let Some(event) = self.watch.try_next() {
                self.follow(&event);
            }
            let mut batch = Vec::new();
            while batch.len() < AT_ONCE
                && let Some(work) = self.queue.pop_first()
            {
                batch.push(work);
            }
            if batch.is_empty() {
                break;
            }
            let mut running = Vec::with_capacity(batch.len());
            for work in &batch {
                running.push(self.perform(work));
            }
            let results = join_all(running).await;
            for (work, result) in batch.into_iter().zip(results) {
                match result {
                    Ok(more) => self.queue.extend(more),
                    // The object is gone, which the watch says too.
                    Err(error) if error.code == 404 => {}
                    Err(error) => {
                        tracing::debug!(%error, ?work, "Garbage collection will try again");
                        has_failed = true;
                        self.failed.insert(work);
                    }
                }
            }
        }
        self.failures = if has_failed { self.failures.saturating_add(1) } else { 0 };
    }

    /// Waits until there may be something to do; `false` when the watch is over or the server stops.
    async fn wait(&mut self) -> bool {
        let pause = if self.failed.is_empty() {
            LONGEST_WAIT
        } else {
            RETRY.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT)
        };
        let may_sleep_for_ever = self.failed.is_empty() && self.expiry.is_empty();
        tokio::select! {
            event = self.watch.next() => match event {
                Some(event) => {
                    self.follow(&event);
                    true
                }
                None => false,
            },
            () = tokio::time::sleep(pause), if !may_sleep_for_ever => true,
            () = self.state.stopping.cancelled() => false,
        }
    }

    fn follow(&mut self, event: &Event) {
        if let Some(value) = &event.value {
            if is_event(&event.key) {
                self.expiry.note(&event.key, self.state.clock.now(), event.revision);
            }
            self.observe(&event.key, &Head::of(value));
            return;
        }
        self.expiry.forget(&event.key);
        let head = event.previous.as_ref().map(|bytes| Head::of(bytes)).unwrap_or_default();
        self.queue.extend(self.graph.forget(&head.metadata.uid));
        let Some((resource, namespace, name)) = self.locate(&event.key) else { return };
        if is_namespace(resource) {
            self.terminating.remove(name);
        } else if let Some(namespace) = self.terminating.get(namespace) {
            self.queue.insert(Work::Sweep(Arc::clone(namespace)));
        }
    }

    fn observe(&mut self, key: &Arc<str>, head: &Head) {
        self.queue.extend(self.graph.observe(key, head));
        let Some((resource, namespace, name)) = self.locate(key) else { return };
        let is_deleted = head.metadata.deletion_timestamp.is_some();
        if is_namespace(resource) && is_deleted {
            let name: Arc<str> = Arc::from(name);
            self.terminating.insert(Arc::clone(&name));
            self.queue.insert(Work::Sweep(name));
        } else if let Some(namespace) = self.terminating.get(namespace)
            && !is_deleted
        {
            self.queue.insert(Work::Sweep(Arc::clone(namespace)));
        }
    }

    /// Returns the resource, the namespace and the name that a key spells.
    fn locate<'k>(&self, key: &'k str) -> Option<(&Arc<Resource>, &'k str, &'k str)> {
        let end = key.match_indices('/').nth(1)?.0 + 1;
        let resource = self.resources.get(key.get(..end)?)?;
        let (namespace, name) = resource.parse_key(key);
        Some((resource, namespace, name))
    }

    /// Does one piece of work; returns what else has to be looked at.
    async fn perform(&self, work: &Work) -> Result<Vec<Work>, ApiError> {
        match work {
            Work::Attempt(uid) => self.attempt(uid).await,
            Work::Orphan(uid) => self.orphan(uid).await.map(|()| Vec::new()),
            Work::Sweep(name) => {
                let resources: Vec<Arc<Resource>> = self.resources.values().cloned().collect();
                namespaces::sweep(self.state, &resources, name).await.map(|()| Vec::new())
            }
        }
    }

    /// Returns where the object with `uid` is, and its bytes, if it is still there.
    fn find<'k>(&'k self, uid: &'k str) -> Option<(Found<'k>, Bytes)> {
        let key = self.graph.key(uid)?;
        self.find_at(key, uid)
    }

    fn find_at<'k>(&'k self, key: &'k str, uid: &'k str) -> Option<(Found<'k>, Bytes)> {
        let (resource, namespace, name) = self.locate(key)?;
        let entry = self.state.store.get(key)?;
        let found = Found { resource, namespace, name, uid };
        (Head::of(&entry.value).metadata.uid == uid).then_some((found, entry.value))
    }

    /// Deletes an object that has no owner left, drops references to owners that are gone or waiting, and lets an
    /// object go that waited for its dependents.
    async fn attempt(&self, uid: &str) -> Result<Vec<Work>, ApiError> {
        let Some((found, bytes)) = self.find(uid) else { return Ok(Vec::new()) };
        let head = Head::of(&bytes);
        match head.stage() {
            Stage::Live => {}
            Stage::Foreground => return self.finish_foreground(&found).await,
            Stage::Terminating | Stage::Orphan => return Ok(Vec::new()),
        }
        if head.owners().is_empty() || found.resource.is_read_only() {
            return Ok(Vec::new());
        }
        let (mut solid, mut gone, mut waiting) = (0, Vec::new(), Vec::new());
        for owner in head.owners() {
            match self.classify(&found, owner) {
                Standing::Solid => solid += 1,
                Standing::Gone => gone.push(owner.uid.as_str()),
                Standing::Waiting => waiting.push(owner.uid.as_str()),
                Standing::Unknown => return Ok(Vec::new()),
            }
        }
        if solid > 0 {
            gone.append(&mut waiting);
            if !gone.is_empty() {
                self.release(&found, &gone).await?;
            }
            return Ok(Vec::new());
        }
        let propagation = if !waiting.is_empty() && self.graph.dependents(uid).next().is_some() {
            if self.graph.has_waiting_dependent(uid) {
                // A circle of owners that wait for each other: this one gives way.
                self.unblock(&found).await?;
            }
            Propagation::Foreground
        } else if head.has_finalizer(ORPHAN) {
            Propagation::Orphan
        } else if head.has_finalizer(FOREGROUND) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        self.delete(&found, head.owners(), propagation).await?;
        Ok(Vec::new())
    }

    /// Lets an object go that waits for its dependents, or sends them on their way.
    async fn finish_foreground(&self, found: &Found<'_>) -> Result<Vec<Work>, ApiError> {
        let blocking = self.graph.blocking(found.uid);
        if blocking.is_empty() {
            self.remove_finalizer(found, FOREGROUND).await?;
            return Ok(Vec::new());
        }
        // A dependent comes back to its owner by being deleted; nothing is queued for one that is already on its way,
        // or the two would call for each other without end.
        let is_untouched =
            |uid: &str| self.find(uid).is_some_and(|(_, bytes)| Head::of(&bytes).stage() == Stage::Live);
        Ok(blocking
            .into_iter()
            .filter(|(uid, is_waiting)| !is_waiting && is_untouched(uid))
            .map(|(uid, _)| Work::Attempt(uid))
            .collect())
    }

    /// Releases the dependents of an object, then the object.
    async fn orphan(&self, uid: &str) -> Result<(), ApiError> {
        let Some((found, _)) = self.find(uid) else { return Ok(()) };
        let dependents: Vec<_> =
            self.graph.dependents(uid).filter_map(|(dependent, key)| self.find_at(key, dependent)).collect();
        for chunk in dependents.chunks(AT_ONCE) {
            let mut running = Vec::with_capacity(chunk.len());
            for (dependent, _) in chunk {
                running.push(self.release(dependent, std::slice::from_ref(&uid)));
            }
            for result in join_all(running).await {
                match result {
                    Ok(()) => {}
                    Err(error) if error.code == 404 => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.remove_finalizer(&found, ORPHAN).await
    }

    fn classify(&self, dependent: &Found<'_>, owner: &Owner) -> Standing {
        let served = self.state.registry.all().iter();
        let Some(resource) = served
            .into_iter()
            .find(|resource| resource.kind == owner.kind && resource.api_version() == owner.api_version)
        else {
            return Standing::Unknown;
        };
        if resource.namespaced && dependent.namespace.is_empty() {
            return Standing::Unknown;
        }
        let Some(entry) = self.state.store.get(&resource.key(dependent.namespace, &owner.name)) else {
            return Standing::Gone;
        };
        let head = Head::of(&entry.value);
        if head.metadata.uid != owner.uid {
            Standing::Gone
        } else if head.stage() == Stage::Foreground {
            Standing::Waiting
        } else {
            Standing::Solid
        }
    }

    /// Deletes an object as long as its owners are those that were judged.
    async fn delete(
        &self,
        found: &Found<'_>,
        owners: &[Owner],
        propagation: Propagation,
    ) -> Result<(), ApiError> {
        let options = DeleteOptions {
            propagation: Some(propagation),
            uid: Some(found.uid.to_owned()),
            ..DeleteOptions::default()
        };
        let current = self.find_at(&found.key(), found.uid).map(|(_, bytes)| Head::of(&bytes));
        if current.is_none_or(|head| propagation != Propagation::Foreground && head.owners() != owners) {
            // Judged again with the event of that change.
            return Ok(());
        }
        delete::delete(self.state, found.resource, found.namespace, found.name, &options).await.map(drop)
    }

    /// Drops the references to owners with these uids.
    async fn release(&self, found: &Found<'_>, owners: &[&str]) -> Result<(), ApiError> {
        self.change(found, |metadata| {
            let Some(Value::Array(references)) = metadata.get_mut("ownerReferences") else { return };
            references
                .retain(|reference| !reference["uid"].as_str().is_some_and(|uid| owners.contains(&uid)));
            if references.is_empty() {
                metadata.remove("ownerReferences");
            }
        })
        .await
    }

    /// Makes all owner references of an object ones that do not block.
    async fn unblock(&self, found: &Found<'_>) -> Result<(), ApiError> {
        self.change(found, |metadata| {
            let references = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut);
            for reference in references.into_iter().flatten() {
                if reference["blockOwnerDeletion"] == true {
                    reference["blockOwnerDeletion"] = Value::from(false);
                }
            }
        })
        .await
    }

    async fn remove_finalizer(&self, found: &Found<'_>, finalizer: &str) -> Result<(), ApiError> {
        self.change(found, |metadata| {
            let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") else { return };
            finalizers.retain(|existing| existing != finalizer);
            if finalizers.is_empty() {
                metadata.remove("finalizers");
            }
        })
        .await
    }

    /// Changes the metadata of an object, unless it was replaced by another one of its name.
    async fn change(
        &self,
        found: &Found<'_>,
        change: impl FnOnce(&mut serde_json::Map<String, Value>) + Send,
    ) -> Result<(), ApiError> {
        let place = Place {
            resource: found.resource,
            namespace: found.namespace,
            name: found.name,
            subresource: "",
            manager: MANAGER,
            uid_is_precondition: false,
        };
        write::update(self.state, &place, false, false, |old, now| {
            let old = old
                .filter(|old| metadata::text(old, "uid") == found.uid)
                .ok_or_else(|| ApiError::not_found(found.resource.subject(), found.name))?;
            let mut new = old.clone();
            change(metadata::of(&mut new));
            Ok(place.own(Some(old), new, now))
        })
        .await
        .map(drop)
    }

    /// Removes the Events whose time is over. One that was written again meanwhile stays.
    async fn expire(&self) {
        let due = self.expiry.due(self.state.clock.now());
        for chunk in due.chunks(AT_ONCE) {
            let mut running = Vec::with_capacity(chunk.len());
            for (key, expired) in chunk {
                running.push(self.remove_event(key, *expired));
            }
            for result in join_all(running).await {
                if let Err(error) = result {
                    // They are still due at the next turn.
                    tracing::debug!(%error, "Expired events could not be removed");
                    return;
                }
            }
        }
    }

    async fn remove_event(&self, key: &str, expired: u64) -> Result<(), StoreError> {
        let Some((resource, ..)) = self.locate(key) else { return Ok(()) };
        let removal = self.state.store.mutate(key, |entry, revision| {
            let change = match entry {
                Some(entry) if entry.revision == expired => {
                    Change::Delete { last: write::with_revision(resource, &entry.value, revision).ok() }
                }
                Some(_) | None => Change::Keep,
            };
            Ok::<_, Infallible>((change, ()))
        });
        match removal.await {
            Ok(_) => Ok(()),
            Err(MutateError::Refused(never)) => match never {},
            Err(MutateError::Storage(error)) => Err(error),
        }
    }
}

/// Where an object is.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    resource: &'a Resource,
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
}

impl Found<'_> {
    fn key(&self) -> String {
        self.resource.key(self.namespace, self.name)
    }
}

/// What an owner reference is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The owner is there.
    Solid,
    /// Nothing with this uid is where the reference says.
    Gone,
    /// The owner is deleted and waits for its dependents.
    Waiting,
    /// Nobody here can tell.
    Unknown,
}

fn is_namespace(resource: &Resource) -> bool {
    resource.core.is_some_and(|core| core.kind == "Namespace")
}

fn is_event(key: &str) -> bool {
    key.starts_with("core/events/")
}
