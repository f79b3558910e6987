//! What readers see: the committed entries, the recent past, and the watchers.
//!
//! Everything here is in memory and changes only by [`Published::publish`], after the writes are durable.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::watch::{self, Feed, Watch};
use crate::store::writes::{Write, Written};
use crate::store::{Entry, Event, Options, Page, WatchError};

/// What one event costs in the history beside its bytes, roughly.
const EVENT_OVERHEAD: usize = 256;

#[derive(Debug)]
pub(super) struct Published {
    entries: BTreeMap<Arc<str>, Entry>,
    // Invariant: holds every event with a revision above `floor`, in order.
    history: VecDeque<Past>,
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
    queue_limit: usize,
    secret_prefixes: Vec<String>,
}

/// One event together with the entry that it replaced.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub(super) event: Event,
    pub(super) previous: Option<Entry>,
}

/// What a store begins with: nothing, or what was read from the file.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) revision: u64,
    pub(super) floor: u64,
    pub(super) secret_floor: u64,
    pub(super) entries: BTreeMap<Arc<str>, Entry>,
    pub(super) history: Vec<Past>,
}

impl Default for Beginning {
    /// An empty state has revision 1, so that 0 is free to mean that no revision is meant.
    fn default() -> Self {
        Self { revision: 1, floor: 1, secret_floor: 0, entries: BTreeMap::new(), history: Vec::new() }
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
            queue_limit: options.watch_queue,
            secret_prefixes: options.secret_prefixes,
        };
        for past in beginning.history {
            published.remember(past);
        }
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

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Returns the entries under `prefix` in the order of their keys.
    pub(super) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| entry.key.starts_with(prefix))
    }

    pub(super) fn list(&self, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Page {
        let start = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        let found = self
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(prefix));
        page(self.revision(), found, limit)
    }

    /// Lists as [`Published::list`] would have done at `revision`, by undoing what happened since.
    pub(super) fn list_at(
        &self,
        revision: u64,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page, WatchError> {
        self.reach(prefix, revision)?;
        let mut undone: BTreeMap<&str, Option<&Entry>> = BTreeMap::new();
        for past in self.since(revision).rev().filter(|past| past.event.key.starts_with(prefix)) {
            undone.insert(&past.event.key, past.previous.as_ref());
        }
        let mut then: BTreeMap<&str, &Entry> = BTreeMap::new();
        for entry in self.under(prefix) {
            if !undone.contains_key(&*entry.key) {
                then.insert(&entry.key, entry);
            }
        }
        then.extend(undone.into_iter().filter_map(|(key, entry)| Some((key, entry?))));
        let found = then.into_values().filter(|entry| after.is_none_or(|after| &*entry.key > after));
        Ok(page(revision, found, limit))
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
            watch::channel(prefix, after, backlog, self.queue_limit, Arc::clone(&self.revision));
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
                Written::Put(entry) => {
                    self.entries.insert(Arc::clone(&entry.key), entry);
                }
                Written::Deleted { .. } => {
                    self.entries.remove(&write.key);
                }
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
        self.history_bytes += past.cost();
        self.history.push_back(past);
        while self.history.len() > self.history_limit || self.history_bytes > self.history_byte_limit {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= oldest.cost();
            self.floor = oldest.event.revision;
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
        let start = self.history.partition_point(|past| past.event.revision <= revision);
        self.history.range(start..)
    }
}

impl Past {
    fn cost(&self) -> usize {
        // The value is counted with the event that wrote it; most often the next event shares it as `previous`.
        let event = &self.event;
        EVENT_OVERHEAD
            + event.key.len()
            + event.value.as_ref().map_or(0, bytes::Bytes::len)
            + event.deleted_value.as_ref().map_or(0, bytes::Bytes::len)
    }
}

fn page<'a>(revision: u64, mut found: impl Iterator<Item = &'a Entry>, limit: Option<usize>) -> Page {
    let entries: Vec<Entry> = match limit {
        Some(limit) => found.by_ref().take(limit).cloned().collect(),
        None => found.by_ref().cloned().collect(),
    };
    Page { revision, entries, remaining: found.count() }
}
