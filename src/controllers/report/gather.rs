//! Gathers what is reported: the state of a ConfigRepository, its spawners and Tasks, and the runs not yet written.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::api::condition::{ConditionType, find};
use crate::api::config_repository::ConfigRepository;
use crate::api::labels;
use crate::api::phase::TaskPhase;
use crate::api::run_record::RunRecord;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;
use crate::controllers::context::Context;
use crate::controllers::objects;
use crate::controllers::report::ReportError;
use crate::digest;
use crate::ledger::line::LedgerLine;
use crate::ledger::report::{
    FindingRow, Findings, RECENT_RUNS, ReportInput, Rows, SpawnerRow, Status, TaskRow, WriterName,
};
use crate::validate::finding::{FindingCode, Severity};

/// What is reported at one time.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The state, and the last runs.
    pub(super) input: ReportInput,
    /// Runs whose line is not known to be on the remote.
    pub(super) lines: Vec<LedgerLine>,
}

impl Gathered {
    /// Returns a digest of the state, for seeing that nothing changed.
    pub(super) fn digest(&self) -> String {
        let recent: Vec<&str> = self.input.recent.iter().map(|line| line.task_uid.as_str()).collect();
        digest::sha256_hex(serde_json::to_vec(&(&self.input.status, recent)).unwrap_or_default())
    }
}

/// Gathers what is to be reported; `None` when the object is gone.
pub(super) async fn gather(
    context: &Context,
    repository: &ConfigRepository,
) -> Result<Option<Gathered>, ReportError> {
    let namespace = repository.namespace().unwrap_or_default();
    let client = &context.client;
    let everything = ListParams::default();
    let repositories: Api<ConfigRepository> = Api::namespaced(client.clone(), &namespace);
    let repositories =
        repositories.list(&everything).await.map_err(ReportError::api("list the ConfigRepositories"))?;
    let Some(current) = repositories.items.iter().find(|other| other.uid() == repository.uid()) else {
        return Ok(None);
    };
    let records: Api<RunRecord> = Api::namespaced(client.clone(), &namespace);
    let mut records = records.list(&everything).await.map_err(ReportError::api("list the RunRecords"))?.items;
    let takes_strays = is_first(current, &repositories.items);
    let uid = current.uid().unwrap_or_default();
    records.retain(|record| match &record.spec.config_repository_uid {
        Some(owner) => *owner == uid,
        None => takes_strays,
    });
    records.sort_by(|left, right| right.spec.completion_time.cmp(&left.spec.completion_time));
    let recent = records.iter().take(RECENT_RUNS).map(line_of).collect();
    let unreported =
        |record: &&RunRecord| record.status.as_ref().is_none_or(|status| status.reported_commit.is_none());
    let lines = records.iter().filter(unreported).map(line_of).collect();
    let is_ours = |owner: Option<&String>| owner.map_or(takes_strays, |owner| *owner == uid);
    let (mut spawners, mut tasks) = (Vec::new(), Vec::new());
    let every_spawner: Api<TaskSpawner> = Api::namespaced(client.clone(), &namespace);
    let listed = objects::for_each(&every_spawner, |spawner| {
        if is_ours(spawner.labels().get(labels::OWNER_UID)) {
            spawners.push(spawner_row(&spawner));
        }
    });
    listed.await.map_err(ReportError::api("list the TaskSpawners"))?;
    let every_task: Api<Task> = Api::namespaced(client.clone(), &namespace);
    let listed = objects::for_each(&every_task, |task| {
        let owner =
            task.labels().get(labels::OWNER_UID).or_else(|| task.annotations().get(labels::OWNER_UID));
        let ended = task.status.as_ref().and_then(|status| status.phase).is_some_and(TaskPhase::is_terminal);
        if is_ours(owner) && !ended {
            tasks.push(task_row(&task));
        }
    });
    listed.await.map_err(ReportError::api("list the Tasks"))?;
    let writer = current.spec.report().and_then(|report| report.writer.as_deref());
    let writer = match writer {
        Some(name) => WriterName::parse(name),
        None => WriterName::of_object(&namespace, &current.name_any()),
    };
    let Ok(writer) = writer else {
        tracing::warn!(
            repository = current.name_any(),
            "Report has no usable writer name and is not written"
        );
        return Ok(None);
    };
    let status = status_of(current, spawners, tasks);
    let input = ReportInput {
        writer,
        generation: 0,
        time: context.clock.now(),
        status,
        recent,
        retention_days: None,
    };
    Ok(Some(Gathered { input, lines }))
}

/// Returns whether this ConfigRepository also reports what no ConfigRepository defined: the oldest of its namespace does.
fn is_first(repository: &ConfigRepository, all: &[ConfigRepository]) -> bool {
    let age = |repository: &ConfigRepository| {
        (repository.creation_timestamp().map(|time| time.0), repository.name_any())
    };
    all.iter()
        .filter(|other| other.spec.report().is_some())
        .min_by_key(|other| age(other))
        .map(kube::ResourceExt::uid)
        == Some(repository.uid())
}

fn status_of(repository: &ConfigRepository, spawners: Vec<SpawnerRow>, tasks: Vec<TaskRow>) -> Status {
    let status = repository.status.clone().unwrap_or_default();
    let ready = find(&status.conditions, ConditionType::Ready);
    let spec = &repository.spec;
    let reference = spec.reference.as_ref();
    let reference = reference.and_then(|wanted| {
        let parts = [("branch", &wanted.branch), ("tag", &wanted.tag), ("commit", &wanted.commit)];
        parts.into_iter().find_map(|(word, name)| name.as_ref().map(|name| format!("{word} {name}")))
    });
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    Status {
        namespace: repository.namespace().unwrap_or_default(),
        name: repository.name_any(),
        url: spec.url.clone(),
        reference: reference.unwrap_or_else(|| "default branch".to_owned()),
        state: match (spec.suspend, ready) {
            (true, _) => "Suspended".to_owned(),
            (false, Some(ready)) if ready.status == crate::api::condition::ConditionStatus::True => {
                "Ready".to_owned()
            }
            (false, Some(_)) => "NotReady".to_owned(),
            (false, None) => "Unknown".to_owned(),
        },
        reason: ready.map(|ready| ready.reason.clone()),
        message: ready.map(|ready| ready.message.clone()),
        applied_revision: status.last_applied_revision,
        applied_time: status.last_applied_time.map(|time| time.0),
        attempted_revision: status.last_attempted_revision,
        objects: status
            .objects
            .iter()
            .map(|(kind, number)| (kind.clone(), count(*number)))
            .collect::<BTreeMap<_, _>>(),
        drifted: status.drift.map_or(0, |drift| count(drift.count)),
        removals_waiting: status.blocked_prune.map_or(0, |blocked| count(blocked.count)),
        findings: status.findings.map(findings_of).unwrap_or_default(),
        spawners: Rows::of(spawners),
        tasks: Rows::of(tasks),
        program: format!("kelos {}", env!("CARGO_PKG_VERSION")),
    }
}

fn findings_of(summary: crate::api::config_repository::FindingsSummary) -> Findings {
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    let row = |item: crate::api::config_repository::FindingSummary| FindingRow {
        // Codes of faults in YAML itself are not among these, and are errors all.
        severity: item.code.parse().map_or(Severity::Error, FindingCode::severity).as_str().to_owned(),
        code: item.code,
        file: item.file,
        line: item.line.map(count),
        column: item.column.map(count),
        message: item.message,
        hint: None,
    };
    Findings {
        total: count(summary.total),
        errors: count(summary.errors),
        items: summary.items.into_iter().map(row).collect(),
    }
}

fn spawner_row(spawner: &TaskSpawner) -> SpawnerRow {
    let status = spawner.status.clone().unwrap_or_default();
    let count =
        |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
    SpawnerRow {
        name: spawner.name_any(),
        source: spawner.spec.when.source().map_or("none", |source| source.as_str()).to_owned(),
        schedule: spawner.spec.when.cron.as_ref().map(|cron| cron.schedule.clone()),
        next: status.next_schedule_time.map(|time| time.0),
        state: status.phase.map_or("Unknown", |phase| phase.as_str()).to_owned(),
        active: count(status.active_tasks),
        created: count(status.total_tasks_created),
    }
}

fn task_row(task: &Task) -> TaskRow {
    let status = task.status.clone().unwrap_or_default();
    TaskRow {
        name: task.name_any(),
        uid: task.uid().unwrap_or_default(),
        spawner: task.labels().get(labels::TASK_SPAWNER).cloned(),
        agent: task.spec.agent.as_str().to_owned(),
        phase: status.phase.map_or("Pending", |phase| phase.as_str()).to_owned(),
        reason: status.reason,
        since: status.start_time.map(|time| time.0),
    }
}

fn line_of(record: &RunRecord) -> LedgerLine {
    let spec = &record.spec;
    let mut line = LedgerLine::new(
        spec.task_uid.clone(),
        spec.task_name.clone(),
        spec.agent_type.as_str(),
        spec.outcome.as_str(),
        spec.completion_time.0,
    );
    line.spawner.clone_from(&spec.spawner);
    line.work_item.clone_from(&spec.work_item);
    line.scheduled_at = spec.scheduled_at.as_ref().map(|time| time.0);
    line.effect = spec.effect.map(|effect| effect.as_str().to_owned());
    line.reason.clone_from(&spec.reason);
    line.start_time = spec.start_time.as_ref().map(|time| time.0);
    line.duration_seconds = spec.duration_seconds;
    line.model.clone_from(&spec.model);
    line.workspace.clone_from(&spec.workspace);
    line.spec_digest.clone_from(&spec.spec_digest);
    line.prompt_digest.clone_from(&spec.prompt_digest);
    line.source_revision.clone_from(&spec.source_revision);
    line.source_file.clone_from(&spec.source_file);
    line.source_line = spec.source_line;
    if let Some(usage) = &spec.usage {
        line.cost_usd = usage.cost_usd.as_ref().map(|cost| cost.0.clone());
        line.input_tokens = usage.input_tokens;
        line.output_tokens = usage.output_tokens;
    }
    line
}
