//! Writes the status of a ConfigRepository: the only place that does.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::api::condition::{self, ConditionType, Observation, Reason};
use crate::api::config_repository::{
    BlockedPrune, ConfigRepository, ConfigRepositoryStatus, DriftSummary, DriftedObject, FindingSummary,
    FindingsSummary, InventorySummary, MAX_LISTED_DRIFT, MAX_LISTED_FINDINGS,
};
use crate::api::labels;
use crate::domain::plan::{Action, ApplyReason, Desired, Notice, ObjectKey, Plan};
use crate::gitops::apply::Failure;
use crate::gitops::evaluate::Evaluation;
use crate::gitops::finding::{LocatedFinding, Severity};

/// How many objects a message names.
const NAMED: usize = 5;

/// The state of a ConfigRepository that is being told.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) status: ConfigRepositoryStatus,
    generation: Option<i64>,
    now: Timestamp,
}

impl Draft {
    /// Begins with what is stored.
    pub(super) fn of(repository: &ConfigRepository, now: Timestamp) -> Self {
        let mut status = repository.status.clone().unwrap_or_default();
        status.observed_generation = repository.metadata.generation;
        let requested = repository.annotations().get(labels::RECONCILE_REQUESTED_AT);
        status.last_handled_reconcile_at = requested.cloned().or(status.last_handled_reconcile_at);
        Self { status, generation: repository.metadata.generation, now }
    }

    /// Returns whether the status says that all of the revision is applied and nothing stands against it.
    pub(super) fn says_applied(&self, revision: &str) -> bool {
        let status = &self.status;
        let revision = Some(revision);
        condition::find(&status.conditions, ConditionType::Ready).is_some_and(|ready| {
            ready.reason == Reason::Applied.as_str() && ready.observed_generation == self.generation
        }) && status.last_applied_revision.as_deref() == revision
            && status.last_attempted_revision.as_deref() == revision
    }

    /// Takes over what the report says of itself: it is told in the same status by somebody else.
    pub(super) fn take_report_from(&mut self, current: Option<&ConfigRepositoryStatus>) {
        let Some(current) = current else { return };
        let status = &mut self.status;
        status.last_report_commit.clone_from(&current.last_report_commit);
        status.last_report_time.clone_from(&current.last_report_time);
        condition::remove(&mut status.conditions, ConditionType::Reported);
        status.conditions.extend(condition::find(&current.conditions, ConditionType::Reported).cloned());
    }

    /// All of the revision is applied.
    pub(super) fn applied(&mut self, revision: &str, evaluation: &Evaluation) {
        let message = format!("{} objects of {} are applied", evaluation.desired.len(), short(revision));
        if self.status.last_applied_revision.as_deref() != Some(revision) {
            self.status.last_applied_revision = Some(revision.to_owned());
            self.status.last_applied_time = Some(Time(self.now));
        }
        self.attempted(revision, evaluation);
        let mut objects = BTreeMap::new();
        for desired in &evaluation.desired {
            *objects.entry(desired.key.kind.as_str().to_owned()).or_insert(0) += 1;
        }
        self.status.objects = objects;
        self.status.inventory = Some(InventorySummary {
            count: evaluation.desired.len().try_into().unwrap_or(i64::MAX),
            digest: evaluation.inventory_digest().to_owned(),
        });
        self.settle(ConditionType::Ready, true, Reason::Applied, &message);
        self.settle(ConditionType::Reconciling, false, Reason::Applied, "nothing is under way");
        condition::remove(&mut self.status.conditions, ConditionType::Stalled);
    }

    /// The revision has findings; what was applied before stays.
    pub(super) fn invalid(&mut self, revision: &str, evaluation: &Evaluation) {
        self.attempted(revision, evaluation);
        let first = evaluation.findings.iter().find(|finding| finding.severity == Severity::Error);
        let first =
            first.map_or_else(String::new, |finding| format!(": {}: {}", finding.place(), finding.message));
        let more = evaluation.errors().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let message = format!("{} is not applied{first}{more}", short(revision));
        self.stalled(Reason::FindingsPresent, &message);
    }

    /// The server would not take objects of the revision; nothing was written.
    pub(super) fn refused(&mut self, revision: &str, evaluation: &Evaluation, failures: &[Failure]) {
        self.attempted(revision, evaluation);
        let message = format!("{} is not applied, the server refuses {}", short(revision), named(failures));
        self.stalled(Reason::DryRunRefused, &message);
    }

    /// The server did not answer what has to be asked before anything is written.
    pub(super) fn unanswered(&mut self, revision: &str, evaluation: &Evaluation, fault: &str) {
        self.attempted(revision, evaluation);
        let message = format!("{} is not applied yet, the server did not answer: {fault}", short(revision));
        self.retrying(Reason::ProgressingWithRetry, &message);
    }

    /// Some objects could not be written.
    pub(super) fn partially_applied(
        &mut self,
        revision: &str,
        evaluation: &Evaluation,
        failures: &[Failure],
    ) {
        self.attempted(revision, evaluation);
        let message = format!("{} is applied in part, not {}", short(revision), named(failures));
        self.retrying(Reason::PartiallyApplied, &message);
    }

    /// Something has to pass before the revision is through; it is not a fault.
    pub(super) fn waiting(&mut self, revision: &str, evaluation: &Evaluation, message: &str) {
        self.attempted(revision, evaluation);
        self.settle(ConditionType::Ready, false, Reason::Progressing, message);
        self.settle(ConditionType::Reconciling, true, Reason::Progressing, message);
        condition::remove(&mut self.status.conditions, ConditionType::Stalled);
    }

    /// Objects belong to another ConfigRepository.
    pub(super) fn conflict(&mut self, revision: &str, evaluation: &Evaluation, message: &str) {
        self.attempted(revision, evaluation);
        self.stalled(Reason::OwnershipConflict, message);
    }

    /// Nothing changes until somebody changes something.
    pub(super) fn stalled(&mut self, reason: Reason, message: &str) {
        self.settle(ConditionType::Ready, false, reason, message);
        self.settle(ConditionType::Stalled, true, reason, message);
        self.settle(ConditionType::Reconciling, false, reason, "nothing is under way");
    }

    /// It failed and is tried again.
    pub(super) fn retrying(&mut self, reason: Reason, message: &str) {
        self.settle(ConditionType::Ready, false, reason, message);
        self.settle(ConditionType::Reconciling, true, Reason::ProgressingWithRetry, message);
        condition::remove(&mut self.status.conditions, ConditionType::Stalled);
    }

    /// Somebody suspended it.
    pub(super) fn suspended(&mut self) {
        let message = "suspended by spec.suspend; what is applied stays";
        self.settle(ConditionType::Reconciling, false, Reason::Suspended, message);
        condition::remove(&mut self.status.conditions, ConditionType::Stalled);
    }

    /// Tells what on the cluster differs from git, and which removals wait.
    pub(super) fn differences(
        &mut self,
        revision: &str,
        plan: &Plan,
        desired: &[Arc<Desired>],
        owned: usize,
    ) {
        let drifted = drifted(plan, desired);
        if drifted.is_empty() {
            self.settle(ConditionType::Drifted, false, Reason::InSync, "the live objects are as git says");
            self.status.drift = None;
        } else {
            let named: Vec<String> =
                drifted.iter().take(NAMED).map(|object| format!("{}/{}", object.kind, object.name)).collect();
            let message =
                format!("{} objects were changed on the cluster: {}", drifted.len(), named.join(", "));
            self.settle(ConditionType::Drifted, true, Reason::DriftDetected, &message);
            self.status.drift = Some(DriftSummary {
                count: drifted.len().try_into().unwrap_or(i64::MAX),
                objects: drifted.into_iter().take(MAX_LISTED_DRIFT).collect(),
            });
        }
        if plan.held_prunes.is_empty() {
            self.status.blocked_prune = None;
            condition::remove(&mut self.status.conditions, ConditionType::PruneBlocked);
        } else {
            let count = plan.held_prunes.len();
            let message = format!(
                "{count} of {owned} objects left the repository; confirm their removal with \
                 'kelos reconcile configrepository NAME --confirm-prune', or bring them back"
            );
            self.settle(ConditionType::PruneBlocked, true, Reason::PruneLimitExceeded, &message);
            self.status.blocked_prune = Some(BlockedPrune {
                revision: revision.to_owned(),
                count: count.try_into().unwrap_or(i64::MAX),
                owned: owned.try_into().unwrap_or(i64::MAX),
            });
        }
    }

    fn attempted(&mut self, revision: &str, evaluation: &Evaluation) {
        self.status.last_attempted_revision = Some(revision.to_owned());
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.status.findings = (!evaluation.findings.is_empty()).then(|| FindingsSummary {
            total: count(evaluation.findings.len()),
            errors: count(evaluation.errors()),
            items: most_severe(&evaluation.findings)
                .take(MAX_LISTED_FINDINGS)
                .map(|finding| FindingSummary {
                    code: finding.code.clone(),
                    file: finding.file.clone(),
                    line: Some(count(finding.line)),
                    column: Some(count(finding.column)),
                    message: finding.message.clone(),
                })
                .collect(),
        });
    }

    fn settle(&mut self, kind: ConditionType, status: bool, reason: Reason, message: &str) {
        let observation = Observation::new(kind, status, reason, message);
        condition::set(&mut self.status.conditions, observation, self.generation, self.now);
    }
}

/// Stores which removals wait, ahead of the rest of the status, which tells of a pass that has ended.
pub(super) async fn store_blocked_prune(
    client: &kube::Client,
    repository: &ConfigRepository,
    draft: &Draft,
) -> Result<(), kube::Error> {
    let api: Api<ConfigRepository> =
        Api::namespaced(client.clone(), &repository.namespace().unwrap_or_default());
    let patch = json!({
        "metadata": {"uid": repository.uid()}, "status": {"blockedPrune": draft.status.blocked_prune},
    });
    let parameters =
        PatchParams { field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_status(&repository.name_any(), &parameters, &Patch::Merge(&patch)).await.map(drop)
}

/// Returns the errors and then the warnings: what keeps a revision from being applied is listed before what does not.
fn most_severe(findings: &[LocatedFinding]) -> impl Iterator<Item = &LocatedFinding> {
    let of = |severity: Severity| findings.iter().filter(move |finding| finding.severity == severity);
    of(Severity::Error).chain(of(Severity::Warning))
}

/// Returns what differs from git: what was changed on the cluster, and what was suspended by hand and stays so.
fn drifted(plan: &Plan, desired: &[Arc<Desired>]) -> Vec<DriftedObject> {
    let mut fields: BTreeMap<&ObjectKey, Vec<String>> = BTreeMap::new();
    for action in &plan.actions {
        if let Action::Apply { desired: index, reason: ApplyReason::Drifted(changed), .. } = action {
            fields.entry(&desired[*index].key).or_default().extend(changed.iter().take(NAMED).cloned());
        }
    }
    for notice in &plan.notices {
        if let Notice::SuspendedByHand(key) = notice {
            fields.entry(key).or_default().push("/spec/suspend".to_owned());
        }
    }
    let object = |(key, fields): (&ObjectKey, Vec<String>)| DriftedObject {
        kind: key.kind.as_str().to_owned(),
        name: key.name.clone(),
        fields,
    };
    fields.into_iter().map(object).collect()
}

/// Returns objects that failed, where they are defined and why, as far as a message has room.
pub(super) fn named(failures: &[Failure]) -> String {
    let named: Vec<String> = failures
        .iter()
        .take(NAMED)
        .map(|failure| {
            let place = if failure.file.is_empty() {
                String::new()
            } else {
                format!(" ({}:{})", failure.file, failure.line)
            };
            format!("{}{place}: {}", failure.key, failure.message)
        })
        .collect();
    let more = failures.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", named.join("; ")) } else { named.join("; ") }
}

/// Returns the first digits of a commit id, as people quote it.
pub(super) fn short(revision: &str) -> &str {
    revision.get(..12).unwrap_or(revision)
}
