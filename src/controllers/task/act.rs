//! Carries one step of a Task out.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use crate::api::kind::Kind;
use crate::api::labels;
use crate::api::run::RunState;
use crate::api::run_record::RunRecord;
use crate::api::task::{Task, TaskStatus};
use crate::api::task_spawner::TaskSpawner;
use crate::controllers::context::{Happened, RETRY};
use crate::controllers::task::dereference::Known;
use crate::controllers::task::{Controlled, TaskError, bounds, claims, record, status};
use crate::domain::phase::{self, Step, Wait};
use crate::executor::StartError;

/// How long a run may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

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
                self.claims.release(uid);
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
        // The resource version makes the write fail when somebody else changed the list meanwhile.
        let patch = json!({"metadata": {"resourceVersion": task.metadata.resource_version, "uid": task.metadata.uid, "finalizers": names}});
        let parameters = PatchParams {
            field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = self.api(task).patch(&task.name_any(), &parameters, &Patch::Merge(&patch)).await;
        patched.map_err(TaskError::api(attempt))?;
        Ok(Action::await_change())
    }

    async fn wait(&self, task: &Task, wait: &Wait) -> Result<Action, TaskError> {
        let next = status::waiting(task, wait);
        status::store(&self.api(task), task, &next).await.map_err(TaskError::api("write the status"))?;
        // Secrets are not watched; the others wake the Task themselves, and this is for what a watch misses.
        Ok(Action::requeue(match wait {
            Wait::Missing(_) => RETRY,
            Wait::DependencyMissing(_) | Wait::Dependency(_) | Wait::Branch(_) | Wait::Slot => {
                Duration::from_secs(30)
            }
            // Nobody tells when there is room again.
            Wait::Disk { .. } => Duration::from_secs(5),
        }))
    }

    async fn accept(&self, task: &Task, known: Known) -> Result<Action, TaskError> {
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        if let Some(floor) = self.settings.executor.missing_room() {
            return self.wait(task, &Wait::Disk { floor }).await;
        }
        if let Err(obstacle) = self.claims.claim(uid, &task.name_any(), known.branch.clone()) {
            let wait = match obstacle {
                claims::Obstacle::Branch(holder) => Wait::Branch(holder),
                claims::Obstacle::Slots => Wait::Slot,
            };
            return self.wait(task, &wait).await;
        }
        let next = status::accepted(task, &bounds::ignored_overrides(&task.spec), self.context.clock.now());
        let stored = self.write(task, next, "TaskCreated", false).await;
        if stored.is_err() {
            self.claims.release(uid);
        }
        self.start(&stored?, known).await
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
            Err(StartError::NoSlot { .. }) => self.wait(task, &Wait::Slot).await,
            Err(StartError::NoRoom { floor }) => self.wait(task, &Wait::Disk { floor }).await,
            Err(error) => Err(TaskError::Start(error)),
        }
    }

    async fn end(&self, task: &Task, next: TaskStatus) -> Result<(), TaskError> {
        let succeeded = next.phase == Some(crate::api::phase::TaskPhase::Succeeded);
        let reason = if succeeded { "TaskSucceeded" } else { "TaskFailed" };
        self.write(task, next, reason, !succeeded).await?;
        self.claims.release(task.metadata.uid.as_deref().unwrap_or_default());
        Ok(())
    }

    async fn write(
        &self,
        task: &Task,
        next: TaskStatus,
        event: &str,
        is_warning: bool,
    ) -> Result<Task, TaskError> {
        let stored = status::store(&self.api(task), task, &next).await;
        let stored = stored.map_err(TaskError::api("write the status"))?;
        if task.status.as_ref().and_then(|status| status.phase) != next.phase {
            let note = next.message.as_deref().unwrap_or_default();
            tracing::info!(
                task = task.name_any(),
                phase = next.phase.map(crate::api::phase::TaskPhase::as_str),
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
        self.claims.release(task.metadata.uid.as_deref().unwrap_or_default());
        let Some(record) = record::record_of(task, self.context.clock.now()) else {
            return Ok(Action::requeue(RETRY));
        };
        let api: Api<RunRecord> =
            Api::namespaced(self.context.client.clone(), &task.namespace().unwrap_or_default());
        record::store(&api, &record).await.map_err(TaskError::api("store the record"))?;
        Ok(Action::requeue(Duration::ZERO))
    }

    async fn expire(&self, task: &Task) -> Result<Action, TaskError> {
        if self.is_being_counted(task).await? {
            return Ok(Action::requeue(Duration::from_secs(1)));
        }
        let parameters = DeleteParams::background()
            .preconditions(Preconditions { uid: task.metadata.uid.clone(), resource_version: None });
        match self.api(task).delete(&task.name_any(), &parameters).await {
            Ok(_) => Ok(Action::await_change()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Action::await_change()),
            Err(error) => Err(TaskError::api("delete the expired Task")(error)),
        }
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
        Ok(status.pending_ticks.iter().any(|pending| pending.0 == tick))
    }

    async fn release(&self, task: &Task) -> Result<Action, TaskError> {
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        let removed = self.settings.executor.remove(uid).await;
        removed.map_err(|source| TaskError::Executor { attempt: "remove the run", source })?;
        self.claims.release(uid);
        let finalizers: Vec<String> =
            task.finalizers().iter().filter(|name| *name != labels::FINALIZER).cloned().collect();
        self.set_finalizers(task, &finalizers, "remove the finalizer").await
    }
}
