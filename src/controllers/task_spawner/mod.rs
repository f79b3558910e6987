//! The TaskSpawner controller: schedules become Tasks.
//!
//! The watermark in the status is written before a Task is created, together with the tick that is to be created, and
//! the tick leaves the status only after its Task exists. A kill at any point neither loses a tick nor runs it twice,
//! because the name of a Task follows from its spawner and its tick.

mod create;
mod status;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, Store, reflector};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio_util::sync::CancellationToken;

use crate::api::condition::{ConditionType, is_true};
use crate::api::labels;
use crate::api::phase::TaskPhase;
use crate::api::task::Task;
use crate::api::task_spawner::source::Cron;
use crate::api::task_spawner::{TaskSpawner, TaskSpawnerStatus};
use crate::controllers::context::{Context, RETRY};
use crate::controllers::objects;
use crate::domain::schedule;
use crate::lang::cron::Schedule;

/// How many spawners are looked at at once.
const CONCURRENCY: u16 = 8;
/// No wait towards an instant of the wall clock is longer: clocks jump and machines sleep.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What went wrong with a TaskSpawner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnerError {
    /// The API did not answer, or refused.
    #[error("cannot {attempt}")]
    Api {
        attempt: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
}

impl SpawnerError {
    fn api(attempt: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { attempt, source: Box::new(source) }
    }
}

struct Controlled {
    context: Context,
    /// All Tasks, behind the API by the time of a watch event.
    tasks: Store<Task>,
}

/// Runs the controller until `shutdown`.
///
/// # Errors
/// Never; the result is that of a supervised task.
pub async fn run(context: Context, shutdown: CancellationToken) -> anyhow::Result<()> {
    let api: Api<TaskSpawner> = Api::all(context.client.clone());
    // One watch of Tasks both wakes their spawners and tells how many are unfinished, so that a look at a spawner on
    // whose schedule nothing is due costs no request.
    let (tasks, writer) = reflector::store();
    let changes = watcher(Api::<Task>::all(context.client.clone()), watcher::Config::default());
    let changes = reflector(writer, changes).default_backoff().touched_objects();
    Controller::new(api, watcher::Config::default())
        .owns_stream(changes)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, retry, Arc::new(Controlled { context, tasks }))
        .for_each(|outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "TaskSpawner was not advanced");
            }
            std::future::ready(())
        })
        .await;
    Ok(())
}

fn retry(spawner: Arc<TaskSpawner>, error: &SpawnerError, _: Arc<Controlled>) -> Action {
    let SpawnerError::Api { attempt, source } = error;
    if matches!(&**source, kube::Error::Api(status) if status.code == 404 || status.code == 409) {
        return Action::requeue(Duration::from_millis(200));
    }
    tracing::warn!(spawner = spawner.name_any(), attempt, error = %source, "TaskSpawner could not be advanced and is tried again");
    Action::requeue(RETRY)
}

async fn reconcile(spawner: Arc<TaskSpawner>, controlled: Arc<Controlled>) -> Result<Action, SpawnerError> {
    let context = &controlled.context;
    let now = context.clock.now();
    if spawner.metadata.deletion_timestamp.is_some() {
        return delete(context, &spawner).await;
    }
    let active = controlled.tasks.state().iter().filter(|task| is_active_of(task, &spawner)).count();
    if !spawner.finalizers().iter().any(|name| name == labels::FINALIZER) {
        let names: Vec<String> =
            spawner.finalizers().iter().cloned().chain([labels::FINALIZER.to_owned()]).collect();
        return set_finalizers(context, &spawner, &names).await;
    }
    let mut next = spawner.status.clone().unwrap_or_default();
    next.observed_generation = spawner.metadata.generation;
    next.active_tasks = i64::try_from(active).ok();
    let generation = spawner.metadata.generation;
    let Some(cron) = &spawner.spec.when.cron else {
        status::source_not_served(&mut next, &spawner.spec, generation, now);
        status::store(context, &spawner, &next).await?;
        return Ok(Action::await_change());
    };
    let schedule = match Schedule::parse(&cron.schedule, cron.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            status::invalid_schedule(&mut next, &error.to_string(), generation, now);
            status::store(context, &spawner, &next).await?;
            return Ok(Action::await_change());
        }
    };
    decide_ticks(&mut next, &spawner, &schedule, now);
    let stored = status::store(context, &spawner, &next).await?;
    let created = !spawner.spec.suspend && create_pending(context, &stored, next, cron, now).await?;
    let wait = schedule.next_after(now).map_or(LONGEST_WAIT, |tick| {
        Duration::try_from(tick.duration_since(context.clock.now())).unwrap_or_default()
    });
    Ok(Action::requeue(if created { Duration::ZERO } else { wait.min(LONGEST_WAIT) }))
}

/// Moves the watermark and takes up the tick that is due, in the status alone.
fn decide_ticks(next: &mut TaskSpawnerStatus, spawner: &TaskSpawner, schedule: &Schedule, now: Timestamp) {
    let generation = spawner.metadata.generation;
    let created_at = spawner.creation_timestamp().map_or(now, |time| time.0);
    let watermark = next.last_schedule_time.as_ref().map_or(created_at, |time| time.0);
    let due = schedule::due(schedule, watermark, now);
    next.next_schedule_time = due.next.map(Time);
    if spawner.spec.suspend {
        status::suspended(next, generation, now);
        return;
    }
    let was_suspended = is_true(&next.conditions, ConditionType::Suspended);
    status::running(next, spawner, due.next, generation, now);
    let Some(tick) = due.run else { return };
    next.last_schedule_time = Some(Time(due.watermark));
    next.last_discovery_time = Some(Time(now));
    if was_suspended {
        status::skip(next, due.skipped + 1, "the spawner was suspended");
        return;
    }
    next.total_discovered = Some(1);
    status::skip(next, due.skipped, "several ticks passed and only the latest runs");
    // One tick waits at most: what a schedule missed while its Tasks were running is wanted once.
    let waiting = next.pending_ticks.len() as u64;
    status::skip(next, waiting, "a later tick came before there was room");
    next.pending_ticks = vec![Time(tick)];
}

/// Creates the Task of the pending tick, if there is room; returns whether it did.
async fn create_pending(
    context: &Context,
    spawner: &TaskSpawner,
    mut next: TaskSpawnerStatus,
    cron: &Cron,
    now: Timestamp,
) -> Result<bool, SpawnerError> {
    let Some(tick) = next.pending_ticks.first().cloned() else { return Ok(false) };
    let limit = |limit: Option<i32>| limit.map(i64::from).filter(|limit| *limit > 0);
    let total = next.total_tasks_created.unwrap_or_default();
    if limit(spawner.spec.max_total_tasks).is_some_and(|most| total >= most) {
        status::skip(&mut next, 1, "maxTotalTasks is reached");
        next.pending_ticks.clear();
        status::limit_reached(&mut next, spawner, now);
        status::store(context, spawner, &next).await?;
        return Ok(false);
    }
    // Asked of the API and not of the cache, which may not know the Task that was created a moment ago.
    if let Some(most) = limit(spawner.spec.max_concurrency)
        && i64::try_from(active_of(context, spawner).await?).unwrap_or(i64::MAX) >= most
    {
        return Ok(false);
    }
    match create::create(context, spawner, &cron.schedule, tick.0).await? {
        Ok(()) => {
            let late = Duration::try_from(context.clock.now().duration_since(tick.0));
            context.metrics.work.tick_served(late.unwrap_or_default());
            next.total_tasks_created = Some(total + 1);
            next.pending_ticks.clear();
            status::no_errors(&mut next, spawner.metadata.generation, now);
            status::limit_reached(&mut next, spawner, now);
        }
        Err(message) => {
            status::skip(&mut next, 1, "the Task could not be created");
            next.pending_ticks.clear();
            status::creation_failed(&mut next, &message, spawner.metadata.generation, now);
        }
    }
    status::store(context, spawner, &next).await?;
    Ok(true)
}

/// Returns how many Tasks of the spawner have not ended, by the API.
async fn active_of(context: &Context, spawner: &TaskSpawner) -> Result<usize, SpawnerError> {
    let api: Api<Task> = Api::namespaced(context.client.clone(), &spawner.namespace().unwrap_or_default());
    let selector = format!("{}={}", labels::TASK_SPAWNER, spawner.name_any());
    let list = api.list(&ListParams::default().labels(&selector)).await;
    let tasks = list.map_err(SpawnerError::api("list the Tasks"))?.items;
    Ok(tasks.iter().filter(|task| is_active_of(task, spawner)).count())
}

fn is_active_of(task: &Task, spawner: &TaskSpawner) -> bool {
    task.labels().get(labels::TASK_SPAWNER) == spawner.metadata.name.as_ref()
        && task.metadata.namespace == spawner.metadata.namespace
        && !task.status.as_ref().and_then(|status| status.phase).is_some_and(TaskPhase::is_terminal)
}

/// Lets running Tasks of a deleted spawner end before the spawner, their owner, goes.
async fn delete(context: &Context, spawner: &TaskSpawner) -> Result<Action, SpawnerError> {
    if !spawner.finalizers().iter().any(|name| name == labels::FINALIZER) {
        return Ok(Action::await_change());
    }
    let at_once = spawner.annotations().get(labels::ON_DELETE).is_some_and(|value| value == "delete");
    if !at_once && active_of(context, spawner).await? > 0 {
        return Ok(Action::requeue(LONGEST_WAIT));
    }
    let names: Vec<String> =
        spawner.finalizers().iter().filter(|name| *name != labels::FINALIZER).cloned().collect();
    set_finalizers(context, spawner, &names).await
}

async fn set_finalizers(
    context: &Context,
    spawner: &TaskSpawner,
    names: &[String],
) -> Result<Action, SpawnerError> {
    let patched = objects::set_finalizers(&context.client, spawner, names).await;
    patched.map_err(SpawnerError::api("set the finalizers"))?;
    Ok(Action::await_change())
}
