//! `kelos logs`

mod pretty;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::io::AsyncReadExt as _;
use kube::api::Api;

use crate::api::phase::TaskPhase;
use crate::api::task::{AgentType, Task};
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::logs::pretty::{Piece, Pretty};
use crate::cli::printer::Printer;
use crate::cli::server::Server;
use crate::cli::{GlobalArguments, kinds, server};

/// Show the log of a Task
///
/// Of claude-code, what it says goes to standard output, and turns, tools and cost to standard error. The log of any
/// other agent is shown as it is.
#[derive(Debug, Args)]
pub(super) struct LogsArguments {
    /// Name of the Task
    #[arg(value_parser = kinds::object_name)]
    task: String,
    /// Wait for the run to begin, and show what it prints until it has ended
    #[arg(short, long)]
    follow: bool,
    /// Show the log as it is, whatever the agent
    #[arg(long)]
    raw: bool,
}

pub(super) async fn run(
    arguments: &LogsArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let server = server::connect(global, environment).await?;
    let api: Api<Task> = Api::namespaced(server.client.clone(), &server.namespace);
    let task = if arguments.follow {
        wait_for_run(&api, &arguments.task, printer).await?
    } else {
        api.get(&arguments.task).await?
    };
    let pretty = !arguments.raw && task.spec.agent == AgentType::ClaudeCode;
    show(&server, &arguments.task, arguments.follow, pretty, printer).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the log of a Task until it ends.
async fn show(
    server: &Server,
    name: &str,
    follow: bool,
    pretty: bool,
    printer: Printer,
) -> Result<(), CommandError> {
    let path = format!(
        "/apis/{}/{}/namespaces/{}/tasks/{name}/log?follow={follow}",
        crate::api::KELOS_GROUP,
        crate::api::VERSION,
        server.namespace,
    );
    let request = http::Request::get(path).body(Vec::new()).map_err(CommandError::internal)?;
    let mut stream = std::pin::pin!(server.client.request_stream(request).await.map_err(no_log)?);
    let mut piece = vec![0; 64 * 1024];
    let mut formatter = Pretty::default();
    let mut output = printer.log();
    loop {
        let length = stream.read(&mut piece).await?;
        let pieces = match (pretty, length) {
            (true, 0) => formatter.end(),
            (true, length) => formatter.take(&piece[..length]),
            (false, length) => vec![Piece::Data(piece[..length].to_vec())],
        };
        for piece in pieces {
            match piece {
                Piece::Data(bytes) => output.take(&bytes)?,
                Piece::Message(text) => printer.message(text),
            }
        }
        if length == 0 {
            return output.end();
        }
    }
}

/// The server says in plain text why there is no log.
fn no_log(error: kube::Error) -> CommandError {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            CommandError::user_message(status.message.trim().to_owned()).hint("-f waits for the run to begin")
        }
        other => other.into(),
    }
}

/// Waits until the Task has a run whose log can be read.
async fn wait_for_run(api: &Api<Task>, name: &str, printer: Printer) -> Result<Task, CommandError> {
    let mut said = String::new();
    loop {
        let task = api.get(name).await?;
        let status = task.status.clone().unwrap_or_default();
        if matches!(status.phase, Some(TaskPhase::Running | TaskPhase::Succeeded | TaskPhase::Failed)) {
            return Ok(task);
        }
        let message = status.message.unwrap_or_else(|| "has not been looked at yet".to_owned());
        if message != said {
            printer.message(format_args!("Task {name} {message}"));
            said = message;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
