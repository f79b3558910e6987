//! The reference pages, written from the same schemas and words.

use std::fmt::Write as _;

use serde_json::Value;

use crate::api::condition::{ConditionType, Reason};
use crate::api::kind::Kind;
use crate::api::phase::{TaskPhase, TaskSpawnerPhase};
use crate::api::rule::RULES;
use crate::api::run_record::{Departure, RunEffect, RunOutcome};
use crate::api::schema::{DO_NOT_EDIT, crd};

/// Returns the page on kinds and their fields.
pub(super) fn api() -> String {
    let mut page = format!("<!-- {DO_NOT_EDIT} -->\n\n# Kinds and fields\n\n");
    page.push_str(
        "A field is listed by its path; `[]` stands for an item of a list, `{}` for a value of a map. \
         Fields under `status` are written by Kelos and have no place in git.\n",
    );
    for kind in Kind::ALL {
        write_kind(&mut page, *kind);
    }
    page
}

/// Returns the page on conditions, reasons and the other words of a status.
pub(super) fn conditions() -> String {
    let mut page = format!("<!-- {DO_NOT_EDIT} -->\n\n# Conditions, reasons, phases\n\n");
    page.push_str(
        "The transition time of a condition changes only when its status does. A reason stands in conditions, in \
         `status.reason` of a Task and in `spec.reason` of a RunRecord.\n",
    );
    let words = |page: &mut String, title: &str, head: &str, rows: Vec<(&str, &str)>| {
        let _infallible = write!(page, "\n## {title}\n\n| {head} | meaning |\n| --- | --- |\n");
        for (word, meaning) in rows {
            let _infallible = writeln!(page, "| `{word}` | {} |", cell(meaning));
        }
    };
    let rows = |pairs: Vec<(&'static str, &'static str)>| pairs;
    words(
        &mut page,
        "Conditions",
        "type",
        rows(ConditionType::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect()),
    );
    words(
        &mut page,
        "Reasons",
        "reason",
        rows(Reason::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect()),
    );
    words(
        &mut page,
        "Phases of a Task",
        "phase",
        rows(TaskPhase::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect()),
    );
    words(
        &mut page,
        "Phases of a TaskSpawner",
        "phase",
        rows(TaskSpawnerPhase::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect()),
    );
    words(
        &mut page,
        "Outcomes of a run",
        "outcome",
        rows(RunOutcome::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect()),
    );
    words(
        &mut page,
        "Effects of a run",
        "effect",
        rows(RunEffect::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect()),
    );
    words(
        &mut page,
        "Departures of a Task",
        "departure",
        rows(Departure::ALL.iter().map(|word| (word.as_str(), word.meaning())).collect()),
    );
    page
}

fn write_kind(page: &mut String, kind: Kind) {
    let definition = crd(kind);
    let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let _infallible = write!(page, "\n## {kind}\n\n`{}`: {}\n", kind.api_version(), kind.meaning());
    let names = definition["spec"]["names"]["shortNames"].as_array().into_iter().flatten();
    let short: Vec<String> = names.filter_map(Value::as_str).map(|name| format!("`{name}`")).collect();
    if !short.is_empty() {
        let _infallible = write!(page, "\nShort name: {}\n", short.join(", "));
    }
    page.push_str("\n| field | type | meaning |\n| --- | --- | --- |\n");
    for part in ["spec", "status"] {
        if let Some(schema) = root["properties"].get(part) {
            write_fields(page, part, schema);
        }
    }
    let rules: Vec<_> = RULES.iter().filter(|rule| rule.kind == kind).collect();
    if rules.is_empty() {
        return;
    }
    page.push_str("\n| where | rule |\n| --- | --- |\n");
    for rule in rules {
        let path = if rule.path.is_empty() { "(object)" } else { &rule.path };
        let _infallible = writeln!(page, "| `{}` | {} |", path.replace("[*]", "[]"), cell(rule.message));
    }
}

fn write_fields(page: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let mut meaning = cell(field["description"].as_str().unwrap_or_default());
        for note in notes(field, required.contains(&name.as_str())) {
            let _infallible = write!(meaning, " {note}");
        }
        let _infallible = writeln!(page, "| `{path}` | {} | {} |", type_of(field), meaning.trim());
        write_fields(page, &path, field);
        write_fields(page, &format!("{path}[]"), &field["items"]);
        write_fields(page, &format!("{path}{{}}"), &field["additionalProperties"]);
    }
}

fn type_of(field: &Value) -> String {
    match field["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&field["items"])),
        Some("object") if field["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&field["additionalProperties"]))
        }
        Some("string") if field["format"] == "date-time" => "time".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "any".to_owned(),
    }
}

fn notes(field: &Value, required: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if required {
        notes.push("Required.".to_owned());
    }
    if let Some(default) = field.get("default") {
        notes.push(format!("Default `{default}`."));
    }
    if let Some(members) = field["enum"].as_array() {
        let members: Vec<String> = members.iter().map(|member| format!("`{member}`")).collect();
        notes.push(format!("One of {}.", members.join(", ")));
    }
    for (key, word) in [
        ("minimum", "At least"),
        ("maximum", "At most"),
        ("minLength", "At least this long:"),
        ("maxLength", "At most this long:"),
        ("minItems", "At least this many:"),
        ("maxItems", "At most this many:"),
    ] {
        if let Some(limit) = field.get(key) {
            notes.push(format!("{word} {limit}."));
        }
    }
    if let Some(pattern) = field["pattern"].as_str() {
        notes.push(format!("Matches `{}`.", cell(pattern)));
    }
    notes
}

/// Text as a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
