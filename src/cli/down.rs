//! `kelos down`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::api::duration;
use crate::api::run::GRACE_SECONDS;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::daemon::home::{self, DataDir};
use crate::executor::Executor as _;
use crate::executor::local::{self, Local};
use crate::process::tree;

/// How often the daemon is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a run may take to end after it was asked to; then it is ended by force.
const GRACE: Duration = Duration::from_secs(GRACE_SECONDS);

/// Stop the running 'kelos up'
///
/// It starts nothing new and ends. Runs go on without it, and the next 'kelos up' takes them up again; --stop-runs
/// cancels them first, and their Tasks end as Failed with the reason Cancelled. When nothing runs, nothing is done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kelos down
  kelos down --stop-runs
  kelos down --data-dir /srv/kelos")]
pub(super) struct DownArguments {
    /// Data folder of the daemon; by default that of the daemon which you started last
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Cancel the runs, and leave no process behind
    #[arg(long)]
    stop_runs: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    timeout: Duration,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(
    arguments: &DownArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let folder = folder(arguments, environment)?;
    let data = DataDir::at(&folder);
    let shown = data.root().display();
    match data.process() {
        Some(daemon) => {
            printer.message(format_args!("stopping process {}, which keeps its data in {shown}", daemon.pid));
            let asked = if arguments.stop_runs {
                tree::ask_to_end_with_runs(daemon)
            } else {
                tree::ask_to_end(daemon)
            };
            if !asked && data.process().is_some() {
                return Err(CommandError::user_message(format!(
                    "process {} cannot be signalled",
                    daemon.pid
                )));
            }
            wait(&data, arguments.timeout).await?;
            printer.line("kelos up stopped")?;
        }
        None => printer.line(format_args!("no kelos up runs in {shown}"))?,
    }
    if arguments.stop_runs {
        stop_left(data.root(), printer).await?;
    }
    let mut left = going_on(data.root())?;
    // A runner writes its result before it ends itself.
    let until = Instant::now() + GRACE;
    while arguments.stop_runs && !left.is_empty() && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        left = going_on(data.root())?;
    }
    if left.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.stop_runs {
        return Err(CommandError::user_message(format!("these runs did not end: {}", left.join(", "))));
    }
    // What the user would have to type: without the flag another folder may be meant by then.
    let is_default =
        environment.data_dir.as_deref().is_some_and(|usual| DataDir::at(usual).root() == data.root());
    let flag = if is_default { String::new() } else { format!(" --data-dir {shown}") };
    printer.message(format_args!(
        "These runs go on: {}\nHint: the next 'kelos up{flag}' takes them up; 'kelos down{flag} --stop-runs' ends them",
        left.join(", ")
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns the data folder that is meant.
fn folder(arguments: &DownArguments, environment: &Environment) -> Result<PathBuf, CommandError> {
    if let Some(folder) = &arguments.data_dir {
        if !folder.is_dir() {
            return Err(CommandError::user_message(format!("there is no folder {}", folder.display()))
                .hint("--data-dir is the folder that 'kelos up' was started with"));
        }
        return Ok(folder.clone());
    }
    let announced = environment.announcements.as_deref().and_then(home::announced);
    let announced = announced.and_then(|kubeconfig| DataDir::of_kubeconfig(&kubeconfig));
    announced.or_else(|| environment.data_dir.clone()).ok_or_else(|| {
        CommandError::user_message("no folder for the data is known, because HOME is not set")
            .hint("Name one with --data-dir")
    })
}

async fn wait(data: &DataDir, patience: Duration) -> Result<(), CommandError> {
    let until = Instant::now() + patience;
    while let Some(daemon) = data.process() {
        if Instant::now() >= until {
            return Err(CommandError::user_message(format!(
                "process {} did not end within {patience:?}",
                daemon.pid
            ))
            .hint(format!("--timeout waits longer; 'kill -9 {}' ends it, and loses nothing", daemon.pid)));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Ends the runs that no daemon looks after; the next start writes down how their Tasks ended.
async fn stop_left(root: &Path, printer: Printer) -> Result<(), CommandError> {
    let left = local::going_on(root).map_err(CommandError::user)?;
    if left.is_empty() {
        return Ok(());
    }
    printer
        .message(format_args!("runs that are cancelled: {}; the next 'kelos up' records them", left.len()));
    let executor = Local::new(root, std::env::current_exe()?, 0).map_err(CommandError::user)?;
    let ends = left.iter().map(|left| executor.stop(&left.run, GRACE));
    for end in futures::future::join_all(ends).await {
        end.map_err(CommandError::user)?;
    }
    Ok(())
}

/// Returns the Tasks whose runs go on.
fn going_on(root: &Path) -> Result<Vec<String>, CommandError> {
    let left = local::going_on(root).map_err(CommandError::user)?;
    Ok(left.into_iter().map(|left| left.task.unwrap_or(left.run)).collect())
}
