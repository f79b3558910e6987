//! What the end of a run means: for the Task's status, and for its record.

use crate::api::condition::Reason;
use crate::api::phase::TaskPhase;
use crate::api::run::Exit;
use crate::api::run_record::{RunEffect, RunOutcome};

/// How a run ended, in the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The phase that the Task takes.
    pub phase: TaskPhase,
    /// Why, in one word.
    pub reason: Reason,
}

/// Returns what the end of a run means for its Task.
pub fn ending(exit: Exit) -> Ending {
    let (phase, reason) = match exit {
        Exit::Succeeded => (TaskPhase::Succeeded, Reason::Completed),
        Exit::AgentFailed => (TaskPhase::Failed, Reason::AgentFailed),
        Exit::AgentIncomplete | Exit::IncompleteOutput => (TaskPhase::Failed, Reason::IncompleteResult),
        Exit::TimedOut => (TaskPhase::Failed, Reason::DeadlineExceeded),
        Exit::OutOfMemory => (TaskPhase::Failed, Reason::OutOfMemory),
        Exit::TooManyProcesses => (TaskPhase::Failed, Reason::TooManyProcesses),
        Exit::DiskQuotaExceeded => (TaskPhase::Failed, Reason::DiskQuotaExceeded),
        Exit::Cancelled => (TaskPhase::Failed, Reason::Cancelled),
        Exit::SetupFailed => (TaskPhase::Failed, Reason::SetupFailed),
        Exit::PrepareFailed => (TaskPhase::Failed, Reason::PrepareFailed),
        Exit::RunnerFailed => (TaskPhase::Failed, Reason::RunnerFailed),
        Exit::AgentProgramMissing => (TaskPhase::Failed, Reason::ProgramNotFound),
        Exit::SandboxUnavailable => (TaskPhase::Failed, Reason::SandboxUnavailable),
    };
    Ending { phase, reason }
}

/// Returns how a Task that ended is recorded, by the phase and the reason in its status.
///
/// A reason that another version wrote and this one does not know is a plain failure.
pub fn recorded(phase: TaskPhase, reason: Option<Reason>) -> RunOutcome {
    if phase == TaskPhase::Succeeded {
        return RunOutcome::Succeeded;
    }
    match reason {
        Some(Reason::DependencyFailed | Reason::DependencyCycle) => RunOutcome::DependencyFailed,
        Some(Reason::Interrupted) => RunOutcome::Interrupted,
        Some(Reason::DeadlineExceeded) => RunOutcome::DeadlineExceeded,
        Some(Reason::Cancelled) => RunOutcome::Cancelled,
        Some(
            Reason::PrepareFailed
            | Reason::SetupFailed
            | Reason::ProgramNotFound
            | Reason::SandboxUnavailable
            | Reason::ImageNeedsCluster
            | Reason::NetworkNotAllowed
            | Reason::PromptFailed
            | Reason::InvalidSpec
            | Reason::UnsupportedHere,
        ) => RunOutcome::NeverStarted,
        _ => RunOutcome::Failed,
    }
}

/// Returns whether a run left something behind, by what it reported: a commit on its branch, or a pull request.
pub fn effect(phase: TaskPhase, results: &std::collections::BTreeMap<String, String>) -> RunEffect {
    let reports = |key: &str| results.get(key).is_some_and(|value| !value.is_empty());
    if reports("pr") {
        RunEffect::WithEffect
    } else if phase != TaskPhase::Succeeded || reports("commit") {
        RunEffect::Unknown
    } else {
        RunEffect::WithoutEffect
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_run_that_never_reached_its_agent_is_told_apart() {
        for exit in
            [Exit::PrepareFailed, Exit::SetupFailed, Exit::AgentProgramMissing, Exit::SandboxUnavailable]
        {
            let ending = ending(exit);
            assert_eq!(recorded(ending.phase, Some(ending.reason)), RunOutcome::NeverStarted, "{exit}");
        }
        // Every other end may have cost something.
        for exit in [
            Exit::AgentFailed,
            Exit::AgentIncomplete,
            Exit::IncompleteOutput,
            Exit::TimedOut,
            Exit::Cancelled,
            Exit::RunnerFailed,
        ] {
            let ending = ending(exit);
            assert_ne!(recorded(ending.phase, Some(ending.reason)), RunOutcome::NeverStarted, "{exit}");
        }
        assert_eq!(recorded(TaskPhase::Failed, Some(ending(Exit::AgentFailed).reason)), RunOutcome::Failed);
        assert_eq!(
            recorded(TaskPhase::Failed, Some(ending(Exit::TimedOut).reason)),
            RunOutcome::DeadlineExceeded
        );
        assert_eq!(recorded(TaskPhase::Succeeded, None), RunOutcome::Succeeded);
    }

    #[test]
    fn an_effect_is_claimed_only_when_something_shows_it() {
        let with = |key: &str| BTreeMap::from([(key.to_owned(), "x".to_owned())]);
        assert_eq!(effect(TaskPhase::Succeeded, &with("pr")), RunEffect::WithEffect);
        assert_eq!(effect(TaskPhase::Succeeded, &with("commit")), RunEffect::Unknown);
        assert_eq!(effect(TaskPhase::Succeeded, &BTreeMap::new()), RunEffect::WithoutEffect);
        assert_eq!(effect(TaskPhase::Failed, &BTreeMap::new()), RunEffect::Unknown);
    }
}
