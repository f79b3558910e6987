//! The order of writes: decisions under one lock, group commit by one thread, then publication.
//!
//! A decision sees the latest state, also what is not durable yet, so that decisions need not wait for the disk.
//! The price is that a failed commit takes with it everything that was decided after it began.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::store::published::Published;
use crate::store::{Entry, Event, StoreError};

/// The state behind the write lock.
#[derive(Debug)]
pub(super) struct Writes {
    /// The highest revision that was given out, also to a write that failed: none is given out twice.
    pub(super) assigned: u64,
    /// What the staged writes leave behind.
    overlay: HashMap<Arc<str>, Latest>,
    queue: Vec<Staged>,
    pub(super) closed: bool,
    /// Whether the last commit failed.
    pub(super) is_failing: bool,
}

#[derive(Debug)]
struct Latest {
    revision: u64,
    entry: Option<Entry>,
}

/// Something that waits for the next commit.
#[derive(Debug)]
pub(super) struct Staged {
    /// `None`: an answer that depends on writes which are not durable yet.
    pub(super) write: Option<Write>,
    /// The receiving end is the caller of `Store::mutate`, who may have gone away.
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// One decided write.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) revision: u64,
    pub(super) key: Arc<str>,
    pub(super) written: Written,
    /// The entry that is replaced or deleted.
    pub(super) previous: Option<Entry>,
}

#[derive(Debug, Clone)]
pub(super) enum Written {
    Put(Entry),
    Deleted { last: Option<Bytes> },
}

impl Write {
    pub(super) fn event(&self) -> Event {
        let previous = self.previous.as_ref().map(|entry| entry.value.clone());
        let (value, deleted_value) = match &self.written {
            Written::Put(entry) => (Some(entry.value.clone()), None),
            Written::Deleted { last } => (None, last.clone().or_else(|| previous.clone())),
        };
        Event { revision: self.revision, key: Arc::clone(&self.key), value, previous, deleted_value }
    }
}

impl Writes {
    pub(super) fn new(assigned: u64) -> Self {
        Self { assigned, overlay: HashMap::new(), queue: Vec::new(), closed: false, is_failing: false }
    }

    /// Returns the latest entry of `key` and whether it is not durable yet.
    fn latest(&self, published: &Published, key: &str) -> (Option<Entry>, bool) {
        match self.overlay.get(key) {
            Some(latest) => (latest.entry.clone(), true),
            None => (published.get(key), false),
        }
    }

    /// Takes `write` into the next commit and lets decisions see it.
    pub(super) fn stage(&mut self, write: Write) -> oneshot::Receiver<Result<(), StoreError>> {
        self.assigned = write.revision;
        let entry = match &write.written {
            Written::Put(entry) => Some(entry.clone()),
            Written::Deleted { .. } => None,
        };
        self.overlay.insert(Arc::clone(&write.key), Latest { revision: write.revision, entry });
        self.enqueue(Some(write))
    }

    /// Waits with an answer for what it depends on.
    pub(super) fn stage_answer(&mut self) -> oneshot::Receiver<Result<(), StoreError>> {
        self.enqueue(None)
    }

    fn enqueue(&mut self, write: Option<Write>) -> oneshot::Receiver<Result<(), StoreError>> {
        let (done, outcome) = oneshot::channel();
        self.queue.push(Staged { write, done });
        outcome
    }

    pub(super) fn take_queue(&mut self) -> Vec<Staged> {
        std::mem::take(&mut self.queue)
    }

    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Forgets what `writes` left in the overlay; they are published now.
    pub(super) fn settle(&mut self, writes: &[Write]) {
        for write in writes {
            if self.overlay.get(&write.key).is_some_and(|latest| latest.revision == write.revision) {
                self.overlay.remove(&write.key);
            }
        }
    }

    /// Forgets everything that is not durable and returns who waits for it.
    pub(super) fn abandon(&mut self) -> Vec<Staged> {
        self.overlay.clear();
        self.take_queue()
    }
}

/// The latest state of all keys, as a decision sees it.
#[derive(Debug)]
pub struct View<'a> {
    writes: &'a Writes,
    published: &'a Published,
    // Whether anything that is not durable was looked at.
    uncommitted: Cell<bool>,
}

impl<'a> View<'a> {
    pub(super) fn new(writes: &'a Writes, published: &'a Published) -> Self {
        Self { writes, published, uncommitted: Cell::new(false) }
    }

    /// Returns the latest entry of `key`.
    pub fn get(&self, key: &str) -> Option<Entry> {
        let (entry, uncommitted) = self.writes.latest(self.published, key);
        self.uncommitted.set(self.uncommitted.get() || uncommitted);
        entry
    }

    /// Returns whether any entry lies under `prefix`.
    pub fn any(&self, prefix: &str) -> bool {
        if !self.writes.overlay.is_empty() {
            self.uncommitted.set(true);
        }
        self.writes
            .overlay
            .values()
            .filter_map(|latest| latest.entry.as_ref())
            .any(|entry| entry.key.starts_with(prefix))
            || self.published.under(prefix).any(|key| !self.writes.overlay.contains_key(key))
    }

    pub(super) fn saw_uncommitted(&self) -> bool {
        self.uncommitted.get()
    }
}
