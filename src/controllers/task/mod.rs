//! The Task controller: from a Task to a run, and from the end of the run to its status and its record.
//!
//! `dereference` fetches, `domain::phase` decides, `act` carries one step out; each step is safe to repeat, and what
//! was started is known from the run's own folder and never from memory alone.

mod act;
pub mod bounds;
pub mod build;
mod dependencies;
mod dereference;
mod leftovers;
mod record;
mod records;
mod status;
mod token;
mod wakes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store, reflector};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::api::agent_config::AgentConfig;
use crate::api::condition::Reason;
use crate::api::kind::Kind;
use crate::api::phase::TaskPhase;
use crate::api::run_record::RunRecord;
use crate::api::task::Task;
use crate::api::workspace::Workspace;
use crate::controllers::context::{Context, RETRY, chain};
use crate::controllers::task::build::Machine;
use crate::controllers::task::records::LatestRecords;
use crate::controllers::task::wakes::{Awaited, Wakes};
use crate::executor::{Executor, ExecutorError, StartError};
use crate::metrics::Labels;

/// How many Tasks are looked at at once.
const CONCURRENCY: u16 = 32;

/// What the Task controller needs beside what all controllers need.
#[derive(Debug)]
pub struct Settings {
    /// Where runs happen.
    pub executor: Arc<dyn Executor>,
    /// What is the same for all runs.
    pub machine: Machine,
}

/// What went wrong with a Task.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// The API did not answer, or refused.
    #[error("cannot {attempt}")]
    Api {
        attempt: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    /// The executor could not do what was asked.
    #[error("cannot {attempt}")]
    Executor {
        attempt: &'static str,
        #[source]
        source: ExecutorError,
    },
    /// The run could not be started.
    #[error("cannot start the run")]
    Start(#[source] StartError),
}

impl TaskError {
    fn api(attempt: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { attempt, source: Box::new(source) }
    }
}

struct Controlled {
    context: Context,
    settings: Settings,
    tasks: Store<Task>,
    records: LatestRecords,
    wakes: Wakes,
    // Told when dependencies changed; the one who sleeps on it looks for circles.
    dependencies_changed: Notify,
}

/// Runs the controller until `shutdown`.
///
/// # Errors
/// Never; the result is that of a supervised task.
pub async fn run(context: Context, settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let client = context.client.clone();
    let ends = settings.executor.ends();
    let (tasks, writer) = reflector::store();
    let (wakes, woken) = Wakes::new(settings.executor.slots().total);
    let counted = tasks.clone();
    context.metrics.observe("kelos_tasks", move || count(&counted));
    let controlled = Arc::new(Controlled {
        context,
        settings,
        tasks: tasks.clone(),
        records: LatestRecords::default(),
        wakes,
        dependencies_changed: Notify::new(),
    });
    // Invariant: what was admitted before counts before anything new is looked at.
    tokio::select! {
        () = controlled.take_up() => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    let changes = reflector(writer, watcher(Api::<Task>::all(client.clone()), watcher::Config::default()));
    let noting = Arc::clone(&controlled);
    let changes = changes.default_backoff().inspect_ok(move |event| noting.note(event)).touched_objects();
    let ended = Arc::clone(&controlled);
    // A run whose Task is not known yet is looked at when its Task comes.
    let ends = ends.filter_map(move |uid| std::future::ready(ended.wakes.task_of(&uid)));
    let records = watcher(Api::<RunRecord>::all(client.clone()), watcher::Config::default());
    let noting = Arc::clone(&controlled);
    let records = records.default_backoff().inspect_ok(move |event| noting.note_record(event));
    // Of Secrets only that they changed is told.
    let secrets = watcher(Api::<PartialObjectMeta<Secret>>::all(client.clone()), watcher::Config::default());
    let (of_workspaces, of_configs) = (Arc::clone(&controlled), Arc::clone(&controlled));
    let (of_secrets, of_records) = (Arc::clone(&controlled), Arc::clone(&controlled));
    let controller = Controller::for_stream(changes, tasks)
        .watches(Api::<Workspace>::all(client.clone()), watcher::Config::default(), move |workspace| {
            of_workspaces.awaiting(Kind::Workspace, &workspace)
        })
        .watches(Api::<AgentConfig>::all(client), watcher::Config::default(), move |config| {
            of_configs.awaiting(Kind::AgentConfig, &config)
        })
        .watches_stream(secrets.default_backoff().touched_objects(), move |secret| {
            let namespace = secret.namespace().unwrap_or_default();
            of_secrets.wakes.waiting_for(&Awaited::secret(&namespace, &secret.name_any()))
        })
        .watches_stream(records.touched_objects(), move |record| {
            let namespace = record.namespace().unwrap_or_default();
            of_records.wakes.waiting_for(&Awaited::object(Kind::Task, &namespace, &record.spec.task_name))
        })
        .reconcile_on(stream::select(ends, woken))
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile, retry, Arc::clone(&controlled))
        .for_each(|outcome| {
            if let Err(error) = outcome {
                report(&error);
            }
            std::future::ready(())
        });
    let beside = async {
        tokio::select! {
            () = controlled.look_for_circles() => {}
            () = controlled.end_leftovers() => {}
            () = shutdown.cancelled() => {}
        }
    };
    tokio::join!(controller, beside);
    Ok(())
}

impl Controlled {
    /// Takes note of a change of a Task, after the cache did, and wakes the Tasks that wait for it.
    fn note(&self, event: &watcher::Event<Task>) {
        match event {
            watcher::Event::Apply(task) => {
                let phase = task.status.as_ref().and_then(|status| status.phase);
                if phase.is_none() && !task.spec.depends_on.is_empty() {
                    self.dependencies_changed.notify_one();
                }
                if phase.is_none_or(TaskPhase::is_terminal) {
                    self.wake_dependents(task);
                }
            }
            watcher::Event::Delete(task) => {
                self.wakes.leave(task.metadata.uid.as_deref().unwrap_or_default());
                self.wakes.look_for_nothing(&wakes::name_of(task));
                self.wake_dependents(task);
            }
            // The cache holds what was listed only at the end of the listing.
            watcher::Event::Init | watcher::Event::InitApply(_) => {}
            watcher::Event::InitDone => {
                self.wakes.wake_all();
                self.dependencies_changed.notify_one();
            }
        }
    }

    fn note_record(&self, event: &watcher::Event<RunRecord>) {
        match event {
            watcher::Event::Apply(record) | watcher::Event::InitApply(record) => self.records.put(record),
            watcher::Event::Delete(record) => self.records.remove(record),
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn wake_dependents(&self, task: &Task) {
        let name = wakes::name_of(task);
        self.wakes.wake_waiting_for(&Awaited::object(Kind::Task, &name.namespace, &name.name));
    }

    fn awaiting(&self, kind: Kind, object: &impl kube::ResourceExt) -> Vec<ObjectRef<Task>> {
        let namespace = object.namespace().unwrap_or_default();
        self.wakes.waiting_for(&Awaited::object(kind, &namespace, &object.name_any()))
    }

    async fn look_for_circles(&self) {
        loop {
            self.dependencies_changed.notified().await;
            self.find_circles();
            tokio::time::sleep(dependencies::CIRCLES_EVERY).await;
        }
    }
}

fn report(error: &kube::runtime::controller::Error<TaskError, watcher::Error>) {
    use kube::runtime::controller::Error;
    match error {
        // The Task went away between the trigger and the look at it.
        Error::ObjectNotFound(_) => {}
        // The cache is behind our own write; what is newer is on its way.
        Error::ReconcilerFailed(TaskError::Api { source, .. }, _) if is_conflict(source) => {}
        Error::ReconcilerFailed(error, task) => {
            tracing::warn!(task = task.name, error = %chain(error), "Task could not be advanced and is tried again");
        }
        other => tracing::warn!(error = %chain(other), "Watch of Tasks failed and is resumed"),
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Counts Tasks by phase and reason. A word that is none of ours, from another version of this program, is left out.
fn count(tasks: &Store<Task>) -> Vec<(Labels, f64)> {
    let mut counts: BTreeMap<(&'static str, &'static str), u32> = BTreeMap::new();
    for task in tasks.state() {
        let status = task.status.as_ref();
        let phase = status.and_then(|status| status.phase).map_or("", TaskPhase::as_str);
        let reason =
            status.and_then(|status| status.reason.as_deref()?.parse().ok()).map_or("", Reason::as_str);
        *counts.entry((phase, reason)).or_default() += 1;
    }
    let labels = |(phase, reason): (&'static str, &'static str)| {
        vec![("phase", phase.into()), ("reason", reason.into())]
    };
    counts.into_iter().map(|(words, number)| (labels(words), f64::from(number))).collect()
}

async fn reconcile(task: Arc<Task>, controlled: Arc<Controlled>) -> Result<Action, TaskError> {
    let known = controlled.dereference(&task).await?;
    controlled.act(&task, known).await
}

fn retry(_: Arc<Task>, error: &TaskError, _: Arc<Controlled>) -> Action {
    // A conflict means that the cache is behind; what is newer is on its way.
    if let TaskError::Api { source, .. } = error
        && matches!(&**source, kube::Error::Api(status) if status.code == 404 || status.code == 409)
    {
        return Action::requeue(Duration::from_millis(200));
    }
    Action::requeue(RETRY)
}
