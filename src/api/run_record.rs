//! RunRecord: what is kept of a finished Task, and the outbox of the ledger.
//!
//! A record is named by the uid of its Task, its spec never changes, and it outlives the Task.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::closed_set::closed_set;
use crate::api::task::{AgentType, Usage};

/// Most results that a record keeps.
pub const MAX_RESULTS: usize = 32;

/// Longest key of a result in a record, in bytes.
pub const MAX_RESULT_KEY_BYTES: usize = 63;

/// Longest value of a result in a record, in bytes. Longer ones are cut. A Task's status keeps as much: whoever depends
/// on the Task finds the same in either.
pub const MAX_RESULT_VALUE_BYTES: usize = 4096;

/// Most lines of output that a record keeps, each cut like a result.
pub const MAX_OUTPUTS: usize = 64;

closed_set! {
    /// How a Task ended.
    pub enum RunOutcome {
        /// The agent ended well.
        Succeeded = "Succeeded",
        /// The agent ended badly.
        Failed = "Failed",
        /// The run could not be prepared, or its setup failed: the agent was never reached.
        NeverStarted = "NeverStarted",
        /// The run was lost with its process or machine.
        Interrupted = "Interrupted",
        /// The run took longer than allowed.
        DeadlineExceeded = "DeadlineExceeded",
        /// A dependency failed, so that nothing was run.
        DependencyFailed = "DependencyFailed",
        /// The run was cancelled.
        Cancelled = "Cancelled",
    }
}

closed_set! {
    /// Whether a run left something behind.
    pub enum RunEffect {
        /// It left commits, a branch or a pull request.
        WithEffect = "WithEffect",
        /// It ended well and left nothing.
        WithoutEffect = "WithoutEffect",
        /// Nobody can tell.
        Unknown = "Unknown",
    }
}

closed_set! {
    /// How a Task left the API after it ended.
    pub enum Departure {
        /// Its TTL passed.
        Expired = "Expired",
        /// It was deleted: by somebody, so that its item may run again, or because its definition left git or changed.
        Deleted = "Deleted",
    }
}

/// What is kept of a finished Task.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "gitops.kelos.dev",
    version = "v1alpha1",
    kind = "RunRecord",
    plural = "runrecords",
    shortname = "rr",
    namespaced,
    status = "RunRecordStatus",
    derive = "PartialEq",
    schema = "disabled",
    doc = "What is kept of a finished Task. Named by the uid of the Task.",
    printcolumn = r#"{"name":"Task","type":"string","jsonPath":".spec.taskName"}"#,
    printcolumn = r#"{"name":"Spawner","type":"string","jsonPath":".spec.spawner"}"#,
    printcolumn = r#"{"name":"Outcome","type":"string","jsonPath":".spec.outcome"}"#,
    printcolumn = r#"{"name":"Seconds","type":"integer","jsonPath":".spec.durationSeconds"}"#,
    printcolumn = r#"{"name":"Cost","type":"string","jsonPath":".spec.usage.costUSD","priority":1}"#,
    printcolumn = r#"{"name":"Reported","type":"string","jsonPath":".status.reportedCommit","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct RunRecordSpec {
    /// Name of the Task.
    #[schemars(length(min = 1, max = 253))]
    pub task_name: String,

    /// Uid of the Task, which is also the name of the record.
    #[schemars(length(min = 1, max = 63))]
    pub task_uid: String,

    /// TaskSpawner that created the Task. Unset: somebody else did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawner: Option<String>,

    /// Uid of that TaskSpawner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawner_uid: Option<String>,

    /// ConfigRepository that defines the Task or its spawner, by uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_repository_uid: Option<String>,

    /// Id of the work item that the Task answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_item: Option<String>,

    /// Trigger of that work item, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggered_at: Option<String>,

    /// Tick of the schedule that the Task answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Time>,

    /// SHA-256 of the spec of the Task or of its template, by which a run request is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_digest: Option<String>,

    /// SHA-256 of the prompt as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_digest: Option<String>,

    /// Commit of the config repository that defines the Task or its spawner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_revision: Option<String>,

    /// File of that commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_file: Option<String>,

    /// Line of that file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<i64>,

    /// Agent that ran.
    pub agent_type: AgentType,

    /// Version of the agent's program, as far as it said one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub agent_version: Option<String>,

    /// Model that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,

    /// Workspace that the agent worked in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,

    /// Branch that the agent worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,

    /// How the Task ended.
    pub outcome: RunOutcome,

    /// Whether the run left something behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<RunEffect>,

    /// One word for why it ended so, from the list of reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// When the run started. Unset: it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the Task ended.
    pub completion_time: Time,

    /// Seconds between the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,

    /// Lines that the agent reported, bounded in number and length; for Tasks that depend on this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,

    /// Values that the agent reported, bounded in number and length.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub results: BTreeMap<String, String>,

    /// What the run used, as far as the agent said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// What became of the record and its Task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunRecordStatus {
    /// Commit of the status branch that holds the line of this run. Unset: it is still to be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_commit: Option<String>,

    /// When that commit was on its remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_time: Option<Time>,

    /// How the Task left the API. Unset: it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departure: Option<Departure>,

    /// When it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departure_time: Option<Time>,
}

/// Returns the results that fit into a record: the first keys in order, each value cut between characters.
pub fn bounded_results(results: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fits = |(key, value): (&String, &String)| (key.clone(), cut(value));
    results.iter().filter(|(key, _)| key.len() <= MAX_RESULT_KEY_BYTES).take(MAX_RESULTS).map(fits).collect()
}

/// Returns the lines of output that fit into a record: the first ones, each cut between characters.
pub fn bounded_outputs(outputs: &[String]) -> Vec<String> {
    outputs.iter().take(MAX_OUTPUTS).map(|line| cut(line)).collect()
}

fn cut(value: &str) -> String {
    value.get(..value.floor_char_boundary(MAX_RESULT_VALUE_BYTES)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_a_record_are_bounded() {
        let many: BTreeMap<String, String> =
            (0..100).map(|number| (format!("key-{number:03}"), "é".repeat(3000))).collect();
        let kept = bounded_results(&many);
        assert_eq!(kept.len(), MAX_RESULTS);
        assert_eq!(kept["key-000"].len(), MAX_RESULT_VALUE_BYTES);
        let long = BTreeMap::from([("k".repeat(64), "v".to_owned())]);
        assert!(bounded_results(&long).is_empty());
        let lines = vec!["é".repeat(3000); 100];
        let kept = bounded_outputs(&lines);
        assert_eq!((kept.len(), kept[0].len()), (MAX_OUTPUTS, MAX_RESULT_VALUE_BYTES));
    }
}
