//! The ticks of one spawner: what is decided about them, and the Tasks of those that start.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::Action;

use crate::api::condition::{ConditionType, is_true};
use crate::api::labels;
use crate::api::task_spawner::source::Cron;
use crate::api::task_spawner::{ObservedSchedule, TaskSpawner, TaskSpawnerStatus};
use crate::controllers::objects;
use crate::controllers::task_spawner::create::{self, Created};
use crate::controllers::task_spawner::{Controlled, SpawnerError, is_held, status};
use crate::domain::schedule::{self, Activity, Rules, SkipReason, Ticks};
use crate::lang::cron::Schedule;

/// How soon a spawner is looked at again whose newest status the cache does not show yet.
const BEHIND: std::time::Duration = std::time::Duration::from_millis(200);

/// Decides about the ticks that passed, in the status alone, and returns when to look next.
pub(super) fn decide(
    next: &mut TaskSpawnerStatus,
    spawner: &TaskSpawner,
    cron: &Cron,
    schedule: &Schedule,
    now: Timestamp,
) -> Option<Timestamp> {
    let generation = spawner.metadata.generation;
    let since = observe(next, spawner, cron, now);
    let activity = match (spawner.spec.suspend, is_true(&next.conditions, ConditionType::Suspended)) {
        (true, _) => Activity::Suspended,
        (false, true) => Activity::Resumed,
        (false, false) => Activity::Runs,
    };
    let limit =
        |limit: Option<i32>| limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    let active = count(next.active_tasks);
    let rules = Rules {
        missed: cron.missed_ticks.unwrap_or_default(),
        deadline: cron.starting_deadline_seconds.map(SignedDuration::from_secs),
        activity,
        room: limit(spawner.spec.max_concurrency).map(|most| most.saturating_sub(active)),
        most: limit(spawner.spec.max_total_tasks),
    };
    let decision = schedule::decide(schedule, &remembered(next, since), &rules, now);
    if decision.passed > 0 {
        next.last_schedule_time = Some(Time(decision.ticks.watermark));
        next.last_discovery_time = Some(Time(now));
        next.total_discovered = i64::try_from(decision.passed).ok();
    }
    for (reason, count) in &decision.skipped {
        status::skip(next, *count, *reason);
    }
    remember(next, &decision.ticks);
    next.next_schedule_time = decision.next.map(Time);
    if activity == Activity::Suspended {
        status::suspended(next, generation, now);
        // Ticks that pass meanwhile are counted when it is resumed.
        return None;
    }
    status::running(next, spawner, decision.next, generation, now);
    decision.next
}

/// Notes which schedule the spawner has, and returns since when: ticks before that instant are none of its.
fn observe(next: &mut TaskSpawnerStatus, spawner: &TaskSpawner, cron: &Cron, now: Timestamp) -> Timestamp {
    let created = spawner.creation_timestamp().map_or(now, |time| time.0);
    let same = |seen: &&ObservedSchedule| seen.schedule == cron.schedule && seen.time_zone == cron.time_zone;
    let since = match &next.observed_schedule {
        None => created,
        Some(seen) if same(&seen) => seen.since.0,
        Some(_) => now,
    };
    next.observed_schedule = Some(ObservedSchedule {
        schedule: cron.schedule.clone(),
        time_zone: cron.time_zone.clone(),
        since: Time(since),
    });
    since
}

fn remembered(status: &TaskSpawnerStatus, since: Timestamp) -> Ticks {
    let instants = |times: &[Time]| times.iter().map(|time| time.0).collect();
    Ticks {
        watermark: status.last_schedule_time.as_ref().map_or(since, |time| time.0.max(since)),
        pending: instants(&status.pending_ticks),
        starting: instants(&status.starting_ticks),
        total: count(status.total_tasks_created),
    }
}

fn remember(status: &mut TaskSpawnerStatus, ticks: &Ticks) {
    let times = |instants: &[Timestamp]| instants.iter().copied().map(Time).collect();
    status.pending_ticks = times(&ticks.pending);
    status.starting_ticks = times(&ticks.starting);
    if ticks.total > 0 || status.total_tasks_created.is_some() {
        status.total_tasks_created = i64::try_from(ticks.total).ok();
    }
}

fn count(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}

impl Controlled {
    /// Creates the Tasks of the ticks that start, as the status says that was just stored; then takes them out of it.
    pub(super) async fn start_ticks(
        &self,
        seen: &TaskSpawner,
        stored: TaskSpawner,
        cron: &Cron,
    ) -> Result<Action, SpawnerError> {
        let mut next = stored.status.clone().unwrap_or_default();
        if next.starting_ticks.is_empty() {
            return Ok(Action::await_change());
        }
        // Invariant: nothing is created by an old status, whose ticks may have run and gone since. What the cache holds
        // lacks what Tasks are made of as well; what the server returned for a write is whole.
        let stored = if stored.resource_version() == seen.resource_version() {
            match self.newest(&stored).await? {
                Some(newest) => newest,
                None => return Ok(Action::requeue(BEHIND)),
            }
        } else {
            stored
        };
        let stored = self.hold(stored).await?;
        let now = self.context.clock.now();
        let (mut refused, mut withheld, mut fault) = (0, 0, None);
        for tick in std::mem::take(&mut next.starting_ticks) {
            match create::create(self, &stored, &cron.schedule, tick.0).await? {
                Created::Exists => {}
                Created::Suspended => withheld += 1,
                Created::Refused(message) => {
                    refused += 1;
                    fault = Some(message);
                }
            }
        }
        let ticks = schedule::started(&remembered(&next, now), refused + withheld);
        remember(&mut next, &ticks);
        status::skip(&mut next, refused, SkipReason::NotCreated);
        status::skip(&mut next, withheld, SkipReason::Suspended);
        let generation = stored.metadata.generation;
        match fault {
            Some(message) => status::creation_failed(&mut next, &message, generation, now),
            None => status::no_errors(&mut next, generation, now),
        }
        status::limit_reached(&mut next, &stored, now);
        next.active_tasks = i64::try_from(self.active.count(&stored)).ok();
        status::store(&self.context, &stored, &next).await?;
        Ok(Action::await_change())
    }

    /// Makes sure that the spawner outlives its Tasks, and returns it as it is then.
    ///
    /// One that never had a Task needs no finalizer, and that saves a write for each spawner that is applied.
    pub(super) async fn hold(&self, spawner: TaskSpawner) -> Result<TaskSpawner, SpawnerError> {
        if is_held(&spawner) {
            return Ok(spawner);
        }
        let names = spawner.finalizers().iter().cloned().chain([labels::FINALIZER.to_owned()]);
        let names: Vec<String> = names.collect();
        let patched = objects::set_finalizers(&self.context.client, &spawner, &names).await;
        patched.map_err(SpawnerError::api("add the finalizer"))
    }

    /// Returns the whole spawner if nobody wrote to it since it was read.
    async fn newest(&self, spawner: &TaskSpawner) -> Result<Option<TaskSpawner>, SpawnerError> {
        let namespace = spawner.namespace().unwrap_or_default();
        let api: Api<TaskSpawner> = Api::namespaced(self.context.client.clone(), &namespace);
        let current = api.get_opt(&spawner.name_any()).await;
        let current = current.map_err(SpawnerError::api("read the TaskSpawner"))?;
        Ok(current.filter(|current| current.resource_version() == spawner.resource_version()))
    }
}
