//! TaskSpawner: creates Tasks from work items of a source.

pub mod github;
pub mod source;
pub mod template;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::condition::Condition;
use crate::api::phase::TaskSpawnerPhase;
use crate::api::task_spawner::source::When;
use crate::api::task_spawner::template::TaskTemplate;

/// How often a source is asked when nothing says otherwise.
pub const DEFAULT_POLL_INTERVAL: &str = "5m";

/// Most ticks that a spawner keeps for later.
pub const MAX_PENDING_TICKS: usize = 100;

/// When Tasks are created, from what, and how many.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kelos.dev",
    version = "v1alpha1",
    kind = "TaskSpawner",
    plural = "taskspawners",
    shortname = "ts",
    namespaced,
    status = "TaskSpawnerStatus",
    derive = "PartialEq",
    schema = "disabled",
    doc = "Creates Tasks from the work items of a source.",
    printcolumn = r#"{"name":"Workspace","type":"string","jsonPath":".spec.taskTemplate.workspaceRef.name"}"#,
    printcolumn = r#"{"name":"Suspend","type":"boolean","jsonPath":".spec.suspend"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Active","type":"integer","jsonPath":".status.activeTasks"}"#,
    printcolumn = r#"{"name":"Discovered","type":"integer","jsonPath":".status.totalDiscovered"}"#,
    printcolumn = r#"{"name":"Tasks","type":"integer","jsonPath":".status.totalTasksCreated"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct TaskSpawnerSpec {
    /// Source of the work items; exactly one is set.
    pub when: When,

    /// What the created Tasks look like.
    pub task_template: TaskTemplate,

    /// How often the source is asked, unless the source says it itself: `30s`, `5m`, or seconds.
    #[serde(default = "default_poll_interval")]
    pub poll_interval: String,

    /// Most Tasks of this spawner that may be unfinished at once. 0 or unset: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_concurrency: Option<i32>,

    /// Most Tasks that this spawner may ever create. 0 or unset: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_total_tasks: Option<i32>,

    /// Stops the creation of Tasks. Running Tasks go on.
    #[serde(default)]
    pub suspend: bool,
}

/// How a TaskSpawner goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSpawnerStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Where the spawner stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<TaskSpawnerPhase>,

    /// Why it stands there, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Work items that the last discovery found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_discovered: Option<i64>,

    /// Tasks created so far; reserved before they are created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_tasks_created: Option<i64>,

    /// Tasks of this spawner that are not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_tasks: Option<i64>,

    /// When the source was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_discovery_time: Option<Time>,

    /// Last tick of the schedule that was decided: its Task was created, or it was skipped and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,

    /// Next tick of the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,

    /// Ticks that wait for capacity, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub pending_ticks: Vec<Time>,

    /// Ticks whose Tasks are being created; they are counted in `totalTasksCreated` already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub starting_ticks: Vec<Time>,

    /// Schedule that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_schedule: Option<ObservedSchedule>,

    /// Ticks that were skipped so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ticks_skipped: Option<i64>,

    /// Why the last skipped tick was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_skip_reason: Option<String>,

    /// Deployment that upstream's controller runs for a polling source; never set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_name: Option<String>,

    /// CronJob that upstream's controller runs for a schedule; never set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron_job_name: Option<String>,

    /// Conditions of the spawner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A schedule, and since when a spawner has it: earlier ticks are none of its.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedSchedule {
    /// Cron expression.
    pub schedule: String,

    /// Time zone in which it is read. Unset: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,

    /// First instant at which the spawner was seen with it.
    pub since: Time,
}

impl TaskSpawnerSpec {
    /// Returns how often the source is asked, as written: the source's own interval, else the spawner's.
    pub fn poll_interval(&self) -> &str {
        let own = self.when.poll_interval().filter(|interval| !interval.is_empty());
        own.unwrap_or(&self.poll_interval)
    }
}

fn default_poll_interval() -> String {
    DEFAULT_POLL_INTERVAL.to_owned()
}
