//! `kelos get`

mod cells;
mod detail;
mod table;

use std::process::ExitCode;

use clap::Args;
use kube::api::ListParams;

use crate::api::kind::Kind;
use crate::api::phase::TaskPhase;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::output::{self, Format};
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, kinds, server};
use crate::clock;

/// Show objects
#[derive(Debug, Args)]
pub(super) struct GetArguments {
    /// Kind of the objects: task, taskspawner (ts), workspace (ws), agentconfig (ac), configrepository (cfg),
    /// runrecord (rr)
    #[arg(value_parser = kinds::parse)]
    kind: Kind,
    /// Name of one object; all of them without it
    name: Option<String>,
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
    let kind = arguments.kind;
    if arguments.phase.is_some() && kind != Kind::Task {
        return Err(CommandError::usage(format!(
            "--phase is about Tasks; a {} has no such phase",
            kind.as_str()
        )));
    }
    let server = server::connect(global, environment).await?;
    let api = if arguments.all_namespaces {
        kinds::api_everywhere(&server, kind)
    } else {
        kinds::api(&server, kind)
    };
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
    if let Some(phase) = arguments.phase {
        objects.retain(|object| cells::text(object, "/status/phase") == phase.as_str());
    }
    let now = clock::system().now();
    match arguments.output {
        Some(format) => output::print_list(kind, &objects, format, printer)?,
        None if objects.is_empty() => {
            let place = if arguments.all_namespaces { "any namespace" } else { &server.namespace };
            let phase = arguments.phase.map(|phase| format!(" in phase {phase}")).unwrap_or_default();
            printer.message(format_args!("No {}{phase} in {place}", kind.plural()));
        }
        None if arguments.detail => {
            let texts: Vec<String> = objects.iter().map(|object| detail::text(kind, object, now)).collect();
            printer.data(texts.join("\n"))?;
        }
        None => printer.data(table::text(kind, &objects, arguments.all_namespaces, now))?,
    }
    Ok(ExitCode::SUCCESS)
}
