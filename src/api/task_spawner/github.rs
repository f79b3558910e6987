//! The sources of GitHub: issues, pull requests, webhook events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::closed_set::closed_set;

closed_set! {
    /// State of issues and pull requests.
    #[default = Open]
    pub enum ItemState {
        /// Open ones.
        Open = "open",
        /// Closed ones.
        Closed = "closed",
        /// Both.
        All = "all",
    }
}

closed_set! {
    /// Verdict of the reviews of a pull request.
    #[default = Any]
    pub enum ReviewState {
        /// Approved, and nobody asks for changes.
        Approved = "approved",
        /// Somebody asks for changes.
        ChangesRequested = "changes_requested",
        /// Whatever the verdict is.
        Any = "any",
    }
}

closed_set! {
    /// Permission on a repository, from the least to the most.
    pub enum RepositoryPermission {
        /// May read.
        Read = "read",
        /// May sort issues.
        Triage = "triage",
        /// May push.
        Write = "write",
        /// May change most settings.
        Maintain = "maintain",
        /// May do everything.
        Admin = "admin",
    }
}

closed_set! {
    /// What a comment must be on.
    #[default = Either]
    pub enum CommentOn {
        /// An issue.
        Issue = "Issue",
        /// A pull request.
        PullRequest = "PullRequest",
        /// Either.
        Either = "",
    }
}

/// Who may steer work by comments, and with which words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommentPolicy {
    /// Line that a comment must hold for the item to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_comment: Option<String>,

    /// Lines that take the item out; the newest of all commands wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_comments: Vec<String>,

    /// Logins whose commands count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_users: Vec<String>,

    /// Teams, as `org/team`, whose members' commands count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^/]+/[^/]+$")))]
    pub allowed_teams: Vec<String>,

    /// Least permission on the repository with which commands count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_permission: Option<RepositoryPermission>,
}

/// What is told to GitHub about an issue's Task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reporting {
    /// Posts comments about the Task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enabled: bool,

    /// Creates a check run for the Task. Not for issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<ChecksReporting>,
}

/// The check run of a Task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChecksReporting {
    /// Name of the check run. Unset: `Kelos: ` and the name of the spawner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub name: Option<String>,
}

/// Paths of changed files. Excluded files are taken out first; one of the rest must be included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilePatterns {
    /// Globs, one of which a file must match. Unset: every file does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,

    /// Globs of files that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// Issues of a GitHub repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GithubIssues {
    /// Repository, as `owner/repo` or URL, in place of the workspace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,

    /// What counts: `issues`, `pulls` or both.
    #[serde(default = "issues_only")]
    pub types: Vec<String>,

    /// Labels, all of which an issue must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,

    /// Labels, none of which an issue may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_labels: Vec<String>,

    /// State of the issue.
    #[serde(default)]
    pub state: ItemState,

    /// Who may steer work by comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_policy: Option<CommentPolicy>,

    /// Line that a comment must hold. Deprecated: use `commentPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_comment: Option<String>,

    /// Lines that take the issue out. Deprecated: use `commentPolicy`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_comments: Vec<String>,

    /// Login of an assignee, `*` for any, `none` for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,

    /// Login of the author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,

    /// Logins of authors that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_authors: Vec<String>,

    /// Labels in order of priority; issues with none come last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priority_labels: Vec<String>,

    /// What is told to GitHub about the Task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporting: Option<Reporting>,

    /// How often the source is asked, in place of the spawner's interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<String>,
}

/// Pull requests of a GitHub repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GithubPullRequests {
    /// Repository, as `owner/repo` or URL, in place of the workspace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,

    /// Labels, all of which a pull request must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,

    /// Labels, none of which a pull request may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_labels: Vec<String>,

    /// State of the pull request.
    #[serde(default)]
    pub state: ItemState,

    /// Verdict of the reviews.
    #[serde(default)]
    pub review_state: ReviewState,

    /// Who may steer work by comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_policy: Option<CommentPolicy>,

    /// Line that a comment must hold. Deprecated: use `commentPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_comment: Option<String>,

    /// Lines that take the pull request out. Deprecated: use `commentPolicy`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_comments: Vec<String>,

    /// Login of the author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,

    /// Logins of authors that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_authors: Vec<String>,

    /// Whether the pull request must be a draft, or must not. Unset: both count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<bool>,

    /// Labels in order of priority; pull requests with none come last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priority_labels: Vec<String>,

    /// What is told to GitHub about the Task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporting: Option<Reporting>,

    /// Paths of changed files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_patterns: Option<FilePatterns>,

    /// How often the source is asked, in place of the spawner's interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_interval: Option<String>,
}

/// Webhook events of GitHub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GithubWebhook {
    /// Types of events, as in `issues` and `pull_request`.
    #[schemars(length(min = 1, max = 20))]
    pub events: Vec<String>,

    /// Repository, as `owner/repo`, that events must come from. Unset: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,

    /// Logins of senders that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_authors: Vec<String>,

    /// Filters; an event passes when one of those for its type matches, or there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<GithubWebhookFilter>,

    /// What is told to GitHub about the Task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporting: Option<Reporting>,
}

/// A filter of GitHub events. All that is set must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GithubWebhookFilter {
    /// Type of event that the filter is for.
    pub event: String,

    /// Action of the event, as in `opened`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,

    /// Text that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub body_contains: Option<String>,

    /// Regular expression that the body must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub body_pattern: Option<String>,

    /// Regular expressions, none of which the body may match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 1024)))]
    pub exclude_body_patterns: Vec<String>,

    /// Labels, all of which the item must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,

    /// Labels, none of which the item may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_labels: Vec<String>,

    /// State of the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// Branch of a push, as a glob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,

    /// Tag of a release or of a created tag, as a glob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,

    /// Whether the pull request must be a draft, or must not. Unset: both count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<bool>,

    /// What a comment must be on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_on: Option<CommentOn>,

    /// Login of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,

    /// Logins of senders that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_authors: Vec<String>,

    /// Paths of changed files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_patterns: Option<FilePatterns>,
}

fn issues_only() -> Vec<String> {
    vec!["issues".to_owned()]
}
