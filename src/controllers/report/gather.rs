//! Gathers what is reported: the state of a ConfigRepository, its spawners and Tasks, and the runs not yet written.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::api::condition::{ConditionType, find};
use crate::api::config_repository::{BranchRotation, ConfigRepository, ReportSpec};
use crate::api::labels;
use crate::api::run_record::RunRecord;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;
use crate::controllers::context::Context;
use crate::controllers::objects;
use crate::controllers::report::ReportError;
use crate::controllers::report::assignment::Assignment;
use crate::digest;
use crate::domain::history::histories;
use crate::ledger::line::LedgerLine;
use crate::ledger::report::{
    FindingRow, Findings, HistoryRows, RECENT_RUNS, ReportInput, Rows, SpawnerRow, Status, TaskRow,
    WriterName,
};
use crate::validate::finding::{FindingCode, Severity};

/// Most lines of one write: after a long absence of the remote they go in several, each of bounded size.
const LINES: usize = 5_000;

/// What is reported at one time.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The state, and the last runs.
    pub(super) input: ReportInput,
    /// The lines that the remote is to have: of runs of which it is not known to have them, and of the last ones, by
    /// which is seen that somebody took lines away.
    pub(super) lines: Vec<LedgerLine>,
    /// Uids of those among them whose records say that the remote has them.
    pub(super) reported: HashSet<String>,
    /// How many runs wait for their lines, those that do not go in this write included.
    pub(super) waiting: usize,
}

impl Gathered {
    /// Returns a digest of what is said, for seeing that nothing changed.
    pub(super) fn digest(&self, report: &ReportSpec) -> String {
        let recent: Vec<&str> = self.input.recent.iter().map(|line| line.task_uid.as_str()).collect();
        let said = (&self.input.writer, report, &self.input.status, recent);
        digest::sha256_hex(serde_json::to_vec(&said).unwrap_or_default())
    }
}

/// Gathers what is to be reported as `writer`; `None` when the object is gone.
///
/// `restore` asks for the lines of all runs that are on record.
pub(super) async fn gather(
    context: &Context,
    repository: &ConfigRepository,
    report: &ReportSpec,
    writer: WriterName,
    restore: bool,
) -> Result<Option<Gathered>, ReportError> {
    let namespace = repository.namespace().unwrap_or_default();
    let client = &context.client;
    let repositories: Api<ConfigRepository> = Api::namespaced(client.clone(), &namespace);
    let repositories = repositories
        .list(&ListParams::default())
        .await
        .map_err(ReportError::api("list the ConfigRepositories"))?;
    let Some(current) = repositories.items.iter().find(|other| other.uid() == repository.uid()) else {
        return Ok(None);
    };
    let assignment = Assignment::of(&repositories.items);
    let uid = current.uid().unwrap_or_default();
    let is_ours = |defined_by: Option<&str>| assignment.reporter(defined_by) == Some(uid.as_str());
    let mut records = Vec::new();
    let every_record: Api<RunRecord> = Api::namespaced(client.clone(), &namespace);
    let listed = objects::for_each(&every_record, |mut record| {
        if is_ours(record.spec.config_repository_uid.as_deref()) {
            record.metadata.managed_fields = None;
            records.push(record);
        }
    });
    listed.await.map_err(ReportError::api("list the RunRecords"))?;
    records.sort_by(|left, right| right.spec.completion_time.cmp(&left.spec.completion_time));
    let (mut spawners, mut tasks) = (Vec::new(), Vec::new());
    let owner_of = |labels: &BTreeMap<String, String>| labels.get(labels::OWNER_UID).cloned();
    let every_spawner: Api<TaskSpawner> = Api::namespaced(client.clone(), &namespace);
    let listed = objects::for_each(&every_spawner, |spawner| {
        if is_ours(owner_of(spawner.labels()).as_deref()) {
            spawners.push(spawner_row(&spawner));
        }
    });
    listed.await.map_err(ReportError::api("list the TaskSpawners"))?;
    let every_task: Api<Task> = Api::namespaced(client.clone(), &namespace);
    let listed = objects::for_each(&every_task, |task| {
        let owner = owner_of(task.labels()).or_else(|| owner_of(task.annotations()));
        if is_ours(owner.as_deref()) && !task.has_ended() {
            tasks.push(task_row(&task));
        }
    });
    listed.await.map_err(ReportError::api("list the Tasks"))?;
    let now = context.clock.now();
    let mut status = status_of(current, spawners, tasks);
    status.history =
        HistoryRows::of(histories(records.iter().map(|record| line_of(record).closed().ended_run())));
    if report.rotation == BranchRotation::Yearly {
        status.earlier_years = Some(format!("{}-YYYY", report.branch));
    }
    let lines = lines(&records, report, now, restore);
    let input = ReportInput {
        writer,
        generation: 0,
        time: now,
        status,
        recent: records.iter().take(RECENT_RUNS).map(line_of).collect(),
        retention_days: report.retention_days.and_then(|days| u32::try_from(days).ok()),
    };
    Ok(Some(Gathered {
        input,
        lines,
        reported: records
            .iter()
            .filter(|record| is_reported(record))
            .map(|record| record.spec.task_uid.clone())
            .collect(),
        waiting: records.iter().filter(|record| !is_reported(record)).count(),
    }))
}

fn is_reported(record: &RunRecord) -> bool {
    record.status.as_ref().is_some_and(|status| status.reported_commit.is_some())
}

/// Returns the lines for one write of `records`, the newest of which comes first.
fn lines(records: &[RunRecord], report: &ReportSpec, now: Timestamp, restore: bool) -> Vec<LedgerLine> {
    let year = |time: Timestamp| time.to_zoned(TimeZone::UTC).year();
    // What the retention removes again, and the branch of another year, are not looked at for their own sake.
    let is_kept = |record: &RunRecord| {
        let ended = record.spec.completion_time.0;
        let age = now.duration_since(ended).as_hours() / 24;
        report.retention_days.is_none_or(|days| age < i64::from(days))
            && (restore || report.rotation == BranchRotation::Never || year(ended) == year(now))
    };
    let waiting: Vec<&RunRecord> =
        records.iter().rev().filter(|record| !is_reported(record)).take(LINES).collect();
    let checked = if restore { usize::MAX } else { RECENT_RUNS };
    let checked = records.iter().take(checked).filter(|record| is_reported(record) && is_kept(record));
    waiting.into_iter().chain(checked).map(line_of).collect()
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
        history: HistoryRows::default(),
        earlier_years: None,
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
        time_zone: spawner.spec.when.cron.as_ref().and_then(|cron| cron.time_zone.clone()),
        next: status.next_schedule_time.map(|time| time.0),
        state: status.phase.map_or("Unknown", |phase| phase.as_str()).to_owned(),
        active: count(status.active_tasks),
        created: count(status.total_tasks_created),
        skipped: count(status.total_ticks_skipped),
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
