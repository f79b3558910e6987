//! Carries one step of a Task out.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};

use crate::api::condition::Reason;
use crate::api::kind::Kind;
use crate::api::labels;
use crate::api::phase::TaskPhase;
use crate::api::run::{GRACE_SECONDS, RunState};
use crate::api::run_record::{Departure, RunRecord};
use crate::api::task::{Task, TaskStatus};
use crate::api::task_spawner::TaskSpawner;
use crate::controllers::context::{Happened, RETRY};
use crate::controllers::objects;
use crate::controllers::task::dereference::Known;
use crate::controllers::task::wakes::name_of;
use crate::controllers::task::{Controlled, TaskError, bounds, record, status};
use crate::domain::phase::{self, MissingObject, Step, Wait};
use crate::executor::StartError;

/// How long a run may take to end after it was asked to.
pub(super) const GRACE: Duration = Duration::from_secs(GRACE_SECONDS);
/// When a Task that waits is looked at again although nothing woke it, for what a watch may have missed.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// The same for a Task that waits for other Tasks, whose changes are never missed.
const LOOK_AGAIN_AT_TASKS: Duration = Duration::from_mins(5);

impl Controlled {
    /// Decides the next step for `task` and carries it out.
    pub(super) async fn act(&self, task: &Task, known: Known) -> Result<Action, TaskError> {
        let now = self.context.clock.now();
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        match phase::decide(&known.facts, now) {
            Step::AddFinalizer => self.add_finalizer(task).await,
            Step::Wait(wait) => self.wait(task, &wait).await,
            Step::Accept => self.accept(task, known).await,
            Step::Start => self.start(task, known).await,
            Step::MarkRunning { since } => {
                let next = status::running(task, since, now);
                self.write(task, next, "TaskRunning", false).await?;
                Ok(Action::await_change())
            }
            Step::Watch => {
                let look = self.renew_token(task).await?;
                Ok(look.map_or_else(Action::await_change, Action::requeue))
            }
            Step::Finish => {
                if let RunState::Finished(outcome) = &known.facts.run {
                    self.end(task, status::finished(task, outcome)).await?;
                }
                Ok(Action::await_change())
            }
            Step::Interrupt => {
                self.end(task, status::interrupted(task, now)).await?;
                Ok(Action::await_change())
            }
            Step::Fail(refusal) => {
                self.end(task, status::refused(task, &refusal, now)).await?;
                Ok(Action::await_change())
            }
            Step::Record => self.record(task).await,
            Step::Keep(left) => {
                self.wakes.leave(uid);
                Ok(left.map_or_else(Action::await_change, |left| {
                    // Bounded, because clocks jump and machines sleep.
                    Action::requeue(Duration::try_from(left).unwrap_or(RETRY).min(Duration::from_secs(30)))
                }))
            }
            Step::Expire => self.expire(task).await,
            Step::Cancel => {
                let stop = self.settings.executor.stop(uid, GRACE).await;
                stop.map_err(|source| TaskError::Executor { attempt: "end the run", source })?;
                Ok(Action::requeue(Duration::ZERO))
            }
            Step::Release => self.release(task).await,
        }
    }

    fn records_api(&self, task: &Task) -> Api<RunRecord> {
        Api::namespaced(self.context.client.clone(), &task.namespace().unwrap_or_default())
    }

    fn api(&self, task: &Task) -> Api<Task> {
        Api::namespaced(self.context.client.clone(), &task.namespace().unwrap_or_default())
    }

    async fn add_finalizer(&self, task: &Task) -> Result<Action, TaskError> {
        let mut finalizers = task.finalizers().to_vec();
        finalizers.push(labels::FINALIZER.to_owned());
        self.set_finalizers(task, &finalizers, "add the finalizer").await
    }

    async fn set_finalizers(
        &self,
        task: &Task,
        names: &[String],
        attempt: &'static str,
    ) -> Result<Action, TaskError> {
        let patched = objects::set_finalizers(&self.context.client, task, names).await;
        patched.map_err(TaskError::api(attempt))?;
        Ok(Action::await_change())
    }

    async fn wait(&self, task: &Task, wait: &Wait) -> Result<Action, TaskError> {
        let look_again = match wait {
            Wait::Slot => LOOK_AGAIN_AT_TASKS,
            Wait::Branch(_) => LOOK_AGAIN,
            // Nobody tells when there is room again. It keeps its turn.
            Wait::Disk { .. } => RETRY,
            // Who waits for something else stands in nobody's way. A forge tells nobody when it is back.
            Wait::Missing(objects)
                if objects.iter().any(|object| matches!(object, MissingObject::Token(_))) =>
            {
                self.leave_queue(task, RETRY)
            }
            Wait::Missing(_) => self.leave_queue(task, LOOK_AGAIN),
            Wait::DependencyMissing(_) | Wait::Dependency(_) => self.leave_queue(task, LOOK_AGAIN_AT_TASKS),
            Wait::DependencyMayComeAnew(_) => self.leave_queue(task, Duration::from_secs(1)),
        };
        let next = status::waiting(task, wait);
        objects::store_status(&self.context.client, task, &next)
            .await
            .map_err(TaskError::api("write the status"))?;
        Ok(Action::requeue(look_again))
    }

    fn leave_queue(&self, task: &Task, look_again: Duration) -> Duration {
        self.wakes.leave(task.metadata.uid.as_deref().unwrap_or_default());
        look_again
    }

    async fn accept(&self, task: &Task, known: Known) -> Result<Action, TaskError> {
        if let Some(floor) = self.settings.executor.missing_room() {
            return self.wait(task, &Wait::Disk { floor }).await;
        }
        let next = status::accepted(task, &bounds::ignored_overrides(&task.spec), self.context.clock.now());
        let stored = self.write(task, next, "TaskCreated", false).await?;
        self.start(&stored, known).await
    }

    async fn start(&self, task: &Task, known: Known) -> Result<Action, TaskError> {
        let Some((plan, secrets)) = known.plan else {
            return Ok(Action::requeue(RETRY));
        };
        match self.settings.executor.start(plan, secrets).await {
            // The executor tells when it ends; that it began is written at once.
            Ok(()) | Err(StartError::Begun { .. }) => {
                let uid = task.metadata.uid.as_deref().unwrap_or_default();
                let run = self.settings.executor.observe(uid).await;
                let run = run.map_err(|source| TaskError::Executor { attempt: "look at the run", source })?;
                if let RunState::Running { since } = run {
                    let next = status::running(task, since, self.context.clock.now());
                    self.write(task, next, "TaskRunning", false).await?;
                    return Ok(Action::await_change());
                }
                Ok(Action::requeue(Duration::ZERO))
            }
            // A run whose Task is gone still holds the slot that this one was given, and is being ended.
            Err(StartError::NoSlot { .. }) => {
                self.wait(task, &Wait::Slot).await?;
                Ok(Action::requeue(RETRY))
            }
            Err(StartError::NoRoom { floor }) => self.wait(task, &Wait::Disk { floor }).await,
            Err(error) => Err(TaskError::Start(error)),
        }
    }

    async fn end(&self, task: &Task, next: TaskStatus) -> Result<(), TaskError> {
        let succeeded = next.phase == Some(TaskPhase::Succeeded);
        let reason = if succeeded { "TaskSucceeded" } else { "TaskFailed" };
        let outcome = next.reason.as_deref().and_then(|word| word.parse().ok()).map_or("", Reason::as_str);
        let took = next.start_time.as_ref().zip(next.completion_time.as_ref());
        let took = took.and_then(|(began, ended)| Duration::try_from(ended.0.duration_since(began.0)).ok());
        self.write(task, next, reason, !succeeded).await?;
        self.context.metrics.work.run_ended(task.spec.agent.as_str(), outcome, took);
        self.wakes.look_for_nothing(&name_of(task));
        self.wakes.leave(task.metadata.uid.as_deref().unwrap_or_default());
        Ok(())
    }

    async fn write(
        &self,
        task: &Task,
        next: TaskStatus,
        event: &str,
        is_warning: bool,
    ) -> Result<Task, TaskError> {
        let stored = objects::store_status(&self.context.client, task, &next).await;
        let stored = stored.map_err(TaskError::api("write the status"))?;
        if task.status.as_ref().and_then(|status| status.phase) != next.phase {
            let note = next.message.as_deref().unwrap_or_default();
            tracing::info!(
                task = task.name_any(),
                phase = next.phase.map(TaskPhase::as_str),
                reason = next.reason,
                "Task advanced"
            );
            self.context
                .tell(&task.object_ref(&()), Happened { reason: event, action: "Run", note, is_warning })
                .await;
        }
        Ok(stored)
    }

    async fn record(&self, task: &Task) -> Result<Action, TaskError> {
        self.wakes.leave(task.metadata.uid.as_deref().unwrap_or_default());
        let Some(record) = record::record_of(task, self.context.clock.now()) else {
            return Ok(Action::requeue(RETRY));
        };
        record::store(&self.records_api(task), &record).await.map_err(TaskError::api("store the record"))?;
        Ok(Action::requeue(Duration::ZERO))
    }

    async fn expire(&self, task: &Task) -> Result<Action, TaskError> {
        if self.is_being_counted(task).await? {
            return Ok(Action::requeue(Duration::from_secs(1)));
        }
        self.note_departure(task, Departure::Expired).await?;
        let parameters = DeleteParams::background()
            .preconditions(Preconditions { uid: task.metadata.uid.clone(), resource_version: None });
        match self.api(task).delete(&task.name_any(), &parameters).await {
            Ok(_) => Ok(Action::await_change()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Action::await_change()),
            Err(error) => Err(TaskError::api("delete the expired Task")(error)),
        }
    }

    /// Takes note in the record, which stays, of how the Task goes.
    async fn note_departure(&self, task: &Task, departure: Departure) -> Result<(), TaskError> {
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        let now = self.context.clock.now();
        let noted = record::note_departure(&self.records_api(task), uid, departure, now).await;
        noted.map_err(TaskError::api("tell in the record how the Task goes"))
    }

    /// Returns whether the spawner of the Task still means to create it: gone too early, it would run twice.
    async fn is_being_counted(&self, task: &Task) -> Result<bool, TaskError> {
        let tick = task.annotations().get(labels::SCHEDULED_AT).and_then(|at| at.parse::<Timestamp>().ok());
        let owner = task.owner_references().iter().find(|owner| owner.kind == Kind::TaskSpawner.as_str());
        let (Some(tick), Some(owner)) = (tick, owner) else { return Ok(false) };
        let api: Api<TaskSpawner> =
            Api::namespaced(self.context.client.clone(), &task.namespace().unwrap_or_default());
        let spawner = api.get_opt(&owner.name).await.map_err(TaskError::api("read the TaskSpawner"))?;
        let same = spawner.filter(|spawner| spawner.uid().as_ref() == Some(&owner.uid));
        let status = same.and_then(|spawner| spawner.status).unwrap_or_default();
        let mut meant = status.pending_ticks.iter().chain(&status.starting_ticks);
        Ok(meant.any(|meant| meant.0 == tick))
    }

    async fn release(&self, task: &Task) -> Result<Action, TaskError> {
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        if task.has_ended() {
            self.note_departure(task, Departure::Deleted).await?;
        }
        let removed = self.settings.executor.remove(uid).await;
        removed.map_err(|source| TaskError::Executor { attempt: "remove the run", source })?;
        self.wakes.leave(uid);
        let finalizers: Vec<String> =
            task.finalizers().iter().filter(|name| *name != labels::FINALIZER).cloned().collect();
        self.set_finalizers(task, &finalizers, "remove the finalizer").await
    }
}
