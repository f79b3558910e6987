//! `kelos logs`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures::io::AsyncReadExt as _;
use kube::api::Api;

use crate::api::phase::TaskPhase;
use crate::api::task::Task;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, server};

/// Show the log of a Task
#[derive(Debug, Args)]
pub(super) struct LogsArguments {
    /// Name of the Task
    task: String,
    /// Wait for the run to begin, and show what it prints until it has ended
    #[arg(short, long)]
    follow: bool,
}

pub(super) async fn run(
    arguments: &LogsArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let server = server::connect(global, environment).await?;
    let api: Api<Task> = Api::namespaced(server.client.clone(), &server.namespace);
    if arguments.follow {
        wait_for_run(&api, &arguments.task, printer).await?;
    } else {
        api.get(&arguments.task).await?;
    }
    let path = format!(
        "/apis/{}/{}/namespaces/{}/tasks/{}/log?follow={}",
        crate::api::KELOS_GROUP,
        crate::api::VERSION,
        server.namespace,
        arguments.task,
        arguments.follow
    );
    let request = http::Request::get(path).body(Vec::new()).map_err(CommandError::internal)?;
    let mut stream = std::pin::pin!(server.client.request_stream(request).await?);
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        printer.bytes(&piece[..length])?;
    }
}

/// Waits until the Task has a run whose log can be read.
async fn wait_for_run(api: &Api<Task>, name: &str, printer: Printer) -> Result<(), CommandError> {
    let mut said = String::new();
    loop {
        let task = api.get(name).await?;
        let status = task.status.unwrap_or_default();
        if matches!(status.phase, Some(TaskPhase::Running | TaskPhase::Succeeded | TaskPhase::Failed)) {
            return Ok(());
        }
        let message = status.message.unwrap_or_else(|| "has not been looked at yet".to_owned());
        if message != said {
            printer.message(format_args!("Task {name} {message}"));
            said = message;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
