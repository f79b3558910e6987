//! The Task controller: from a Task to a run, and from the end of the run to its status and its record.
//!
//! `dereference` fetches, `domain::phase` decides, `act` carries one step out; each step is safe to repeat, and what
//! was started is known from the run's own folder and never from memory alone.

mod act;
pub mod bounds;
pub mod build;
mod claims;
mod dereference;
mod record;
mod status;
mod token;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource as _, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::api::agent_config::AgentConfig;
use crate::api::condition::Reason;
use crate::api::phase::TaskPhase;
use crate::api::task::Task;
use crate::api::workspace::Workspace;
use crate::controllers::context::{Context, RETRY};
use crate::controllers::task::build::Machine;
use crate::controllers::task::claims::Claims;
use crate::executor::{Executor, ExecutorError, StartError};

/// How many Tasks are looked at at once.
const CONCURRENCY: u16 = 8;

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
    claims: Claims,
    tasks: Store<Task>,
}

/// Runs the controller until `shutdown`.
///
/// # Errors
/// Never; the result is that of a supervised task.
pub async fn run(context: Context, settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let api: Api<Task> = Api::all(context.client.clone());
    let everything = watcher::Config::default;
    let controller = Controller::new(api.clone(), everything());
    let tasks = controller.store();
    let (of_tasks, of_workspaces, of_configs, of_ends) =
        (tasks.clone(), tasks.clone(), tasks.clone(), tasks.clone());
    let ends = settings.executor.ends().map(move |uid| {
        let task = of_ends.find(|task| task.metadata.uid.as_deref() == Some(uid.as_str()));
        // A run whose Task is not in the cache yet is looked at when its Task comes.
        task.map_or_else(|| ObjectRef::new("").within(""), |task| ObjectRef::from_obj(&*task))
    });
    let ends = ends.filter(|reference| std::future::ready(!reference.name.is_empty()));
    let controlled = Arc::new(Controlled {
        claims: Claims::new(settings.executor.slots().total),
        tasks,
        context: context.clone(),
        settings,
    });
    controller
        .watches(api, everything(), move |changed| waiting_for_task(&of_tasks, &changed))
        .watches(Api::<Workspace>::all(context.client.clone()), everything(), move |workspace| {
            waiting(&of_workspaces, workspace.namespace(), Reason::WaitingForWorkspace)
        })
        .watches(Api::<AgentConfig>::all(context.client), everything(), move |config| {
            waiting(&of_configs, config.namespace(), Reason::WaitingForAgentConfig)
        })
        .reconcile_on(ends)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, retry, controlled)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                report(&error);
            }
            std::future::ready(())
        })
        .await;
    Ok(())
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

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Returns the Tasks that a change of `changed` may let go on.
fn waiting_for_task(tasks: &Store<Task>, changed: &Task) -> Vec<ObjectRef<Task>> {
    let ended = changed.status.as_ref().and_then(|status| status.phase).is_some_and(TaskPhase::is_terminal)
        || changed.metadata.deletion_timestamp.is_some();
    let name = changed.name_any();
    let waits = |task: &Task| {
        let status = task.status.as_ref();
        if task.meta().uid == changed.meta().uid
            || status.and_then(|status| status.phase).is_some_and(TaskPhase::is_terminal)
        {
            return false;
        }
        let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or_default();
        let same_namespace = task.metadata.namespace == changed.metadata.namespace;
        (same_namespace && task.spec.depends_on.contains(&name))
            || (ended && same_namespace && reason == Reason::WaitingForBranch.as_str())
            || (ended && reason == Reason::WaitingForSlot.as_str())
    };
    tasks.state().iter().filter(|task| waits(task)).map(|task| ObjectRef::from_obj(&**task)).collect()
}

/// Returns the Tasks of a namespace that wait for this reason.
fn waiting(tasks: &Store<Task>, namespace: Option<String>, reason: Reason) -> Vec<ObjectRef<Task>> {
    let waits = |task: &Task| {
        task.metadata.namespace == namespace
            && task.status.as_ref().and_then(|status| status.reason.as_deref()) == Some(reason.as_str())
    };
    tasks.state().iter().filter(|task| waits(task)).map(|task| ObjectRef::from_obj(&**task)).collect()
}

async fn reconcile(task: Arc<Task>, controlled: Arc<Controlled>) -> Result<Action, TaskError> {
    let known = controlled.dereference(&task).await?;
    controlled.act(&task, known).await
}

fn retry(task: Arc<Task>, error: &TaskError, controlled: Arc<Controlled>) -> Action {
    // A conflict means that the cache is behind; what is newer is on its way.
    if let TaskError::Api { source, .. } = error
        && matches!(&**source, kube::Error::Api(status) if status.code == 404 || status.code == 409)
    {
        if task.metadata.deletion_timestamp.is_some() {
            controlled.claims.release(task.metadata.uid.as_deref().unwrap_or_default());
        }
        return Action::requeue(Duration::from_millis(200));
    }
    Action::requeue(RETRY)
}
