//! Marks what is on the remote: the records, and the ConfigRepository.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::api::condition::{self, ConditionType, Observation, Reason};
use crate::api::config_repository::ConfigRepository;
use crate::api::labels;
use crate::api::run_record::RunRecord;
use crate::controllers::context::Context;
use crate::controllers::objects;
use crate::controllers::report::ReportError;
use crate::controllers::report::gather::Gathered;
use crate::ledger::line::LedgerLine;
use crate::ledger::writer::Written;

/// How often is tried to write a status that somebody else writes at the same time.
const ATTEMPTS: u32 = 8;

/// Marks the records whose lines are on the remote, and tells where the report is.
pub(super) async fn reported(
    context: &Context,
    repository: &ConfigRepository,
    gathered: &Gathered,
    written: &Written,
) -> Result<(), ReportError> {
    let namespace = repository.namespace().unwrap_or_default();
    let records: Api<RunRecord> = Api::namespaced(context.client.clone(), &namespace);
    let head = written.head.to_string();
    let now = context.clock.now();
    let confirmed: HashSet<&str> = written.confirmed.iter().map(String::as_str).collect();
    let is_news = |line: &&LedgerLine| {
        confirmed.contains(line.task_uid.as_str()) && !gathered.reported.contains(&line.task_uid)
    };
    for line in gathered.lines.iter().filter(is_news) {
        let patch = json!({"status": {"reportedCommit": head, "reportedTime": Time(now)}});
        let patched = records.patch_status(&line.task_uid, &parameters(), &Patch::Merge(&patch)).await;
        match patched {
            Ok(_) => {}
            // Records are kept for a time and no longer.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(ReportError::api("mark a RunRecord")(error)),
        }
    }
    let message = format!("the report is on the remote as {}", head.get(..12).unwrap_or_default());
    let observation = Observation::new(ConditionType::Reported, true, Reason::ReportPushed, message);
    tell(context, repository, observation, Some(&head)).await
}

/// Tells why the report is not on the remote.
pub(super) async fn failed(
    context: &Context,
    repository: &ConfigRepository,
    gathered: &Gathered,
    fault: &str,
) -> Result<(), ReportError> {
    tracing::warn!(
        repository = repository.name_any(),
        error = fault,
        "Report is not on the remote and is tried again"
    );
    let waiting = match gathered.waiting {
        0 => String::new(),
        1 => "; the line of 1 run waits for it and is kept".to_owned(),
        more => format!("; the lines of {more} runs wait for it and are kept"),
    };
    let message = format!("the report could not be pushed and is tried again{waiting}: {fault}");
    let observation = Observation::new(ConditionType::Reported, false, Reason::ReportFailed, message);
    tell(context, repository, observation, None).await
}

/// Tells that nothing is reported, where something was.
pub(super) async fn switched_off(
    context: &Context,
    repository: &ConfigRepository,
) -> Result<(), ReportError> {
    let conditions =
        repository.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let known = condition::find(conditions, ConditionType::Reported);
    if known.is_none_or(|known| known.reason == Reason::ReportDisabled.as_str()) {
        return Ok(());
    }
    let message = "spec.report is absent or switched off";
    let observation = Observation::new(ConditionType::Reported, false, Reason::ReportDisabled, message);
    tell(context, repository, observation, None).await
}

/// Tells in the status how the report went. The pass writes the same status: whoever is slower reads it again.
async fn tell(
    context: &Context,
    repository: &ConfigRepository,
    observation: Observation,
    head: Option<&str>,
) -> Result<(), ReportError> {
    let namespace = repository.namespace().unwrap_or_default();
    let api: Api<ConfigRepository> = Api::namespaced(context.client.clone(), &namespace);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let current = api.get_opt(&repository.name_any()).await;
        let current = current.map_err(ReportError::api("read the ConfigRepository"))?;
        let Some(current) = current.filter(|current| current.uid() == repository.uid()) else {
            return Ok(());
        };
        let now = context.clock.now();
        let generation = current.metadata.generation;
        let mut status = current.status.clone().unwrap_or_default();
        condition::set(&mut status.conditions, observation.clone(), generation, now);
        if let Some(head) = head
            && status.last_report_commit.as_deref() != Some(head)
        {
            status.last_report_commit = Some(head.to_owned());
            status.last_report_time = Some(Time(now));
        }
        match objects::store_status(&context.client, &current, &status).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {}
            stored => return stored.map(drop).map_err(ReportError::api("write the status")),
        }
    }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()), ..PatchParams::default() }
}
