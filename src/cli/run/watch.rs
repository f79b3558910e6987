//! Follows a Task until it has ended.

use std::process::ExitCode;

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::api::phase::TaskPhase;
use crate::api::task::Task;
use crate::cli::command_error::CommandError;
use crate::cli::printer::Printer;

/// Prints each phase that the Task takes; the exit status is 1 when it failed.
pub(super) async fn until_ended(
    api: Api<Task>,
    created: &Task,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let name = created.name_any();
    let mut states = std::pin::pin!(watcher::watch_object(api, &name).default_backoff());
    let mut last = None;
    let mut broken = false;
    while let Some(state) = states.next().await {
        let task = match state {
            Ok(task) => task.filter(|task| task.uid() == created.uid()),
            Err(error) => {
                if !broken {
                    printer.message(format_args!("the server does not answer and is asked again: {error}"));
                }
                broken = true;
                continue;
            }
        };
        broken = false;
        let Some(task) = task else {
            return Err(CommandError::user_message(format!(
                "the Task {name} was deleted while it was watched"
            )));
        };
        let status = task.status.unwrap_or_default();
        if status.phase == last {
            continue;
        }
        last = status.phase;
        let Some(phase) = status.phase else { continue };
        printer.line(format_args!("task/{name} {phase}"))?;
        match phase {
            TaskPhase::Waiting => printer.message(status.message.unwrap_or_default()),
            TaskPhase::Pending | TaskPhase::Running => {}
            TaskPhase::Succeeded => return Ok(ExitCode::SUCCESS),
            TaskPhase::Failed => {
                let message = status.message.unwrap_or_else(|| "it failed".to_owned());
                printer.message(format_args!("{message}\nHint: 'kelos logs {name}' shows what it did"));
                return Ok(ExitCode::from(1));
            }
        }
    }
    Err(CommandError::user_message(format!("the watch of the Task {name} ended")))
}
