//! From decided to durable and visible: the writer thread of a store on disk, and its shortcut in memory.

use std::sync::PoisonError;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::store::disk::Disk;
use crate::store::writes::{Staged, Write, Writes};
use crate::store::{Inner, StoreError};

/// Who waits for one commit.
type Waiting = Vec<oneshot::Sender<Result<(), StoreError>>>;

/// Commits what is staged, everything that gathered during one commit with the next one, until the store is
/// closed and nothing is left to do.
pub(super) fn run(inner: &Inner, mut disk: Disk) {
    // However this thread ends, nobody may wait for it for ever.
    let _ended = Ended { inner };
    while let Some(staged) = inner.next_batch() {
        let (batch, waiting) = split(staged);
        #[cfg(test)]
        {
            disk.limit_pages(inner.page_limit.load(std::sync::atomic::Ordering::Acquire));
            inner.commits.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        }
        let floor = inner.read().floor();
        let began = Instant::now();
        match if batch.is_empty() { Ok(()) } else { disk.commit(&batch, floor) } {
            Ok(()) => {
                if !batch.is_empty() {
                    inner.metrics.committed(batch.len(), began.elapsed());
                }
                inner.conclude(&mut inner.lock(), batch, waiting);
            }
            Err(error) => {
                inner.metrics.failed();
                tracing::warn!(%error, writes = batch.len(), "Commit failed");
                inner.fail(waiting, &error);
            }
        }
    }
    #[cfg(test)]
    if inner.crash.load(std::sync::atomic::Ordering::Acquire) {
        return;
    }
    if let Err(error) = disk.finish() {
        // The next start then counts as one after a crash, which costs the history and nothing else.
        tracing::warn!(%error, "Closing the store failed");
    }
}

impl Inner {
    /// Commits at once, for a store in memory.
    pub(super) fn commit_in_memory(&self, writes: &mut Writes) {
        let (batch, waiting) = split(writes.take_queue());
        self.conclude(writes, batch, waiting);
    }

    /// Waits for something to commit; `None` when the store is closed and everything is done.
    fn next_batch(&self) -> Option<Vec<Staged>> {
        let mut writes = self.lock();
        loop {
            if writes.has_queue() {
                return Some(writes.take_queue());
            }
            if writes.closed {
                return None;
            }
            writes = self.wake.wait(writes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Shows durable writes to everybody. Under the write lock, so that no decision sees a key neither among the
    /// staged writes nor among the published ones.
    fn conclude(&self, writes: &mut Writes, batch: Vec<Write>, waiting: Waiting) {
        writes.is_failing &= batch.is_empty();
        writes.settle(&batch);
        self.publish_lock().publish(batch);
        for done in waiting {
            // The caller may have gone away; its write stands.
            drop(done.send(Ok(())));
        }
    }

    /// Fails those who wait for this commit, and everything that was decided since it began, which may stand on
    /// what is now not going to happen. The durable state and its watchers are not touched.
    fn fail(&self, waiting: Waiting, error: &StoreError) {
        let later = {
            let mut writes = self.lock();
            writes.is_failing = true;
            split(writes.abandon()).1
        };
        for done in waiting.into_iter().chain(later) {
            drop(done.send(Err(error.clone())));
        }
    }
}

struct Ended<'a> {
    inner: &'a Inner,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut writes = self.inner.lock();
        writes.closed = true;
        // Dropping the sending ends tells the callers that the store is closed.
        drop(writes.abandon());
        drop(writes);
        self.inner.publish_lock().close();
    }
}

fn split(staged: Vec<Staged>) -> (Vec<Write>, Waiting) {
    let (batch, waiting): (Vec<Option<Write>>, Waiting) =
        staged.into_iter().map(|staged| (staged.write, staged.done)).unzip();
    (batch.into_iter().flatten().collect(), waiting)
}
