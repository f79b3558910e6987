//! `kelos history`

mod ledger;

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::api::kind::Kind;
use crate::api::labels;
use crate::api::run_record::RunRecord;
use crate::api::task_spawner::TaskSpawner;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::get::cells::rough;
use crate::cli::get::runs::{defined_at, dollars, short, tokens};
use crate::cli::output::{self, Format};
use crate::cli::printer::{Printer, table};
use crate::cli::server::Server;
use crate::cli::{GlobalArguments, kinds, server};
use crate::clock;
use crate::domain::history::{self, EndedRun, History, PromptRevision, Subject, SubjectKind};

/// Show what became of each revision of a prompt
///
/// One row for each revision: how often it ran, how many of the runs that its agent brought to an end succeeded, what
/// they cost, their median duration, and where in git it is defined. It reads the RunRecords of the API and, for those
/// that are gone, the ledger on the status branch.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kelos history heartbeat
  kelos history task greeting-sign
  kelos history heartbeat -o json")]
pub(super) struct HistoryArguments {
    /// Name of a TaskSpawner, or of a Task that no spawner made; the word taskspawner or task may stand before it
    #[arg(value_name = "[taskspawner] NAME", num_args = 1..=2, required = true)]
    target: Vec<String>,
    /// Ask the API alone, and not the status branch
    #[arg(long)]
    no_ledger: bool,
    /// How it is printed for programs
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<HistoryFormat>,
}

/// How a history is printed for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum HistoryFormat {
    /// YAML
    Yaml,
    /// JSON
    Json,
}

pub(super) async fn run(
    arguments: &HistoryArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let (kind, name) = target(&arguments.target)?;
    let server = server::connect(global, environment).await?;
    let records: Api<RunRecord> = Api::namespaced(server.client.clone(), &server.namespace);
    let records = records.list(&ListParams::default()).await?.items;
    // Records come first: of a run that is in both they know as much as the ledger, or more.
    let mut runs: Vec<EndedRun> = records.iter().map(|record| EndedRun::of_record(&record.spec)).collect();
    runs.retain(|run| run.subject().name == name);
    let spawner: Api<TaskSpawner> = Api::namespaced(server.client.clone(), &server.namespace);
    let spawner = spawner.get_opt(name).await?;
    if !arguments.no_ledger {
        let owner = spawner.as_ref().and_then(|spawner| spawner.labels().get(labels::OWNER_UID));
        runs.extend(ledger::runs(&server, name, owner.map(String::as_str), printer).await?);
    }
    let mut histories = history::histories(runs);
    histories.retain(|history| {
        history.subject.name == name && kind.is_none_or(|kind| kind == history.subject.kind)
    });
    // A spawner comes before a Task of the same name.
    let Some(history) = histories.into_iter().next() else {
        return nothing(&server, name, spawner.is_some(), arguments, printer);
    };
    match arguments.output {
        None => printer.data(text(&history, clock::system().now()))?,
        Some(format) => print(&history, format, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what is meant out of `NAME`, `KIND NAME` or `KIND/NAME`.
fn target(words: &[String]) -> Result<(Option<SubjectKind>, &str), CommandError> {
    let (kind, name) = match words {
        [name] => name.split_once('/').map_or((None, name.as_str()), |(kind, name)| (Some(kind), name)),
        [kind, name] => (Some(kind.as_str()), name.as_str()),
        _ => return Err(CommandError::usage("name one TaskSpawner or Task")),
    };
    let kind = match kind.map(kinds::parse) {
        None => None,
        Some(Ok(Kind::TaskSpawner)) => Some(SubjectKind::TaskSpawner),
        Some(Ok(Kind::Task)) => Some(SubjectKind::Task),
        Some(Ok(_) | Err(_)) => {
            return Err(CommandError::usage("a taskspawner and a task have a history, and nothing else has"));
        }
    };
    kinds::object_name(name).map_err(|error| CommandError::usage(format!("the name {name:?} {error}")))?;
    Ok((kind, name))
}

/// Tells that no run has ended; a name that nothing has is a mistake.
fn nothing(
    server: &Server,
    name: &str,
    is_spawner: bool,
    arguments: &HistoryArguments,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    if !is_spawner {
        return Err(CommandError::user_message(format!(
            "no run of a TaskSpawner or Task {name} is known in {}",
            server.namespace
        ))
        .hint("'kelos get runs' shows what ran; -n chooses the namespace"));
    }
    let subject = Subject { kind: SubjectKind::TaskSpawner, name: name.to_owned() };
    match arguments.output {
        None => printer.message(format_args!("No run of taskspawner/{name} has ended yet")),
        Some(format) => print(&History { subject, revisions: Vec::new() }, format, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(history: &History, format: HistoryFormat, printer: Printer) -> Result<(), CommandError> {
    let value = serde_json::to_value(history).map_err(CommandError::internal)?;
    let format = match format {
        HistoryFormat::Yaml => Format::Yaml,
        HistoryFormat::Json => Format::Json,
    };
    output::print(&value, format, printer)
}

fn text(history: &History, now: Timestamp) -> String {
    let headings = [
        "PROMPT",
        "RUNS",
        "SUCCESS",
        "COST",
        "COST/RUN",
        "TOKENS",
        "MEDIAN",
        "LAST OUTCOME",
        "LAST RUN",
        "DEFINED AT",
    ];
    let row = |revision: &PromptRevision| {
        vec![
            revision.prompt_digest.as_deref().map(short).unwrap_or_default(),
            revision.runs.to_string(),
            success(revision),
            revision.cost.map(dollars).unwrap_or_default(),
            revision.cost_per_run().map(dollars).unwrap_or_default(),
            tokens(revision.input_tokens, revision.output_tokens),
            revision.median_seconds.map(rough).unwrap_or_default(),
            revision.last_outcome.clone(),
            format!("{} ago", rough(now.duration_since(revision.last_ended).as_secs())),
            defined_at(
                revision.source_file.as_deref(),
                revision.source_line,
                revision.source_revision.as_deref(),
            ),
        ]
    };
    table(&headings, &history.revisions.iter().map(row).collect::<Vec<_>>())
}

/// Returns the share of success among the runs that say something about the prompt: `75% (3 of 4)`.
fn success(revision: &PromptRevision) -> String {
    match revision.success_percent() {
        None => String::new(),
        Some(percent) => format!("{percent}% ({} of {})", revision.succeeded, revision.judged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_may_be_left_out() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        assert_eq!(target(&words(&["a"])).unwrap(), (None, "a"));
        for spawner in [&["ts", "a"][..], &["taskspawner/a"]] {
            assert_eq!(target(&words(spawner)).unwrap(), (Some(SubjectKind::TaskSpawner), "a"));
        }
        assert_eq!(target(&words(&["task/a"])).unwrap(), (Some(SubjectKind::Task), "a"));
        assert!(target(&words(&["ws", "a"])).is_err());
    }
}
