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
mod owners;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::apiserver::garbage::expiry::Expiry;
use crate::apiserver::garbage::graph::{Graph, Head, Work};
use crate::apiserver::resource::Resource;
use crate::apiserver::server::State;
use crate::apiserver::status::ApiError;
use crate::store::{Event, Watch};

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
}

fn is_namespace(resource: &Resource) -> bool {
    resource.core.is_some_and(|core| core.kind == "Namespace")
}

fn is_event(key: &str) -> bool {
    key.starts_with("core/events/")
}
