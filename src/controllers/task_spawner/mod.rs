//! The TaskSpawner controller: schedules become Tasks.
//!
//! `domain::schedule` decides; what it decided is written in one status before a Task is created: the watermark, the
//! ticks that wait, the ticks that start, and the count of Tasks with the latter in it. A tick leaves the status only
//! after its Task exists. A kill at any point neither loses a tick nor runs it twice, because the name of a Task
//! follows from its spawner and its tick.
//!
//! A look at a spawner costs no request: one watch counts unfinished Tasks, one queue knows when each spawner is due.

mod active;
mod create;
mod status;
#[cfg(test)]
mod tests;
mod ticks;
mod timer;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio_util::sync::CancellationToken;

use crate::api::labels;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;
use crate::controllers::context::{Context, RETRY};
use crate::controllers::objects;
use crate::controllers::task_spawner::active::ActiveTasks;
use crate::controllers::task_spawner::timer::{LONGEST_WAIT, Timer};
use crate::controllers::task_spawner::waiting::WaitingSpawner;
use crate::lang::cron::Schedule;
use crate::pack::Packer;

/// How many spawners are looked at at once. As many as fire in one minute of a busy schedule: their writes share the
/// store's commits, and no Task waits until another spawner has tidied up.
const CONCURRENCY: u16 = 256;

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
    active: ActiveTasks,
    timer: Arc<Timer>,
}

/// Runs the controller until `shutdown`.
///
/// # Errors
/// Never; the result is that of a supervised task.
pub async fn run(context: Context, shutdown: CancellationToken) -> anyhow::Result<()> {
    let timer = Timer::new(Arc::clone(&context.clock), LONGEST_WAIT);
    run_with(context, timer, shutdown).await
}

async fn run_with(context: Context, timer: Arc<Timer>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let client = context.client.clone();
    let controlled =
        Arc::new(Controlled { context, active: ActiveTasks::default(), timer: Arc::clone(&timer) });
    // `feed` holds the sender and the controller the receiver; both end together.
    let (woken, changed) = mpsc::unbounded();
    let (listed, ready) = oneshot::channel();
    let controller = async {
        // Without the listing every spawner would seem to have room.
        if ready.await.is_err() {
            return;
        }
        let (spawners, writer) = reflector::store();
        let packer = Packer::default();
        let changes = watcher(Api::<WaitingSpawner>::all(client.clone()), watcher::Config::default())
            .default_backoff()
            .modify(move |spawner| spawner.settle(&packer))
            .reflect(writer)
            .applied_objects();
        Controller::for_stream(changes, spawners)
            .reconcile_on(stream::select(timer.due(), changed).map(|spawner| spawner.into_kind_unchecked(())))
            .with_config(Config::default().concurrency(CONCURRENCY))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(reconcile, retry, Arc::clone(&controlled))
            .for_each(|outcome| {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "TaskSpawner was not advanced");
                }
                std::future::ready(())
            })
            .await;
    };
    let feed = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = feed(client.clone(), &controlled.active, &woken, listed) => {}
        }
    };
    tokio::join!(controller, feed);
    Ok(())
}

/// Follows the Tasks for ever, and tells which spawners a change concerns.
async fn feed(
    client: kube::Client,
    active: &ActiveTasks,
    woken: &mpsc::UnboundedSender<ObjectRef<TaskSpawner>>,
    listed: oneshot::Sender<()>,
) {
    let mut listed = Some(listed);
    let tasks = watcher(Api::<Task>::all(client), watcher::Config::default()).default_backoff();
    let mut tasks = std::pin::pin!(tasks);
    while let Some(event) = tasks.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "Watch of Tasks failed and is resumed");
                continue;
            }
        };
        for spawner in active.observe(&event) {
            // The receiver goes only when the daemon ends.
            drop(woken.unbounded_send(spawner));
        }
        if matches!(event, watcher::Event::InitDone)
            && let Some(listed) = listed.take()
        {
            // The other end is gone only when the daemon ends.
            let _gone = listed.send(());
        }
    }
}

fn retry(spawner: Arc<WaitingSpawner>, error: &SpawnerError, _: Arc<Controlled>) -> Action {
    let SpawnerError::Api { attempt, source } = error;
    if matches!(&**source, kube::Error::Api(status) if status.code == 404 || status.code == 409) {
        return Action::requeue(Duration::from_millis(200));
    }
    tracing::warn!(spawner = spawner.name_any(), attempt, error = %source, "TaskSpawner could not be advanced and is tried again");
    Action::requeue(RETRY)
}

async fn reconcile(
    waiting: Arc<WaitingSpawner>,
    controlled: Arc<Controlled>,
) -> Result<Action, SpawnerError> {
    let context = &controlled.context;
    let spawner = waiting.spawner();
    let now = context.clock.now();
    if spawner.metadata.deletion_timestamp.is_some() {
        controlled.timer.set(&spawner, None);
        return delete(context, &spawner).await;
    }
    // A Task may also be made by somebody else in the name of the spawner.
    if controlled.active.count(&spawner) > 0 && !is_held(&spawner) {
        controlled.hold(spawner).await?;
        return Ok(Action::await_change());
    }
    let mut next = spawner.status.clone().unwrap_or_default();
    next.observed_generation = spawner.metadata.generation;
    next.active_tasks = i64::try_from(controlled.active.count(&spawner)).ok();
    let generation = spawner.metadata.generation;
    let Some(cron) = &spawner.spec.when.cron else {
        controlled.timer.set(&spawner, None);
        status::source_not_served(&mut next, &spawner.spec, generation, now);
        status::store(context, &spawner, &next).await?;
        return Ok(Action::await_change());
    };
    let schedule = match Schedule::parse(&cron.schedule, cron.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            controlled.timer.set(&spawner, None);
            status::invalid_schedule(&mut next, &error.to_string(), generation, now);
            status::store(context, &spawner, &next).await?;
            return Ok(Action::await_change());
        }
    };
    let tick = ticks::decide(&mut next, &spawner, cron, &schedule, now);
    let stored = status::store(context, &spawner, &next).await?;
    controlled.timer.set(&spawner, tick);
    controlled.start_ticks(&spawner, stored, cron).await
}

/// Returns how many Tasks of the spawner have not ended, by the API.
async fn active_of(context: &Context, spawner: &TaskSpawner) -> Result<usize, SpawnerError> {
    let api: Api<Task> = Api::namespaced(context.client.clone(), &spawner.namespace().unwrap_or_default());
    let selector = format!("{}={}", labels::TASK_SPAWNER, spawner.name_any());
    let list = api.list(&ListParams::default().labels(&selector)).await;
    let tasks = list.map_err(SpawnerError::api("list the Tasks"))?.items;
    Ok(tasks.iter().filter(|task| !task.has_ended()).count())
}

/// Returns whether the spawner stays until we let it go.
fn is_held(spawner: &TaskSpawner) -> bool {
    spawner.finalizers().iter().any(|name| name == labels::FINALIZER)
}

/// Lets running Tasks of a deleted spawner end before the spawner, their owner, goes.
async fn delete(context: &Context, spawner: &TaskSpawner) -> Result<Action, SpawnerError> {
    if !is_held(spawner) {
        return Ok(Action::await_change());
    }
    let at_once = spawner.annotations().get(labels::ON_DELETE).is_some_and(|value| value == "delete");
    if !at_once && active_of(context, spawner).await? > 0 {
        return Ok(Action::requeue(LONGEST_WAIT));
    }
    let names: Vec<String> =
        spawner.finalizers().iter().filter(|name| *name != labels::FINALIZER).cloned().collect();
    let patched = objects::set_finalizers(&context.client, spawner, &names).await;
    patched.map_err(SpawnerError::api("remove the finalizer"))?;
    Ok(Action::await_change())
}
