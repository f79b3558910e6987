//! The state machine of a Task: what is known in, one step out.
//!
//! [`decide`] is the only place that says what happens to a Task. It never starts a run twice: a run whose folder
//! shows that a runner began is adopted, finished from its result, or declared interrupted, whatever the
//! status says. A Task that cannot start says what it waits for, by name.

use jiff::{SignedDuration, Timestamp};

use crate::api::condition::Reason;
use crate::api::phase::TaskPhase;
use crate::api::run::RunState;

/// What a Task's dependencies allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependencies {
    /// All have succeeded, or there are none.
    Met,
    /// This one does not exist.
    Missing(String),
    /// This one is gone and only its record is left, and it may be about to come anew.
    MayComeAnew(String),
    /// This one has not ended.
    Unfinished(String),
    /// This one failed.
    Failed(String),
    /// They lead back to the Task, along these names.
    Cycle(Vec<String>),
}

/// What is known about a Task when a step is decided.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFacts {
    /// The phase in its status.
    pub phase: Option<TaskPhase>,
    /// Whether deletion was asked for.
    pub deleting: bool,
    /// Whether it carries our finalizer.
    pub has_finalizer: bool,
    /// Whether the record of its run is stored.
    pub recorded: bool,
    /// When it ended, by its status.
    pub completed_at: Option<Timestamp>,
    /// Seconds between its end and its deletion; `None` keeps it.
    pub ttl_seconds: Option<i32>,
    /// What its dependencies allow.
    pub dependencies: Dependencies,
    /// The Task that works on its branch, or is to work on it first.
    pub branch_held_by: Option<String>,
    /// Objects that it names and that do not exist.
    pub missing: Vec<MissingObject>,
    /// Why it can never start, found while its plan was made.
    pub refused: Option<Refusal>,
    /// Whether a slot is free, and its turn to take it.
    pub slot_free: bool,
    /// Its run, as the executor sees it.
    pub run: RunState,
}

/// An object that a Task names and that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingObject {
    /// A Workspace.
    Workspace(String),
    /// An AgentConfig.
    AgentConfig(String),
    /// A Secret, or a key of one as `name` and what is missing.
    Secret(String),
    /// A token of the GitHub App of its Workspace, which the forge does not give for the moment, and why.
    Token(String),
}

impl std::fmt::Display for MissingObject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Workspace(name) => write!(formatter, "the Workspace {name}"),
            Self::AgentConfig(name) => write!(formatter, "the AgentConfig {name}"),
            Self::Secret(name) => write!(formatter, "the Secret {name}"),
            Self::Token(reason) => write!(formatter, "a token for the repository ({reason})"),
        }
    }
}

/// Why a Task can never start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One word.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
}

/// What a Task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Objects that it names do not exist.
    Missing(Vec<MissingObject>),
    /// A Task that it depends on does not exist.
    DependencyMissing(String),
    /// A Task that it depends on is gone and may be about to come anew.
    DependencyMayComeAnew(String),
    /// A Task that it depends on has not ended.
    Dependency(String),
    /// Another Task works on its branch.
    Branch(String),
    /// As many runs go on as may.
    Slot,
    /// The disk has less room than a run needs to begin.
    Disk {
        /// Bytes that must be free.
        floor: u64,
    },
}

impl Wait {
    /// Returns the reason, one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Missing(objects) => match objects.first() {
                Some(MissingObject::AgentConfig(_)) => Reason::WaitingForAgentConfig,
                Some(MissingObject::Secret(_)) => Reason::WaitingForSecret,
                Some(MissingObject::Token(_)) => Reason::WaitingForToken,
                Some(MissingObject::Workspace(_)) | None => Reason::WaitingForWorkspace,
            },
            Self::DependencyMissing(_) | Self::DependencyMayComeAnew(_) | Self::Dependency(_) => {
                Reason::WaitingForDependency
            }
            Self::Branch(_) => Reason::WaitingForBranch,
            Self::Slot => Reason::WaitingForSlot,
            Self::Disk { .. } => Reason::WaitingForDisk,
        }
    }

    /// Returns the same as a sentence.
    pub fn message(&self) -> String {
        match self {
            Self::Missing(objects) => {
                let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
                format!("waits until {} exists", names.join(" and "))
            }
            Self::DependencyMissing(name) => {
                format!("waits until the Task {name}, on which it depends, exists")
            }
            Self::DependencyMayComeAnew(name) => format!(
                "waits a moment whether the Task {name}, on which it depends and which has expired, comes anew"
            ),
            Self::Dependency(name) => format!("waits for the Task {name}, on which it depends"),
            Self::Branch(name) => {
                format!("waits for the Task {name}, which has the same branch and comes first")
            }
            Self::Slot => "waits for a free slot: as many runs go on as may".to_owned(),
            Self::Disk { floor } => {
                format!("waits until the disk of the data folder has {floor} free bytes (--disk-floor)")
            }
        }
    }
}

/// One step for a Task.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Puts our finalizer on it, before anything else.
    AddFinalizer,
    /// Says what it waits for.
    Wait(Wait),
    /// Writes Pending with the id of the run; nothing is started before that is stored.
    Accept,
    /// Starts the run that the status already names.
    Start,
    /// Writes Running.
    MarkRunning {
        /// When the runner began, if it said so.
        since: Option<Timestamp>,
    },
    /// Leaves a run alone that goes on.
    Watch,
    /// Writes the outcome of the run.
    Finish,
    /// Writes Failed: the runner began and is gone without a result.
    Interrupt,
    /// Writes Failed without a run.
    Fail(Refusal),
    /// Stores the record of the run.
    Record,
    /// Keeps it until its time is over; `None` for ever.
    Keep(Option<SignedDuration>),
    /// Deletes it: its time is over.
    Expire,
    /// Asks the run of a Task that is being deleted to end.
    Cancel,
    /// Removes the run's folder and our finalizer.
    Release,
}

/// Decides the next step for a Task at the instant `now`.
pub fn decide(facts: &TaskFacts, now: Timestamp) -> Step {
    if facts.deleting {
        return decide_deletion(facts);
    }
    match facts.phase {
        Some(TaskPhase::Succeeded | TaskPhase::Failed) => decide_ended(facts, now),
        None | Some(TaskPhase::Waiting | TaskPhase::Pending | TaskPhase::Running) => decide_live(facts),
    }
}

fn decide_deletion(facts: &TaskFacts) -> Step {
    let ended = facts.phase.is_some_and(TaskPhase::is_terminal);
    match &facts.run {
        _ if !facts.has_finalizer => Step::Watch,
        RunState::Running { .. } => Step::Cancel,
        RunState::Finished(_) if !ended => Step::Finish,
        RunState::Interrupted { .. } if !ended => Step::Interrupt,
        // The status says that a runner was seen: what was begun is recorded, or its request would run again.
        RunState::Absent | RunState::Prepared if facts.phase == Some(TaskPhase::Running) => Step::Interrupt,
        _ if ended && !facts.recorded => Step::Record,
        RunState::Finished(_) | RunState::Interrupted { .. } | RunState::Absent | RunState::Prepared => {
            Step::Release
        }
    }
}

fn decide_ended(facts: &TaskFacts, now: Timestamp) -> Step {
    if !facts.recorded {
        return Step::Record;
    }
    let (Some(ttl), Some(completed_at)) = (facts.ttl_seconds, facts.completed_at) else {
        return Step::Keep(None);
    };
    // The status may be written by others: an end in the far future must not take us down.
    let due = completed_at.checked_add(SignedDuration::from_secs(i64::from(ttl.max(0))));
    let left = due.unwrap_or(Timestamp::MAX).duration_since(now);
    if left.is_positive() { Step::Keep(Some(left)) } else { Step::Expire }
}

fn decide_live(facts: &TaskFacts) -> Step {
    match &facts.run {
        RunState::Finished(_) => return Step::Finish,
        RunState::Interrupted { .. } => return Step::Interrupt,
        RunState::Running { since } => {
            return if facts.phase != Some(TaskPhase::Running) {
                Step::MarkRunning { since: *since }
            } else if facts.has_finalizer {
                Step::Watch
            } else {
                // Somebody took it off; without it the Task could go before its run is ended and recorded.
                Step::AddFinalizer
            };
        }
        // The status says that a runner was seen, and its folder is gone: the run must not begin anew.
        RunState::Absent | RunState::Prepared if facts.phase == Some(TaskPhase::Running) => {
            return Step::Interrupt;
        }
        RunState::Absent | RunState::Prepared => {}
    }
    if !facts.has_finalizer {
        return Step::AddFinalizer;
    }
    match &facts.dependencies {
        Dependencies::Met => {}
        Dependencies::Failed(name) => {
            return Step::Fail(Refusal {
                reason: Reason::DependencyFailed,
                message: format!("the Task {name}, on which it depends, failed"),
            });
        }
        Dependencies::Cycle(names) => {
            return Step::Fail(Refusal {
                reason: Reason::DependencyCycle,
                message: format!("its dependencies lead back to it: {}", names.join(" -> ")),
            });
        }
        Dependencies::Missing(name) => return Step::Wait(Wait::DependencyMissing(name.clone())),
        Dependencies::MayComeAnew(name) => return Step::Wait(Wait::DependencyMayComeAnew(name.clone())),
        Dependencies::Unfinished(name) => return Step::Wait(Wait::Dependency(name.clone())),
    }
    if !facts.missing.is_empty() {
        return Step::Wait(Wait::Missing(facts.missing.clone()));
    }
    if let Some(refusal) = &facts.refused {
        return Step::Fail(refusal.clone());
    }
    // What it needed was there when it was accepted; what is gone since makes it wait as above. Its turn it has.
    if facts.phase == Some(TaskPhase::Pending) {
        return Step::Start;
    }
    if let Some(holder) = &facts.branch_held_by {
        return Step::Wait(Wait::Branch(holder.clone()));
    }
    if !facts.slot_free {
        return Step::Wait(Wait::Slot);
    }
    Step::Accept
}

#[cfg(test)]
mod tests;
