//! `kelos runner`: the side of a run that the daemon starts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::command_error::CommandError;
use crate::runner;

/// Carry out one step of a run
#[derive(Debug, Args)]
pub(super) struct RunnerArguments {
    /// Which step
    step: Step,
    /// Folder of the run
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Step {
    /// All of it
    Run,
    /// Make the workspace
    Prepare,
    /// Install the packages of skills
    Skills,
    /// Run setup and agent
    Exec,
    /// Leave the namespaces of the machine, for exec
    Enclose,
    /// Run setup and agent in a world of their own, for exec
    Enter,
}

pub(super) fn run(arguments: &RunnerArguments) -> Result<ExitCode, CommandError> {
    match arguments.step {
        Step::Run => runner::run(&arguments.folder).map(|_| ExitCode::SUCCESS).map_err(CommandError::user),
        Step::Prepare => runner::prepare(&arguments.folder).map(Into::into).map_err(CommandError::user),
        Step::Skills => runner::install_skills(&arguments.folder).map(Into::into).map_err(CommandError::user),
        Step::Exec => runner::exec(&arguments.folder).map(Into::into).map_err(CommandError::user),
        Step::Enclose => runner::enclose(&arguments.folder).map(Into::into).map_err(CommandError::user),
        Step::Enter => runner::enter(&arguments.folder).map(Into::into).map_err(CommandError::user),
    }
}
