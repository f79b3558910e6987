//! Fetches what a Task names, and no more than its next step needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;

use crate::api::agent_config::{AgentConfig, AgentConfigSpec};
use crate::api::condition::Reason;
use crate::api::kind::Kind;
use crate::api::labels;
use crate::api::phase::TaskPhase;
use crate::api::run::{Plan, RunState, Secrets};
use crate::api::run_record::RunRecord;
use crate::api::task::Task;
use crate::api::workspace::{Workspace, WorkspaceSpec};
use crate::controllers::task::build::{self, Order};
use crate::controllers::task::wakes::{Awaited, name_of};
use crate::controllers::task::{Controlled, TaskError, token};
use crate::domain::admission::{BranchKey, Candidate, Obstacle};
use crate::domain::phase::{Dependencies, MissingObject, Refusal, TaskFacts};
use crate::forge::app::AppError;
use crate::git::remote::RemoteUrl;

/// A Task with what is known about it.
#[derive(Debug)]
pub(super) struct Known {
    /// What the next step is decided from.
    pub(super) facts: TaskFacts,
    /// The plan of its run, when it could be made.
    pub(super) plan: Option<(Plan, Secrets)>,
}

impl Controlled {
    /// Returns what is known about `task`. A Task that nothing but others holds back asks for its start by this.
    pub(super) async fn dereference(&self, task: &Task) -> Result<Known, TaskError> {
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        let status = task.status.clone().unwrap_or_default();
        let deleting = task.metadata.deletion_timestamp.is_some();
        let ended = status.phase.is_some_and(TaskPhase::is_terminal);
        // What has ended and stays is looked at again and again, and its run does not matter any more.
        let run = if ended && !deleting {
            RunState::Absent
        } else {
            let run = self.settings.executor.observe(uid).await;
            run.map_err(|source| TaskError::Executor { attempt: "look at the run", source })?
        };
        let recorded = ended && self.is_recorded(task, uid).await?;
        let mut known = Known {
            facts: TaskFacts {
                phase: status.phase,
                deleting,
                has_finalizer: task.finalizers().iter().any(|name| name == labels::FINALIZER),
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
        };
        let may_start = !ended
            && !deleting
            && matches!(known.facts.run, RunState::Absent | RunState::Prepared)
            && known.facts.phase != Some(TaskPhase::Running);
        if may_start {
            self.look_at_needs(task, &mut known).await?;
            return Ok(known);
        }
        self.wakes.look_for_nothing(&name_of(task));
        if !ended && matches!(known.facts.run, RunState::Running { .. }) && !self.wakes.is_admitted(uid) {
            let workspace = self.workspace(task).await?;
            self.wakes.adopt(candidate(task, workspace.as_ref()));
        }
        Ok(known)
    }

    async fn look_at_needs(&self, task: &Task, known: &mut Known) -> Result<(), TaskError> {
        let name = name_of(task);
        let namespace = name.namespace.as_str();
        let await_object = |kind, names: &mut dyn Iterator<Item = &str>| {
            self.wakes.look_for(&name, names.map(|name| Awaited::object(kind, namespace, name)));
        };
        await_object(Kind::Task, &mut task.spec.depends_on.iter().map(String::as_str));
        let (dependencies, usable) = self.dependencies(task, self.context.clock.now()).await?;
        known.facts.dependencies = dependencies;
        if known.facts.dependencies != Dependencies::Met {
            return Ok(());
        }
        let workspace_name = task.spec.workspace_ref.as_ref().map(|reference| reference.name.as_str());
        await_object(Kind::Workspace, &mut workspace_name.into_iter());
        let workspace = self.workspace(task).await?;
        if let (None, Some(name)) = (&workspace, workspace_name) {
            known.facts.missing.push(MissingObject::Workspace(name.to_owned()));
        }
        await_object(Kind::AgentConfig, &mut task.spec.agent_configs());
        let mut agent_configs: Vec<AgentConfigSpec> = Vec::new();
        let api: Api<AgentConfig> = Api::namespaced(self.context.client.clone(), namespace);
        for name in task.spec.agent_configs() {
            match api.get_opt(name).await.map_err(TaskError::api("read an AgentConfig"))? {
                Some(config) => agent_configs.push(config.spec),
                None => known.facts.missing.push(MissingObject::AgentConfig(name.to_owned())),
            }
        }
        let secret_names = build::secret_names(&task.spec, workspace.as_ref(), &agent_configs);
        self.wakes.look_for(&name, secret_names.iter().map(|name| Awaited::secret(namespace, name)));
        let api: Api<Secret> = Api::namespaced(self.context.client.clone(), namespace);
        let mut secrets = BTreeMap::new();
        for name in secret_names {
            match api.get_opt(&name).await.map_err(TaskError::api("read a Secret"))? {
                Some(secret) => {
                    secrets.insert(name, secret);
                }
                None => known.facts.missing.push(MissingObject::Secret(name)),
            }
        }
        if !known.facts.missing.is_empty() {
            return Ok(());
        }
        let minted = match self.minted(task, workspace.as_ref(), &secrets).await {
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
        let order = Order {
            task,
            workspace: workspace.as_ref(),
            agent_configs: &agent_configs,
            dependencies: &usable,
            secrets: &secrets,
            minted: minted.as_ref(),
        };
        match build::build(&order, &self.settings.machine) {
            Ok(plan) => {
                known.plan = Some(plan);
                self.ask_for_start(candidate(task, workspace.as_ref()), known);
            }
            Err(build::Obstacle::Missing(object)) => known.facts.missing.push(object),
            Err(build::Obstacle::Refused(refusal)) => known.facts.refused = Some(refusal),
        }
        Ok(())
    }

    /// Returns the token of the GitHub App of the Workspace, when it has one.
    async fn minted(
        &self,
        task: &Task,
        workspace: Option<&WorkspaceSpec>,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Option<crate::secret::Secret>, AppError> {
        let Some(workspace) = workspace else { return Ok(None) };
        let secret = workspace.secret_ref.as_ref().and_then(|reference| secrets.get(&reference.name));
        let Some(secret) = secret else { return Ok(None) };
        let Some(order) = token::order(task, workspace, secret)? else { return Ok(None) };
        self.mint(&order).await.map(Some)
    }

    /// Asks for a start; who has no finalizer yet does not, because a Task that goes before it is looked at again would
    /// hold its place.
    fn ask_for_start(&self, candidate: Candidate, known: &mut Known) {
        if known.facts.phase == Some(TaskPhase::Pending) {
            self.wakes.adopt(candidate);
        } else if known.facts.has_finalizer {
            match self.wakes.ask(candidate) {
                Err(Obstacle::Branch(holder)) => known.facts.branch_held_by = Some(holder),
                Err(Obstacle::Slots) => known.facts.slot_free = false,
                Ok(()) => {}
            }
        }
    }

    /// Returns a Task of the same namespace from the cache.
    pub(super) fn task(&self, near: &Task, name: &str) -> Option<Arc<Task>> {
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

/// Returns the Task as the queue before the slots knows it.
pub(super) fn candidate(task: &Task, workspace: Option<&WorkspaceSpec>) -> Candidate {
    let branch = workspace.zip(task.spec.branch.as_ref()).map(|(workspace, branch)| BranchKey {
        namespace: task.namespace().unwrap_or_default(),
        // One that cannot be read cannot be cloned either.
        repository: RemoteUrl::parse(&workspace.repo)
            .map_or_else(|_| workspace.repo.clone(), |url| url.identity()),
        branch: branch.clone(),
    });
    Candidate {
        uid: task.uid().unwrap_or_default(),
        task: name_of(task),
        spawner: task.labels().get(labels::TASK_SPAWNER).cloned(),
        created: task.creation_timestamp().map_or(jiff::Timestamp::MIN, |time| time.0),
        branch,
    }
}
