//! What readers see: the committed entries, the recent past, and the watchers.
//!
//! Everything here is in memory and changes only by [`Published::publish`], after the writes are durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::disk::is_secret;
use crate::store::entries::{Entries, Held};
use crate::store::watch::{self, Feed, Limits, Watch};
use crate::store::writes::{Write, Written};
use crate::store::{Entry, Event, Options, Page, WatchError};

#[derive(Debug)]
pub(super) struct Published {
    // An entry is packed when its event leaves the history, which shares its value.
    entries: Entries,
    // Invariant: holds every event with a revision above `floor`, in order.
    history: VecDeque<Remembered>,
    history_bytes: usize,
    floor: u64,
    // Keys under a secret prefix may have a later floor: their past does not survive a restart.
    secret_floor: u64,
    feeds: Vec<Feed>,
    // Nothing will happen any more, so a watch ends after the past.
    closed: bool,
    // Also read by every `Watch` for its progress.
    revision: Arc<AtomicU64>,
    history_limit: usize,
    history_byte_limit: usize,
    watch_limits: Limits,
    secret_prefixes: Vec<String>,
}

/// One event together with the entry that it replaced.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub(super) event: Event,
    pub(super) previous: Option<Entry>,
}

/// A part of the history.
#[derive(Debug)]
struct Remembered {
    past: Past,
    /// In bytes.
    cost: usize,
}

/// What a store begins with: nothing, or what was read from the file.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) revision: u64,
    pub(super) floor: u64,
    pub(super) secret_floor: u64,
    pub(super) entries: Entries,
    pub(super) history: Vec<Past>,
}

impl Default for Beginning {
    /// An empty state has revision 1, so that 0 is free to mean that no revision is meant.
    fn default() -> Self {
        Self { revision: 1, floor: 1, secret_floor: 0, entries: Entries::default(), history: Vec::new() }
    }
}

impl Published {
    pub(super) fn new(beginning: Beginning, options: Options) -> Self {
        let mut published = Self {
            entries: beginning.entries,
            history: VecDeque::new(),
            history_bytes: 0,
            floor: beginning.floor,
            secret_floor: beginning.secret_floor,
            feeds: Vec::new(),
            closed: false,
            revision: Arc::new(AtomicU64::new(beginning.revision)),
            history_limit: options.history_events,
            history_byte_limit: options.history_bytes,
            watch_limits: Limits { events: options.watch_queue, bytes: options.watch_bytes },
            secret_prefixes: options.secret_prefixes,
        };
        for past in beginning.history {
            published.remember(past);
        }
        let Self { entries, secret_prefixes, floor, .. } = &mut published;
        entries.pack_up_to(*floor, |key| is_secret(secret_prefixes, key));
        published
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Returns the revision from which on the past is complete.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Returns how many events of the past are kept.
    pub(super) fn history_events(&self) -> usize {
        self.history.len()
    }

    /// Returns how many watchers listen.
    pub(super) fn watches(&self) -> usize {
        self.feeds.iter().filter(|feed| feed.is_live()).count()
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key)
    }

    /// Returns the keys under `prefix` in order.
    pub(super) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        self.entries.under(prefix, None).map(|(key, _)| key)
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Found {
        Found::of(self.revision(), self.entries.under(prefix, after), limit)
    }

    /// Lists as [`Published::list`] would have done at `revision`, by undoing what happened since.
    pub(super) fn list_at(
        &self,
        revision: u64,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Found, WatchError> {
        self.reach(prefix, revision)?;
        let mut undone: BTreeMap<&Arc<str>, Option<&Entry>> = BTreeMap::new();
        for past in self.since(revision).rev().filter(|past| past.event.key.starts_with(prefix)) {
            undone.insert(&past.event.key, past.previous.as_ref());
        }
        let mut then: BTreeMap<&Arc<str>, Held> = BTreeMap::new();
        let untouched = self.entries.under(prefix, None).filter(|(key, _)| !undone.contains_key(key));
        then.extend(untouched.map(|(key, held)| (key, held.into())));
        then.extend(undone.iter().filter_map(|(key, entry)| Some((*key, entry.as_ref().copied()?.into()))));
        let found = then.into_iter().filter(|(key, _)| after.is_none_or(|after| &***key > after));
        Ok(Found::of(revision, found, limit))
    }

    pub(super) fn watch(&mut self, prefix: &str, after: u64) -> Result<Watch, WatchError> {
        self.reach(prefix, after)?;
        // Under the exclusive lock nothing is published between reading the past and joining the feeds, so no
        // revision falls into a gap and none comes twice.
        let backlog = self
            .since(after)
            .filter(|past| past.event.key.starts_with(prefix))
            .map(|past| past.event.clone())
            .collect();
        let (feed, watch) =
            watch::channel(prefix, after, backlog, self.watch_limits, Arc::clone(&self.revision));
        self.feeds.retain(Feed::is_live);
        if !self.closed {
            self.feeds.push(feed);
        }
        Ok(watch)
    }

    /// Makes durable writes visible to readers and watchers.
    pub(super) fn publish(&mut self, writes: Vec<Write>) {
        let Some(last) = writes.last().map(|write| write.revision) else { return };
        let mut events = Vec::with_capacity(writes.len());
        for write in writes {
            let event = write.event();
            match write.written {
                Written::Put(entry) => drop(self.entries.insert(&entry)),
                Written::Deleted { .. } => drop(self.entries.remove(&write.key)),
            }
            events.push(event.clone());
            self.remember(Past { event, previous: write.previous });
        }
        self.feeds.retain(|feed| feed.offer(&events));
        // Last, so that whoever reads this revision finds everything up to it: see `Watch::progress`.
        self.revision.store(last, Ordering::Release);
    }

    /// Ends every watch, also those that begin later.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.feeds.clear();
    }

    fn remember(&mut self, past: Past) {
        let cost = past.cost(self.floor);
        self.history_bytes += cost;
        self.history.push_back(Remembered { past, cost });
        while self.history.len() > self.history_limit || self.history_bytes > self.history_byte_limit {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= oldest.cost;
            let Event { revision, key, .. } = oldest.past.event;
            self.floor = revision;
            if !is_secret(&self.secret_prefixes, &key) {
                self.entries.pack(&key, revision);
            }
        }
    }

    fn reach(&self, prefix: &str, revision: u64) -> Result<(), WatchError> {
        let current = self.revision();
        if revision > current {
            return Err(WatchError::Future { current });
        }
        let touches_secrets = self
            .secret_prefixes
            .iter()
            .any(|secret| secret.starts_with(prefix) || prefix.starts_with(secret.as_str()));
        let floor = if touches_secrets { self.floor.max(self.secret_floor) } else { self.floor };
        if revision < floor {
            return Err(WatchError::Compacted { floor });
        }
        Ok(())
    }

    fn since(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Past> {
        let start = self.history.partition_point(|remembered| remembered.past.event.revision <= revision);
        self.history.range(start..).map(|remembered| &remembered.past)
    }
}

impl Past {
    /// Returns what it costs to keep in a history that holds what came after `floor`.
    fn cost(&self, floor: u64) -> usize {
        // The history shares a value that is replaced with the event that wrote it, if it still holds that.
        let shared = self.previous.as_ref().filter(|entry| entry.revision > floor);
        self.event.cost() - shared.map_or(0, |entry| entry.value.len())
    }
}

/// A part of a list as it is kept.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) revision: u64,
    pub(super) entries: Vec<(Arc<str>, Held)>,
    remaining: usize,
}

impl Found {
    fn of<'a, H: Into<Held>>(
        revision: u64,
        mut found: impl Iterator<Item = (&'a Arc<str>, H)>,
        limit: Option<usize>,
    ) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        let entries = found.by_ref().take(limit).map(|(key, held)| (Arc::clone(key), held.into())).collect();
        Self { revision, entries, remaining: found.count() }
    }
}

impl From<Found> for Page {
    fn from(found: Found) -> Self {
        let Found { revision, entries, remaining } = found;
        Self {
            revision,
            entries: entries.into_iter().map(|(key, held)| held.with_key(key)).collect(),
            remaining,
        }
    }
}
