//! Workspace: the git repository that agents work in.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::reference::SecretReference;

/// Which repository is cloned, and how it is prepared for an agent.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kelos.dev",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    shortname = "ws",
    namespaced,
    derive = "PartialEq",
    schema = "disabled",
    doc = "A git repository that agents work in."
)]
pub struct WorkspaceSpec {
    /// URL of the repository. `file:///` is a repository of the machine on which the daemon runs.
    #[schemars(regex(pattern = r"^(https?://|git://|ssh://|git@|file:///).*"))]
    pub repo: String,

    /// Branch, tag or full commit id to check out. Unset: the default branch of the repository.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,

    /// Secret with `GITHUB_TOKEN`, or with `appID`, `installationID` and `privateKey` of a GitHub App. `ca.crt` holds the
    /// certificate of the server's authority. For a repository over ssh: `identity` (a private SSH key) and `known_hosts`,
    /// with or without one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Git remotes that are added after cloning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub remotes: Vec<GitRemote>,

    /// Files that are written into the clone before the agent starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<WorkspaceFile>,

    /// Program and arguments that run in the clone before the agent starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub setup_command: Vec<String>,
}

/// A git remote beside `origin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitRemote {
    /// Name of the remote; `origin` is taken.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,

    /// URL of the remote.
    #[schemars(regex(pattern = r"^(https?://|git://|ssh://|git@).*"))]
    pub url: String,
}

/// A file that is written into the clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceFile {
    /// Path inside the repository, with forward slashes.
    #[schemars(length(min = 1))]
    pub path: String,

    /// Content of the file.
    pub content: String,
}
