//! Rules between fields: one table of path, CEL text, predicate and message.
//!
//! The CRDs carry the CEL text, so that a cluster's API server enforces the same; this program evaluates the predicate,
//! for it has no CEL engine. A test in `validate` evaluates both over one corpus of objects and demands the same verdict.

use std::sync::LazyLock;

use serde_json::Value;

use crate::api::kind::Kind;
use crate::api::labels;

/// What the API server says of a broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleReason {
    /// `Invalid value`.
    Invalid,
    /// `Required value`.
    Required,
}

/// A rule between fields of one object, or between an object and its older self.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Kind that the rule is for.
    pub kind: Kind,
    /// Where `self` is: `spec.when.webhook.filters[*]`; empty for the whole object.
    pub path: String,
    /// The rule as the CRD has it.
    pub cel: String,
    /// What is said when it is broken.
    pub message: &'static str,
    /// How it is said.
    pub reason: RuleReason,
    /// Field below `path` that is to blame, as in `.credentials`.
    pub field_path: Option<&'static str>,
    /// Whether the rule compares with the older self, and is skipped where there is none.
    pub transition: bool,
    /// The same rule: true when the value, and its older self, obey it. Values of a wrong type obey every rule,
    /// because the schema already refuses them.
    pub holds: fn(&Value, Option<&Value>) -> bool,
}

/// Every rule, in the order in which they are reported.
pub static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let mut rules = vec![
        Rule {
            transition: true,
            ..rule(Kind::Task, "spec", "self == oldSelf", "Task spec is immutable after creation", unchanged)
        },
        rule(
            Kind::Workspace,
            "spec.remotes",
            "self.all(r, r.name != 'origin')",
            "remote name 'origin' is reserved for the clone source",
            |remotes, _| names(remotes).all(|name| name != "origin"),
        ),
        rule(Kind::Workspace, "spec.remotes", UNIQUE_NAMES, "remote names must be unique", has_unique_names),
    ];
    rules.extend(agent_rules(Kind::Task, "spec"));
    rules.extend(spawner_rules());
    rules.extend(agent_rules(Kind::TaskSpawner, "spec.taskTemplate"));
    rules.extend(config_repository_rules());
    rules.extend(run_record_rules());
    rules
});

const UNIQUE_NAMES: &str = "self.all(a, self.exists_one(b, b.name == a.name))";

const NO_SECOND_COMMENT_POLICY: &str = "!(has(self.commentPolicy) && ((has(self.triggerComment) && \
     size(self.triggerComment) > 0) || (has(self.excludeComments) && size(self.excludeComments) > 0)))";

/// A rule of the object around the URL, and not of the URL itself: the server repeats the value that broke a rule.
const NO_USER_IN_URL: &str = "!has(self.url) || !self.url.matches('^https?://[^/?#]*@')";

/// Event types of GitHub that are about a pull request, and so can have a check run.
const PULL_REQUEST_EVENTS: [&str; 4] =
    ["pull_request", "pull_request_review", "pull_request_review_comment", "pull_request_target"];

fn rule(
    kind: Kind,
    path: impl Into<String>,
    cel: impl Into<String>,
    message: &'static str,
    holds: fn(&Value, Option<&Value>) -> bool,
) -> Rule {
    Rule {
        kind,
        path: path.into(),
        cel: cel.into(),
        message,
        reason: RuleReason::Invalid,
        field_path: None,
        transition: false,
        holds,
    }
}

/// Rules of what a Task and the template of a TaskSpawner have in common.
fn agent_rules(kind: Kind, at: &str) -> Vec<Rule> {
    let reserved_containers = format!(
        "self.all(c, !c.name.startsWith('{}') && !(c.name in [{}]))",
        labels::RESERVED_PREFIX,
        labels::BUILT_IN_INIT_CONTAINERS.map(|name| format!("'{name}'")).join(", "),
    );
    let mut rules = vec![
        rule(
            kind,
            at,
            "!(has(self.agentConfigRef) && has(self.agentConfigRefs))",
            "agentConfigRef and agentConfigRefs are mutually exclusive",
            |spec, _| !(has(spec, "agentConfigRef") && has(spec, "agentConfigRefs")),
        ),
        Rule {
            reason: RuleReason::Required,
            field_path: Some(".credentials"),
            ..rule(
                kind,
                at,
                "has(self.credentials) || self.type == 'shell'",
                "credentials are required unless the type is shell",
                |spec, _| has(spec, "credentials") || text(spec, "type").is_none_or(|agent| agent == "shell"),
            )
        },
        rule(
            kind,
            format!("{at}.credentials"),
            "self.type == 'none' || has(self.secretRef)",
            "secretRef is required for api-key and oauth credential types",
            |credentials, _| {
                text(credentials, "type").is_none_or(|kind| kind == "none") || has(credentials, "secretRef")
            },
        ),
        rule(
            kind,
            format!("{at}.podOverrides.volumes"),
            format!(
                "self.all(v, v.name != 'workspace' && !v.name.startsWith('{}'))",
                labels::RESERVED_PREFIX
            ),
            "volumes[].name must not be 'workspace' or use the reserved 'kelos-' prefix",
            |volumes, _| {
                names(volumes).all(|name| name != "workspace" && !name.starts_with(labels::RESERVED_PREFIX))
            },
        ),
    ];
    for (field, empty, reserved, twice) in [
        (
            "extraContainers",
            "extraContainers[].name must not be empty",
            "extraContainers[].name must not use the reserved 'kelos-' prefix or a built-in init container name",
            "extraContainers[].name must be unique",
        ),
        (
            "extraInitContainers",
            "extraInitContainers[].name must not be empty",
            "extraInitContainers[].name must not use the reserved 'kelos-' prefix or a built-in init container name",
            "extraInitContainers[].name must be unique",
        ),
    ] {
        let path = format!("{at}.podOverrides.{field}");
        rules.push(rule(kind, path.clone(), "self.all(c, c.name != '')", empty, |containers, _| {
            names(containers).all(|name| !name.is_empty())
        }));
        rules.push(rule(kind, path.clone(), reserved_containers.clone(), reserved, |containers, _| {
            names(containers).all(|name| {
                !name.starts_with(labels::RESERVED_PREFIX)
                    && !labels::BUILT_IN_INIT_CONTAINERS.contains(&name)
            })
        }));
        rules.push(rule(kind, path, UNIQUE_NAMES, twice, has_unique_names));
    }
    rules
}

fn spawner_rules() -> Vec<Rule> {
    let kind = Kind::TaskSpawner;
    let events = PULL_REQUEST_EVENTS.map(|event| format!("'{event}'")).join(", ");
    let mut rules = vec![
        rule(
            kind,
            "spec",
            "!(has(self.when.githubIssues) || has(self.when.githubPullRequests) || has(self.when.githubWebhook) || \
             has(self.when.linearWebhook)) || has(self.taskTemplate.workspaceRef)",
            "taskTemplate.workspaceRef is required when using githubIssues, githubPullRequests, githubWebhook, or \
             linearWebhook source",
            |spec, _| {
                let needed = ["githubIssues", "githubPullRequests", "githubWebhook", "linearWebhook"];
                !needed.iter().any(|source| has(&spec["when"], source))
                    || has(&spec["taskTemplate"], "workspaceRef")
            },
        ),
        rule(
            kind,
            "spec.when.githubIssues",
            "!has(self.reporting) || !has(self.reporting.checks)",
            "checks reporting is not supported for githubIssues source",
            |issues, _| !has(&issues["reporting"], "checks"),
        ),
        rule(
            kind,
            "spec.when.githubWebhook",
            format!(
                "!has(self.reporting) || !has(self.reporting.checks) || self.events.exists(e, e in [{events}])"
            ),
            "checks reporting requires at least one pull-request event type",
            |webhook, _| {
                let about_pull_requests =
                    |event: &Value| event.as_str().is_some_and(|event| PULL_REQUEST_EVENTS.contains(&event));
                !has(&webhook["reporting"], "checks")
                    || items(&webhook["events"]).iter().any(about_pull_requests)
            },
        ),
        rule(
            kind,
            "spec.when.webhook",
            "'id' in self.fieldMapping",
            "fieldMapping must include an 'id' key for deduplication and task naming",
            |webhook, _| webhook["fieldMapping"].as_object().is_none_or(|mapping| mapping.contains_key("id")),
        ),
        rule(
            kind,
            "spec.when.webhook.filters[*]",
            "has(self.value) != (has(self.pattern) && size(self.pattern) > 0)",
            "exactly one of value or pattern must be set",
            |filter, _| {
                has(filter, "value") != text(filter, "pattern").is_some_and(|pattern| !pattern.is_empty())
            },
        ),
        rule(
            kind,
            "spec.taskTemplate.contextSources",
            UNIQUE_NAMES,
            "contextSources names must be unique",
            has_unique_names,
        ),
        rule(
            kind,
            "spec.taskTemplate.contextSources[*]",
            "has(self.http)",
            "exactly one source kind must be set (currently only http is supported)",
            |source, _| has(source, "http"),
        ),
    ];
    for path in ["spec.when.githubIssues", "spec.when.githubPullRequests"] {
        rules.push(rule(
            kind,
            path,
            NO_SECOND_COMMENT_POLICY,
            "commentPolicy cannot be used with triggerComment or excludeComments",
            |source, _| {
                let flat = text(source, "triggerComment").is_some_and(|trigger| !trigger.is_empty())
                    || !items(&source["excludeComments"]).is_empty();
                !(has(source, "commentPolicy") && flat)
            },
        ));
    }
    rules
}

fn config_repository_rules() -> Vec<Rule> {
    let kind = Kind::ConfigRepository;
    let url = |path| {
        rule(
            kind,
            path,
            NO_USER_IN_URL,
            "the url must not carry a user or password; put them into secretRef",
            |object, _| {
                let url = text(object, "url").unwrap_or_default();
                let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
                let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
                !authority.is_some_and(|authority| authority.contains('@'))
            },
        )
    };
    let interval = |path| {
        rule(
            kind,
            path,
            "self.matches('[1-9]')",
            "the interval must be longer than nothing",
            |interval, _| {
                interval
                    .as_str()
                    .is_none_or(|text| text.contains(|character| ('1'..='9').contains(&character)))
            },
        )
    };
    vec![
        url("spec"),
        url("spec.report"),
        interval("spec.interval"),
        interval("spec.report.interval"),
        rule(
            kind,
            "spec.ref",
            "[has(self.branch), has(self.tag), has(self.commit)].filter(s, s).size() <= 1",
            "only one of branch, tag and commit may be set",
            |reference, _| {
                ["branch", "tag", "commit"].iter().filter(|field| has(reference, field)).count() <= 1
            },
        ),
        rule(
            kind,
            "spec.path",
            r"!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",
            "the path must be relative and stay inside the repository",
            |path, _| {
                path.as_str()
                    .is_none_or(|path| !path.starts_with('/') && path.split('/').all(|part| part != ".."))
            },
        ),
    ]
}

fn run_record_rules() -> Vec<Rule> {
    vec![
        Rule {
            transition: true,
            ..rule(
                Kind::RunRecord,
                "spec",
                "self == oldSelf",
                "RunRecord spec is immutable after creation",
                unchanged,
            )
        },
        rule(
            Kind::RunRecord,
            "",
            "self.metadata.name == self.spec.taskUid",
            "a RunRecord is named by the uid of its Task",
            |record, _| record["metadata"]["name"] == record["spec"]["taskUid"],
        ),
    ]
}

/// True when the field is there; null counts as absent, as on an API server.
fn has(object: &Value, field: &str) -> bool {
    object.get(field).is_some_and(|value| !value.is_null())
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    items(list).iter().filter_map(|item| text(item, "name"))
}

fn has_unique_names(list: &Value, _: Option<&Value>) -> bool {
    let mut seen = std::collections::HashSet::new();
    names(list).all(|name| seen.insert(name))
}

fn unchanged(new: &Value, old: Option<&Value>) -> bool {
    old.is_none_or(|old| old == new)
}
