//! Objects as rows under headings.

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;

use crate::api::kind::Kind;
use crate::cli::get::cells::{age, agent_configs, condition, count, duration, number, source, text as cell};
use crate::cli::printer::table;

/// What stands between name and age.
type Columns = (&'static [&'static str], fn(&DynamicObject, Timestamp) -> Vec<String>);

/// Returns the table of objects of one kind, as it is at `now`.
pub(super) fn text(kind: Kind, objects: &[DynamicObject], with_namespace: bool, now: Timestamp) -> String {
    let (titles, cells) = columns(kind);
    let mut headings = vec!["NAME"];
    headings.extend(titles);
    headings.push("AGE");
    if with_namespace {
        headings.insert(0, "NAMESPACE");
    }
    let row = |object: &DynamicObject| {
        let mut row = vec![object.name_any()];
        row.extend(cells(object, now));
        row.push(age(object, now));
        if with_namespace {
            row.insert(0, object.namespace().unwrap_or_default());
        }
        row
    };
    let rows: Vec<Vec<String>> = objects.iter().map(row).collect();
    table(&headings, &rows)
}

fn columns(kind: Kind) -> Columns {
    match kind {
        Kind::Task => {
            (&["TYPE", "PHASE", "BRANCH", "WORKSPACE", "AGENT CONFIG", "DURATION"], |object, now| {
                vec![
                    cell(object, "/spec/type"),
                    cell(object, "/status/phase"),
                    cell(object, "/spec/branch"),
                    cell(object, "/spec/workspaceRef/name"),
                    agent_configs(object, "/spec"),
                    duration(object, now),
                ]
            })
        }
        Kind::TaskSpawner => (&["SOURCE", "PHASE", "DISCOVERED", "TASKS"], |object, _| {
            vec![
                source(object),
                cell(object, "/status/phase"),
                number(object, "/status/totalDiscovered"),
                number(object, "/status/totalTasksCreated"),
            ]
        }),
        Kind::Workspace => {
            (&["REPO", "REF"], |object, _| vec![cell(object, "/spec/repo"), cell(object, "/spec/ref")])
        }
        Kind::AgentConfig => (&["PLUGINS", "SKILLS", "MCP SERVERS"], |object, _| {
            vec![
                count(object, "/spec/plugins"),
                count(object, "/spec/skills"),
                count(object, "/spec/mcpServers"),
            ]
        }),
        Kind::ConfigRepository => (&["URL", "READY", "REASON", "REVISION"], |object, _| {
            let revision = cell(object, "/status/lastAppliedRevision");
            vec![
                cell(object, "/spec/url"),
                condition(object, "Ready", "status"),
                condition(object, "Ready", "reason"),
                revision.chars().take(12).collect(),
            ]
        }),
        Kind::RunRecord => (&["TASK", "SPAWNER", "OUTCOME", "SECONDS"], |object, _| {
            vec![
                cell(object, "/spec/taskName"),
                cell(object, "/spec/spawner"),
                cell(object, "/spec/outcome"),
                cell(object, "/spec/durationSeconds"),
            ]
        }),
    }
}
