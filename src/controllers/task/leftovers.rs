//! What an earlier process left, and what is left of Tasks that went without us.
//!
//! At the start the queue before the slots learns who was admitted already. From then on runs whose Task is gone are
//! ended and removed: somebody took our finalizer off, or the store is another than the one the runs belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::api::condition::Reason;
use crate::api::phase::TaskPhase;
use crate::api::task::Task;
use crate::api::workspace::Workspace;
use crate::controllers::context::RETRY;
use crate::controllers::objects;
use crate::controllers::task::act::GRACE;
use crate::controllers::task::dereference::candidate;
use crate::controllers::task::{Controlled, TaskError, chain};

/// How often what is left of Tasks that are gone is looked for.
const LOOK_EVERY: Duration = Duration::from_mins(1);

impl Controlled {
    /// Lets the queue know who was admitted, and who waited for it, before this process began. It is tried until it is
    /// done: without it two Tasks could work on one branch.
    pub(super) async fn take_up(&self) {
        while let Err(error) = self.try_to_take_up().await {
            tracing::warn!(error = %chain(&error), "Tasks of an earlier process could not be taken up and are tried again");
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn try_to_take_up(&self) -> Result<(), TaskError> {
        let workspaces: Api<Workspace> = Api::all(self.context.client.clone());
        let workspaces =
            workspaces.list(&ListParams::default()).await.map_err(TaskError::api("list the Workspaces"))?;
        let workspaces: BTreeMap<(String, String), _> = workspaces
            .into_iter()
            .map(|workspace| {
                ((workspace.namespace().unwrap_or_default(), workspace.name_any()), workspace.spec)
            })
            .collect();
        let tasks: Api<Task> = Api::all(self.context.client.clone());
        let listed = objects::for_each(&tasks, |task| {
            let status = task.status.clone().unwrap_or_default();
            let reference = task.spec.workspace_ref.as_ref();
            let workspace = reference.and_then(|reference| {
                workspaces.get(&(task.namespace().unwrap_or_default(), reference.name.clone()))
            });
            let waits_for = |reason: Reason| status.reason.as_deref() == Some(reason.as_str());
            match status.phase {
                Some(TaskPhase::Pending | TaskPhase::Running) => {
                    self.wakes.adopt(candidate(&task, workspace));
                }
                Some(TaskPhase::Waiting)
                    if [Reason::WaitingForSlot, Reason::WaitingForBranch, Reason::WaitingForDisk]
                        .into_iter()
                        .any(waits_for) =>
                {
                    self.wakes.enter(candidate(&task, workspace));
                }
                None | Some(TaskPhase::Waiting | TaskPhase::Succeeded | TaskPhase::Failed) => {}
            }
        });
        listed.await.map_err(TaskError::api("list the Tasks"))
    }

    /// Ends and removes what is left of Tasks that are gone, for ever.
    pub(super) async fn end_leftovers(&self) {
        self.tasks.wait_until_ready().await.ok();
        loop {
            if let Err(error) = self.try_to_end_leftovers().await {
                tracing::warn!(error = %chain(&error), "What is left of Tasks that are gone could not be ended and is tried again");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn try_to_end_leftovers(&self) -> Result<(), TaskError> {
        let runs = self.settings.executor.runs().await;
        let runs = runs.map_err(|source| TaskError::Executor { attempt: "list the runs", source })?;
        let known: BTreeSet<String> = self.tasks.state().iter().filter_map(|task| task.uid()).collect();
        let unknown = |uids: Vec<String>| uids.into_iter().filter(|uid| !known.contains(uid));
        let (runs, queued): (Vec<_>, Vec<_>) =
            (unknown(runs).collect(), unknown(self.wakes.queued()).collect());
        if runs.is_empty() && queued.is_empty() {
            return Ok(());
        }
        // The cache may be behind, so the server has the last word.
        let tasks: Api<Task> = Api::all(self.context.client.clone());
        let listed =
            tasks.list_metadata(&ListParams::default()).await.map_err(TaskError::api("list the Tasks"))?;
        let there: BTreeSet<String> = listed.iter().filter_map(|task| task.metadata.uid.clone()).collect();
        for uid in queued.iter().filter(|uid| !there.contains(*uid)) {
            self.wakes.leave(uid);
        }
        for uid in runs.iter().filter(|uid| !there.contains(*uid)) {
            tracing::warn!(run = uid, "Run whose Task is gone is ended and removed");
            // One that cannot be ended keeps no other from it.
            if let Err(error) = self.end_leftover(uid).await {
                tracing::warn!(run = uid, error = %chain(&error), "Run whose Task is gone could not be removed and is tried again");
            }
        }
        Ok(())
    }

    async fn end_leftover(&self, uid: &str) -> Result<(), TaskError> {
        let executor = &self.settings.executor;
        let ended = executor.stop(uid, GRACE).await;
        ended.map_err(|source| TaskError::Executor { attempt: "end the run", source })?;
        let removed = executor.remove(uid).await;
        removed.map_err(|source| TaskError::Executor { attempt: "remove the run", source })
    }
}
