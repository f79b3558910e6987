//! ConfigRepository: a git repository whose definitions are applied, and how that goes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::closed_set::closed_set;
use crate::api::condition::Condition;
use crate::api::reference::SecretReference;

/// Most findings that the status lists; the counts beside them are complete.
pub const MAX_LISTED_FINDINGS: usize = 20;

/// Most drifted objects that the status lists; the count beside them is complete.
pub const MAX_LISTED_DRIFT: usize = 20;

/// Name in `allowedSecrets` that stands for every Secret.
pub const ANY_SECRET: &str = "*";

/// Durations that can be read: with so many digits none is longer than [`duration::parse`](crate::api::duration::parse)
/// takes, however many parts it has.
const DURATION: &str = r"^([0-9]{1,9}(ms|s)|[0-9]{1,7}m|[0-9]{1,5}h)+$";

/// Which repository is applied to the namespace of this object, how often, and what is reported back.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "gitops.kelos.dev",
    version = "v1alpha1",
    kind = "ConfigRepository",
    plural = "configrepositories",
    shortname = "cfg",
    namespaced,
    status = "ConfigRepositoryStatus",
    derive = "PartialEq",
    schema = "disabled",
    doc = "A git repository whose definitions are applied to the namespace of this object.",
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".spec.url"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".status.lastAppliedRevision"}"#,
    printcolumn = r#"{"name":"Findings","type":"integer","jsonPath":".status.findings.total"}"#,
    printcolumn = r#"{"name":"Suspend","type":"boolean","jsonPath":".spec.suspend","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct ConfigRepositorySpec {
    /// URL of the repository: `https://`, `ssh://`, `git@HOST:PATH`, `http://` without credentials, `file://` or an
    /// absolute path.
    #[schemars(
        length(min = 1, max = 2048),
        regex(
            pattern = r"^((https?|ssh|git|file)://[^\s]+|[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9_.-]+:[^\s]+|/.*)$"
        )
    )]
    pub url: String,

    /// What is read from it. Unset: the default branch.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<GitReference>,

    /// Folder that holds the definitions, from the root of the repository. Unset: the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub path: Option<String>,

    /// How often the remote is asked, with some jitter: `30s`, `1m`.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    pub interval: String,

    /// Longest time that one exchange with the remote may take: a request over http, a session over ssh.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    pub timeout: String,

    /// Stops all passes. What is applied stays.
    #[serde(default)]
    pub suspend: bool,

    /// Secret for reading: `token`, or `username` and `password`, or `identity` (a private SSH key) and `known_hosts`, or
    /// `appID`, `installationID` and `privateKey` of a GitHub App. `ca.crt` holds the certificate of the server's authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Secrets that definitions may name; `*` stands for all. Unset: all on one machine, none on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_secrets: Option<Vec<String>>,

    /// Removes objects that have left the repository.
    #[serde(default = "yes")]
    pub prune: bool,

    /// Most objects, in percent of those owned, that one pass may remove without a confirmation. The removal of all
    /// of them always waits for one.
    #[serde(default = "default_prune_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub prune_limit: i32,

    /// What is done about live objects that differ from the applied revision.
    #[serde(default)]
    pub drift: DriftPolicy,

    /// Most changed objects that are tried on the server before the first is written; of more, a sample of each kind is.
    #[serde(default = "default_dry_run_limit")]
    #[schemars(range(min = 0, max = 10_000))]
    pub dry_run_limit: i32,

    /// Values for templates of the repository; they win over those in its `kelos.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub values: Option<Map<String, Value>>,

    /// What is reported back into git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportSpec>,
}

/// What is read from a repository. At most one field is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitReference {
    /// Newest commit of a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^-\s][^\s]*$"))]
    pub branch: Option<String>,

    /// Commit of a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^-\s][^\s]*$"))]
    pub tag: Option<String>,

    /// One commit, by its full id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{40}$"))]
    pub commit: Option<String>,
}

closed_set! {
    /// What is done about live objects that differ from the applied revision.
    #[default = Correct]
    pub enum DriftPolicy {
        /// They are reported and set right.
        Correct = "Correct",
        /// They are reported.
        Report = "Report",
    }
}

/// What is reported back into git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportSpec {
    /// Whether anything is reported.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// Branch that is written; nothing else may live on it.
    #[serde(default = "default_report_branch")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[^-\s][^\s]*$"))]
    pub branch: String,

    /// Repository that is written. Unset: the one that is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,

    /// Secret for writing, with the same keys as `spec.secretRef`. Unset: that one, when the repository is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Name of this writer and of its directory on the branch. Unset: namespace and name of this object, and eight
    /// digits that stand for the installation, so that several that follow one repository do not share a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub writer: Option<String>,

    /// Shortest time between two commits. Unset: 10 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = DURATION))]
    pub interval: Option<String>,

    /// Days that lines of the ledger stay on the branch; older ones are removed by ordinary commits and stay in its
    /// history. Unset: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36_500))]
    pub retention_days: Option<i32>,

    /// Whether a new branch is begun every year.
    #[serde(default)]
    pub rotation: BranchRotation,
}

closed_set! {
    /// Whether a new branch is begun every year.
    #[default = Never]
    pub enum BranchRotation {
        /// There is one branch, `spec.report.branch`.
        Never = "Never",
        /// Each year has its own branch, `spec.report.branch` with `-YYYY` behind it; those of earlier years are kept.
        Yearly = "Yearly",
    }
}

impl Default for ReportSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            branch: default_report_branch(),
            url: None,
            secret_ref: None,
            writer: None,
            interval: None,
            retention_days: None,
            rotation: BranchRotation::default(),
        }
    }
}

impl ReportSpec {
    /// Returns the branch that is written in `year`.
    pub fn branch_of(&self, year: i16) -> String {
        match self.rotation {
            BranchRotation::Never => self.branch.clone(),
            BranchRotation::Yearly => format!("{}-{year:04}", self.branch),
        }
    }
}

/// How a ConfigRepository goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigRepositoryStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions of the repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,

    /// Commit whose objects are all applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,

    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_time: Option<Time>,

    /// Commit that the last pass looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,

    /// Request for a pass that was answered last, as it stood in the annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Objects of the applied revision, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, i64>,

    /// What is owned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventorySummary>,

    /// Live objects that differ from the applied revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftSummary>,

    /// What is wrong with the last attempted revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<FindingsSummary>,

    /// A removal that waits for a confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_prune: Option<BlockedPrune>,

    /// Commit of the last report that is on its remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report_commit: Option<String>,

    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report_time: Option<Time>,
}

/// What a ConfigRepository owns. Names are not listed: ten thousand of them would fill the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventorySummary {
    /// Number of objects.
    pub count: i64,

    /// SHA-256 over kind, name and content of all of them.
    pub digest: String,
}

/// Live objects that differ from the applied revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftSummary {
    /// Number of objects.
    pub count: i64,

    /// The first of them, with the fields that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<DriftedObject>,
}

/// A live object that differs from the applied revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftedObject {
    /// Kind of the object.
    pub kind: String,

    /// Name of the object.
    pub name: String,

    /// Fields that differ, the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// What is wrong with a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingsSummary {
    /// Number of findings, warnings included.
    pub total: i64,

    /// Number of findings that keep the revision from being applied.
    pub errors: i64,

    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<FindingSummary>,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingSummary {
    /// Code of the finding, as the list of findings has it.
    pub code: String,

    /// File, from the root of the repository.
    pub file: String,

    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,

    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<i64>,

    /// What is wrong.
    pub message: String,
}

/// A removal that waits for a confirmation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockedPrune {
    /// Commit that asks for it; the value of the confirming annotation.
    pub revision: String,

    /// Objects that would be removed.
    pub count: i64,

    /// Objects that were owned when the removal was held back.
    pub owned: i64,
}

impl ConfigRepositoryStatus {
    /// Returns how many objects were owned when removals were held back that still wait; `None` when none wait.
    pub fn held_of(&self) -> Option<usize> {
        self.blocked_prune.as_ref().map(|blocked| usize::try_from(blocked.owned).unwrap_or_default())
    }
}

impl ConfigRepositorySpec {
    /// Returns what is reported, with every default. Reports are off when `spec.report` is absent.
    pub fn report(&self) -> Option<&ReportSpec> {
        self.report.as_ref().filter(|report| report.enabled)
    }
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn yes() -> bool {
    true
}

fn default_interval() -> String {
    "1m".to_owned()
}

fn default_timeout() -> String {
    "60s".to_owned()
}

fn default_prune_limit() -> i32 {
    50
}

fn default_dry_run_limit() -> i32 {
    100
}

fn default_report_branch() -> String {
    "kelos-status".to_owned()
}

#[cfg(test)]
mod tests {
    use crate::api::duration;

    #[test]
    fn every_duration_that_is_accepted_can_be_read() {
        for part in ["99999h", "9999999m", "999999999s", "999999999ms"] {
            let text = part.repeat(32 / part.len());
            assert!(duration::parse(&text).is_ok(), "{text}");
        }
    }
}
