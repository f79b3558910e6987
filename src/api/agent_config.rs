//! AgentConfig: instructions, plugins, skills and MCP servers that agents share.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::closed_set::closed_set;
use crate::api::reference::SecretReference;

/// What an agent gets beside its prompt.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kelos.dev",
    version = "v1alpha1",
    kind = "AgentConfig",
    plural = "agentconfigs",
    shortname = "ac",
    namespaced,
    derive = "PartialEq",
    schema = "disabled",
    doc = "Instructions, plugins, skills and MCP servers that agents share."
)]
pub struct AgentConfigSpec {
    /// Instructions that are written to the agent's own instruction file, beside those of the repository.
    #[serde(rename = "agentsMD", default, skip_serializing_if = "Option::is_none")]
    pub agents_md: Option<String>,

    /// Plugins, each a bundle of skills and sub-agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Plugin>,

    /// Packages of skills.sh to install.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<SkillPackage>,

    /// MCP servers that the agent may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp_servers: Vec<McpServer>,
}

/// A bundle of skills and sub-agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    /// Name of the plugin and of its directory.
    #[schemars(length(min = 1))]
    pub name: String,

    /// Skills; each becomes `skills/NAME/SKILL.md`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<PluginFile>,

    /// Sub-agents; each becomes `agents/NAME.md`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<PluginFile>,
}

/// A skill or sub-agent of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginFile {
    /// Name of the skill or sub-agent.
    #[schemars(length(min = 1))]
    pub name: String,

    /// Content of the file.
    pub content: String,
}

/// A package of skills.sh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkillPackage {
    /// Package as `owner/repo`.
    #[schemars(length(min = 1))]
    pub source: String,

    /// One skill of the package. Unset: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<String>,

    /// Secret with `GITHUB_TOKEN`, for a package that not everybody may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

closed_set! {
    /// How an MCP server is reached.
    pub enum McpTransport {
        /// A program that is started and spoken to over its standard input and output.
        Stdio = "stdio",
        /// A URL, over streaming HTTP.
        Http = "http",
        /// A URL, over server-sent events.
        Sse = "sse",
    }
}

/// An MCP server that the agent may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServer {
    /// Name of the server.
    #[schemars(length(min = 1))]
    pub name: String,

    /// How it is reached.
    #[serde(rename = "type")]
    pub transport: McpTransport,

    /// Program to start, for `stdio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,

    /// Arguments of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,

    /// URL, for `http` and `sse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// HTTP headers that are sent along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,

    /// Secret whose keys are header names; it wins over `headers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_from: Option<SecretValues>,

    /// Environment variables of the program.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,

    /// Secret whose keys are environment variables; it wins over `env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_from: Option<SecretValues>,
}

/// A Secret whose keys and values are used as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretValues {
    /// The Secret.
    pub secret_ref: SecretReference,
}
