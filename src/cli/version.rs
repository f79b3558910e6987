//! `kelos version`

use std::process::ExitCode;

use clap::Args;

use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, server};

/// Show the version of this program and of the server
#[derive(Debug, Args)]
pub(super) struct VersionArguments {
    /// Ask no server
    #[arg(long)]
    client: bool,
}

pub(super) async fn run(
    arguments: &VersionArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    printer.line(format_args!("kelos {}", env!("CARGO_PKG_VERSION")))?;
    if !arguments.client
        && let Ok(server) = server::connect(global, environment).await
        && let Ok(version) = server.client.apiserver_version().await
    {
        printer.line(format_args!("server {} at {}", version.git_version, server.address))?;
    }
    Ok(ExitCode::SUCCESS)
}
