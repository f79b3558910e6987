//! `kelos up`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::kinds;
use crate::cli::printer::Printer;
use crate::cli::run_options::RunOptions;
use crate::daemon;
use crate::daemon::config::{Config, RepositoryConfig};
use crate::ledger::report::WriterName;

/// Run the control plane on this machine, in the foreground
///
/// Serves the API on loopback, runs Tasks as local processes, and follows config repositories. The first Ctrl-C starts
/// nothing new and ends the daemon; runs go on and are taken up again by the next start. 'kelos down' does the same from
/// elsewhere, and 'kelos down --stop-runs' cancels the runs first.
#[derive(Debug, Args)]
pub(super) struct UpArguments {
    /// Folder that holds everything; it is private to you
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// URL or path of a config repository, which becomes the ConfigRepository 'default'
    #[arg(long, value_name = "URL")]
    repo: Option<String>,
    /// Branch of the config repository; by default that of its HEAD
    #[arg(long, requires = "repo")]
    branch: Option<String>,
    /// Folder with the definitions, from the root of the config repository
    #[arg(long, requires = "repo")]
    path: Option<String>,
    /// How often the config repository is asked
    #[arg(long, requires = "repo", value_name = "DURATION", value_parser = duration)]
    interval: Option<String>,
    /// Secret with the credential for the config repository: token, or username and password, or identity and known_hosts
    #[arg(long, requires = "repo", value_name = "NAME", value_parser = kinds::object_name)]
    repo_secret: Option<String>,
    /// Name of this daemon's folder on the status branch; by default one that no other data folder has
    #[arg(long, requires = "repo", value_name = "NAME", value_parser = writer)]
    report_writer: Option<String>,
    /// Where the API listens; a port of 0 takes the port of the last start, or any
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many runs may go on at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    slots: u16,
    /// Program for an agent type or an image, as claude-code=/opt/claude or ghcr.io/me/agent=./entrypoint.sh; can be given several times
    #[arg(long = "agent", value_name = "NAME=PROGRAM", value_parser = agent_program)]
    agents: Vec<(String, PathBuf)>,
    #[command(flatten)]
    runs: RunOptions,
}

fn duration(text: &str) -> Result<String, String> {
    match crate::api::duration::parse(text) {
        Ok(duration) if duration.is_zero() => Err("an interval of nothing would never rest".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn writer(text: &str) -> Result<String, String> {
    match WriterName::parse(text) {
        // What the field of the ConfigRepository takes.
        Ok(_) if text.len() <= 63 => Ok(text.to_owned()),
        Ok(_) => Err("it has more than 63 characters".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn agent_program(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, program)) if !name.is_empty() && !program.is_empty() => {
            Ok((name.to_owned(), program.into()))
        }
        _ => Err("an agent type or an image, an equals sign, and a program are needed".to_owned()),
    }
}

pub(super) async fn run(
    arguments: UpArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    daemon::start_logging();
    let data_dir = arguments.data_dir.or_else(|| environment.data_dir.clone()).ok_or_else(|| {
        CommandError::user_message("no folder for the data is known, because HOME is not set")
            .hint("Name one with --data-dir")
    })?;
    if !arguments.listen.ip().is_loopback() {
        return Err(CommandError::usage(format!("{} is not a loopback address", arguments.listen.ip()))
            .hint("The API runs programs as you; it is only served on this machine"));
    }
    let repository = arguments.repo.map(|url| RepositoryConfig {
        url: absolute(&url),
        branch: arguments.branch,
        path: arguments.path,
        interval: arguments.interval,
        secret: arguments.repo_secret,
        report_writer: arguments.report_writer,
    });
    let config = Config {
        data_dir,
        listen: arguments.listen,
        repository,
        slots: usize::from(arguments.slots),
        runs: arguments.runs.config(),
        program: std::env::current_exe()?,
        search_path: environment.search_path.clone(),
        proxies: environment.proxies.clone(),
        git_environment: environment.for_git.clone(),
        install_environment: environment.for_installers.clone(),
        agents: arguments.agents.into_iter().map(|(name, program)| (name, in_full(program))).collect(),
        user_home: environment.home.clone(),
        announcements: environment.announcements.clone(),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // By this signal 'kelos down --stop-runs' asks.
    let mut stop_runs = signal(SignalKind::user_defined1())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = stop_runs.recv() => {
                tracing::info!("Asked to end: nothing new is started, and runs are cancelled");
                return daemon::Stop::StopRuns;
            }
        }
        tracing::info!("Asked to end: nothing new is started, and runs go on");
        daemon::Stop::LeaveRuns
    };
    let ready = |ready: &daemon::Ready| {
        printer.message(format_args!(
            "kelos is ready at https://{}\n  export KUBECONFIG={}",
            ready.address,
            ready.kubeconfig.display()
        ));
    };
    daemon::up(config, stop, ready).await.map_err(CommandError::user)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the path of a program in full; a name without a slash stays one, to be looked up for each run.
fn in_full(program: PathBuf) -> PathBuf {
    if program.components().count() > 1 { std::path::absolute(&program).unwrap_or(program) } else { program }
}

/// Returns a path on this machine as an absolute one, and a URL as it is.
fn absolute(url: &str) -> String {
    let path = std::path::Path::new(url);
    if url.contains("://") || !path.exists() {
        return url.to_owned();
    }
    path.canonicalize().map_or_else(|_| url.to_owned(), |path| path.display().to_string())
}
