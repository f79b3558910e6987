//! `kelos get runs`: what ran and what runs, from the records of runs and from Tasks that have none yet.

use std::collections::BTreeSet;
use std::process::ExitCode;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde::Serialize;

use crate::api::kind::Kind;
use crate::api::labels;
use crate::api::run_record::RunRecord;
use crate::api::task::{Task, Usage};
use crate::cli::command_error::CommandError;
use crate::cli::get::GetArguments;
use crate::cli::get::cells::rough;
use crate::cli::kinds;
use crate::cli::output::{self, Format};
use crate::cli::printer::{Printer, table};
use crate::cli::server::Server;
use crate::clock;
use crate::digest;
use crate::domain::dollars::Dollars;

/// One run, as it is printed for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    namespace: String,
    task: String,
    task_uid: String,
    /// Whether the run has ended and is recorded.
    recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    spawner: Option<String>,
    /// The outcome of a run that is recorded, else the phase of its Task.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_line: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<i64>,
    #[serde(rename = "costUSD", skip_serializing_if = "Option::is_none")]
    cost: Option<Dollars>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<i64>,
    /// When there was nothing before it: its Task was made.
    #[serde(skip)]
    began: Option<Timestamp>,
}

/// Prints the runs; with a name, those of Tasks of this name.
pub(super) async fn run(
    arguments: &GetArguments,
    server: &Server,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let mut runs = runs(server, arguments.all_namespaces).await?;
    runs.retain(|run| arguments.name.as_ref().is_none_or(|name| *name == run.task));
    runs.retain(|run| arguments.spawner.is_none() || arguments.spawner == run.spawner);
    match arguments.output {
        Some(Format::Name) => {
            for run in &runs {
                let (kind, name) =
                    if run.recorded { (Kind::RunRecord, &run.task_uid) } else { (Kind::Task, &run.task) };
                printer.line(format_args!("{}.{}/{name}", kinds::name(kind), kind.group()))?;
            }
        }
        Some(format) => {
            let list = serde_json::to_value(&runs).map_err(CommandError::internal)?;
            output::print(&list, format, printer)?;
        }
        None if runs.is_empty() => {
            let place = if arguments.all_namespaces { "any namespace" } else { &server.namespace };
            printer.message(format_args!("No runs in {place}"));
        }
        None => printer.data(rows(&runs, arguments.all_namespaces, clock::system().now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns all runs, those that have not ended first, then the newest.
async fn runs(server: &Server, everywhere: bool) -> Result<Vec<Run>, CommandError> {
    let client = server.client.clone();
    let (records, tasks): (Api<RunRecord>, Api<Task>) = if everywhere {
        (Api::all(client.clone()), Api::all(client))
    } else {
        (Api::namespaced(client.clone(), &server.namespace), Api::namespaced(client, &server.namespace))
    };
    // Tasks first: a run that ends between the two lists is in both, and in none the other way round.
    let tasks = tasks.list(&ListParams::default()).await?.items;
    let records = records.list(&ListParams::default()).await?.items;
    let recorded: BTreeSet<&str> = records.iter().map(|record| record.spec.task_uid.as_str()).collect();
    let live = tasks.iter().filter(|task| !task.uid().is_some_and(|uid| recorded.contains(uid.as_str())));
    let mut runs: Vec<Run> = live.map(of_task).chain(records.iter().map(of_record)).collect();
    runs.sort_by(|left, right| {
        let key =
            |run: &Run| (run.completion_time.is_some(), std::cmp::Reverse(run.completion_time.or(run.began)));
        key(left).cmp(&key(right)).then_with(|| left.task.cmp(&right.task))
    });
    Ok(runs)
}

fn of_record(record: &RunRecord) -> Run {
    let spec = &record.spec;
    let (cost, input_tokens, output_tokens) = usage(spec.usage.as_ref());
    Run {
        namespace: record.namespace().unwrap_or_default(),
        task: spec.task_name.clone(),
        task_uid: spec.task_uid.clone(),
        recorded: true,
        spawner: spec.spawner.clone(),
        state: spec.outcome.as_str().to_owned(),
        reason: spec.reason.clone(),
        prompt_digest: spec.prompt_digest.clone(),
        source_revision: spec.source_revision.clone(),
        source_file: spec.source_file.clone(),
        source_line: spec.source_line,
        start_time: spec.start_time.as_ref().map(|time| time.0),
        completion_time: Some(spec.completion_time.0),
        duration_seconds: spec.duration_seconds,
        cost,
        input_tokens,
        output_tokens,
        began: None,
    }
}

fn of_task(task: &Task) -> Run {
    let status = task.status.clone().unwrap_or_default();
    let annotation = |key: &str| task.annotations().get(key).cloned();
    let (cost, input_tokens, output_tokens) = usage(status.usage.as_ref());
    let start_time = status.start_time.map(|time| time.0);
    let completion_time = status.completion_time.map(|time| time.0);
    let prompt = annotation(labels::PROMPT_DIGEST).or_else(|| Some(digest::sha256_hex(&task.spec.prompt)));
    Run {
        namespace: task.namespace().unwrap_or_default(),
        task: task.name_any(),
        task_uid: task.uid().unwrap_or_default(),
        recorded: false,
        spawner: task.labels().get(labels::TASK_SPAWNER).cloned(),
        state: status.phase.map_or("New", |phase| phase.as_str()).to_owned(),
        reason: status.reason,
        prompt_digest: prompt,
        source_revision: annotation(labels::CONFIG_REVISION),
        source_file: annotation(labels::CONFIG_FILE),
        source_line: annotation(labels::CONFIG_LINE).and_then(|line| line.parse().ok()),
        start_time,
        completion_time,
        duration_seconds: start_time
            .zip(completion_time)
            .map(|(start, end)| end.duration_since(start).as_secs()),
        cost,
        input_tokens,
        output_tokens,
        began: task.creation_timestamp().map(|time| time.0),
    }
}

fn usage(usage: Option<&Usage>) -> (Option<Dollars>, Option<i64>, Option<i64>) {
    let Some(usage) = usage else { return (None, None, None) };
    let cost = usage.cost_usd.as_ref().and_then(|cost| Dollars::parse(&cost.0));
    (cost, usage.input_tokens, usage.output_tokens)
}

fn rows(runs: &[Run], with_namespace: bool, now: Timestamp) -> String {
    let mut headings =
        vec!["TASK", "SPAWNER", "STATE", "DURATION", "COST", "TOKENS", "PROMPT", "DEFINED AT", "ENDED"];
    if with_namespace {
        headings.insert(0, "NAMESPACE");
    }
    let row = |run: &Run| {
        let span = |seconds: i64| rough(seconds);
        let running = || run.start_time.map(|start| span(now.duration_since(start).as_secs()));
        let duration = run.duration_seconds.map(span).or_else(running);
        let mut row = vec![
            run.task.clone(),
            run.spawner.clone().unwrap_or_default(),
            state(run),
            duration.unwrap_or_default(),
            run.cost.map(dollars).unwrap_or_default(),
            tokens(run.input_tokens, run.output_tokens),
            run.prompt_digest.as_deref().map(short).unwrap_or_default(),
            defined_at(run.source_file.as_deref(), run.source_line, run.source_revision.as_deref()),
            run.completion_time
                .map(|ended| format!("{} ago", span(now.duration_since(ended).as_secs())))
                .unwrap_or_default(),
        ];
        if with_namespace {
            row.insert(0, run.namespace.clone());
        }
        row
    };
    table(&headings, &runs.iter().map(row).collect::<Vec<_>>())
}

/// Returns outcome or phase, with the reason where it says more.
fn state(run: &Run) -> String {
    match run.reason.as_deref() {
        Some(reason) if !matches!(run.state.as_str(), "Succeeded" | "Running") && reason != run.state => {
            format!("{} ({reason})", run.state)
        }
        Some(_) | None => run.state.clone(),
    }
}

/// Returns an amount as people read it.
pub(in crate::cli) fn dollars(amount: Dollars) -> String {
    format!("${amount:.2}")
}

/// Returns tokens as `read/written`.
pub(in crate::cli) fn tokens(input: Option<impl ToString>, output: Option<impl ToString>) -> String {
    let shown = |tokens: Option<String>| tokens.unwrap_or_else(|| "?".to_owned());
    match (input.map(|tokens| tokens.to_string()), output.map(|tokens| tokens.to_string())) {
        (None, None) => String::new(),
        (input, output) => format!("{}/{}", shown(input), shown(output)),
    }
}

/// Returns the first digits of a digest or of a commit, as people quote them.
pub(in crate::cli) fn short(digest: &str) -> String {
    digest.strip_prefix("sha256:").unwrap_or(digest).chars().take(12).collect()
}

/// Returns where in git something is defined: `file:line@commit`.
pub(in crate::cli) fn defined_at(file: Option<&str>, line: Option<i64>, revision: Option<&str>) -> String {
    let Some(file) = file else { return String::new() };
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    let revision = revision.map(|revision| format!("@{}", short(revision))).unwrap_or_default();
    format!("{file}{line}{revision}")
}
