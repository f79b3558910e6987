//! `kelos suspend` and `kelos resume`
//!
//! The field is written under a name of our own, by which a config repository sees that a person set it, and leaves it
//! alone until the person resumes.

use std::process::ExitCode;

use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::api::kind::Kind;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{FIELD_MANAGER, GlobalArguments, kinds, server};

/// Stop a TaskSpawner from creating Tasks
///
/// Tasks that exist go on. A config repository does not undo it.
#[derive(Debug, Args)]
pub(super) struct SuspendArguments {
    #[command(flatten)]
    target: Target,
}

/// Let a suspended TaskSpawner create Tasks again
#[derive(Debug, Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// Kind of the object: taskspawner (ts)
    #[arg(value_parser = |text: &str| kinds::parse_only(text, Kind::TaskSpawner))]
    kind: Kind,
    /// Name of the TaskSpawner
    #[arg(value_parser = kinds::object_name)]
    name: String,
}

pub(super) async fn suspend(
    arguments: &SuspendArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    set(&arguments.target, true, global, environment, printer).await
}

pub(super) async fn resume(
    arguments: &ResumeArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    set(&arguments.target, false, global, environment, printer).await
}

async fn set(
    target: &Target,
    suspend: bool,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let server = server::connect(global, environment).await?;
    let api = kinds::api(&server, target.kind);
    let object = api.get(&target.name).await?;
    let name = &target.name;
    if object.data.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or_default() == suspend {
        let state = if suspend { "already" } else { "not" };
        printer.line(format_args!("taskspawner/{name} is {state} suspended"))?;
        return Ok(ExitCode::SUCCESS);
    }
    server.tell(printer);
    let change = json!({"spec": {"suspend": suspend}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(&change)).await?;
    let done = if suspend { "suspended" } else { "resumed" };
    printer.line(format_args!("taskspawner/{name} {done}"))?;
    Ok(ExitCode::SUCCESS)
}
