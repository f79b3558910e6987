//! The RunRecord controller: removes records that are old and that nothing needs any more.
//!
//! What needs a record is asked of the API and of the config repositories; `domain::retention` decides.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use tokio_util::sync::CancellationToken;

use crate::api::config_repository::ConfigRepository;
use crate::api::run_record::RunRecord;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;
use crate::api::task_spawner::source::SourceKind;
use crate::controllers::context::Context;
use crate::controllers::objects;
use crate::controllers::report::assignment::Assignment;
use crate::domain::retention::{self, Needs};
use crate::gitops::wanted::WantedRuns;

/// How often is looked for records that may go.
const PERIOD: Duration = Duration::from_mins(10);

/// Most records that are removed in one go, so that a daemon that comes back after months stays answerable.
const MOST: usize = 5_000;

/// What kept the controller from looking.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempt}")]
pub(crate) struct RecordError {
    attempt: &'static str,
    #[source]
    source: Box<kube::Error>,
}

impl RecordError {
    fn api(attempt: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self { attempt, source: Box::new(source) }
    }
}

/// Runs the controller until `shutdown`.
///
/// # Errors
/// Never; the result is that of a supervised task.
pub async fn run(
    context: Context,
    wanted: Arc<WantedRuns>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        match sweep(&context, &wanted).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "Records of old runs were removed"),
            Err(error) => {
                let RecordError { attempt, source } = &error;
                tracing::warn!(attempt, error = %source, "Records could not be looked through");
            }
        }
    }
}

/// Removes the records that may go, and returns how many there were.
pub(crate) async fn sweep(context: &Context, wanted: &WantedRuns) -> Result<usize, RecordError> {
    let old = old_records(context).await?;
    if old.is_empty() {
        return Ok(0);
    }
    // Asked after the records: a Task that is recorded from now on has a record that is young.
    let needed = Needed::look(context, wanted).await?;
    let now = context.clock.now();
    let mut count = 0;
    for record in old.iter().filter(|record| retention::may_go(record, needed.by(record), now)) {
        let namespace = record.namespace().unwrap_or_default();
        let api: Api<RunRecord> = Api::namespaced(context.client.clone(), &namespace);
        let metadata = &record.metadata;
        let same =
            Preconditions { uid: metadata.uid.clone(), resource_version: metadata.resource_version.clone() };
        match api.delete(&record.name_any(), &DeleteParams::background().preconditions(same)).await {
            Ok(_) => count += 1,
            // Somebody changed or removed it meanwhile; it is looked at again next time.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(RecordError::api("remove a RunRecord")(error)),
        }
    }
    Ok(count)
}

async fn old_records(context: &Context) -> Result<Vec<RunRecord>, RecordError> {
    let records: Api<RunRecord> = Api::all(context.client.clone());
    let now = context.clock.now();
    let mut old = Vec::new();
    let take = |record: RunRecord| {
        if old.len() < MOST && retention::may_go(&record, Needs::default(), now) {
            old.push(record);
        }
    };
    objects::for_each(&records, take).await.map_err(RecordError::api("list the RunRecords"))?;
    Ok(old)
}

/// What is there that needs records.
struct Needed {
    /// Uids of Tasks.
    tasks: HashSet<String>,
    /// What Tasks depend on, by namespace and name: one that expired counts by its record.
    dependencies: HashSet<(String, String)>,
    /// Spawners whose items may match again, by namespace and name.
    spawners: HashSet<(String, String)>,
    /// By namespace.
    assignments: HashMap<String, Assignment>,
    /// Uids of all ConfigRepositories, and the run requests that stand in each; nothing where that is not known.
    requests: HashMap<String, Option<HashSet<(String, String)>>>,
}

impl Needed {
    async fn look(context: &Context, wanted: &WantedRuns) -> Result<Self, RecordError> {
        let everything = ListParams::default();
        let client = &context.client;
        let repositories = Api::<ConfigRepository>::all(client.clone()).list(&everything).await;
        let repositories = repositories.map_err(RecordError::api("list the ConfigRepositories"))?.items;
        let (mut tasks, mut dependencies) = (HashSet::new(), HashSet::new());
        let every_task: Api<Task> = Api::all(client.clone());
        let listed = objects::for_each(&every_task, |task| {
            let namespace = task.namespace().unwrap_or_default();
            dependencies.extend(task.spec.depends_on.iter().map(|name| (namespace.clone(), name.clone())));
            tasks.extend(task.uid());
        });
        listed.await.map_err(RecordError::api("list the Tasks"))?;
        let mut spawners = HashSet::new();
        let every_spawner: Api<TaskSpawner> = Api::all(client.clone());
        let listed = objects::for_each(&every_spawner, |spawner| {
            if spawner.spec.when.source() != Some(SourceKind::Cron) {
                spawners.insert((spawner.namespace().unwrap_or_default(), spawner.name_any()));
            }
        });
        listed.await.map_err(RecordError::api("list the TaskSpawners"))?;
        let mut by_namespace = HashMap::<String, Vec<&ConfigRepository>>::new();
        for repository in &repositories {
            by_namespace.entry(repository.namespace().unwrap_or_default()).or_default().push(repository);
        }
        let uids: Vec<String> = repositories.iter().filter_map(kube::ResourceExt::uid).collect();
        wanted.keep(|uid| uids.iter().any(|there| there == uid));
        Ok(Self {
            tasks,
            dependencies,
            spawners,
            assignments: by_namespace
                .into_iter()
                .map(|(namespace, repositories)| (namespace, Assignment::of(repositories)))
                .collect(),
            requests: uids.into_iter().map(|uid| (uid.clone(), wanted.of(&uid))).collect(),
        })
    }

    fn by(&self, record: &RunRecord) -> Needs {
        let spec = &record.spec;
        let namespace = record.namespace().unwrap_or_default();
        let is_reported = record.status.as_ref().is_some_and(|status| status.reported_commit.is_some());
        let owner = spec.config_repository_uid.as_deref();
        let reporter = self.assignments.get(&namespace).and_then(|assignment| assignment.reporter(owner));
        let request = |digest: &String| (spec.task_name.clone(), digest.clone());
        let stands = |requests: &Option<HashSet<(String, String)>>| {
            let request = spec.spec_digest.as_ref().map(request);
            request.is_some_and(|request| requests.as_ref().is_none_or(|all| all.contains(&request)))
        };
        Needs {
            task: self.tasks.contains(&spec.task_uid)
                || self.dependencies.contains(&(namespace.clone(), spec.task_name.clone())),
            ledger: !is_reported && reporter.is_some(),
            // A manifest may have moved to another repository: any that wants this very request counts.
            manifest: self.requests.values().any(stands),
            // A tick does not come again.
            item: spec.work_item.is_some()
                && spec.scheduled_at.is_none()
                && spec
                    .spawner
                    .as_ref()
                    .is_some_and(|name| self.spawners.contains(&(namespace, name.clone()))),
        }
    }
}
