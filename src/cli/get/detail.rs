//! One object, line by line: a label padded to 20 columns, and its value.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::api::kind::Kind;
use crate::cli::get::cells::{
    age, agent_configs, condition, duration, items, list, number, source_kind, text as cell,
};

use crate::cli::get::runs::defined_at;
use crate::cli::plain::plain;

/// Where the values begin.
const INDENT: usize = 20;
/// How much of an AgentConfig's instructions is shown, in characters.
const LONGEST_INSTRUCTIONS: usize = 80;

/// Returns what matters about an object, as it is at `now`; what is not set has no line.
pub(super) fn text(kind: Kind, object: &DynamicObject, now: Timestamp) -> String {
    let mut lines = Lines { object, text: String::new() };
    lines.line("Name", &object.name_any());
    lines.line("Namespace", &object.namespace().unwrap_or_default());
    match kind {
        Kind::Task => task(&mut lines, now),
        Kind::TaskSpawner => task_spawner(&mut lines),
        Kind::Workspace => workspace(&mut lines),
        Kind::AgentConfig => agent_config(&mut lines),
        Kind::ConfigRepository => config_repository(&mut lines),
        Kind::RunRecord => run_record(&mut lines),
    }
    lines.line("Age", &age(object, now));
    lines.text
}

struct Lines<'a> {
    object: &'a DynamicObject,
    text: String,
}

impl Lines<'_> {
    /// Adds a line, unless there is nothing to say. More lines of the value stand below the first.
    fn line(&mut self, label: &str, value: &str) {
        let label = format!("{label}:");
        let mut margin = label.as_str();
        for part in plain(value).lines() {
            let _infallible = writeln!(self.text, "{margin:INDENT$}{part}");
            margin = "";
        }
    }

    /// Adds a line for the scalar at a JSON pointer.
    fn field(&mut self, label: &str, pointer: &str) {
        self.line(label, &cell(self.object, pointer));
    }

    /// Adds a line for the number of seconds at a JSON pointer.
    fn seconds(&mut self, label: &str, pointer: &str) {
        let value = cell(self.object, pointer);
        if !value.is_empty() {
            self.line(label, &format!("{value}s"));
        }
    }
}

fn task(lines: &mut Lines<'_>, now: Timestamp) {
    let object = lines.object;
    lines.field("Type", "/spec/type");
    lines.field("Phase", "/status/phase");
    lines.field("Prompt", "/spec/prompt");
    lines.field("Secret", "/spec/credentials/secretRef/name");
    lines.field("Credential Type", "/spec/credentials/type");
    lines.field("Model", "/spec/model");
    lines.field("Effort", "/spec/effort");
    lines.field("Image", "/spec/image");
    lines.field("Branch", "/spec/branch");
    lines.line("Depends On", &list(object, "/spec/dependsOn"));
    lines.field("Workspace", "/spec/workspaceRef/name");
    lines.line("Agent Config", &agent_configs(object, "/spec"));
    lines.seconds("TTL", "/spec/ttlSecondsAfterFinished");
    lines.seconds("Timeout", "/spec/podOverrides/activeDeadlineSeconds");
    lines.field("Job", "/status/jobName");
    lines.field("Pod", "/status/podName");
    lines.field("Start Time", "/status/startTime");
    lines.field("Completion Time", "/status/completionTime");
    lines.line("Duration", &duration(object, now));
    lines.field("Reason", "/status/reason");
    lines.field("Message", "/status/message");
    let outputs: Vec<&str> = items(object, "/status/outputs").iter().filter_map(Value::as_str).collect();
    lines.line("Outputs", &outputs.join("\n"));
    let results = object.data.pointer("/status/results").and_then(Value::as_object);
    let results: Vec<String> = results
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    lines.line("Results", &results.join("\n"));
    lines.field("Cost", "/status/usage/costUSD");
    lines.field("Input Tokens", "/status/usage/inputTokens");
    lines.field("Output Tokens", "/status/usage/outputTokens");
    origin(lines);
}

fn task_spawner(lines: &mut Lines<'_>) {
    let object = lines.object;
    lines.field("Phase", "/status/phase");
    lines.field("Workspace", "/spec/taskTemplate/workspaceRef/name");
    lines.line("Source", &source_kind(object));
    for source in ["githubIssues", "githubPullRequests"] {
        lines.line("Types", &list(object, &format!("/spec/when/{source}/types")));
        lines.field("State", &format!("/spec/when/{source}/state"));
        lines.line("Labels", &list(object, &format!("/spec/when/{source}/labels")));
    }
    lines.field("Schedule", "/spec/when/cron/schedule");
    lines.field("Time Zone", "/spec/when/cron/timeZone");
    lines.field("Missed Ticks", "/spec/when/cron/missedTicks");
    lines.field("Starting Deadline Seconds", "/spec/when/cron/startingDeadlineSeconds");
    lines.field("Next Tick", "/status/nextScheduleTime");
    lines.field("Last Tick", "/status/lastScheduleTime");
    lines.field("Task Type", "/spec/taskTemplate/type");
    lines.field("Model", "/spec/taskTemplate/model");
    lines.line("Agent Config", &agent_configs(object, "/spec/taskTemplate"));
    lines.field("Poll Interval", "/spec/pollInterval");
    lines.field("Deployment", "/status/deploymentName");
    lines.line("Discovered", &number(object, "/status/totalDiscovered"));
    lines.line("Tasks Created", &number(object, "/status/totalTasksCreated"));
    lines.field("Last Discovery", "/status/lastDiscoveryTime");
    lines.field("Message", "/status/message");
    origin(lines);
}

fn workspace(lines: &mut Lines<'_>) {
    lines.field("Repo", "/spec/repo");
    lines.field("Ref", "/spec/ref");
    lines.field("Secret", "/spec/secretRef/name");
    origin(lines);
}

fn agent_config(lines: &mut Lines<'_>) {
    let object = lines.object;
    let instructions = cell(object, "/spec/agentsMD");
    let mut shown: String = instructions.chars().take(LONGEST_INSTRUCTIONS).collect();
    if shown.len() < instructions.len() {
        shown.push_str("...");
    }
    lines.line("Agents MD", &shown);
    let plugins: Vec<String> = items(object, "/spec/plugins").iter().map(plugin).collect();
    lines.line("Plugins", &plugins.join("\n"));
    let skill = |skill: &Value| match (skill["source"].as_str(), skill["skill"].as_str()) {
        (Some(source), Some(skill)) => format!("{source}:{skill}"),
        (source, _) => source.unwrap_or_default().to_owned(),
    };
    let skills: Vec<String> = items(object, "/spec/skills").iter().map(skill).collect();
    lines.line("Skills", &skills.join("\n"));
    let server = |server: &Value| {
        let field = |name: &str| server[name].as_str().unwrap_or_default();
        format!("{} ({})", field("name"), field("type"))
    };
    let servers: Vec<String> = items(object, "/spec/mcpServers").iter().map(server).collect();
    lines.line("MCP Servers", &servers.join("\n"));
    origin(lines);
}

fn plugin(plugin: &Value) -> String {
    let names = |field: &str| {
        let all = plugin[field].as_array().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<&str> = all.iter().filter_map(|item| item["name"].as_str()).collect();
        (!names.is_empty()).then(|| format!("{field}=[{}]", names.join(",")))
    };
    let parts: Vec<String> = [names("skills"), names("agents")].into_iter().flatten().collect();
    let name = plugin["name"].as_str().unwrap_or_default();
    if parts.is_empty() { name.to_owned() } else { format!("{name} ({})", parts.join(", ")) }
}

fn config_repository(lines: &mut Lines<'_>) {
    let object = lines.object;
    lines.field("URL", "/spec/url");
    for (label, field) in [("Branch", "branch"), ("Tag", "tag"), ("Commit", "commit")] {
        lines.field(label, &format!("/spec/ref/{field}"));
    }
    lines.field("Path", "/spec/path");
    lines.field("Interval", "/spec/interval");
    lines.line("Ready", &condition(object, "Ready", "status"));
    lines.line("Reason", &condition(object, "Ready", "reason"));
    lines.line("Message", &condition(object, "Ready", "message"));
    lines.field("Applied", "/status/lastAppliedRevision");
    lines.field("Attempted", "/status/lastAttemptedRevision");
    let objects = object.data.pointer("/status/objects").and_then(Value::as_object);
    let objects: Vec<String> =
        objects.into_iter().flatten().map(|(kind, count)| format!("{count} {kind}")).collect();
    lines.line("Objects", &objects.join(", "));
    let finding = |finding: &Value| {
        let field = |name: &str| finding[name].as_str().unwrap_or_default();
        let number = |name: &str| finding[name].as_i64().unwrap_or(1);
        format!("{}:{}:{}: {}", field("file"), number("line"), number("column"), field("message"))
    };
    let findings: Vec<String> = items(object, "/status/findings/items").iter().map(finding).collect();
    lines.line("Findings", &findings.join("\n"));
    if condition(object, "Drifted", "status") == "True" {
        lines.line("Drift", &condition(object, "Drifted", "message"));
    }
    if condition(object, "PruneBlocked", "status") == "True" {
        lines.line("Prune Blocked", &condition(object, "PruneBlocked", "message"));
    }
    lines.field("Report Commit", "/status/lastReportCommit");
}

fn run_record(lines: &mut Lines<'_>) {
    let object = lines.object;
    lines.field("Task", "/spec/taskName");
    lines.field("Spawner", "/spec/spawner");
    lines.field("Outcome", "/spec/outcome");
    lines.field("Reason", "/spec/reason");
    lines.field("Effect", "/spec/effect");
    lines.field("Start Time", "/spec/startTime");
    lines.field("Completion Time", "/spec/completionTime");
    lines.seconds("Duration", "/spec/durationSeconds");
    lines.field("Cost", "/spec/usage/costUSD");
    lines.field("Input Tokens", "/spec/usage/inputTokens");
    lines.field("Output Tokens", "/spec/usage/outputTokens");
    lines.field("Prompt", "/spec/promptDigest");
    let line = object.data.pointer("/spec/sourceLine").and_then(Value::as_i64);
    let (file, revision) = (cell(object, "/spec/sourceFile"), cell(object, "/spec/sourceRevision"));
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    lines.line("Defined At", &defined_at(given(&file).as_deref(), line, given(&revision).as_deref()));
    lines.field("Reported", "/status/reportedCommit");
}

/// Says where in git an object is defined.
fn origin(lines: &mut Lines<'_>) {
    use crate::api::labels::{CONFIG_FILE, CONFIG_LINE, CONFIG_REVISION};
    let annotations = lines.object.annotations();
    let value = |key: &str| annotations.get(key).map(String::as_str).unwrap_or_default();
    if !value(CONFIG_FILE).is_empty() {
        let revision: String = value(CONFIG_REVISION).chars().take(12).collect();
        lines.line("Defined In", &format!("{}:{} at {revision}", value(CONFIG_FILE), value(CONFIG_LINE)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_padded_and_long_values_stand_below_each_other() {
        let object: DynamicObject = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"type": "shell", "prompt": "echo 1\necho 2\n"},
            "status": {"phase": "Succeeded", "results": {"branch": "x", "pr": "y"}},
        }))
        .unwrap();
        let wanted = "\
Name:               a
Namespace:          default
Type:               shell
Phase:              Succeeded
Prompt:             echo 1
                    echo 2
Results:            branch=x
                    pr=y
";
        assert_eq!(text(Kind::Task, &object, Timestamp::UNIX_EPOCH), wanted);
    }
}
