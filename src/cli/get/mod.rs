//! `kelos get`

pub(super) mod cells;
mod detail;
pub(super) mod runs;
mod table;
mod watch;

use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams};

use crate::api::kind::Kind;
use crate::api::labels;
use crate::api::phase::TaskPhase;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::get::watch::Watch;
use crate::cli::output::{self, Format};
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, kinds, server};
use crate::clock;

/// Show objects, or runs
///
/// 'runs' are the records of Tasks that ended and the Tasks that have not: outcome, duration, cost, tokens, and which
/// revision of which prompt it was.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kelos get tasks --watch
  kelos get task greeting-sign -d
  kelos get runs --spawner heartbeat
  kelos get taskspawners -o yaml")]
pub(super) struct GetArguments {
    /// Kind of the objects: task, taskspawner (ts), workspace (ws), agentconfig (ac), configrepository (cfg),
    /// runrecord (rr); or runs
    #[arg(value_parser = what)]
    kind: What,
    /// Name of one object, or of the Task of a run; all of them without it
    #[arg(value_parser = kinds::object_name)]
    name: Option<String>,
    /// Go on and show every change
    #[arg(short, long, conflicts_with = "detail")]
    watch: bool,
    /// How they are printed for programs
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Everything that matters about an object, line by line
    #[arg(short, long, conflicts_with = "output")]
    detail: bool,
    /// Objects of all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
    /// Only Tasks in this phase
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    phase: Option<TaskPhase>,
    /// Only Tasks and runs of this TaskSpawner
    #[arg(long, value_name = "NAME", value_parser = kinds::object_name)]
    spawner: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Objects of a kind.
    Objects(Kind),
    /// Runs, whatever object tells of them.
    Runs,
}

fn what(text: &str) -> Result<What, String> {
    if ["run", "runs"].contains(&text.to_lowercase().as_str()) {
        return Ok(What::Runs);
    }
    kinds::parse(text).map(What::Objects).map_err(|error| format!("{error}, runs"))
}

/// Reads a phase in any case.
fn phase(text: &str) -> Result<TaskPhase, String> {
    let known = TaskPhase::ALL.iter().copied().find(|phase| phase.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| {
        let all: Vec<&str> = TaskPhase::ALL.iter().map(|phase| phase.as_str()).collect();
        format!("no phase is called so; known are {}", all.join(", "))
    })
}

pub(super) async fn run(
    arguments: &GetArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let kind = match arguments.kind {
        What::Objects(kind) => kind,
        What::Runs => return runs_of(arguments, global, environment, printer).await,
    };
    if arguments.phase.is_some() && kind != Kind::Task {
        return Err(CommandError::usage(format!(
            "--phase is about Tasks; a {} has no such phase",
            kind.as_str()
        )));
    }
    if arguments.spawner.is_some() && kind != Kind::Task {
        return Err(CommandError::usage(format!(
            "--spawner is about Tasks and runs; a {} has none",
            kind.as_str()
        )));
    }
    let is_shown = |object: &DynamicObject| {
        arguments.phase.is_none_or(|phase| cells::text(object, "/status/phase") == phase.as_str())
            && (arguments.spawner.is_none()
                || object.labels().get(labels::TASK_SPAWNER) == arguments.spawner.as_ref())
    };
    let server = server::connect(global, environment).await?;
    let api = if arguments.all_namespaces {
        kinds::api_everywhere(&server, kind)
    } else {
        kinds::api(&server, kind)
    };
    if arguments.watch {
        let name = arguments.name.as_deref();
        let watch = Watch { kind, name, format: arguments.output, with_namespace: arguments.all_namespaces };
        return watch.follow(api, is_shown, printer).await;
    }
    if let Some(name) = &arguments.name {
        let object = api.get(name).await?;
        match arguments.output {
            Some(format) => output::print_one(kind, &object, format, printer)?,
            None if arguments.detail => printer.data(detail::text(kind, &object, clock::system().now()))?,
            None => printer.data(table::text(kind, &[object], false, clock::system().now()))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut objects = api.list(&ListParams::default()).await?.items;
    objects.retain(is_shown);
    let now = clock::system().now();
    match arguments.output {
        Some(format) => output::print_list(kind, &objects, format, printer)?,
        None if objects.is_empty() => {
            let place = if arguments.all_namespaces { "any namespace" } else { &server.namespace };
            let phase = arguments.phase.map(|phase| format!(" in phase {phase}")).unwrap_or_default();
            let spawner = arguments.spawner.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
            printer.message(format_args!("No {}{spawner}{phase} in {place}", kind.plural()));
        }
        None if arguments.detail => {
            let texts: Vec<String> = objects.iter().map(|object| detail::text(kind, object, now)).collect();
            printer.data(texts.join("\n"))?;
        }
        None => printer.data(table::text(kind, &objects, arguments.all_namespaces, now))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn runs_of(
    arguments: &GetArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    if arguments.phase.is_some() || arguments.watch || arguments.detail {
        return Err(CommandError::usage("runs have no --phase, --watch and --detail")
            .hint("'kelos get tasks --watch' shows how Tasks advance"));
    }
    let server = server::connect(global, environment).await?;
    runs::run(arguments, &server, printer).await
}
