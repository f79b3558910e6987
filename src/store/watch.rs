//! One reader's ordered, gapless view of what happens to a set of keys.
//!
//! The publishing side owns a [`Feed`] for each watcher and never waits for it: a watcher that lets its queue
//! run full is cut off, and learns it after the last event that fitted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::store::Event;

/// A running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    // What happened between the asked revision and the subscription.
    backlog: VecDeque<Event>,
    // The sending end is the `Feed`; it is dropped when this watcher is too slow or the store closes.
    live: mpsc::Receiver<Event>,
    lagged: Arc<AtomicBool>,
    // The store's latest published revision; written by the publishing side after all feeds were served.
    published: Arc<AtomicU64>,
    delivered: u64,
}

impl Watch {
    /// Returns the next event in the order of revisions.
    ///
    /// `None` means that the watch is over: [`Watch::lagged`] says whether this watcher was too slow, otherwise
    /// the store was closed. Events up to that point have all been returned. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        let event = match self.backlog.pop_front() {
            Some(event) => event,
            None => self.live.recv().await?,
        };
        self.delivered = event.revision;
        Some(event)
    }

    /// Returns the next event if one is waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.backlog.pop_front().or_else(|| self.live.try_recv().ok())?;
        self.delivered = event.revision;
        Some(event)
    }

    /// Returns whether the watch ends because this watcher was too slow; it may ask again from the last revision
    /// that it has seen.
    pub fn lagged(&self) -> bool {
        self.lagged.load(Ordering::Acquire)
    }

    /// Returns the revision up to which this watcher has seen everything that concerns it: what a bookmark says.
    pub fn progress(&self) -> u64 {
        // The order matters: what was published before this revision became visible is in the queue by now, so
        // an empty queue proves that it was delivered.
        let published = self.published.load(Ordering::Acquire);
        if self.backlog.is_empty() && self.live.is_empty() && !self.live.is_closed() {
            published.max(self.delivered)
        } else {
            self.delivered
        }
    }
}

/// The publishing end of a [`Watch`].
#[derive(Debug)]
pub(super) struct Feed {
    prefix: Arc<str>,
    sender: mpsc::Sender<Event>,
    lagged: Arc<AtomicBool>,
}

impl Feed {
    /// Hands over what concerns the watcher; returns `false` when the feed has ended.
    pub(super) fn offer(&self, events: &[Event]) -> bool {
        for event in events.iter().filter(|event| event.key.starts_with(&*self.prefix)) {
            match self.sender.try_send(event.clone()) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.lagged.store(true, Ordering::Release);
                    return false;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
        }
        !self.sender.is_closed()
    }

    /// Returns whether the watcher still listens.
    pub(super) fn is_live(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// Returns the two ends of a watch on `prefix` that has seen everything up to `after` and will first return
/// `backlog`, then what is offered from now on, of which at most `queue` events may wait.
pub(super) fn channel(
    prefix: &str,
    after: u64,
    backlog: VecDeque<Event>,
    queue: usize,
    published: Arc<AtomicU64>,
) -> (Feed, Watch) {
    let (sender, live) = mpsc::channel(queue.max(1));
    let lagged = Arc::new(AtomicBool::new(false));
    let feed = Feed { prefix: Arc::from(prefix), sender, lagged: Arc::clone(&lagged) };
    (feed, Watch { backlog, live, lagged, published, delivered: after })
}
