//! Writes the status of a Task: the only place that does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::condition::{self, Condition, ConditionType, Observation, Reason};
use crate::api::phase::TaskPhase;
use crate::api::run::{NetworkHold, Outcome, SandboxLevel};
use crate::api::task::{Task, TaskStatus, Usage};
use crate::domain::outcome;
use crate::domain::phase::{Refusal, Wait};

/// Most lines of output that a status keeps.
const MOST_OUTPUTS: usize = 256;
/// Longest output line, in bytes, that a status keeps.
const LONGEST_OUTPUT: usize = 4096;

/// Returns the status of a Task that waits.
pub(crate) fn waiting(task: &Task, wait: &Wait) -> TaskStatus {
    standing(task, TaskPhase::Waiting, wait.reason(), wait.message())
}

/// Returns the status of a Task whose run is about to start, with the conditions that are known by then.
pub(crate) fn accepted(task: &Task, ignored: &[&str], now: Timestamp) -> TaskStatus {
    let mut status =
        standing(task, TaskPhase::Pending, Reason::Starting, "the run is about to start".to_owned());
    status.run_id = task.metadata.uid.clone();
    set_ignored(&mut status.conditions, ignored, task.metadata.generation, now);
    status
}

/// Returns the status of a Task whose run goes on.
pub(crate) fn running(task: &Task, since: Option<Timestamp>, now: Timestamp) -> TaskStatus {
    let mut status = standing(task, TaskPhase::Running, Reason::Running, "the run goes on".to_owned());
    status.run_id = task.metadata.uid.clone();
    status.start_time = Some(Time(since.unwrap_or(now)));
    status
}

/// Returns the status of a Task whose run ended with this outcome.
pub(crate) fn finished(task: &Task, outcome: &Outcome) -> TaskStatus {
    let ending = outcome::ending(outcome.exit);
    let mut status = standing(task, ending.phase, ending.reason, outcome.message.clone());
    status.run_id = task.metadata.uid.clone();
    status.start_time = Some(Time(outcome.started_at));
    status.completion_time = Some(Time(outcome.finished_at));
    set_sandboxed(&mut status.conditions, outcome, task.metadata.generation);
    status.outputs = outcome.outputs.iter().take(MOST_OUTPUTS).map(|line| cut(line)).collect();
    status.results = outcome.results.iter().map(|(key, value)| (key.clone(), cut(value))).collect();
    status.agent_version = outcome.agent_version.as_deref().map(cut);
    status.usage = outcome.usage.as_ref().map(|usage| Usage {
        cost_usd: usage.cost_usd.clone().map(Quantity),
        input_tokens: usage.input_tokens.and_then(|tokens| i64::try_from(tokens).ok()),
        output_tokens: usage.output_tokens.and_then(|tokens| i64::try_from(tokens).ok()),
    });
    status
}

/// Returns the status of a Task whose runner is gone without a result.
pub(crate) fn interrupted(task: &Task, now: Timestamp) -> TaskStatus {
    let message = "the run was lost with its process or machine; it is not repeated by itself, because it may have done \
                   part of its work"
        .to_owned();
    let mut status = standing(task, TaskPhase::Failed, Reason::Interrupted, message);
    status.run_id = task.metadata.uid.clone();
    status.start_time = task.status.as_ref().and_then(|status| status.start_time.clone());
    status.completion_time = Some(Time(now));
    status
}

/// Returns the status of a Task that failed without a run.
pub(crate) fn refused(task: &Task, refusal: &Refusal, now: Timestamp) -> TaskStatus {
    let mut status = standing(task, TaskPhase::Failed, refusal.reason, refusal.message.clone());
    status.completion_time = Some(Time(now));
    status
}

fn standing(task: &Task, phase: TaskPhase, reason: Reason, message: String) -> TaskStatus {
    let conditions = task.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    TaskStatus {
        phase: Some(phase),
        reason: Some(reason.as_str().to_owned()),
        message: Some(message),
        conditions,
        ..TaskStatus::default()
    }
}

fn set_ignored(conditions: &mut Vec<Condition>, ignored: &[&str], generation: Option<i64>, now: Timestamp) {
    if ignored.is_empty() {
        condition::remove(conditions, ConditionType::OverridesIgnored);
        return;
    }
    let message = format!("podOverrides.{} has no effect on one machine", ignored.join(", podOverrides."));
    let observation =
        Observation::new(ConditionType::OverridesIgnored, true, Reason::UnsupportedHere, message);
    condition::set(conditions, observation, generation, now);
}

fn set_sandboxed(conditions: &mut Vec<Condition>, outcome: &Outcome, generation: Option<i64>) {
    let Some(level) = outcome.sandbox else { return };
    let (reason, held) = match level {
        SandboxLevel::None => (Reason::Unrestricted, "nothing was held"),
        SandboxLevel::Limited => (Reason::Limited, "the files of the machine were not guarded"),
        SandboxLevel::Files => (Reason::Files, "the files of the machine were guarded"),
        SandboxLevel::Isolated => (Reason::Isolated, "files, signals and abstract sockets were guarded"),
        SandboxLevel::Enclosed => (Reason::Enclosed, "it had processes, files and sockets of its own"),
    };
    let network = match outcome.network {
        None | Some(NetworkHold::Open) => "it had the network of the machine",
        Some(NetworkHold::Ports) => {
            "it had the network of the machine without plain HTTP and without the API of Kelos"
        }
        Some(NetworkHold::Proxied) => "it had a loopback of its own and reached others through the proxy",
        Some(NetworkHold::Closed) => "it had no network",
    };
    let is_guarded = level >= SandboxLevel::Files;
    let observation =
        Observation::new(ConditionType::Sandboxed, is_guarded, reason, format!("{held}; {network}"));
    condition::set(conditions, observation, generation, outcome.finished_at);
}

fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(LONGEST_OUTPUT)).unwrap_or_default().to_owned()
}
