//! What the Tasks of a TaskSpawner look like.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::closed_set::closed_set;
use crate::api::pod::PodOverrides;
use crate::api::reference::{AgentConfigReference, WorkspaceReference};
use crate::api::task::{AgentType, Credentials};

/// A Task with Go templates in place of what differs between work items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskTemplate {
    /// Agent that runs.
    #[serde(rename = "type")]
    pub agent: AgentType,

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

    /// Workspace that the agents work in. Required for the GitHub sources and for Linear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_ref: Option<WorkspaceReference>,

    /// AgentConfig that the agents get. Not together with `agentConfigRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_config_ref: Option<AgentConfigReference>,

    /// AgentConfigs that the agents get, merged in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub agent_config_refs: Vec<AgentConfigReference>,

    /// Tasks of the same namespace that must succeed before a created Task starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,

    /// Git branch to work on: a Go template over the work item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,

    /// What the agent is told: a Go template over the work item. Empty or unset: the title of the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_template: Option<String>,

    /// Seconds after its end at which a created Task is deleted; 0 deletes it at once, unset never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i32>,

    /// Changes to the Pod or process that the agents run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_overrides: Option<Box<PodOverrides>>,

    /// Labels and annotations of the created Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,

    /// Data that is fetched before a Task is created, for use in its templates as `.Context.NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub context_sources: Vec<ContextSource>,

    /// Upstream repository as `owner/repo`, for work in a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_repo: Option<String>,
}

/// Labels and annotations whose values are Go templates over the work item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels. The label that names the spawner is always set by Kelos.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// Annotations. Those that Kelos sets itself win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

closed_set! {
    /// What happens to the work item when its context cannot be fetched.
    #[default = Fail]
    pub enum ContextFailurePolicy {
        /// No Task is created for it in this cycle.
        Fail = "Fail",
        /// The value is empty.
        Ignore = "Ignore",
    }
}

closed_set! {
    /// HTTP method of a context request.
    #[default = Get]
    pub enum ContextMethod {
        /// GET.
        Get = "GET",
        /// POST.
        Post = "POST",
    }
}

closed_set! {
    /// Language of a response filter.
    pub enum ResponseFilterType {
        /// JSONPath, as in `$.data.value`.
        JsonPath = "JSONPath",
    }
}

/// Data that is fetched before a Task is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContextSource {
    /// Name under which templates find the value: `.Context.NAME`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z][a-zA-Z0-9_]*$"))]
    pub name: String,

    /// Request that fetches the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpContext>,

    /// What happens when it cannot be fetched.
    #[serde(default)]
    pub failure_policy: ContextFailurePolicy,
}

/// A request that fetches the value of a context source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpContext {
    /// URL: a Go template over the work item. HTTPS unless `allowInsecure` is set.
    #[schemars(length(min = 1))]
    pub url: String,

    /// HTTP method.
    #[serde(default)]
    pub method: ContextMethod,

    /// HTTP headers: Go templates over the work item.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,

    /// HTTP headers out of Secrets; they win over `headers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers_from: Vec<HeaderFromSecret>,

    /// Body of a POST request: a Go template over the work item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,

    /// Part of the response to use. Unset: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_filter: Option<ResponseFilter>,

    /// Allows a URL without TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_insecure: bool,

    /// Longest time in seconds that the request may take.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: i32,

    /// Most bytes of the response that are used.
    #[serde(default = "default_response_bytes")]
    #[schemars(range(min = 1, max = 131_072))]
    pub max_response_bytes: i32,
}

/// An HTTP header whose value is a key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderFromSecret {
    /// Name of the header.
    #[schemars(length(min = 1))]
    pub header: String,

    /// Name of the Secret.
    #[schemars(length(min = 1))]
    pub secret_name: String,

    /// Key of the Secret.
    #[schemars(length(min = 1))]
    pub secret_key: String,
}

/// Part of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResponseFilter {
    /// Language of the expression.
    #[serde(rename = "type")]
    pub language: ResponseFilterType,

    /// Expression that picks the part.
    #[schemars(length(min = 1))]
    pub expression: String,
}

impl TaskTemplate {
    /// Returns the names of all AgentConfigs that the Tasks use, in the order in which they are merged.
    pub fn agent_configs(&self) -> impl Iterator<Item = &str> {
        self.agent_config_ref.iter().chain(&self.agent_config_refs).map(|reference| reference.name.as_str())
    }
}

fn default_timeout() -> i32 {
    10
}

fn default_response_bytes() -> i32 {
    32_768
}
