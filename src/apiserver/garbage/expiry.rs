//! Events expire.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use crate::apiserver::garbage::graph::Head;
use crate::apiserver::garbage::{AT_ONCE, Collector};
use crate::apiserver::write;
use crate::store::{Change, MutateError, StoreError};

/// How long an Event is kept after it was last written: what a kube-apiserver does unless told otherwise.
pub(super) const EVENT_TTL: SignedDuration = SignedDuration::from_hours(1);

/// The Events of a store by the time at which each expires.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    by_time: BTreeSet<(Timestamp, Arc<str>)>,
    // The time in `by_time`, and the revision that it is meant for.
    by_key: HashMap<Arc<str>, (Timestamp, u64)>,
}

impl Expiry {
    /// Takes note that the Event at `key` was written at `written` with `revision`.
    pub(super) fn note(&mut self, key: &Arc<str>, written: Timestamp, revision: u64) {
        self.forget(key);
        let expires = written.checked_add(EVENT_TTL).unwrap_or(Timestamp::MAX);
        self.by_time.insert((expires, Arc::clone(key)));
        self.by_key.insert(Arc::clone(key), (expires, revision));
    }

    pub(super) fn forget(&mut self, key: &str) {
        if let Some((key, (expires, _))) = self.by_key.remove_entry(key) {
            self.by_time.remove(&(expires, key));
        }
    }

    /// Returns the keys that have expired at `now`, each with the revision that expired.
    pub(super) fn due(&self, now: Timestamp) -> Vec<(Arc<str>, u64)> {
        self.by_time
            .iter()
            .take_while(|(expires, _)| *expires <= now)
            .filter_map(|(_, key)| Some((Arc::clone(key), self.by_key.get(key)?.1)))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }
}

/// Returns when a stored Event was last written, as far as it says so itself; never later than `now`.
pub(super) fn last_written(head: &Head, now: Timestamp) -> Timestamp {
    let times = head.write_times().filter_map(|text| text.parse::<Timestamp>().ok());
    times.max().map_or(now, |time| time.min(now))
}

impl Collector<'_> {
    /// Removes the Events whose time is over. One that was written again meanwhile stays.
    pub(super) async fn expire(&self) {
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
