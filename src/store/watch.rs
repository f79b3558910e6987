//! One reader's ordered, gapless view of what happens to a set of keys.
//!
//! The publishing side owns a [`Feed`] for each watcher and never waits for it: a watcher that lets too much wait is cut
//! off. What waited for it is dropped at once, whether or not it ever looks again, and it may begin anew where it was.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::Event;

/// A running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    // The other owner is the `Feed`.
    line: Arc<Line>,
    // The store's latest published revision; written by the publishing side after all feeds were served.
    published: Arc<AtomicU64>,
    delivered: u64,
}

/// How much may wait for one watcher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// What the two ends of a watch share.
#[derive(Debug)]
struct Line {
    // Locked by either end for moments.
    waiting: Mutex<Waiting>,
    /// Tells the watcher that something waits, or that the line is over.
    news: Notify,
    /// Cancelled when the watcher is cut off.
    cut: CancellationToken,
}

#[derive(Debug)]
struct Waiting {
    // What happened between the asked revision and the subscription: as much as the store remembers, so it has no limit
    // of its own.
    backlog: VecDeque<Event>,
    events: VecDeque<Event>,
    /// What `events` hold, in bytes.
    bytes: usize,
    end: Option<End>,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Too much waited for the watcher.
    Lagged,
    /// The store was closed.
    Closed,
    /// The watcher went away.
    Dropped,
}

impl Line {
    // Nothing that runs under the lock can panic half way.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Event> {
        if let Some(event) = self.backlog.pop_front() {
            return Some(event);
        }
        let event = self.events.pop_front()?;
        self.bytes -= event.cost();
        Some(event)
    }

    fn is_empty(&self) -> bool {
        self.backlog.is_empty() && self.events.is_empty()
    }

    fn clear(&mut self) {
        (self.backlog, self.events, self.bytes) = (VecDeque::new(), VecDeque::new(), 0);
    }
}

impl Watch {
    /// Returns the next event in the order of revisions.
    ///
    /// `None` means that the watch is over: [`Watch::lagged`] says whether this watcher was too slow, otherwise
    /// the store was closed, and all events up to that point have been returned. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            {
                let mut waiting = self.line.lock();
                if let Some(event) = waiting.pop() {
                    self.delivered = event.revision;
                    return Some(event);
                }
                if waiting.end.is_some() {
                    return None;
                }
            }
            // News that came in between is not lost: the next wait ends at once.
            self.line.news.notified().await;
        }
    }

    /// Returns the next event if one is waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.line.lock().pop()?;
        self.delivered = event.revision;
        Some(event)
    }

    /// Returns whether the watch ends because this watcher was too slow; it may ask again from the last revision
    /// that it has seen.
    pub fn lagged(&self) -> bool {
        self.line.lock().end == Some(End::Lagged)
    }

    /// Returns what is cancelled when this watcher turns out to be too slow, for whoever has to know it without being
    /// able to look.
    pub fn cut(&self) -> CancellationToken {
        self.line.cut.clone()
    }

    /// Returns the revision up to which this watcher has seen everything that concerns it: what a bookmark says.
    pub fn progress(&self) -> u64 {
        // The order matters: what was published before this revision became visible is in the queue by now, so
        // an empty queue proves that it was delivered.
        let published = self.published.load(Ordering::Acquire);
        let waiting = self.line.lock();
        if waiting.is_empty() && waiting.end.is_none() {
            published.max(self.delivered)
        } else {
            self.delivered
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.line.lock();
        waiting.clear();
        waiting.end.get_or_insert(End::Dropped);
    }
}

/// The publishing end of a [`Watch`].
#[derive(Debug)]
pub(super) struct Feed {
    prefix: Arc<str>,
    line: Arc<Line>,
    limits: Limits,
}

impl Feed {
    /// Hands over what concerns the watcher; returns `false` when the feed has ended.
    pub(super) fn offer(&self, events: &[Event]) -> bool {
        let mut waiting = self.line.lock();
        if waiting.end.is_some() {
            return false;
        }
        for event in events.iter().filter(|event| event.key.starts_with(&*self.prefix)) {
            let bytes = waiting.bytes + event.cost();
            // One event may be as large as it likes.
            let is_too_much = waiting.events.len() >= self.limits.events || bytes > self.limits.bytes;
            if is_too_much && !waiting.events.is_empty() {
                waiting.clear();
                waiting.end = Some(End::Lagged);
                self.line.cut.cancel();
                break;
            }
            waiting.bytes = bytes;
            waiting.events.push_back(event.clone());
        }
        let (is_over, has_news) = (waiting.end.is_some(), !waiting.events.is_empty());
        drop(waiting);
        if is_over || has_news {
            self.line.news.notify_one();
        }
        !is_over
    }

    /// Returns whether the watcher still listens.
    pub(super) fn is_live(&self) -> bool {
        self.line.lock().end.is_none()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.line.lock().end.get_or_insert(End::Closed);
        self.line.news.notify_one();
    }
}

/// Returns the two ends of a watch on `prefix` that has seen everything up to `after` and will first return
/// `backlog`, then what is offered from now on, of which no more than `limits` may wait.
pub(super) fn channel(
    prefix: &str,
    after: u64,
    backlog: VecDeque<Event>,
    limits: Limits,
    published: Arc<AtomicU64>,
) -> (Feed, Watch) {
    let waiting = Waiting { backlog, events: VecDeque::new(), bytes: 0, end: None };
    let line =
        Arc::new(Line { waiting: Mutex::new(waiting), news: Notify::new(), cut: CancellationToken::new() });
    let feed = Feed { prefix: Arc::from(prefix), line: Arc::clone(&line), limits };
    (feed, Watch { line, published, delivered: after })
}
