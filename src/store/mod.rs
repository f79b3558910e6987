//! A revisioned log of keys and bytes, on disk in `SQLite` or in memory only.
//!
//! Every change gets the next revision of one counter; no revision is ever given out twice, not even after a
//! crash. All live entries are in memory, packed when nothing changed them lately, so reading never touches the disk and always sees the latest durable
//! state. Writing is a decision on the latest state, then a commit that many writes share, then publication to
//! readers and watchers, in this order. The store knows nothing of what the bytes mean.
//!
//! ```text
//! mutate --decide under the write lock--> queue --writer thread: one commit--> published --> get, list, watch
//! ```

mod commit;
mod disk;
mod entries;
mod error;
mod published;
mod scan;
#[cfg(test)]
mod tests;
mod watch;
mod writes;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use bytes::Bytes;

pub use crate::store::error::{MutateError, OpenError, StoreError, WatchError};
pub use crate::store::scan::Scan;
pub use crate::store::watch::Watch;
pub use crate::store::writes::View;

use crate::metrics::Storage;
use crate::store::disk::Disk;
use crate::store::published::{Beginning, Published};
use crate::store::writes::{Write, Writes, Written};

/// One key with its latest value; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// The value.
    pub value: Bytes,
    /// The revision that wrote the value.
    pub revision: u64,
    /// The revision that created the key, since it was last absent.
    pub created: u64,
}

/// What a decision wants to happen to its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Write this value.
    Put(Bytes),
    /// Remove the key; without an entry nothing happens.
    Delete {
        /// The value that the event of the deletion carries; the current one by default.
        last: Option<Bytes>,
    },
    /// Write nothing.
    Keep,
}

/// One change as watchers see it; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The revision of the change.
    pub revision: u64,
    /// The key that changed.
    pub key: Arc<str>,
    /// The new value; `None` when the key was deleted.
    pub value: Option<Bytes>,
    /// The value before the change; `None` when the key was created.
    pub previous: Option<Bytes>,
    /// With a deletion, the last value as the deletion stated it.
    pub deleted_value: Option<Bytes>,
}

impl Event {
    /// Returns what it costs to keep, roughly, in bytes.
    fn cost(&self) -> usize {
        let values = [&self.value, &self.previous, &self.deleted_value];
        EVENT_OVERHEAD + self.key.len() + values.into_iter().flatten().map(Bytes::len).sum::<usize>()
    }
}

/// What an event costs beside its bytes, roughly.
const EVENT_OVERHEAD: usize = 256;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The revision whose state this is.
    pub revision: u64,
    /// The entries in the order of their keys.
    pub entries: Vec<Entry>,
    /// How many entries follow after the last one.
    pub remaining: usize,
}

/// A mutation that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the decision returned beside the change.
    pub outcome: T,
    /// The revision of the write; with [`Change::Keep`] that of the entry left in place, 0 when there is none.
    pub revision: u64,
}

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many past events are kept for watchers.
    pub history_events: usize,
    /// How many bytes of values these may hold.
    pub history_bytes: usize,
    /// How many events may wait for one watcher before it is cut off.
    pub watch_queue: usize,
    /// How many bytes these may hold. Watchers of the same keys share them.
    pub watch_bytes: usize,
    /// The largest value in bytes.
    pub value_limit: usize,
    /// Keys under these prefixes hold secrets: a superseded value is overwritten on disk at once.
    pub secret_prefixes: Vec<String>,
    /// Counts commits.
    pub metrics: Storage,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history_events: 10_000,
            history_bytes: 4 << 20,
            watch_queue: 8_192,
            watch_bytes: 16 << 20,
            value_limit: 8 << 20,
            secret_prefixes: Vec::new(),
            metrics: Storage::default(),
        }
    }
}

/// How large a store is at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// The latest durable revision.
    pub revision: u64,
    /// How many past events watches can be resumed from.
    pub history_events: usize,
    /// How many watches are open.
    pub watches: usize,
    /// How many bytes the file and its write-ahead log have; nothing in memory.
    pub file_bytes: u64,
}

/// A handle on a store; clones share it. The store is closed with the last one.
#[derive(Debug, Clone)]
pub struct Store {
    owner: Arc<Owner>,
}

/// What all handles own together.
#[derive(Debug)]
struct Owner {
    inner: Arc<Inner>,
    // The writer thread, taken by whoever closes the store; none in memory.
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the handles and the writer thread share.
#[derive(Debug)]
struct Inner {
    // The write lock: held for a decision and for publication, never across an await or a disk access.
    // Taken before `published` where both are needed.
    writes: Mutex<Writes>,
    // Tells the writer thread that `writes` has work for it or that the store is closed.
    wake: Condvar,
    // Many readers; exclusive for publication and for joining as a watcher.
    published: RwLock<Published>,
    value_limit: usize,
    /// The file, unless the store is in memory.
    path: Option<PathBuf>,
    metrics: Storage,
    /// The largest size of the file in pages, to fill the disk.
    #[cfg(test)]
    page_limit: std::sync::atomic::AtomicU32,
    /// Ends the writer thread without closing the file properly.
    #[cfg(test)]
    crash: std::sync::atomic::AtomicBool,
    /// How many commits the writer thread made.
    #[cfg(test)]
    commits: std::sync::atomic::AtomicU64,
}

impl Store {
    /// Opens or creates the store in the file `path`, whose folder is made if need be, private to this user.
    ///
    /// Fails when another process has it open, when a newer program wrote it, or when the file is not a store.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let (disk, beginning) = Disk::open(path, &options)?;
        let inner = Arc::new(Inner::new(beginning, options, Some(path.to_owned())));
        let shared = Arc::clone(&inner);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || commit::run(&shared, disk))
            .map_err(|source| OpenError::Prepare { path: path.to_owned(), source })?;
        Ok(Self { owner: Arc::new(Owner { inner, writer: Mutex::new(Some(writer)) }) })
    }

    /// Returns an empty store that lives in memory only.
    pub fn memory() -> Result<Self, OpenError> {
        Ok(Self::memory_with(&Options::default()))
    }

    /// Returns an empty store that lives in memory only, with other limits.
    pub fn memory_with(options: &Options) -> Self {
        let inner = Arc::new(Inner::new(Beginning::default(), options.clone(), None));
        Self { owner: Arc::new(Owner { inner, writer: Mutex::new(None) }) }
    }

    /// Returns the latest durable revision.
    pub fn revision(&self) -> u64 {
        self.owner.inner.read().revision()
    }

    /// Returns the entry of `key`.
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.owner.inner.read().get(key)
    }

    /// Returns the entries whose key begins with `prefix` and comes after the key `after`, at most `limit`.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Page {
        let found = self.owner.inner.read().list(prefix, after, limit);
        found.into()
    }

    /// Lists as [`Store::list`] did when `revision` was the latest one.
    ///
    /// Fails when the history does not reach back so far, or when the revision has not happened yet.
    pub fn list_at(
        &self,
        revision: u64,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page, WatchError> {
        let found = self.owner.inner.read().list_at(revision, prefix, after, limit)?;
        Ok(found.into())
    }

    /// Returns the entries that [`Store::list`] would return without a limit, as an iterator that makes their values
    /// as it goes: whoever looks for a few among many holds few at a time, all of one state.
    pub fn scan(&self, prefix: &str, after: Option<&str>) -> Scan {
        let found = self.owner.inner.read().list(prefix, after, None);
        found.into()
    }

    /// Scans as [`Store::scan`] did when `revision` was the latest one; fails as [`Store::list_at`].
    pub fn scan_at(&self, revision: u64, prefix: &str, after: Option<&str>) -> Result<Scan, WatchError> {
        let found = self.owner.inner.read().list_at(revision, prefix, after, None)?;
        Ok(found.into())
    }

    /// Returns how many live entries lie under `prefix`.
    pub fn count(&self, prefix: &str) -> usize {
        self.owner.inner.read().under(prefix).count()
    }

    /// Returns how large the store is now.
    pub fn statistics(&self) -> Statistics {
        let inner = &self.owner.inner;
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let file_bytes = inner.path.as_ref().map_or(0, |path| {
            let mut log = path.clone().into_os_string();
            log.push("-wal");
            size(path) + size(Path::new(&log))
        });
        let published = inner.read();
        Statistics {
            revision: published.revision(),
            history_events: published.history_events(),
            watches: published.watches(),
            file_bytes,
        }
    }

    /// Decides on the latest entry of `key` and stores the change.
    ///
    /// `decide` gets the latest entry, also one that is not durable yet, and the revision that a write will get.
    /// It runs once, under the write lock, so it must not call this store and should take microseconds. The call
    /// returns when the change is durable and visible. Dropping the future does not undo a decided change.
    pub async fn mutate<T, E>(
        &self,
        key: &str,
        decide: impl FnOnce(Option<&Entry>, u64) -> Result<(Change, T), E> + Send,
    ) -> Result<Committed<T>, MutateError<E>> {
        self.mutate_seeing(key, |_, entry, revision| decide(entry, revision)).await
    }

    /// Decides as [`Store::mutate`], on a view of the latest state of all keys.
    pub async fn mutate_seeing<T, E>(
        &self,
        key: &str,
        decide: impl FnOnce(&View<'_>, Option<&Entry>, u64) -> Result<(Change, T), E> + Send,
    ) -> Result<Committed<T>, MutateError<E>> {
        let (decision, durable) = self.owner.inner.decide(key, decide).map_err(MutateError::Storage)?;
        if let Some(durable) = durable {
            // The sending end is dropped without a word only when the writer thread is gone.
            durable.await.unwrap_or(Err(StoreError::Closed)).map_err(MutateError::Storage)?;
        }
        decision.map_err(MutateError::Refused)
    }

    /// Decides as [`Store::mutate`] in two steps, so that the long one does not keep other writers waiting.
    ///
    /// `prepare` gets the latest entries of `key` and of `beside` and works without the lock. `finish` makes a change of
    /// what came of it, under the lock, and should take microseconds. When one of the two entries changed in between,
    /// `prepare` runs a second time, under the lock.
    pub async fn mutate_prepared<P, T, E>(
        &self,
        key: &str,
        beside: &str,
        mut prepare: impl FnMut(Option<&Entry>, Option<&Entry>) -> Result<P, E> + Send,
        finish: impl FnOnce(P, Option<&Entry>, u64) -> Result<(Change, T), E> + Send,
    ) -> Result<Committed<T>, MutateError<E>>
    where
        P: Send,
        E: Send,
    {
        let (seen, seen_beside) = self.owner.inner.glance(key, beside);
        let prepared = prepare(seen.as_ref(), seen_beside.as_ref());
        // A revision is given out once, so equal revisions are equal entries.
        let is_same = |now: Option<&Entry>, then: Option<&Entry>| {
            now.map(|entry| entry.revision) == then.map(|entry| entry.revision)
        };
        self.mutate_seeing(key, |view, entry, revision| {
            let now_beside = view.get(beside);
            let holds = is_same(entry, seen.as_ref()) && is_same(now_beside.as_ref(), seen_beside.as_ref());
            let prepared = if holds { prepared } else { prepare(entry, now_beside.as_ref()) };
            finish(prepared?, entry, revision)
        })
        .await
    }

    /// Returns whether the last write was stored.
    pub fn is_writable(&self) -> bool {
        let writes = self.owner.inner.lock();
        !writes.closed && !writes.is_failing
    }

    /// Returns whether the store takes writes, whether or not there is room for them.
    pub fn is_open(&self) -> bool {
        !self.owner.inner.lock().closed
    }

    /// Watches the keys that begin with `prefix`, from the first change after the revision `after`.
    pub fn watch(&self, prefix: &str, after: u64) -> Result<Watch, WatchError> {
        self.owner.inner.publish_lock().watch(prefix, after)
    }

    /// Ends the store: no further write is taken, what was decided is stored, every watch ends.
    ///
    /// Reading goes on. Closing twice does nothing.
    pub fn close(&self) {
        self.owner.close();
    }
}

/// What became of a decision, and what its answer still has to wait for.
type Decided<T, E> =
    (Result<Committed<T>, E>, Option<tokio::sync::oneshot::Receiver<Result<(), StoreError>>>);

impl Owner {
    fn close(&self) {
        self.inner.lock().closed = true;
        self.inner.wake.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // A panic of the thread was reported where it happened, and all who waited were told.
            drop(writer.join());
        }
        self.inner.publish_lock().close();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn new(beginning: Beginning, options: Options, path: Option<PathBuf>) -> Self {
        let (value_limit, metrics) = (options.value_limit, options.metrics.clone());
        let published = Published::new(beginning, options);
        Self {
            writes: Mutex::new(Writes::new(published.revision())),
            wake: Condvar::new(),
            published: RwLock::new(published),
            value_limit,
            path,
            metrics,
            #[cfg(test)]
            page_limit: std::sync::atomic::AtomicU32::new(1 << 30),
            #[cfg(test)]
            crash: std::sync::atomic::AtomicBool::new(false),
            #[cfg(test)]
            commits: std::sync::atomic::AtomicU64::new(0),
        }
    }

    // A panic in a caller's decision poisons the lock, but nothing was changed by then.
    fn lock(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_lock(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the latest entries of two keys, durable or not.
    fn glance(&self, key: &str, beside: &str) -> (Option<Entry>, Option<Entry>) {
        let writes = self.lock();
        let published = self.read();
        let view = View::new(&writes, &published);
        (view.get(key), view.get(beside))
    }

    fn decide<T, E>(
        &self,
        key: &str,
        decide: impl FnOnce(&View<'_>, Option<&Entry>, u64) -> Result<(Change, T), E>,
    ) -> Result<Decided<T, E>, StoreError> {
        let mut writes = self.lock();
        if writes.closed {
            return Err(StoreError::Closed);
        }
        let revision = writes.assigned + 1;
        let published = self.read();
        let view = View::new(&writes, &published);
        let previous = view.get(key);
        let decision = decide(&view, previous.as_ref(), revision);
        let uncommitted = view.saw_uncommitted();
        drop(published);

        let (change, outcome) = match decision {
            Ok(decided) => decided,
            Err(refusal) => return Ok((Err(refusal), uncommitted.then(|| writes.stage_answer()))),
        };
        let written = match change {
            Change::Put(value) => {
                if value.len() > self.value_limit {
                    let (key, bytes, limit) = (key.to_owned(), value.len(), self.value_limit);
                    return Err(StoreError::TooLarge { key, bytes, limit });
                }
                let created = previous.as_ref().map_or(revision, |entry| entry.created);
                let key = previous.as_ref().map_or_else(|| Arc::from(key), |entry| Arc::clone(&entry.key));
                Some((Arc::clone(&key), Written::Put(Entry { key, value, revision, created })))
            }
            Change::Delete { last } => {
                previous.as_ref().map(|entry| (Arc::clone(&entry.key), Written::Deleted { last }))
            }
            Change::Keep => None,
        };
        let Some((key, written)) = written else {
            let revision = previous.map_or(0, |entry| entry.revision);
            return Ok((Ok(Committed { outcome, revision }), uncommitted.then(|| writes.stage_answer())));
        };
        let durable = writes.stage(Write { revision, key, written, previous });
        if self.path.is_none() {
            self.commit_in_memory(&mut writes);
        } else {
            self.wake.notify_one();
        }
        Ok((Ok(Committed { outcome, revision }), Some(durable)))
    }
}
