//! The variables that templates of a TaskSpawner may use, for every source.
//!
//! The names and their meaning are those that upstream documents. Every variable exists for every source, with an empty
//! value where the source has nothing to say, so that a template never fails on a documented name.

use serde_json::{Map, Value, json};

use crate::api::task_spawner::source::SourceKind;
use crate::lang::gotemplate::{Reference, Template};

/// What an empty value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text; empty is `""`.
    Text,
    /// A whole number; empty is 0.
    Number,
    /// A list of text; empty is `[]`.
    List,
    /// Parsed JSON; empty is `{}`.
    Json,
}

/// A documented variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Name, as in `{{.Title}}`.
    pub name: &'static str,
    /// What it looks like.
    pub shape: Shape,
    /// Sources that fill it; it is empty for all others.
    pub sources: &'static [SourceKind],
    /// Sources whose value cannot hold anything but digits, letters, `-` and `:`, so that it may stand in a script.
    pub plain: &'static [SourceKind],
    /// What it holds.
    pub meaning: &'static str,
}

use SourceKind::{
    Cron, GenericWebhook, GithubIssues, GithubPullRequests, GithubWebhook, Jira, LinearWebhook, Slack,
};

const ALL: &[SourceKind] =
    &[GithubIssues, GithubPullRequests, GithubWebhook, LinearWebhook, GenericWebhook, Jira, Cron, Slack];
const POLLED: &[SourceKind] = &[GithubIssues, GithubPullRequests, Jira];

/// Every documented variable, in the order of the reference page.
pub const VARIABLES: &[Variable] = &[
    variable(
        "ID",
        Shape::Text,
        ALL,
        "Id of the item in its source: a number, key, commit, or `YYYYMMDD-HHMM` of a tick",
    )
    .plain(&[GithubIssues, GithubPullRequests, Cron]),
    variable(
        "Number",
        Shape::Number,
        &[GithubIssues, GithubPullRequests, GithubWebhook, Jira],
        "Number of the item",
    )
    .plain(ALL),
    variable("Title", Shape::Text, ALL, "Title of the item; of a tick its time"),
    variable(
        "Body",
        Shape::Text,
        &[GithubIssues, GithubPullRequests, GithubWebhook, GenericWebhook, Slack],
        "Text of the item",
    ),
    variable(
        "URL",
        Shape::Text,
        &[GithubIssues, GithubPullRequests, GithubWebhook, GenericWebhook, Jira, Slack],
        "Address of the item for people",
    ),
    variable(
        "Labels",
        Shape::Text,
        &[GithubIssues, GithubPullRequests, Jira, LinearWebhook],
        "Labels, joined by commas",
    ),
    variable("Comments", Shape::Text, POLLED, "Comments on the item"),
    variable("Kind", Shape::Text, ALL, "Kind of the item, as in `Issue` and `PR`"),
    variable(
        "Branch",
        Shape::Text,
        &[GithubPullRequests, GithubWebhook],
        "Head branch of the pull request or push",
    ),
    variable("ReviewState", Shape::Text, &[GithubPullRequests], "Verdict of the reviews"),
    variable("ReviewComments", Shape::Text, &[GithubPullRequests], "Comments of reviews on lines of code"),
    variable("Event", Shape::Text, &[GithubWebhook], "Type of the event"),
    variable("Action", Shape::Text, &[GithubWebhook, LinearWebhook], "Action of the event"),
    variable("Sender", Shape::Text, &[GithubWebhook], "Login of who caused the event"),
    variable("Ref", Shape::Text, &[GithubWebhook], "Git ref of the event"),
    variable("RefType", Shape::Text, &[GithubWebhook], "What was created: `branch` or `tag`"),
    variable("Tag", Shape::Text, &[GithubWebhook], "Tag of the event"),
    variable("Repository", Shape::Text, &[GithubWebhook], "Repository of the event, as `owner/repo`"),
    variable("RepositoryOwner", Shape::Text, &[GithubWebhook], "Owner of that repository"),
    variable("RepositoryName", Shape::Text, &[GithubWebhook], "Name of that repository"),
    variable("ChangedFiles", Shape::List, &[GithubWebhook], "Paths of changed files"),
    variable("CommentBody", Shape::Text, &[GithubWebhook], "Text of the comment or review"),
    variable("CommentURL", Shape::Text, &[GithubWebhook], "Address of the comment or review"),
    variable("CheckName", Shape::Text, &[GithubWebhook], "Name of the check run"),
    variable("CheckApp", Shape::Text, &[GithubWebhook], "App of the check run"),
    variable("CheckRunURL", Shape::Text, &[GithubWebhook], "Address of the check run"),
    variable("Conclusion", Shape::Text, &[GithubWebhook], "Conclusion of the check run"),
    variable("HeadSHA", Shape::Text, &[GithubWebhook], "Commit of the check run"),
    variable("Type", Shape::Text, &[LinearWebhook], "Type of the event"),
    variable("State", Shape::Text, &[LinearWebhook], "Workflow state of the issue"),
    variable("IssueID", Shape::Text, &[LinearWebhook], "Issue of a comment"),
    variable(
        "Payload",
        Shape::Json,
        &[GithubWebhook, LinearWebhook, GenericWebhook],
        "All of the posted JSON",
    ),
    variable("Time", Shape::Text, &[Cron], "Time of the tick, in RFC 3339").plain(ALL),
    variable("Schedule", Shape::Text, &[Cron], "Cron expression"),
];

/// Variable that holds the values of context sources, by name.
pub const CONTEXT: &str = "Context";

/// Variable that holds the results of dependencies, by name of the Task. Only in prompts of Tasks.
pub const DEPENDENCIES: &str = "Deps";

/// Fields of a dependency: `.Deps.NAME.Results`.
pub const DEPENDENCY_FIELDS: [&str; 3] = ["Name", "Outputs", "Results"];

/// Keys of `fieldMapping` of a generic webhook that fill a documented variable too.
pub const MAPPED_ALIASES: [(&str, &str); 4] =
    [("id", "ID"), ("title", "Title"), ("body", "Body"), ("url", "URL")];

/// What a name means to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The source fills it.
    Filled,
    /// It is documented, and always empty for this source.
    AlwaysEmpty,
    /// Nobody knows it.
    Unknown,
}

/// Returns the variable of this name.
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// Returns what a name means to a source. Names of `fieldMapping` are not looked at.
pub fn standing(source: SourceKind, name: &str) -> Standing {
    match find(name) {
        Some(variable) if variable.sources.contains(&source) => Standing::Filled,
        Some(_) => Standing::AlwaysEmpty,
        None => Standing::Unknown,
    }
}

/// Returns true when the value of a variable may stand in a script: a number, an id or a time that nobody outside can
/// choose freely.
pub fn is_plain(source: SourceKind, name: &str) -> bool {
    find(name).is_some_and(|variable| variable.plain.contains(&source))
}

/// How the script of a `shell` agent is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// As it stands: braces in it belong to the script.
    Literal,
    /// As a template: it names plain variables and nothing else.
    Rendered,
    /// Not at all: these variables would put text of others into a script.
    Refused(Vec<Reference>),
}

/// Decides how the script of a `shell` agent is to be taken.
///
/// A script that names no variable of its source is literal, because braces occur in scripts of their own accord, as in
/// `docker inspect --format '{{.State}}'`. `mapped` are the variables that `fieldMapping` adds.
pub fn script<'a>(
    source: SourceKind,
    mapped: impl IntoIterator<Item = &'a str>,
    template: &Template,
) -> Script {
    let mapped: Vec<&str> = mapped.into_iter().collect();
    let is_filled = |name: &str| {
        standing(source, name) == Standing::Filled
            || mapped.contains(&name)
            || [CONTEXT, DEPENDENCIES].contains(&name)
    };
    let references = template.references();
    let plain = |reference: &Reference| {
        reference.path.first().is_some_and(|name| {
            reference.path.len() == 1 && is_plain(source, name) && !mapped.contains(&name.as_str())
        })
    };
    let filled = |reference: &&Reference| {
        reference.path.first().is_some_and(|name| is_filled(name)) && !plain(reference)
    };
    let refused: Vec<Reference> = references.iter().filter(filled).cloned().collect();
    if !refused.is_empty() {
        return Script::Refused(refused);
    }
    if references.iter().any(plain) { Script::Rendered } else { Script::Literal }
}

/// Returns the variables of an item, and the empty value of every documented one that it does not have.
pub fn with_defaults(item: &Map<String, Value>) -> Map<String, Value> {
    let mut all: Map<String, Value> =
        VARIABLES.iter().map(|variable| (variable.name.to_owned(), variable.shape.empty())).collect();
    all.insert(CONTEXT.to_owned(), json!({}));
    all.extend(item.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

impl Shape {
    /// Returns the empty value.
    pub fn empty(self) -> Value {
        match self {
            Self::Text => json!(""),
            Self::Number => json!(0),
            Self::List => json!([]),
            Self::Json => json!({}),
        }
    }
}

const fn variable(
    name: &'static str,
    shape: Shape,
    sources: &'static [SourceKind],
    meaning: &'static str,
) -> Variable {
    Variable { name, shape, sources, plain: &[], meaning }
}

impl Variable {
    const fn plain(self, plain: &'static [SourceKind]) -> Self {
        Self { plain, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_plain_ones_are_filled_or_empty_numbers_and_times() {
        let mut names: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        let plain: Vec<&str> = VARIABLES
            .iter()
            .filter(|variable| !variable.plain.is_empty())
            .map(|variable| variable.name)
            .collect();
        assert_eq!(plain, ["ID", "Number", "Time"]);
        // A release is known by its tag and a posted item by what was posted: text that somebody else wrote.
        assert!(!is_plain(SourceKind::GithubWebhook, "ID"));
        assert!(!is_plain(SourceKind::GenericWebhook, "ID"));
    }

    #[test]
    fn a_script_is_rendered_only_with_what_nobody_outside_can_choose() {
        let judge = |source: SourceKind, text: &str| match script(
            source,
            ["severity"],
            &Template::parse(text).unwrap(),
        ) {
            Script::Literal => "literal".to_owned(),
            Script::Rendered => "rendered".to_owned(),
            Script::Refused(references) => {
                references.iter().map(|reference| reference.path.join(".")).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(judge(Cron, "echo hello"), "literal");
        assert_eq!(judge(Cron, "docker inspect -f '{{.State.Status}}'"), "literal");
        assert_eq!(judge(Cron, "echo {{.Time}} {{.ID}}"), "rendered");
        assert_eq!(judge(GithubIssues, "echo {{.Number}} '{{.Title}}' {{.Body}}"), "Title Body");
        assert_eq!(judge(GithubWebhook, "echo {{.ID}}"), "ID");
        assert_eq!(judge(GenericWebhook, "echo {{.severity}} {{.Number}}"), "severity");
        assert_eq!(judge(Cron, "echo {{.Deps.a.Results.x}} {{.Context.y}}"), "Deps.a.Results.x Context.y");
    }

    #[test]
    fn every_documented_variable_exists_for_every_source() {
        let item = json!({ "Title": "t", "severity": "high" });
        let all = with_defaults(item.as_object().unwrap());
        assert_eq!(all["Title"], "t");
        assert_eq!(all["severity"], "high");
        assert_eq!(all["Number"], 0);
        assert_eq!(all["ChangedFiles"], json!([]));
        assert!(VARIABLES.iter().all(|variable| all.contains_key(variable.name)));
        assert_eq!(standing(SourceKind::Cron, "Body"), Standing::AlwaysEmpty);
        assert_eq!(standing(SourceKind::Cron, "Time"), Standing::Filled);
        assert_eq!(standing(SourceKind::Cron, "body"), Standing::Unknown);
    }
}
