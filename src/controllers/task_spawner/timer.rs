//! Wakes spawners at their ticks: one wait for all of them, and a queue in which each change costs a logarithm.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use crate::api::task_spawner::TaskSpawner;
use crate::clock::SharedClock;

/// No wait towards an instant of the wall clock is longer: clocks jump and machines sleep.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// When spawners are to be looked at.
#[derive(Debug)]
pub(super) struct Timer {
    clock: SharedClock,
    longest_wait: Duration,
    // Held for operations on the queue only, never across an await.
    queue: Mutex<Queue>,
    /// Told when the first of the queue is another one; the one stream of this timer waits for it.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// The numbers tell spawners apart that are due at one instant.
    order: BTreeMap<(Timestamp, u64), Arc<ObjectRef<TaskSpawner>>>,
    places: HashMap<Arc<ObjectRef<TaskSpawner>>, (Timestamp, u64)>,
    last_number: u64,
}

impl Timer {
    pub(super) fn new(clock: SharedClock, longest_wait: Duration) -> Arc<Self> {
        Arc::new(Self { clock, longest_wait, queue: Mutex::default(), sooner: Notify::new() })
    }

    /// Has the spawner looked at when `instant` comes, and at no other time; `None` for not at all.
    pub(super) fn set(&self, spawner: &TaskSpawner, instant: Option<Timestamp>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let first = queue.first();
        // Without version and uid, which are no part of who is meant.
        let named = ObjectRef::new(&spawner.name_any()).within(&spawner.namespace().unwrap_or_default());
        queue.set(named, instant);
        if queue.first().is_some_and(|new| first.is_none_or(|old| new < old)) {
            self.sooner.notify_one();
        }
    }

    /// Returns the spawners whose instants come, for as long as it is asked.
    pub(super) fn due(self: Arc<Self>) -> impl Stream<Item = ObjectRef<TaskSpawner>> + Send {
        stream::unfold(self, |timer| async {
            let due = timer.wait().await;
            Some((stream::iter(due), timer))
        })
        .flatten()
    }

    async fn wait(&self) -> Vec<ObjectRef<TaskSpawner>> {
        loop {
            let now = self.clock.now();
            let (due, first) = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                (queue.take(now), queue.first())
            };
            if !due.is_empty() {
                return due;
            }
            let wait = first.map_or(self.longest_wait, |first| {
                Duration::try_from(first.duration_since(now)).unwrap_or_default().min(self.longest_wait)
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}

impl Queue {
    fn first(&self) -> Option<Timestamp> {
        self.order.keys().next().map(|(instant, _)| *instant)
    }

    fn set(&mut self, spawner: ObjectRef<TaskSpawner>, instant: Option<Timestamp>) {
        if let Some(place) = self.places.remove(&spawner) {
            self.order.remove(&place);
        }
        if let Some(instant) = instant {
            self.last_number += 1;
            let place = (instant, self.last_number);
            let spawner = Arc::new(spawner);
            self.order.insert(place, Arc::clone(&spawner));
            self.places.insert(spawner, place);
        }
    }

    /// Removes and returns those whose instants are not after `now`.
    fn take(&mut self, now: Timestamp) -> Vec<ObjectRef<TaskSpawner>> {
        let mut due = Vec::new();
        while let Some(first) = self.order.first_entry().filter(|first| first.key().0 <= now) {
            let spawner = first.remove();
            self.places.remove(&spawner);
            due.push(Arc::unwrap_or_clone(spawner));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;

    fn spawner(name: &str) -> TaskSpawner {
        serde_json::from_value(json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "TaskSpawner",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"when": {}, "taskTemplate": {"type": "shell"}},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn spawners_come_at_their_instants_and_in_their_order() {
        let start: Timestamp = "2026-03-01T09:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        let timer = Timer::new(Arc::clone(&clock) as SharedClock, Duration::from_millis(5));
        let at = |seconds| Some(start + SignedDuration::from_secs(seconds));
        timer.set(&spawner("late"), at(60));
        timer.set(&spawner("soon"), at(10));
        timer.set(&spawner("never"), at(20));
        timer.set(&spawner("moved"), at(5));
        timer.set(&spawner("moved"), at(60));
        timer.set(&spawner("never"), None);
        let mut due = Box::pin(Arc::clone(&timer).due());
        clock.advance(SignedDuration::from_secs(10));
        assert_eq!(due.next().await.unwrap().name, "soon");
        let early = tokio::time::timeout(Duration::from_millis(50), due.next()).await;
        assert!(early.is_err(), "nothing else is due");
        clock.advance(SignedDuration::from_secs(50));
        assert_eq!(due.next().await.unwrap().name, "late");
        assert_eq!(due.next().await.unwrap().name, "moved");
        assert!(timer.queue.lock().unwrap().places.is_empty());
    }

    #[tokio::test]
    async fn what_is_set_to_be_sooner_ends_the_wait() {
        let start: Timestamp = "2026-03-01T09:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        // Without the notice it would sleep for ever.
        let timer = Timer::new(clock, Duration::from_secs(100_000));
        let waits = tokio::time::timeout(Duration::from_mins(1), timer.wait());
        let sets = async {
            tokio::task::yield_now().await;
            timer.set(&spawner("a"), Some(start));
        };
        let (due, ()) = tokio::join!(waits, sets);
        assert_eq!(due.unwrap().len(), 1);
    }
}
