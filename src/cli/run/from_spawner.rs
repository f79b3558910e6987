//! The Task that a TaskSpawner would create, made by hand.

use jiff::Timestamp;
use kube::api::Api;
use serde_json::{Map, Value, json};

use crate::api::kind::Kind;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;
use crate::cli::command_error::CommandError;
use crate::cli::run::{RunArguments, read_text};
use crate::cli::server::Server;
use crate::cli::{kinds, random_suffix};
use crate::clock;
use crate::domain::spawn::{self, WorkItem};
use crate::{api::labels, yaml};

/// The largest file of values, in bytes.
const LARGEST_VALUES: u64 = 1024 * 1024;
/// The longest name of a Task, in bytes.
const LONGEST_NAME: usize = 63;
/// Annotations, upstream's: which spawner it was, that a person asked, and when.
const CREATED_FROM: &str = "kelos.dev/created-from-taskspawner";
const TRIGGER_TYPE: &str = "kelos.dev/trigger-type";
const TRIGGER_TIME: &str = "kelos.dev/trigger-time";

/// Reads `taskspawner/NAME`.
pub(super) fn reference(text: &str) -> Result<String, String> {
    let wrong = || "the form is taskspawner/NAME".to_owned();
    let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
    if kinds::parse(kind) != Ok(Kind::TaskSpawner) || name.is_empty() || name.contains('/') {
        return Err(wrong());
    }
    kinds::object_name(name)
}

/// Returns the Task that `spawner` wants for a work item made of the given values.
pub(super) async fn task(
    server: &Server,
    spawner: &str,
    arguments: &RunArguments,
) -> Result<Task, CommandError> {
    let api: Api<TaskSpawner> = Api::namespaced(server.client.clone(), &server.namespace);
    let spawner = api.get(spawner).await?;
    let values = match &arguments.values {
        Some(file) => values(&read_text(file, LARGEST_VALUES)?)?,
        None => Map::new(),
    };
    if !spawner.spec.task_template.context_sources.is_empty() {
        return Err(CommandError::user_message("the TaskSpawner fetches context, which is not done here")
            .hint("Give the values that its templates need with -f, and take contextSources out of a copy"));
    }
    build(&spawner, values, clock::system().now(), &random_suffix(), arguments.name.as_deref())
}

fn build(
    spawner: &TaskSpawner,
    values: Map<String, Value>,
    now: Timestamp,
    suffix: &str,
    name: Option<&str>,
) -> Result<Task, CommandError> {
    let spawner_name = spawner.metadata.name.clone().unwrap_or_default();
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let id = format!("manual-{suffix}");
    let defaults = json!({
        "ID": id, "Title": format!("Manual run of TaskSpawner {spawner_name}"), "Kind": "Manual",
        "TriggerType": "manual", "TriggerTime": time,
    });
    let mut variables = defaults.as_object().cloned().unwrap_or_default();
    variables.extend(values);
    if let Some(cron) = &spawner.spec.when.cron {
        variables.insert("Time".to_owned(), json!(time));
        variables.insert("Schedule".to_owned(), json!(cron.schedule));
    }
    let item = WorkItem { id, variables, scheduled_at: None };
    let mut task = spawn::task_for(spawner, &item).map_err(CommandError::user)?;
    task.metadata.name = Some(name.map_or_else(|| manual_name(&spawner_name, suffix), str::to_owned));
    let labels = task.metadata.labels.get_or_insert_default();
    // Without the label, the spawner neither counts the Task nor takes its item for done.
    labels.remove(labels::TASK_SPAWNER);
    let annotations = task.metadata.annotations.get_or_insert_default();
    annotations.remove(labels::WORK_ITEM);
    annotations.insert(CREATED_FROM.to_owned(), spawner_name);
    annotations.insert(TRIGGER_TYPE.to_owned(), "manual".to_owned());
    annotations.insert(TRIGGER_TIME.to_owned(), time);
    Ok(task)
}

fn manual_name(spawner: &str, suffix: &str) -> String {
    let room = LONGEST_NAME - "-manual-".len() - suffix.len();
    let prefix = spawner.get(..spawner.len().min(room)).unwrap_or(spawner).trim_end_matches(['-', '.']);
    format!("{prefix}-manual-{suffix}")
}

fn values(text: &str) -> Result<Map<String, Value>, CommandError> {
    let documents = yaml::parse(text, &yaml::Limits::default()).map_err(|faults| {
        let faults: Vec<String> =
            faults.iter().map(|fault| format!("line {}: {}", fault.position.line, fault.message)).collect();
        CommandError::user_message(format!("the file of values is not YAML: {}", faults.join("; ")))
    })?;
    match documents.as_slice() {
        [only] => only.value.as_object().cloned(),
        _ => None,
    }
    .ok_or_else(|| CommandError::user_message("the file of values has to hold one mapping"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spawner_is_named_with_its_kind() {
        assert_eq!(reference("ts/a").as_deref(), Ok("a"));
        for wrong in ["a", "task/a", "ts/", "ts/a/b"] {
            assert!(reference(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn long_names_keep_their_suffix() {
        assert_eq!(manual_name("nightly", "abcde"), "nightly-manual-abcde");
        let long = manual_name(&format!("{}-{}", "a".repeat(49), "b".repeat(20)), "abcde");
        assert_eq!(long, format!("{}-manual-abcde", "a".repeat(49)));
    }

    #[test]
    fn the_values_reach_the_templates_and_the_task_is_nobodys() {
        let spawner: TaskSpawner = serde_json::from_value(json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "TaskSpawner", "metadata": {"name": "s"},
            "spec": {
                "when": {"cron": {"schedule": "0 0 * * *"}},
                "taskTemplate": {"type": "codex", "promptTemplate": "{{.Title}} / {{.Schedule}} / {{.TriggerType}}"},
            },
        }))
        .unwrap();
        let values = values("Title: mine\n").unwrap();
        let task = build(&spawner, values, Timestamp::UNIX_EPOCH, "abcde", None).unwrap();
        assert_eq!(task.spec.prompt, "mine / 0 0 * * * / manual");
        assert_eq!(task.metadata.name.as_deref(), Some("s-manual-abcde"));
        assert_eq!(task.metadata.labels, Some(std::collections::BTreeMap::new()));
        assert_eq!(task.metadata.annotations.unwrap()[CREATED_FROM], "s");
    }
}
