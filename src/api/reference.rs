//! References from one object to another of the same namespace, by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// Name of the Secret.
    pub name: String,
}

/// Names a Workspace of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceReference {
    /// Name of the Workspace.
    pub name: String,
}

/// Names an AgentConfig of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentConfigReference {
    /// Name of the AgentConfig.
    pub name: String,
}
