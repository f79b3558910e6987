//! Writes the status of a TaskSpawner: the only place that does.

use jiff::Timestamp;

use crate::api::condition::{self, ConditionType, Observation, Reason};
use crate::api::phase::TaskSpawnerPhase;
use crate::api::task_spawner::{TaskSpawner, TaskSpawnerSpec, TaskSpawnerStatus};
use crate::controllers::context::Context;
use crate::controllers::objects;
use crate::controllers::task_spawner::SpawnerError;
use crate::domain::schedule::SkipReason;

/// Says that the spawner works, and when it fires next.
pub(super) fn running(
    next: &mut TaskSpawnerStatus,
    spawner: &TaskSpawner,
    tick: Option<Timestamp>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let message = match tick {
        Some(tick) => format!("fires next at {tick}"),
        None => "the schedule never fires again".to_owned(),
    };
    next.phase = Some(TaskSpawnerPhase::Running);
    next.message = Some(message.clone());
    set(next, ConditionType::Ready, true, Reason::Running, &message, generation, now);
    set(next, ConditionType::Suspended, false, Reason::Running, "the spawner runs", generation, now);
    condition::remove(&mut next.conditions, ConditionType::Stalled);
    limit_reached(next, spawner, now);
}

/// Says that somebody suspended the spawner.
pub(super) fn suspended(next: &mut TaskSpawnerStatus, generation: Option<i64>, now: Timestamp) {
    let message = "suspended by spec.suspend; ticks that pass meanwhile are skipped";
    next.phase = Some(TaskSpawnerPhase::Suspended);
    next.message = Some(message.to_owned());
    set(next, ConditionType::Suspended, true, Reason::UserSuspended, message, generation, now);
    set(next, ConditionType::Ready, true, Reason::Suspended, message, generation, now);
}

/// Says that nothing polls this source yet.
pub(super) fn source_not_served(
    next: &mut TaskSpawnerStatus,
    spec: &TaskSpawnerSpec,
    generation: Option<i64>,
    now: Timestamp,
) {
    let source = spec.when.source().map_or("a spawner without a source", |source| source.as_str());
    let message =
        format!("the definition is valid, and this version does not serve {source}; it serves cron");
    next.phase = Some(TaskSpawnerPhase::Pending);
    next.message = Some(message.clone());
    set(next, ConditionType::Ready, false, Reason::SourceNotServed, &message, generation, now);
    set(next, ConditionType::Stalled, true, Reason::SourceNotServed, &message, generation, now);
}

/// Says that the schedule cannot be read.
pub(super) fn invalid_schedule(
    next: &mut TaskSpawnerStatus,
    error: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let message = format!("the schedule cannot be used: {error}");
    next.phase = Some(TaskSpawnerPhase::Failed);
    next.message = Some(message.clone());
    set(next, ConditionType::Ready, false, Reason::InvalidSchedule, &message, generation, now);
    set(next, ConditionType::Stalled, true, Reason::InvalidSchedule, &message, generation, now);
}

/// Says that Tasks could not be created.
pub(super) fn creation_failed(
    next: &mut TaskSpawnerStatus,
    error: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    set(next, ConditionType::DiscoveryError, true, Reason::TaskCreationFailed, error, generation, now);
}

/// Says that the last discovery had no errors.
pub(super) fn no_errors(next: &mut TaskSpawnerStatus, generation: Option<i64>, now: Timestamp) {
    set(
        next,
        ConditionType::DiscoveryError,
        false,
        Reason::NoErrors,
        "the last Task was created",
        generation,
        now,
    );
}

/// Says whether `maxTotalTasks` is reached; nothing when there is no such limit.
pub(super) fn limit_reached(next: &mut TaskSpawnerStatus, spawner: &TaskSpawner, now: Timestamp) {
    let Some(most) = spawner.spec.max_total_tasks.filter(|most| *most > 0) else { return };
    let total = next.total_tasks_created.unwrap_or_default();
    let reached = total >= i64::from(most);
    let reason = if reached { Reason::LimitReached } else { Reason::LimitAvailable };
    let message = format!("{total} of {most} Tasks are created");
    for kind in [ConditionType::MaxTotalTasksReached, ConditionType::TaskBudgetExhausted] {
        set(next, kind, reached, reason, &message, spawner.metadata.generation, now);
    }
}

/// Counts ticks that are skipped, with the reason.
pub(super) fn skip(next: &mut TaskSpawnerStatus, count: u64, reason: SkipReason) {
    if count > 0 {
        let total = next.total_ticks_skipped.unwrap_or_default();
        next.total_ticks_skipped = Some(total.saturating_add(i64::try_from(count).unwrap_or(i64::MAX)));
        next.last_skip_reason = Some(reason.as_str().to_owned());
    }
}

/// Stores the status and returns the spawner as it is then, so that a later write follows upon this one.
pub(super) async fn store(
    context: &Context,
    spawner: &TaskSpawner,
    status: &TaskSpawnerStatus,
) -> Result<TaskSpawner, SpawnerError> {
    let stored = objects::store_status(&context.client, spawner, status).await;
    stored.map_err(SpawnerError::api("write the status"))
}

fn set(
    next: &mut TaskSpawnerStatus,
    kind: ConditionType,
    status: bool,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    condition::set(&mut next.conditions, Observation::new(kind, status, reason, message), generation, now);
}
