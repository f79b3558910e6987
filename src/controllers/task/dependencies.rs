//! What has become of the Tasks that a Task depends on, those included that are gone and left a record.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::Api;

use crate::api::condition::Reason;
use crate::api::phase::TaskPhase;
use crate::api::run_record::{Departure, RunOutcome, RunRecord, RunRecordSpec};
use crate::api::task::{Task, TaskStatus};
use crate::controllers::task::build::Dependency;
use crate::controllers::task::wakes::name_of;
use crate::controllers::task::{Controlled, TaskError, record};
use crate::domain::graph::{self, DependencyState, Readiness};
use crate::domain::phase::Dependencies;

/// How old a Task must be before the record of an earlier run counts as its dependency: whoever applies a chain anew may
/// bring the dependent before the dependency.
const COMES_ANEW_WITHIN: SignedDuration = SignedDuration::from_secs(5);
/// How long a change of dependencies may go without a look for circles.
pub(super) const CIRCLES_EVERY: Duration = Duration::from_secs(1);

/// A dependency as it is now.
enum Seen {
    There(Dependency, DependencyState),
    MayComeAnew,
    Missing,
}

impl Controlled {
    /// Returns whether the dependencies of `task` let it start, and what it may use of them.
    pub(super) async fn dependencies(
        &self,
        task: &Task,
        now: Timestamp,
    ) -> Result<(Dependencies, Vec<Dependency>), TaskError> {
        let names = &task.spec.depends_on;
        if names.is_empty() {
            return Ok((Dependencies::Met, Vec::new()));
        }
        let own = task.name_any();
        if names.contains(&own) {
            return Ok((Dependencies::Cycle(vec![own.clone(), own]), Vec::new()));
        }
        if let Some(circle) = self.wakes.circle_of(&name_of(task)) {
            return Ok((Dependencies::Cycle(circle), Vec::new()));
        }
        let mut states: BTreeMap<&str, DependencyState> = BTreeMap::new();
        let mut usable = Vec::new();
        let mut may_come_anew = None;
        for name in names {
            let state = match self.dependency(task, name, now).await? {
                Seen::There(dependency, state) => {
                    usable.push(dependency);
                    state
                }
                Seen::MayComeAnew => {
                    may_come_anew.get_or_insert(name);
                    DependencyState::Missing
                }
                Seen::Missing => DependencyState::Missing,
            };
            states.insert(name, state);
        }
        let state = |name: &str| states.get(name).copied().unwrap_or(DependencyState::Missing);
        let dependencies = match graph::readiness(names.iter().map(String::as_str), state) {
            Readiness::Ready => Dependencies::Met,
            Readiness::Failed { dependency } => Dependencies::Failed(dependency),
            Readiness::Waiting { missing, unfinished } => match (missing.first(), unfinished.first()) {
                (Some(name), _) if Some(name) == may_come_anew => Dependencies::MayComeAnew(name.clone()),
                (Some(name), _) => Dependencies::Missing(name.clone()),
                (None, Some(name)) => Dependencies::Unfinished(name.clone()),
                (None, None) => Dependencies::Met,
            },
        };
        Ok((dependencies, usable))
    }

    async fn dependency(&self, near: &Task, name: &str, now: Timestamp) -> Result<Seen, TaskError> {
        let namespace = near.namespace().unwrap_or_default();
        let there = self.task(near, name);
        if let Some(task) = there.as_ref().filter(|task| !is_leaving(task)) {
            let status = task.status.clone().unwrap_or_default();
            let state = match status.phase {
                Some(TaskPhase::Succeeded) => DependencyState::Succeeded,
                Some(TaskPhase::Failed) => DependencyState::Failed,
                None | Some(TaskPhase::Waiting | TaskPhase::Pending | TaskPhase::Running) => {
                    DependencyState::Unfinished
                }
            };
            let TaskStatus { outputs, results, .. } = status;
            return Ok(Seen::There(Dependency { name: name.to_owned(), outputs, results }, state));
        }
        // What leaves counts by its own record, as it will when it is gone.
        let is_gone = there.is_none();
        let record = match there {
            Some(task) => task.metadata.uid.clone(),
            None => self.records.of(&namespace, name),
        };
        let Some(uid) = record else { return Ok(Seen::Missing) };
        let api: Api<RunRecord> = Api::namespaced(self.context.client.clone(), &namespace);
        let found = api.get_opt(&uid).await.map_err(TaskError::api("read the record of a dependency"))?;
        Ok(found.map_or(Seen::Missing, |found| by_record(near, name, found, is_gone, now)))
    }

    /// Looks for circles among the Tasks that have not ended, and wakes those in one. It costs a look at each Task, and
    /// is made no more often than [`CIRCLES_EVERY`].
    pub(super) fn find_circles(&self) {
        let all = self.tasks.state();
        let mut graphs: BTreeMap<&str, graph::Dependencies<'_>> = BTreeMap::new();
        for task in &all {
            let (Some(namespace), Some(name)) = (&task.metadata.namespace, &task.metadata.name) else {
                continue;
            };
            if !task.has_ended() && !task.spec.depends_on.is_empty() {
                let needs = task.spec.depends_on.iter().map(String::as_str).collect();
                graphs.entry(namespace).or_default().insert(name, needs);
            }
        }
        for (namespace, graph) in graphs {
            for circle in graph::cycles(&graph) {
                self.wakes.found_circle(namespace, &circle);
            }
        }
    }
}

/// Returns whether a Task had ended and goes: it makes room for another of its name, or for none. One whose run was
/// cancelled by its deletion has failed those that depend on it.
fn is_leaving(task: &Task) -> bool {
    let reason = task.status.as_ref().and_then(|status| status.reason.as_deref());
    task.metadata.deletion_timestamp.is_some() && reason != Some(Reason::Cancelled.as_str())
}

/// Decides what the record of a Task that is gone, or leaves, means for one that depends on it.
///
/// A Task that expired ended as its record says. One that somebody deleted is to be made again, and is waited for.
fn by_record(near: &Task, name: &str, found: RunRecord, is_gone: bool, now: Timestamp) -> Seen {
    let departure = found.status.as_ref().and_then(|status| status.departure);
    if found.spec.task_name != name || departure != Some(Departure::Expired) {
        return Seen::Missing;
    }
    let created = near.creation_timestamp().map_or(now, |time| time.0);
    let age = now.duration_since(created);
    let same_repository = found.spec.config_repository_uid.is_some()
        && found.spec.config_repository_uid == record::config_repository_of(near);
    // Creations are known to the second. A config repository brings dependencies first, so that what is not there will
    // not come.
    if is_gone
        && found.spec.completion_time.0.as_second() <= created.as_second()
        && !same_repository
        && (SignedDuration::ZERO..COMES_ANEW_WITHIN).contains(&age)
    {
        return Seen::MayComeAnew;
    }
    let state = if found.spec.outcome == RunOutcome::Succeeded {
        DependencyState::Succeeded
    } else {
        DependencyState::Failed
    };
    let RunRecordSpec { outputs, results, .. } = found.spec;
    Seen::There(Dependency { name: name.to_owned(), outputs, results }, state)
}
