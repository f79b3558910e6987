//! Writes the record of a Task that ended: what outlives it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::api::condition::Reason;
use crate::api::labels;
use crate::api::run_record::{Departure, RunRecord, RunRecordSpec, bounded_outputs, bounded_results};
use crate::api::task::Task;
use crate::digest;
use crate::domain::outcome;

/// Returns the record of a Task that ended; `None` when it did not.
///
/// A status that somebody else wrote may not say when it ended: then it is known at `now`.
pub(crate) fn record_of(task: &Task, now: Timestamp) -> Option<RunRecord> {
    let status = task.status.as_ref()?;
    let phase = status.phase.filter(|phase| phase.is_terminal())?;
    let completion_time = status.completion_time.clone().unwrap_or(Time(now));
    let annotation = |key: &str| task.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let label = |key: &str| task.metadata.labels.as_ref().and_then(|all| all.get(key)).cloned();
    let spawner_uid = task
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.kind == "TaskSpawner")
        .map(|owner| owner.uid.clone());
    let uid = task.metadata.uid.clone()?;
    let seconds = |start: &Time| completion_time.0.duration_since(start.0).as_secs().max(0);
    let spec = RunRecordSpec {
        task_name: task.metadata.name.clone()?,
        task_uid: uid.clone(),
        spawner: label(labels::TASK_SPAWNER),
        spawner_uid,
        config_repository_uid: config_repository_of(task),
        work_item: annotation(labels::WORK_ITEM),
        triggered_at: annotation(labels::TRIGGERED_AT),
        scheduled_at: annotation(labels::SCHEDULED_AT).and_then(|time| time.parse().ok()).map(Time),
        spec_digest: annotation(labels::SPEC_DIGEST),
        prompt_digest: annotation(labels::PROMPT_DIGEST)
            .or_else(|| Some(digest::sha256_hex(&task.spec.prompt))),
        source_revision: annotation(labels::CONFIG_REVISION),
        source_file: annotation(labels::CONFIG_FILE),
        source_line: annotation(labels::CONFIG_LINE).and_then(|line| line.parse().ok()),
        agent_type: task.spec.agent,
        agent_version: status.agent_version.clone(),
        model: task.spec.model.clone(),
        workspace: task.spec.workspace_ref.as_ref().map(|workspace| workspace.name.clone()),
        branch: status.results.get("branch").cloned().or_else(|| task.spec.branch.clone()),
        outcome: outcome::recorded(
            phase,
            status.reason.as_deref().and_then(|reason| reason.parse::<Reason>().ok()),
        ),
        effect: Some(outcome::effect(phase, &status.results)),
        reason: status.reason.clone(),
        duration_seconds: status.start_time.as_ref().map(seconds),
        start_time: status.start_time.clone(),
        completion_time,
        outputs: bounded_outputs(&status.outputs),
        results: bounded_results(&status.results),
        usage: status.usage.clone(),
    };
    let mut record = RunRecord::new(&uid, spec);
    record.metadata = ObjectMeta { namespace: task.metadata.namespace.clone(), ..record.metadata };
    Some(record)
}

/// Returns the uid of the ConfigRepository that defines the Task or its spawner.
pub(crate) fn config_repository_of(task: &Task) -> Option<String> {
    let labelled = task.metadata.labels.as_ref().and_then(|all| all.get(labels::OWNER_UID));
    let annotated = || task.metadata.annotations.as_ref().and_then(|all| all.get(labels::OWNER_UID));
    labelled.or_else(annotated).cloned()
}

/// Takes note of how the Task of a record leaves the API, unless that is known or there is no record.
///
/// # Errors
/// When the server does not answer or does not take it.
pub(crate) async fn note_departure(
    api: &Api<RunRecord>,
    task_uid: &str,
    departure: Departure,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let Some(record) = api.get_opt(task_uid).await? else { return Ok(()) };
    if record.status.is_some_and(|status| status.departure.is_some()) {
        return Ok(());
    }
    let patch = json!({"status": {"departure": departure, "departureTime": Time(now)}});
    let parameters =
        PatchParams { field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(task_uid, &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Stores the record; one that is there already stays as it is.
///
/// # Errors
/// When the server does not take it.
pub(crate) async fn store(api: &Api<RunRecord>, record: &RunRecord) -> Result<(), kube::Error> {
    let parameters =
        PostParams { dry_run: false, field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()) };
    match api.create(&parameters, record).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(error),
    }
}
