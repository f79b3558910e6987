//! The sources of work items that are not GitHub's, and the choice between all of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::closed_set::closed_set;
use crate::api::reference::SecretReference;
use crate::api::task_spawner::github::{GithubIssues, GithubPullRequests, GithubWebhook};

/// Source of the work items. Exactly one field is set; when several are, the first in this order counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct When {
    // Thousands of spawners are kept in memory, each with one source: the large ones stand in boxes.
    /// Issues of a GitHub repository, asked on an interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_issues: Option<Box<GithubIssues>>,

    /// Pull requests of a GitHub repository, asked on an interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_pull_requests: Option<Box<GithubPullRequests>>,

    /// Webhook events of GitHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_webhook: Option<Box<GithubWebhook>>,

    /// Webhook events of Linear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_webhook: Option<Box<LinearWebhook>>,

    /// JSON that any program posts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Box<GenericWebhook>>,

    /// Issues of a Jira project, asked on an interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jira: Option<Box<Jira>>,

    /// Ticks of a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<Cron>,

    /// Messages of Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Box<Slack>>,
}

closed_set! {
    /// Name of a source, as the field of `spec.when` is called.
    pub enum SourceKind {
        /// Issues of a GitHub repository.
        GithubIssues = "githubIssues",
        /// Pull requests of a GitHub repository.
        GithubPullRequests = "githubPullRequests",
        /// Webhook events of GitHub.
        GithubWebhook = "githubWebhook",
        /// Webhook events of Linear.
        LinearWebhook = "linearWebhook",
        /// JSON that any program posts.
        GenericWebhook = "webhook",
        /// Issues of a Jira project.
        Jira = "jira",
        /// Ticks of a schedule.
        Cron = "cron",
        /// Messages of Slack.
        Slack = "slack",
    }
}

impl When {
    /// Returns the source that counts.
    pub fn source(&self) -> Option<SourceKind> {
        let set = [
            (self.github_issues.is_some(), SourceKind::GithubIssues),
            (self.github_pull_requests.is_some(), SourceKind::GithubPullRequests),
            (self.github_webhook.is_some(), SourceKind::GithubWebhook),
            (self.linear_webhook.is_some(), SourceKind::LinearWebhook),
            (self.webhook.is_some(), SourceKind::GenericWebhook),
            (self.jira.is_some(), SourceKind::Jira),
            (self.cron.is_some(), SourceKind::Cron),
            (self.slack.is_some(), SourceKind::Slack),
        ];
        set.into_iter().find_map(|(is_set, kind)| is_set.then_some(kind))
    }

    /// Returns the interval that the source itself asks for, as written.
    pub fn poll_interval(&self) -> Option<&str> {
        match self.source()? {
            SourceKind::GithubIssues => self.github_issues.as_ref()?.poll_interval.as_deref(),
            SourceKind::GithubPullRequests => self.github_pull_requests.as_ref()?.poll_interval.as_deref(),
            SourceKind::Jira => self.jira.as_ref()?.poll_interval.as_deref(),
            SourceKind::GithubWebhook
            | SourceKind::LinearWebhook
            | SourceKind::GenericWebhook
            | SourceKind::Cron
            | SourceKind::Slack => None,
        }
    }
}

/// Ticks of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cron {
    /// Cron expression of five fields, as in `0 9 * * 1`.
    pub schedule: String,

    /// IANA time zone in which the schedule is read, as in `Europe/Berlin`. Unset: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,

    /// What becomes of ticks that passed while nothing could be started. Unset: `RunLatest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_ticks: Option<MissedTicks>,

    /// Seconds after which a tick that has no Task yet gets none any more. Unset: no limit, and one minute when
    /// `missedTicks` is `Skip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub starting_deadline_seconds: Option<i64>,
}

closed_set! {
    /// What becomes of ticks that passed while the daemon was down, the machine slept, or there was no room.
    #[default = RunLatest]
    pub enum MissedTicks {
        /// Each of them runs, oldest first; of more than 100 the newest 100.
        RunAll = "RunAll",
        /// The newest of them runs.
        RunLatest = "RunLatest",
        /// None of them runs.
        Skip = "Skip",
    }
}

/// Issues of a Jira project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jira {
    /// URL of the Jira server.
    #[schemars(regex(pattern = r"^https?://.+"))]
    pub base_url: String,

    /// Key of the project.
    pub project: String,

    /// JQL that narrows the search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jql: Option<String>,

    /// Secret with `JIRA_TOKEN`, and `JIRA_USER` for Jira Cloud.
    pub secret_ref: SecretReference,

    /// How often the source is asked, in place of the spawner's interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<String>,
}

closed_set! {
    /// Action of a Linear event.
    #[default = Any]
    pub enum LinearAction {
        /// Something was created.
        Create = "create",
        /// Something was changed.
        Update = "update",
        /// Something was removed.
        Remove = "remove",
        /// Any action.
        Any = "",
    }
}

/// Webhook events of Linear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinearWebhook {
    /// Types of events, as in `Issue` and `Comment`.
    #[schemars(length(min = 1))]
    pub types: Vec<String>,

    /// Filters; an event passes when one of those for its type matches, or there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<LinearFilter>,
}

/// A filter of Linear events. All that is set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinearFilter {
    /// Type of event that the filter is for. Unset: all.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,

    /// Action of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<LinearAction>,

    /// Names of workflow states, one of which the issue must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<String>,

    /// Labels, all of which the issue must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,

    /// Labels, none of which the issue may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_labels: Vec<String>,
}

/// JSON that any program posts to `/webhook/SOURCE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenericWebhook {
    /// Last part of the URL path.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub source: String,

    /// JSONPath of each variable that templates may use. The key `id` is required.
    pub field_mapping: BTreeMap<String, String>,

    /// Filters, all of which must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<GenericFilter>,
}

/// A filter of posted JSON. Either `value` or `pattern` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenericFilter {
    /// JSONPath of the field.
    pub field: String,

    /// Value that the field must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,

    /// Regular expression that the field must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

closed_set! {
    /// Whether messages of bots count.
    pub enum BotMessagePolicy {
        /// No message of a bot counts.
        None = "None",
        /// All messages count, our own too.
        All = "All",
        /// Messages of other bots count.
        OthersOnly = "OthersOnly",
    }
}

/// Messages of Slack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slack {
    /// Ids of the channels that count. Unset: every channel that the bot is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(regex(pattern = r"^[CG][A-Z0-9]{8,}$")))]
    pub channels: Vec<String>,

    /// Whether messages of bots count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_message_policy: Option<BotMessagePolicy>,

    /// Patterns, one of which a message must match. Unset: every mention of the bot counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub triggers: Vec<SlackTrigger>,

    /// Regular expressions, none of which a message may match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 256)))]
    pub exclude_patterns: Vec<String>,
}

/// A pattern of Slack messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlackTrigger {
    /// Regular expression that the message must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub pattern: Option<String>,

    /// Whether the message counts without a mention of the bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mention_optional: Option<bool>,
}
