//! `kelos reconcile`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use crate::api::condition::{ConditionStatus, ConditionType, Reason, find};
use crate::api::config_repository::{ConfigRepository, ConfigRepositoryStatus};
use crate::api::kind::Kind;
use crate::api::{duration, labels};
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{FIELD_MANAGER, GlobalArguments, kinds, server};
use crate::clock;

/// How often the status is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Ask the remote of a ConfigRepository at once, and wait for what comes of it
///
/// Exit status 1 when the newest revision is not applied.
#[derive(Debug, Args)]
pub(super) struct ReconcileArguments {
    /// The word configrepository, which may be left out, and the name
    #[arg(value_name = "[configrepository] NAME", num_args = 1..=2, required = true)]
    target: Vec<String>,
    /// Confirm that the objects which left the repository are removed, however many they are
    #[arg(long)]
    confirm_prune: bool,
    /// Wait for the result; --wait=false only asks
    #[arg(long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1,
        require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    timeout: Duration,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(
    arguments: &ReconcileArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let name = name(&arguments.target)?;
    let server = server::connect(global, environment).await?;
    let api: Api<ConfigRepository> = Api::namespaced(server.client.clone(), &server.namespace);
    let repository = api.get(name).await?;
    if repository.spec.suspend {
        return Err(CommandError::user_message(format!("configrepository/{name} is suspended"))
            .hint("Set spec.suspend to false first"));
    }
    let request = clock::system().now().to_string();
    let mut annotations = json!({labels::RECONCILE_REQUESTED_AT: request});
    if arguments.confirm_prune {
        let blocked = repository.status.as_ref().and_then(|status| status.blocked_prune.as_ref());
        let Some(blocked) = blocked else {
            return Err(CommandError::user_message(format!("no removal waits in configrepository/{name}"))
                .hint("Without --confirm-prune the repository is reconciled as usual"));
        };
        annotations[labels::CONFIRM_PRUNE] = json!(blocked.revision);
        printer.message(format_args!(
            "confirming the removal of {} of {} objects at {}",
            blocked.count,
            blocked.owned,
            short(&blocked.revision)
        ));
    }
    server.tell(printer);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let change = json!({"metadata": {"annotations": annotations}});
    api.patch(name, &parameters, &Patch::Merge(&change)).await?;
    if !arguments.wait {
        printer.line(format_args!("configrepository/{name} reconcile requested"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = answered(&api, name, &request, arguments.timeout).await?;
    tell(name, &status, printer)
}

/// Returns the name out of `NAME` or `configrepository NAME` or `configrepository/NAME`.
fn name(target: &[String]) -> Result<&str, CommandError> {
    let (kind, name) = match target {
        [name] => name.split_once('/').map_or((None, name.as_str()), |(kind, name)| (Some(kind), name)),
        [kind, name] => (Some(kind.as_str()), name.as_str()),
        _ => return Err(CommandError::usage("name one ConfigRepository")),
    };
    if let Some(kind) = kind {
        kinds::parse_only(kind, Kind::ConfigRepository).map_err(CommandError::usage)?;
    }
    kinds::object_name(name).map_err(|error| CommandError::usage(format!("the name {name:?} {error}")))?;
    Ok(name)
}

/// Waits until the pass that answers `request` has come to an end.
async fn answered(
    api: &Api<ConfigRepository>,
    name: &str,
    request: &str,
    patience: Duration,
) -> Result<ConfigRepositoryStatus, CommandError> {
    let deadline = Instant::now() + patience;
    loop {
        let status = api.get(name).await?.status.unwrap_or_default();
        let handled = status.last_handled_reconcile_at.as_deref() == Some(request);
        let ready = find(&status.conditions, ConditionType::Ready);
        let under_way = ready.is_none_or(|ready| ready.reason == Reason::Progressing.as_str());
        if handled && !under_way {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            let state = ready.map(|ready| ready.message.clone()).filter(|_| handled);
            let state = state.unwrap_or_else(|| "the request was not answered".to_owned());
            return Err(CommandError::user_message(format!("waited {patience:?} in vain: {state}"))
                .hint("--timeout waits longer; the pass goes on without us"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Prints what came of the pass.
fn tell(name: &str, status: &ConfigRepositoryStatus, printer: Printer) -> Result<ExitCode, CommandError> {
    let ready = find(&status.conditions, ConditionType::Ready);
    let (is_ready, reason, message) = ready.map_or((false, "", ""), |ready| {
        (ready.status == ConditionStatus::True, ready.reason.as_str(), ready.message.as_str())
    });
    if let Some(blocked) = &status.blocked_prune {
        printer.message(format_args!(
            "{} of {} objects left the repository and wait for --confirm-prune",
            blocked.count, blocked.owned
        ));
    }
    if is_ready {
        let revision = status.last_applied_revision.as_deref().unwrap_or_default();
        printer.line(format_args!("configrepository/{name} applied {}", short(revision)))?;
        return Ok(ExitCode::SUCCESS);
    }
    printer.line(format_args!("configrepository/{name} {reason}: {message}"))?;
    for finding in status.findings.iter().flat_map(|findings| &findings.items) {
        printer.message(format_args!(
            "{}:{}:{}: {} [{}]",
            finding.file,
            finding.line.unwrap_or(1),
            finding.column.unwrap_or(1),
            finding.message,
            finding.code
        ));
    }
    Ok(ExitCode::from(1))
}

/// Returns the first digits of a commit id, as people quote it.
fn short(revision: &str) -> &str {
    revision.get(..12).unwrap_or(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_may_be_left_out() {
        let target = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        for words in [&["a"][..], &["cfg", "a"], &["configrepository/a"]] {
            assert_eq!(name(&target(words)).unwrap(), "a", "{words:?}");
        }
        assert!(name(&target(&["task", "a"])).is_err());
    }
}
