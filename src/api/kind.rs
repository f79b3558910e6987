//! The kinds that are served, and how they are called.

use crate::api::closed_set::closed_set;
use crate::api::{GITOPS_GROUP, KELOS_GROUP, VERSION};

closed_set! {
    /// A kind that is served.
    pub enum Kind {
        /// One run of one agent.
        Task = "Task",
        /// Creates Tasks from the work items of a source.
        TaskSpawner = "TaskSpawner",
        /// A git repository that agents work in.
        Workspace = "Workspace",
        /// Instructions, plugins, skills and MCP servers that agents share.
        AgentConfig = "AgentConfig",
        /// A git repository whose definitions are applied.
        ConfigRepository = "ConfigRepository",
        /// What is kept of a finished Task.
        RunRecord = "RunRecord",
    }
}

impl Kind {
    /// Kinds that a config repository may hold.
    pub const IN_GIT: [Self; 4] = [Self::Task, Self::TaskSpawner, Self::Workspace, Self::AgentConfig];

    /// Returns the API group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Task | Self::TaskSpawner | Self::Workspace | Self::AgentConfig => KELOS_GROUP,
            Self::ConfigRepository | Self::RunRecord => GITOPS_GROUP,
        }
    }

    /// Returns group and version as manifests have them.
    pub fn api_version(self) -> String {
        format!("{}/{VERSION}", self.group())
    }

    /// Returns the name of the resource in URLs.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Task => "tasks",
            Self::TaskSpawner => "taskspawners",
            Self::Workspace => "workspaces",
            Self::AgentConfig => "agentconfigs",
            Self::ConfigRepository => "configrepositories",
            Self::RunRecord => "runrecords",
        }
    }
}
