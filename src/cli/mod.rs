//! The command line: one file per command, and beside them what commands share.

mod command_error;
mod completion;
mod configuration;
mod create;
mod delete;
mod demo;
mod diff;
mod down;
mod environment;
mod get;
mod history;
mod init;
mod kinds;
mod logs;
mod new;
mod objects;
mod output;
mod plain;
mod printer;
mod reconcile;
pub mod reference;
mod render_templates;
mod run;
mod run_options;
mod runner;
mod server;
mod suspend;
mod up;
mod validate;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::process;

/// Under this name commands write fields of objects.
const FIELD_MANAGER: &str = "kelos-cli";

/// Run coding agents from a git repository of YAML definitions
#[derive(Debug, Parser)]
#[command(name = "kelos", version, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    global: GlobalArguments,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
struct GlobalArguments {
    /// Configuration file in place of ~/.kelos/config.yaml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Path of the kubeconfig of the server that is meant
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<std::path::PathBuf>,
    /// Namespace of the objects; by default that of the configuration, then that of the kubeconfig's context
    #[arg(short, long, global = true, value_parser = kinds::namespace)]
    namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArguments),
    Up(up::UpArguments),
    Down(down::DownArguments),
    New(new::NewArguments),
    Init(init::InitArguments),
    Validate(validate::ValidateArguments),
    Diff(diff::DiffArguments),
    Reconcile(reconcile::ReconcileArguments),
    Run(run::RunArguments),
    Create(create::CreateArguments),
    Get(get::GetArguments),
    History(history::HistoryArguments),
    Logs(logs::LogsArguments),
    Delete(delete::DeleteArguments),
    Suspend(suspend::SuspendArguments),
    Resume(suspend::ResumeArguments),
    Version(version::VersionArguments),
    Completion(completion::CompletionArguments),
    #[command(hide = true, name = "install", alias = "uninstall")]
    Install(InstallArguments),
    #[command(hide = true)]
    Complete(completion::CompleteArguments),
    #[command(hide = true)]
    Runner(runner::RunnerArguments),
    #[command(hide = true)]
    RenderTemplates,
}

/// Put Kelos on a cluster, in upstream
#[derive(Debug, Args)]
struct InstallArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// Runs the program and returns its exit status.
pub fn run() -> ExitCode {
    process::pass_no_descriptor_on();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Clap prints help to standard output and faults to standard error; a closed pipe is nobody's fault.
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let printer = Printer::new();
    match dispatch(arguments, printer) {
        Ok(code) => code,
        Err(error) => {
            if !error.is_silent() {
                printer.message(error.render().trim_end());
            }
            error.exit_code()
        }
    }
}

fn dispatch(arguments: Arguments, printer: Printer) -> Result<ExitCode, CommandError> {
    let environment = Environment::read();
    let global = arguments.global;
    match arguments.command {
        // These two are started by ourselves, with no environment, and bring no runtime up.
        Command::Runner(arguments) => runner::run(&arguments),
        Command::New(arguments) => new::run(&arguments, printer),
        Command::Install(_) => {
            Err(CommandError::usage("there is nothing to install: this version runs on one machine")
                .hint("'kelos up' starts it, in the foreground; 'kelos down' stops it"))
        }
        Command::Init(arguments) => init::run(&arguments, &global, &environment, printer),
        Command::RenderTemplates => render_templates::run(printer),
        Command::Demo(arguments) => demo::run(&arguments, &environment, printer),
        Command::Validate(arguments) => validate::run(&arguments, &global, printer),
        Command::Down(arguments) => in_runtime(down::run(&arguments, &environment, printer)),
        Command::Up(arguments) => in_runtime(up::run(arguments, &environment, printer)),
        Command::Run(arguments) => in_runtime(run::run(&arguments, &global, &environment, printer)),
        Command::Diff(arguments) => in_runtime(diff::run(&arguments, &global, &environment, printer)),
        Command::Create(arguments) => in_runtime(create::run(&arguments, &global, &environment, printer)),
        Command::Reconcile(arguments) => {
            in_runtime(reconcile::run(&arguments, &global, &environment, printer))
        }
        Command::Get(arguments) => in_runtime(get::run(&arguments, &global, &environment, printer)),
        Command::History(arguments) => in_runtime(history::run(&arguments, &global, &environment, printer)),
        Command::Logs(arguments) => in_runtime(logs::run(&arguments, &global, &environment, printer)),
        Command::Delete(arguments) => in_runtime(delete::run(&arguments, &global, &environment, printer)),
        Command::Suspend(arguments) => {
            in_runtime(suspend::suspend(&arguments, &global, &environment, printer))
        }
        Command::Resume(arguments) => in_runtime(suspend::resume(&arguments, &global, &environment, printer)),
        Command::Completion(arguments) => completion::script(&arguments, printer),
        Command::Complete(arguments) => {
            in_runtime(completion::complete(&arguments, &global, &environment, printer))
        }
        Command::Version(arguments) => in_runtime(version::run(&arguments, &global, &environment, printer)),
    }
}

/// Makes a temporary folder of this name that only the user may read.
///
/// # Errors
/// When it cannot be made, as when there is one of this name.
fn temporary_folder(name: &str) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

/// Returns five characters that make a name unlike any other.
fn random_suffix() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    // The keys of a new state are random.
    crate::digest::short_hex(RandomState::new().hash_one(()).to_be_bytes(), 5)
}

fn in_runtime(
    command: impl Future<Output = Result<ExitCode, CommandError>>,
) -> Result<ExitCode, CommandError> {
    // One TLS provider for the whole program; two would make the clients panic.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CommandError::internal)?;
    let ended = runtime.block_on(command);
    // Work that cannot be broken off, such as waiting for a remote that does not answer, ends with the process.
    runtime.shutdown_background();
    ended
}
