//! `kelos logs`

mod pretty;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::io::AsyncReadExt as _;
use kube::ResourceExt as _;
use kube::api::Api;

use crate::api::phase::TaskPhase;
use crate::api::task::Task;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::logs::pretty::{Piece, Pretty};
use crate::cli::printer::Printer;
use crate::cli::server::Server;
use crate::cli::{GlobalArguments, kinds, server};

/// Show the log of a Task
///
/// What an agent says goes to standard output, and turns, tools and cost to standard error. The log of a shell Task is
/// shown as it is.
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
    show(&server, &task, arguments, printer).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the log of a Task until it ends.
async fn show(
    server: &Server,
    task: &Task,
    arguments: &LogsArguments,
    printer: Printer,
) -> Result<(), CommandError> {
    let LogsArguments { task: name, follow, raw } = arguments;
    let path = format!(
        "/apis/{}/{}/namespaces/{}/tasks/{name}/log?follow={follow}",
        crate::api::KELOS_GROUP,
        crate::api::VERSION,
        server.namespace,
    );
    let request = http::Request::get(path).body(Vec::new()).map_err(CommandError::internal)?;
    let response = server.client.request_stream(request).await;
    let mut stream = std::pin::pin!(response.map_err(|error| no_log(error, task))?);
    let mut piece = vec![0; 64 * 1024];
    let mut formatter = Pretty::of(task.spec.agent).filter(|_| !raw);
    let mut output = printer.log();
    loop {
        let length = stream.read(&mut piece).await?;
        let pieces = match (&mut formatter, length) {
            (Some(formatter), 0) => formatter.end(),
            (Some(formatter), length) => formatter.take(&piece[..length]),
            (None, length) => vec![Piece::Data(piece[..length].to_vec())],
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

/// The server says in plain text why there is no log; of a Task that failed without a run, its status says it.
fn no_log(error: kube::Error, task: &Task) -> CommandError {
    let status = task.status.as_ref();
    let failure = status.filter(|status| status.phase == Some(TaskPhase::Failed)).map(|status| {
        let message = status.message.as_deref().unwrap_or("its status does not say why");
        format!("the Task {} failed before it ran: {message}", task.name_any())
    });
    match error {
        kube::Error::Api(status) if status.code == 404 && failure.is_some() => {
            CommandError::user_message(failure.unwrap_or_default())
        }
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
