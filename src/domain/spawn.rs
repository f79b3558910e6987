//! Work items and a TaskSpawner in, Tasks to create out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::api::labels;
use crate::api::task::{AgentType, Task, TaskSpec};
use crate::api::task_spawner::TaskSpawner;
use crate::domain::variables::{self, Script};
use crate::lang::gotemplate::{self, Missing, Reference, Template, TemplateError};

/// Something that a Task is made for.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkItem {
    /// Its identity within its source; part of the Task's name.
    pub id: String,
    /// The variables that templates see, by their documented names.
    pub variables: Map<String, Value>,
    /// The tick that it stands for, when its source is a schedule.
    pub scheduled_at: Option<Timestamp>,
}

/// Why no Task can be made for a work item.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A template of the spawner cannot be read or rendered.
    #[error("the template in {field} cannot be rendered: {source}")]
    Template {
        /// The field of the spec.
        field: &'static str,
        /// What is wrong.
        source: TemplateError,
    },
    /// A script would have text of others filled in.
    #[error(
        "a script may not have the text of {names} filled in; it reaches the script as environment and as a file"
    )]
    ShellText {
        /// The variables.
        names: String,
    },
}

impl SpawnError {
    fn shell_text(references: &[Reference]) -> Self {
        let names: Vec<String> = references.iter().map(|reference| reference.path.join(".")).collect();
        Self::ShellText { names: names.join(", ") }
    }
}

/// Decides how the script of a `shell` agent is to be taken; one that is no template is literal.
fn script_of(spawner: &TaskSpawner, script: &str) -> Script {
    match (spawner.spec.when.source(), Template::parse(script)) {
        (Some(source), Ok(template)) => variables::script(source, [], &template),
        (None, _) | (_, Err(_)) => Script::Literal,
    }
}

/// Returns the work item for a tick of a schedule.
///
/// Its id is `YYYYMMDD-HHMM` in UTC, as upstream names it.
pub fn tick(schedule: &str, at: Timestamp) -> WorkItem {
    let time = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let id = at.strftime("%Y%m%d-%H%M").to_string();
    let variables = json!({
        "ID": id, "Title": time, "Time": time, "Schedule": schedule, "Kind": "Issue",
    });
    let Value::Object(variables) = variables else { unreachable!("because the literal above is an object") };
    WorkItem { id, variables, scheduled_at: Some(at) }
}

/// Returns the name of the Task for an item: `<spawner>-<id>` in lower case, as upstream names it.
pub fn task_name(spawner: &str, item: &WorkItem) -> String {
    format!("{spawner}-{}", item.id).to_lowercase()
}

/// Returns the Task that `spawner` wants for `item`.
///
/// Into the script of a `shell` agent only numbers, ids and times are filled in; the rest of an item reaches it as
/// environment and as a file.
///
/// # Errors
/// When a template of the spawner cannot be rendered.
pub fn task_for(spawner: &TaskSpawner, item: &WorkItem) -> Result<Task, SpawnError> {
    let spawner_name = spawner.metadata.name.as_deref().unwrap_or_default();
    let template = &spawner.spec.task_template;
    let variables = Value::Object(variables::with_defaults(&item.variables));
    let render = |field: &'static str, text: &str| {
        Template::parse(text)
            .and_then(|template| template.render(&variables, Missing::Error))
            .map_err(|source| SpawnError::Template { field, source })
    };
    let written_prompt = template.prompt_template.as_deref().unwrap_or_default();
    let prompt = if template.agent == AgentType::Shell {
        match script_of(spawner, written_prompt) {
            Script::Literal => written_prompt.to_owned(),
            Script::Rendered => render("taskTemplate.promptTemplate", written_prompt)?,
            Script::Refused(references) => return Err(SpawnError::shell_text(&references)),
        }
    } else if written_prompt.is_empty() {
        item.variables.get("Title").and_then(Value::as_str).unwrap_or_default().to_owned()
    } else {
        let rendered = render("taskTemplate.promptTemplate", written_prompt)?;
        // A prompt with dependencies is rendered once more for their results; the item's text is not to be.
        if template.depends_on.is_empty() { rendered } else { gotemplate::escape(&rendered) }
    };
    let branch =
        template.branch.as_deref().map(|branch| render("taskTemplate.branch", branch)).transpose()?;
    let mut labels_of_task = BTreeMap::new();
    let mut annotations = BTreeMap::new();
    if let Some(metadata) = &template.metadata {
        for (key, value) in &metadata.labels {
            labels_of_task.insert(key.clone(), render("taskTemplate.metadata.labels", value)?);
        }
        for (key, value) in &metadata.annotations {
            annotations.insert(key.clone(), render("taskTemplate.metadata.annotations", value)?);
        }
    }
    labels_of_task.insert(labels::TASK_SPAWNER.to_owned(), spawner_name.to_owned());
    annotations.insert(labels::WORK_ITEM.to_owned(), item.id.clone());
    annotations.insert(labels::PROMPT_DIGEST.to_owned(), crate::digest::sha256_hex(written_prompt));
    if let Some(at) = item.scheduled_at {
        annotations.insert(labels::SCHEDULED_AT.to_owned(), at.to_string());
    }
    // As an annotation: with the label the Task would count as defined by the repository, and be pruned.
    if let Some(owner) = spawner.metadata.labels.as_ref().and_then(|all| all.get(labels::OWNER_UID)) {
        annotations.insert(labels::OWNER_UID.to_owned(), owner.clone());
    }
    for key in [labels::CONFIG_REVISION, labels::CONFIG_FILE, labels::CONFIG_LINE] {
        if let Some(value) = spawner.metadata.annotations.as_ref().and_then(|all| all.get(key)) {
            annotations.insert(key.to_owned(), value.clone());
        }
    }
    let mut task = Task::new(
        &task_name(spawner_name, item),
        TaskSpec {
            agent: template.agent,
            prompt,
            credentials: template.credentials.clone(),
            model: template.model.clone(),
            effort: template.effort.clone(),
            image: template.image.clone(),
            workspace_ref: template.workspace_ref.clone(),
            agent_config_ref: template.agent_config_ref.clone(),
            agent_config_refs: template.agent_config_refs.clone(),
            depends_on: template.depends_on.clone(),
            branch,
            upstream_repo: template.upstream_repo.clone(),
            ttl_seconds_after_finished: template.ttl_seconds_after_finished,
            pod_overrides: template.pod_overrides.clone(),
        },
    );
    task.metadata = ObjectMeta {
        name: task.metadata.name,
        namespace: spawner.metadata.namespace.clone(),
        labels: Some(labels_of_task),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    Ok(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Task {
        let spawner: TaskSpawner = serde_json::from_value(json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "TaskSpawner",
            "metadata": {"name": "Nightly", "annotations": {labels::CONFIG_FILE: "a.yaml"}},
            "spec": {
                "when": {"cron": {"schedule": "0 9 * * *"}},
                "taskTemplate": {"type": "shell", "promptTemplate": script},
            },
        }))
        .unwrap();
        task_for(&spawner, &tick("0 9 * * *", "2026-03-01T09:00:00Z".parse().unwrap())).unwrap()
    }

    #[test]
    fn a_tick_becomes_a_task_that_says_where_it_comes_from() {
        let task = shell("true");
        assert_eq!(task.metadata.name.as_deref(), Some("nightly-20260301-0900"));
        let annotations = task.metadata.annotations.unwrap();
        assert_eq!(annotations[labels::SCHEDULED_AT], "2026-03-01T09:00:00Z");
        assert_eq!(annotations[labels::CONFIG_FILE], "a.yaml");
        assert_eq!(annotations[labels::WORK_ITEM], "20260301-0900");
    }

    #[test]
    fn a_script_has_times_and_ids_filled_in_and_keeps_braces_of_its_own() {
        assert_eq!(shell("echo {{.Time}} {{.ID}}").spec.prompt, "echo 2026-03-01T09:00:00Z 20260301-0900");
        let own = "docker inspect --format '{{.State}}'";
        assert_eq!(shell(own).spec.prompt, own);
        assert_eq!(shell("echo {{").spec.prompt, "echo {{");
    }

    /// Labels and annotations of the Tasks that spawners make, whatever the source of the item.
    #[test]
    fn recorded_metadata_agrees_with_upstream() {
        let mut variables: BTreeMap<String, Value> = BTreeMap::new();
        let mut cases = 0;
        for line in include_str!("../../tests/testdata/upstream/metadata.jsonl").lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            if let Some(name) = case["fixture"].as_str() {
                variables.insert(name.to_owned(), case["variables"].clone());
                continue;
            }
            cases += 1;
            let input = &case["input"];
            let map = |field: &str| if input[field].is_null() { json!({}) } else { input[field].clone() };
            let spawner: TaskSpawner = serde_json::from_value(json!({
                "apiVersion": "kelos.dev/v1alpha1", "kind": "TaskSpawner", "metadata": {"name": input["spawner"]},
                "spec": {
                    "when": {"cron": {"schedule": "0 9 * * *"}},
                    "taskTemplate": {
                        "type": "claude-code", "credentials": {"type": "none"}, "promptTemplate": "x",
                        "metadata": {"labels": map("labels"), "annotations": map("annotations")},
                    },
                },
            }))
            .unwrap();
            let variables = variables[input["fixture"].as_str().unwrap()].as_object().unwrap().clone();
            let item = WorkItem { id: "1".to_owned(), variables, scheduled_at: None };
            let task = task_for(&spawner, &item);
            let Some(expected) = case.get("output") else {
                // Here every variable exists for every source, with its empty value; upstream misses some of some.
                let error = case["error"].as_str().unwrap();
                let missed =
                    error.split_once("no entry for key \"").and_then(|(_, rest)| rest.split_once('"'));
                let is_meant = missed.is_some_and(|(name, _)| crate::domain::variables::find(name).is_some());
                assert_eq!(task.is_ok(), is_meant, "{case}: {task:?}");
                continue;
            };
            let metadata = task.unwrap_or_else(|error| panic!("{case}: {error}")).metadata;
            assert_eq!(json!(metadata.labels), expected["labels"], "{case}");
            let mut annotations = metadata.annotations.unwrap();
            // What we add says where the Task comes from.
            annotations.retain(|key, _| ![labels::WORK_ITEM, labels::PROMPT_DIGEST].contains(&key.as_str()));
            let expected =
                if expected["annotations"].is_null() { json!({}) } else { expected["annotations"].clone() };
            assert_eq!(json!(annotations), expected, "{case}");
        }
        assert!(cases > 40, "only {cases} cases");
    }
}
