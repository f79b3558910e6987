//! `kelos get`

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::Value;

use crate::api::kind::Kind;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::{Printer, table};
use crate::cli::{GlobalArguments, server};
use crate::clock;
use crate::yaml;

/// Show objects
#[derive(Debug, Args)]
pub(super) struct GetArguments {
    /// Kind of the objects: task, taskspawner (ts), workspace (ws), agentconfig (ac), configrepository (cfg), runrecord (rr)
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Name of one object; all of them without it
    name: Option<String>,
    /// How they are printed
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Objects of all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
    Name,
}

/// Reads the name of a kind: its name, plural or short name in any case.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    let lower = text.to_lowercase();
    let short = |kind: Kind| match kind {
        Kind::Task => None,
        Kind::TaskSpawner => Some("ts"),
        Kind::Workspace => Some("ws"),
        Kind::AgentConfig => Some("ac"),
        Kind::ConfigRepository => Some("cfg"),
        Kind::RunRecord => Some("rr"),
    };
    let known = Kind::ALL.iter().copied();
    let mut known = known.filter(|kind| {
        lower == kind.as_str().to_lowercase()
            || lower == kind.plural()
            || Some(lower.as_str()) == short(*kind)
    });
    known.next().ok_or_else(|| {
        let all: Vec<String> = Kind::ALL.iter().map(|kind| kind.as_str().to_lowercase()).collect();
        format!("there is no kind '{text}'; known are {}", all.join(", "))
    })
}

/// Returns how objects of a kind are reached.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), crate::api::VERSION, kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

pub(super) async fn run(
    arguments: &GetArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let server = server::connect(global, environment).await?;
    let resource = resource(arguments.kind);
    let api: Api<DynamicObject> = if arguments.all_namespaces {
        Api::all_with(server.client, &resource)
    } else {
        Api::namespaced_with(server.client, &server.namespace, &resource)
    };
    let objects = match &arguments.name {
        Some(name) => vec![api.get(name).await?],
        None => api.list(&ListParams::default()).await?.items,
    };
    let single = arguments.name.is_some();
    match arguments.output {
        None if objects.is_empty() => {
            printer.message(format_args!("No {} in {}", arguments.kind.plural(), server.namespace))
        }
        None => printer.data(rows(arguments.kind, &objects, arguments.all_namespaces))?,
        Some(Format::Name) => {
            for object in &objects {
                printer.line(format_args!(
                    "{}.{}/{}",
                    arguments.kind.as_str().to_lowercase(),
                    arguments.kind.group(),
                    object.name_any()
                ))?;
            }
        }
        Some(format) => {
            let value = document(arguments.kind, objects, single)?;
            match format {
                Format::Json => {
                    printer.line(serde_json::to_string_pretty(&value).map_err(CommandError::internal)?)?
                }
                Format::Yaml | Format::Name => printer.data(yaml::write(&value))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns one object, or a list of them, as a document without the bookkeeping of field owners.
fn document(kind: Kind, objects: Vec<DynamicObject>, single: bool) -> Result<Value, CommandError> {
    let mut items = Vec::with_capacity(objects.len());
    for mut object in objects {
        object.meta_mut().managed_fields = None;
        let mut value = serde_json::to_value(&object).map_err(CommandError::internal)?;
        value["apiVersion"] = Value::String(kind.api_version());
        value["kind"] = Value::String(kind.as_str().to_owned());
        items.push(value);
    }
    Ok(match (single, items.pop()) {
        (true, Some(only)) => only,
        (_, last) => {
            items.extend(last);
            serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items})
        }
    })
}

fn rows(kind: Kind, objects: &[DynamicObject], with_namespace: bool) -> String {
    let now = clock::system().now();
    let (headings, cells): (&[&str], fn(&DynamicObject, Timestamp) -> Vec<String>) = match kind {
        Kind::Task => (
            &["NAME", "TYPE", "PHASE", "BRANCH", "WORKSPACE", "AGENT CONFIG", "DURATION", "AGE"],
            |object, now| {
                vec![
                    text(object, "/spec/type"),
                    text(object, "/status/phase"),
                    text(object, "/spec/branch"),
                    text(object, "/spec/workspaceRef/name"),
                    agent_configs(object),
                    duration(object, now),
                ]
            },
        ),
        Kind::TaskSpawner => (&["NAME", "SOURCE", "PHASE", "DISCOVERED", "TASKS", "AGE"], |object, _| {
            vec![
                source(object),
                text(object, "/status/phase"),
                text(object, "/status/totalDiscovered"),
                text(object, "/status/totalTasksCreated"),
            ]
        }),
        Kind::Workspace => (&["NAME", "REPO", "REF", "AGE"], |object, _| {
            vec![text(object, "/spec/repo"), text(object, "/spec/ref")]
        }),
        Kind::AgentConfig => (&["NAME", "PLUGINS", "SKILLS", "MCP SERVERS", "AGE"], |object, _| {
            vec![
                count(object, "/spec/plugins"),
                count(object, "/spec/skills"),
                count(object, "/spec/mcpServers"),
            ]
        }),
        Kind::ConfigRepository => (&["NAME", "URL", "READY", "REASON", "REVISION", "AGE"], |object, _| {
            let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
            let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
            let field =
                |name: &str| ready.and_then(|ready| ready[name].as_str()).unwrap_or_default().to_owned();
            let mut revision = text(object, "/status/lastAppliedRevision");
            revision.truncate(12);
            vec![text(object, "/spec/url"), field("status"), field("reason"), revision]
        }),
        Kind::RunRecord => (&["NAME", "TASK", "SPAWNER", "OUTCOME", "SECONDS", "AGE"], |object, _| {
            vec![
                text(object, "/spec/taskName"),
                text(object, "/spec/spawner"),
                text(object, "/spec/outcome"),
                text(object, "/spec/durationSeconds"),
            ]
        }),
    };
    let mut headings = headings.to_vec();
    if with_namespace {
        headings.insert(0, "NAMESPACE");
    }
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            let mut row = vec![object.name_any()];
            if with_namespace {
                row.insert(0, object.namespace().unwrap_or_default());
            }
            row.extend(cells(object, now));
            row.push(age(object, now));
            row
        })
        .collect();
    table(&headings, &rows)
}

fn text(object: &DynamicObject, pointer: &str) -> String {
    match object.data.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

fn count(object: &DynamicObject, pointer: &str) -> String {
    object.data.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len).to_string()
}

fn agent_configs(object: &DynamicObject) -> String {
    let one = text(object, "/spec/agentConfigRef/name");
    if !one.is_empty() {
        return one;
    }
    let many = object.data.pointer("/spec/agentConfigRefs").and_then(Value::as_array);
    let names: Vec<&str> =
        many.into_iter().flatten().filter_map(|reference| reference["name"].as_str()).collect();
    names.join(",")
}

fn source(object: &DynamicObject) -> String {
    let when = object.data.pointer("/spec/when").and_then(Value::as_object);
    when.and_then(|when| when.keys().next().cloned()).unwrap_or_default()
}

fn duration(object: &DynamicObject, now: Timestamp) -> String {
    let time = |pointer: &str| text(object, pointer).parse::<Timestamp>().ok();
    match time("/status/startTime") {
        None => String::new(),
        Some(start) => rough(time("/status/completionTime").unwrap_or(now).duration_since(start).as_secs()),
    }
}

fn age(object: &DynamicObject, now: Timestamp) -> String {
    object.creation_timestamp().map(|time| rough(now.duration_since(time.0).as_secs())).unwrap_or_default()
}

/// Returns a time span in its largest units, as kubectl does.
fn rough(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=599 if seconds % 60 != 0 => format!("{}m{}s", seconds / 60, seconds % 60),
        120..=10_799 => format!("{}m", seconds / 60),
        10_800..=28_799 if seconds % 3_600 / 60 != 0 => {
            format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60)
        }
        10_800..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_all_their_names() {
        for name in ["task", "tasks", "Task"] {
            assert_eq!(kind(name), Ok(Kind::Task), "{name}");
        }
        assert_eq!(kind("ts"), Ok(Kind::TaskSpawner));
        assert_eq!(kind("configrepositories"), Ok(Kind::ConfigRepository));
        assert!(kind("pod").is_err());
    }

    #[test]
    fn spans_are_rough() {
        let spans = [
            (5, "5s"),
            (119, "119s"),
            (125, "2m5s"),
            (600, "10m"),
            (11_100, "3h5m"),
            (90_000, "25h"),
            (200_000, "2d"),
        ];
        for (seconds, shown) in spans {
            assert_eq!(rough(seconds), shown);
        }
    }
}
