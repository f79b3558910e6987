//! Objects as rows under headings.

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;

use crate::api::kind::Kind;
use crate::cli::get::cells::{age, agent_configs, condition, count, duration, number, source, text as cell};
use crate::cli::printer::Layout;

/// What stands between name and age.
type Columns = (&'static [&'static str], fn(&DynamicObject, Timestamp) -> Vec<String>);

/// Rows of objects of one kind, which may come in several parts.
#[derive(Debug)]
pub(super) struct Rows {
    kind: Kind,
    with_namespace: bool,
    layout: Layout,
}

impl Rows {
    /// Returns no rows yet.
    pub(super) fn new(kind: Kind, with_namespace: bool) -> Self {
        Self { kind, with_namespace, layout: Layout::default() }
    }

    /// Returns the next rows, as the objects are at `now`; headings stand above the first ones.
    pub(super) fn lines(&mut self, objects: &[DynamicObject], now: Timestamp) -> String {
        let (titles, cells) = columns(self.kind);
        let mut headings = vec!["NAME"];
        headings.extend(titles);
        headings.push("AGE");
        if self.with_namespace {
            headings.insert(0, "NAMESPACE");
        }
        let row = |object: &DynamicObject| {
            let mut row = vec![object.name_any()];
            row.extend(cells(object, now));
            row.push(age(object, now));
            if self.with_namespace {
                row.insert(0, object.namespace().unwrap_or_default());
            }
            row
        };
        let rows: Vec<Vec<String>> = objects.iter().map(row).collect();
        self.layout.lines(&headings, &rows)
    }
}

/// Returns the table of objects of one kind, as it is at `now`.
pub(super) fn text(kind: Kind, objects: &[DynamicObject], with_namespace: bool, now: Timestamp) -> String {
    Rows::new(kind, with_namespace).lines(objects, now)
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
