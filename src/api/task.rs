//! Task: one run of one agent.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::closed_set::closed_set;
use crate::api::condition::Condition;
use crate::api::phase::TaskPhase;
use crate::api::pod::PodOverrides;
use crate::api::reference::{AgentConfigReference, SecretReference, WorkspaceReference};

closed_set! {
    /// The agent that a Task runs.
    pub enum AgentType {
        /// Claude Code.
        ClaudeCode = "claude-code",
        /// Codex CLI.
        Codex = "codex",
        /// Gemini CLI.
        Gemini = "gemini",
        /// OpenCode.
        OpenCode = "opencode",
        /// Cursor CLI.
        Cursor = "cursor",
        /// The prompt is a script for `/bin/sh`; no model and no credentials take part.
        Shell = "shell",
    }
}

closed_set! {
    /// How an agent proves to its provider who it is.
    pub enum CredentialType {
        /// An API key out of a Secret.
        ApiKey = "api-key",
        /// An OAuth token out of a Secret.
        OAuth = "oauth",
        /// Nothing is injected; `podOverrides` may supply what is needed.
        None = "none",
    }
}

impl AgentType {
    /// Returns the key of the Secret that holds a credential of this kind, which is also the variable through which the
    /// agent gets it; upstream's names. Nothing is needed for `shell` and for the kind `none`.
    pub const fn credential_key(self, kind: CredentialType) -> Option<&'static str> {
        match (self, kind) {
            (_, CredentialType::None) | (Self::Shell, _) => None,
            (Self::ClaudeCode, CredentialType::ApiKey) => Some("ANTHROPIC_API_KEY"),
            (Self::ClaudeCode, CredentialType::OAuth) => Some("CLAUDE_CODE_OAUTH_TOKEN"),
            (Self::Codex, CredentialType::ApiKey) => Some("CODEX_API_KEY"),
            (Self::Codex, CredentialType::OAuth) => Some("CODEX_AUTH_JSON"),
            (Self::Gemini, _) => Some("GEMINI_API_KEY"),
            (Self::OpenCode, _) => Some("OPENCODE_API_KEY"),
            (Self::Cursor, _) => Some("CURSOR_API_KEY"),
        }
    }
}

/// How the agent proves to its provider who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Kind of credential.
    #[serde(rename = "type")]
    pub kind: CredentialType,

    /// Secret that holds the credential. Required unless the type is `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// What a Task asks for. It cannot be changed once the Task exists.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kelos.dev",
    version = "v1alpha1",
    kind = "Task",
    plural = "tasks",
    namespaced,
    status = "TaskStatus",
    derive = "PartialEq",
    schema = "disabled",
    doc = "One run of one agent, with its outcome.",
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Branch","type":"string","jsonPath":".spec.branch","priority":1}"#,
    printcolumn = r#"{"name":"Depends On","type":"string","jsonPath":".spec.dependsOn","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct TaskSpec {
    /// Agent that runs.
    #[serde(rename = "type")]
    pub agent: AgentType,

    /// What the agent is told. With `dependsOn` it is a Go template over the results of those Tasks.
    /// For type `shell` it is the script.
    pub prompt: String,

    /// How the agent proves to its provider who it is. Required unless the type is `shell`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,

    /// Model to use in place of the agent's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,

    /// Reasoning effort, passed to the agent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,

    /// Container image in place of the agent's default; it must implement the agent interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// Workspace that the agent works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_ref: Option<WorkspaceReference>,

    /// AgentConfig that the agent gets. Not together with `agentConfigRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_config_ref: Option<AgentConfigReference>,

    /// AgentConfigs that the agent gets, merged in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub agent_config_refs: Vec<AgentConfigReference>,

    /// Tasks of the same namespace that must succeed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,

    /// Git branch to work on. One Task at a time works on a branch of a workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,

    /// Upstream repository as `owner/repo`, for work in a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_repo: Option<String>,

    /// Seconds after its end at which the Task is deleted; 0 deletes it at once, unset never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,

    /// Changes to the Pod or process that the agent runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_overrides: Option<Box<PodOverrides>>,
}

/// How a Task goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// Where the Task stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<TaskPhase>,

    /// One word for why it stands there, from the list of reasons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Directory of the run on one machine, written before anything is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,

    /// Job of the run on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,

    /// Pod of the run on a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,

    /// When the run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// Lines that the agent reported, as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,

    /// Values that the agent reported, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub results: BTreeMap<String, String>,

    /// What the run used, as far as the agent said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,

    /// Version of the agent's program, as far as it said one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,

    /// Conditions of the Task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What a run used, as far as its agent said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Cost in US dollars, as a decimal number in text.
    #[serde(rename = "costUSD", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub cost_usd: Option<Quantity>,

    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<i64>,

    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<i64>,
}

impl Task {
    /// Returns whether the Task has come to its end, by the phase in its status.
    pub fn has_ended(&self) -> bool {
        self.status.as_ref().and_then(|status| status.phase).is_some_and(TaskPhase::is_terminal)
    }
}

impl TaskSpec {
    /// Returns the names of all AgentConfigs that the Task uses, in the order in which they are merged.
    pub fn agent_configs(&self) -> impl Iterator<Item = &str> {
        self.agent_config_ref.iter().chain(&self.agent_config_refs).map(|reference| reference.name.as_str())
    }
}
