//! Fetches what a Task names, and no more than its next step needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;

use crate::api::agent_config::{AgentConfig, AgentConfigSpec};
use crate::api::condition::Reason;
use crate::api::phase::TaskPhase;
use crate::api::run::{Plan, RunState, Secrets};
use crate::api::run_record::RunRecord;
use crate::api::task::Task;
use crate::api::workspace::{Workspace, WorkspaceSpec};
use crate::controllers::task::build::{self, Obstacle, Order};
use crate::controllers::task::claims::{self, BranchKey};
use crate::controllers::task::{Controlled, TaskError, token};
use crate::domain::graph;
use crate::domain::phase::{Dependencies, MissingObject, Refusal, TaskFacts};
use crate::forge::app::AppError;

/// A Task with what is known about it.
#[derive(Debug)]
pub(super) struct Known {
    /// What the next step is decided from.
    pub(super) facts: TaskFacts,
    /// The plan of its run, when it could be made.
    pub(super) plan: Option<(Plan, Secrets)>,
    /// The branch that it works on.
    pub(super) branch: Option<BranchKey>,
}

impl Controlled {
    /// Returns what is known about `task`.
    pub(super) async fn dereference(&self, task: &Task) -> Result<Known, TaskError> {
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        let status = task.status.clone().unwrap_or_default();
        let run = self
            .settings
            .executor
            .observe(uid)
            .await
            .map_err(|source| TaskError::Executor { attempt: "look at the run", source })?;
        let ended = status.phase.is_some_and(TaskPhase::is_terminal);
        let recorded = ended && self.is_recorded(task, uid).await?;
        let mut known = Known {
            facts: TaskFacts {
                phase: status.phase,
                deleting: task.metadata.deletion_timestamp.is_some(),
                has_finalizer: task.finalizers().iter().any(|name| name == crate::api::labels::FINALIZER),
                recorded,
                completed_at: status.completion_time.map(|time| time.0),
                ttl_seconds: task.spec.ttl_seconds_after_finished,
                dependencies: Dependencies::Met,
                branch_held_by: None,
                missing: Vec::new(),
                refused: None,
                slot_free: true,
                run,
            },
            plan: None,
            branch: None,
        };
        let may_start = !ended
            && !known.facts.deleting
            && matches!(known.facts.run, RunState::Absent | RunState::Prepared)
            && known.facts.phase != Some(TaskPhase::Running);
        if may_start {
            self.look_at_needs(task, &mut known).await?;
        } else if !ended && let RunState::Running { .. } = known.facts.run {
            let workspace = self.workspace(task).await?;
            self.claims.adopt(uid, &task.name_any(), branch_key(task, workspace.as_ref()));
        }
        Ok(known)
    }

    async fn look_at_needs(&self, task: &Task, known: &mut Known) -> Result<(), TaskError> {
        known.facts.dependencies = self.dependencies(task);
        if known.facts.dependencies != Dependencies::Met {
            return Ok(());
        }
        let namespace = task.namespace().unwrap_or_default();
        let workspace = self.workspace(task).await?;
        if let (None, Some(reference)) = (&workspace, &task.spec.workspace_ref) {
            known.facts.missing.push(MissingObject::Workspace(reference.name.clone()));
        }
        let mut agent_configs: Vec<AgentConfigSpec> = Vec::new();
        let api: Api<AgentConfig> = Api::namespaced(self.context.client.clone(), &namespace);
        for name in task.spec.agent_configs() {
            match api.get_opt(name).await.map_err(TaskError::api("read an AgentConfig"))? {
                Some(config) => agent_configs.push(config.spec),
                None => known.facts.missing.push(MissingObject::AgentConfig(name.to_owned())),
            }
        }
        let api: Api<Secret> = Api::namespaced(self.context.client.clone(), &namespace);
        let mut secrets = BTreeMap::new();
        for name in build::secret_names(&task.spec, workspace.as_ref(), &agent_configs) {
            match api.get_opt(&name).await.map_err(TaskError::api("read a Secret"))? {
                Some(secret) => {
                    secrets.insert(name, secret);
                }
                None => known.facts.missing.push(MissingObject::Secret(name)),
            }
        }
        known.branch = branch_key(task, workspace.as_ref());
        self.look_at_claims(task, known);
        if !known.facts.missing.is_empty() {
            return Ok(());
        }
        let minted = match self.minted(task, workspace.as_ref(), &secrets, known).await {
            Ok(minted) => minted,
            Err(error) if error.is_transient() => {
                known.facts.missing.push(MissingObject::Token(error.to_string()));
                return Ok(());
            }
            Err(error) => {
                known.facts.refused =
                    Some(Refusal { reason: Reason::TokenRefused, message: error.to_string() });
                return Ok(());
            }
        };
        let dependencies: Vec<Arc<Task>> =
            task.spec.depends_on.iter().filter_map(|name| self.task(task, name)).collect();
        let order = Order {
            task,
            workspace: workspace.as_ref(),
            agent_configs: &agent_configs,
            dependencies: &dependencies,
            secrets: &secrets,
            minted: minted.as_ref(),
        };
        match build::build(&order, &self.settings.machine) {
            Ok(plan) => known.plan = Some(plan),
            Err(Obstacle::Missing(object)) => known.facts.missing.push(object),
            Err(Obstacle::Refused(refusal)) => known.facts.refused = Some(refusal),
        }
        Ok(())
    }

    /// Returns the token of the GitHub App of the Workspace, when it has one and the run could begin now.
    async fn minted(
        &self,
        task: &Task,
        workspace: Option<&WorkspaceSpec>,
        secrets: &BTreeMap<String, Secret>,
        known: &Known,
    ) -> Result<Option<crate::secret::Secret>, AppError> {
        let Some(workspace) = workspace else { return Ok(None) };
        let secret = workspace.secret_ref.as_ref().and_then(|reference| secrets.get(&reference.name));
        let Some(secret) = secret else { return Ok(None) };
        let Some(order) = token::order(task, workspace, secret)? else { return Ok(None) };
        if !known.facts.slot_free || known.facts.branch_held_by.is_some() {
            return Ok(None);
        }
        self.mint(&order).await.map(Some)
    }

    fn look_at_claims(&self, task: &Task, known: &mut Known) {
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        if known.facts.phase == Some(TaskPhase::Pending) {
            self.claims.adopt(uid, &task.name_any(), known.branch.clone());
            return;
        }
        match self.claims.obstacle(uid, known.branch.as_ref()) {
            Some(claims::Obstacle::Branch(holder)) => known.facts.branch_held_by = Some(holder),
            Some(claims::Obstacle::Slots) => known.facts.slot_free = false,
            None => {}
        }
        if known.facts.branch_held_by.is_none()
            && let Some(earlier) = self.earlier_on_branch(task)
        {
            known.facts.branch_held_by = Some(earlier);
        }
    }

    /// Returns the Task that waits for the same branch, and only for it, since before this one was created.
    fn earlier_on_branch(&self, task: &Task) -> Option<String> {
        let age = |task: &Task| (task.creation_timestamp().map(|time| time.0), task.name_any());
        let same_place = |other: &Task| {
            other.metadata.namespace == task.metadata.namespace
                && other.spec.branch == task.spec.branch
                && other.spec.workspace_ref == task.spec.workspace_ref
        };
        let waits = |other: &Task| {
            other.status.as_ref().is_some_and(|status| {
                status.phase == Some(TaskPhase::Waiting)
                    && status.reason.as_deref() == Some(Reason::WaitingForBranch.as_str())
            })
        };
        task.spec.branch.as_ref()?;
        self.tasks
            .state()
            .iter()
            .filter(|other| same_place(other) && waits(other) && other.metadata.deletion_timestamp.is_none())
            .filter(|other| age(other) < age(task))
            .min_by_key(|other| age(other))
            .map(|other| other.name_any())
    }

    fn dependencies(&self, task: &Task) -> Dependencies {
        let names = &task.spec.depends_on;
        if names.is_empty() {
            return Dependencies::Met;
        }
        let state = |name: &str| match self.task(task, name) {
            None => graph::DependencyState::Missing,
            Some(other) => match other.status.as_ref().and_then(|status| status.phase) {
                Some(TaskPhase::Succeeded) => graph::DependencyState::Succeeded,
                Some(TaskPhase::Failed) => graph::DependencyState::Failed,
                None | Some(TaskPhase::Waiting | TaskPhase::Pending | TaskPhase::Running) => {
                    graph::DependencyState::Unfinished
                }
            },
        };
        match graph::readiness(names.iter().map(String::as_str), state) {
            graph::Readiness::Ready => Dependencies::Met,
            graph::Readiness::Failed { dependency } => Dependencies::Failed(dependency),
            graph::Readiness::Waiting { missing, unfinished } => {
                if let Some(circle) = self.circle(task) {
                    return Dependencies::Cycle(circle);
                }
                match (missing.into_iter().next(), unfinished.into_iter().next()) {
                    (Some(name), _) => Dependencies::Missing(name),
                    (None, Some(name)) => Dependencies::Unfinished(name),
                    (None, None) => Dependencies::Met,
                }
            }
        }
    }

    /// Returns the names along which the Task's dependencies lead back to it.
    fn circle(&self, task: &Task) -> Option<Vec<String>> {
        let start = task.name_any();
        let all = self.tasks.state();
        let by_name: BTreeMap<&str, &Task> = all
            .iter()
            .filter(|other| other.metadata.namespace == task.metadata.namespace)
            .filter_map(|other| Some((other.metadata.name.as_deref()?, &**other)))
            .collect();
        let circle = graph::cycle_through(&start, |name| {
            by_name
                .get(name)
                .map(|task| task.spec.depends_on.iter().map(String::as_str).collect())
                .unwrap_or_default()
        })?;
        Some(circle.into_iter().chain([start.as_str()]).map(str::to_owned).collect())
    }

    fn task(&self, near: &Task, name: &str) -> Option<Arc<Task>> {
        self.tasks.get(&ObjectRef::new(name).within(near.metadata.namespace.as_deref().unwrap_or_default()))
    }

    /// Returns the Workspace that the Task names, when it is there.
    pub(super) async fn workspace(&self, task: &Task) -> Result<Option<WorkspaceSpec>, TaskError> {
        let Some(reference) = &task.spec.workspace_ref else { return Ok(None) };
        let api: Api<Workspace> =
            Api::namespaced(self.context.client.clone(), &task.namespace().unwrap_or_default());
        let workspace = api.get_opt(&reference.name).await.map_err(TaskError::api("read the Workspace"))?;
        Ok(workspace.map(|workspace| workspace.spec))
    }

    async fn is_recorded(&self, task: &Task, uid: &str) -> Result<bool, TaskError> {
        let api: Api<RunRecord> =
            Api::namespaced(self.context.client.clone(), &task.namespace().unwrap_or_default());
        let record = api.get_metadata_opt(uid).await.map_err(TaskError::api("look for the record"))?;
        Ok(record.is_some())
    }
}

fn branch_key(task: &Task, workspace: Option<&WorkspaceSpec>) -> Option<BranchKey> {
    Some(BranchKey {
        namespace: task.namespace().unwrap_or_default(),
        repository: workspace?.repo.trim_end_matches('/').trim_end_matches(".git").to_owned(),
        branch: task.spec.branch.clone()?,
    })
}
