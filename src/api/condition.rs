//! Conditions: what is true of an object, since when, and why.
//!
//! Types, states and reasons are closed sets when written; text that another writer left is kept as it is. There is
//! one setter, and the transition time moves only when the state does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::closed_set::closed_set;

/// Longest message of a condition in bytes, as Kubernetes allows it.
pub const MAX_MESSAGE_BYTES: usize = 32_768;

closed_set! {
    /// What a condition is about.
    pub enum ConditionType {
        /// Good when true. ConfigRepository: the last attempted revision is applied. Task, TaskSpawner: it can do its work.
        Ready = "Ready",
        /// Neutral. Work towards the wanted state is going on.
        Reconciling = "Reconciling",
        /// Bad when true. Nothing will change until somebody changes something; the message says what.
        Stalled = "Stalled",
        /// Neutral. TaskSpawner: no Tasks are created because `spec.suspend` is set.
        Suspended = "Suspended",
        /// Bad when true. TaskSpawner: the source could not be asked, or Tasks could not be created.
        DiscoveryError = "DiscoveryError",
        /// Neutral. TaskSpawner: as many Tasks were created as `spec.maxTotalTasks` allows.
        MaxTotalTasksReached = "MaxTotalTasksReached",
        /// Neutral. The older name of `MaxTotalTasksReached`, always equal to it.
        TaskBudgetExhausted = "TaskBudgetExhausted",
        /// Bad when true. ConfigRepository: live objects differ from the applied revision.
        Drifted = "Drifted",
        /// Bad when true. ConfigRepository: the removal of objects waits for a confirmation.
        PruneBlocked = "PruneBlocked",
        /// Good when true. ConfigRepository: the last report is on its remote.
        Reported = "Reported",
        /// Good when true. Task: the run was kept from the files of the machine; the reason is the level that was reached, and
        /// the message says what held the network.
        Sandboxed = "Sandboxed",
        /// Neutral. Task: parts of `podOverrides` have no effect where it runs; the message lists them.
        OverridesIgnored = "OverridesIgnored",
    }
}

closed_set! {
    /// State of a condition.
    pub enum ConditionStatus {
        /// It is so.
        True = "True",
        /// It is not so.
        False = "False",
        /// Nobody can tell.
        Unknown = "Unknown",
    }
}

impl From<bool> for ConditionStatus {
    fn from(state: bool) -> Self {
        if state { Self::True } else { Self::False }
    }
}

closed_set! {
    /// Why a condition, or a phase, is as it is.
    pub enum Reason {
        /// The revision is applied and everything matches it.
        Applied = "Applied",
        /// Some objects of the revision were refused after others were written; the message names them.
        PartiallyApplied = "PartiallyApplied",
        /// The pass is going on.
        Progressing = "Progressing",
        /// The last attempt failed and is repeated.
        ProgressingWithRetry = "ProgressingWithRetry",
        /// It is suspended by `spec.suspend`.
        Suspended = "Suspended",
        /// The revision has findings; the last good one keeps running.
        FindingsPresent = "FindingsPresent",
        /// The API server refused objects of the revision; nothing was written.
        DryRunRefused = "DryRunRefused",
        /// The remote repository could not be read.
        FetchFailed = "FetchFailed",
        /// The credentials of the remote repository are missing or refused.
        AuthenticationFailed = "AuthenticationFailed",
        /// The branch, tag or commit does not exist.
        RevisionNotFound = "RevisionNotFound",
        /// The path does not exist in the revision.
        PathNotFound = "PathNotFound",
        /// The object itself is contradictory; it must be changed.
        InvalidSpec = "InvalidSpec",
        /// An object is owned by another ConfigRepository.
        OwnershipConflict = "OwnershipConflict",
        /// More objects would be removed than the limit allows.
        PruneLimitExceeded = "PruneLimitExceeded",
        /// Live objects differ from the applied revision.
        DriftDetected = "DriftDetected",
        /// Live objects match the applied revision.
        InSync = "InSync",
        /// The report is on its remote.
        ReportPushed = "ReportPushed",
        /// The report could not be pushed and is tried again.
        ReportFailed = "ReportFailed",
        /// Reporting is switched off.
        ReportDisabled = "ReportDisabled",
        /// The spawner runs.
        Running = "Running",
        /// The spawner was suspended by a user.
        UserSuspended = "UserSuspended",
        /// Tasks could not be created.
        TaskCreationFailed = "TaskCreationFailed",
        /// The last discovery had no errors.
        NoErrors = "NoErrors",
        /// The limit is reached.
        LimitReached = "LimitReached",
        /// There is room below the limit.
        LimitAvailable = "LimitAvailable",
        /// The schedule cannot be read, or never fires.
        InvalidSchedule = "InvalidSchedule",
        /// The source is accepted, and nothing here serves it yet.
        SourceNotServed = "SourceNotServed",
        /// A dependency does not exist.
        WaitingForDependency = "WaitingForDependency",
        /// Another Task works on the same branch.
        WaitingForBranch = "WaitingForBranch",
        /// All slots of this machine are taken.
        WaitingForSlot = "WaitingForSlot",
        /// The disk has less room than a run needs to begin.
        WaitingForDisk = "WaitingForDisk",
        /// The Workspace does not exist.
        WaitingForWorkspace = "WaitingForWorkspace",
        /// An AgentConfig does not exist.
        WaitingForAgentConfig = "WaitingForAgentConfig",
        /// A Secret does not exist.
        WaitingForSecret = "WaitingForSecret",
        /// The forge gives no token for the moment.
        WaitingForToken = "WaitingForToken",
        /// A dependency failed.
        DependencyFailed = "DependencyFailed",
        /// The dependencies form a circle.
        DependencyCycle = "DependencyCycle",
        /// The prompt could not be rendered.
        PromptFailed = "PromptFailed",
        /// The forge gives no token for the GitHub App of the Workspace.
        TokenRefused = "TokenRefused",
        /// The run is about to start.
        Starting = "Starting",
        /// The agent ended well.
        Completed = "Completed",
        /// The agent ended with an error.
        AgentFailed = "AgentFailed",
        /// The agent says that its result is incomplete.
        IncompleteResult = "IncompleteResult",
        /// The clone, branch, files or plugins could not be prepared; the agent was never reached.
        PrepareFailed = "PrepareFailed",
        /// The runner itself failed; whether the agent was reached is not known.
        RunnerFailed = "RunnerFailed",
        /// The setup command failed; the agent was never reached.
        SetupFailed = "SetupFailed",
        /// The run took longer than allowed.
        DeadlineExceeded = "DeadlineExceeded",
        /// The run used more memory than it may.
        OutOfMemory = "OutOfMemory",
        /// The run had more processes than it may.
        TooManyProcesses = "TooManyProcesses",
        /// The files of the run took more room than they may.
        DiskQuotaExceeded = "DiskQuotaExceeded",
        /// The run was lost with its process or machine and is not repeated.
        Interrupted = "Interrupted",
        /// The run was cancelled.
        Cancelled = "Cancelled",
        /// The image needs a cluster.
        ImageNeedsCluster = "ImageNeedsCluster",
        /// The program of the agent is not installed.
        ProgramNotFound = "ProgramNotFound",
        /// The machine cannot give the sandbox that is asked for.
        SandboxUnavailable = "SandboxUnavailable",
        /// The Task asks for more of the network than the daemon gives.
        NetworkNotAllowed = "NetworkNotAllowed",
        /// The run had no sandbox.
        Unrestricted = "Unrestricted",
        /// The run had an environment, a home and limits of its own, and could gain no rights.
        Limited = "Limited",
        /// Also files were guarded.
        Files = "Files",
        /// Also no signal and no abstract socket reached beyond the run.
        Isolated = "Isolated",
        /// The run had a world of its own: processes, files, sockets, and a network if it had a guarded one.
        Enclosed = "Enclosed",
        /// Parts of `podOverrides` have no effect here.
        UnsupportedHere = "UnsupportedHere",
    }
}

/// A condition as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about.
    #[serde(rename = "type")]
    pub kind: String,

    /// Whether it is so.
    pub status: ConditionStatus,

    /// Generation of the spec that the condition is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When the status changed last.
    pub last_transition_time: Time,

    /// Why it is so, in one word.
    pub reason: String,

    /// Why it is so, for people.
    pub message: String,
}

/// What is now true of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What it is about.
    pub kind: ConditionType,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why it is so.
    pub reason: Reason,
    /// Why it is so, for people. Cut at [`MAX_MESSAGE_BYTES`].
    pub message: String,
}

impl Observation {
    /// Returns an observation.
    pub fn new(
        kind: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, status: status.into(), reason, message: message.into() }
    }
}

/// Puts what is true now into the conditions of an object and returns whether that changed anything.
///
/// The transition time becomes `now` only when the status changes. Conditions of other types stay as they are.
pub fn set(
    conditions: &mut Vec<Condition>,
    observation: Observation,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let Observation { kind, status, reason, mut message } = observation;
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    // A whole second, because that is what the wire keeps.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let mut next = Condition {
        kind: kind.as_str().to_owned(),
        status,
        observed_generation: generation,
        last_transition_time: Time(now),
        reason: reason.as_str().to_owned(),
        message,
    };
    let Some(current) = conditions.iter_mut().find(|condition| condition.kind == next.kind) else {
        conditions.push(next);
        return true;
    };
    if current.status == next.status {
        next.last_transition_time = current.last_transition_time.clone();
    }
    let changed = *current != next;
    *current = next;
    changed
}

/// Takes the condition out and returns whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, kind: ConditionType) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.kind != kind.as_str());
    conditions.len() != before
}

/// Returns the condition of this type.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.kind == kind.as_str())
}

/// Returns true when there is such a condition and it is true.
pub fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == ConditionStatus::True)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_when_the_state_does() {
        let mut conditions = Vec::new();
        let ready = |status: bool, message: &str| {
            Observation::new(ConditionType::Ready, status, Reason::Applied, message)
        };
        assert!(set(&mut conditions, ready(true, "a"), Some(1), at(10)));
        assert!(!set(&mut conditions, ready(true, "a"), Some(1), at(20)));
        assert!(set(&mut conditions, ready(true, "b"), Some(2), at(30)));
        assert_eq!(find(&conditions, ConditionType::Ready).unwrap().last_transition_time, Time(at(10)));
        assert!(set(&mut conditions, ready(false, "b"), Some(2), at(40)));
        assert_eq!(find(&conditions, ConditionType::Ready).unwrap().last_transition_time, Time(at(40)));
        assert!(!is_true(&conditions, ConditionType::Ready));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn conditions_of_other_writers_stay() {
        let theirs = serde_json::json!([{
            "type": "Theirs", "status": "Unknown", "reason": "Odd", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]);
        let mut conditions: Vec<Condition> = serde_json::from_value(theirs.clone()).unwrap();
        set(
            &mut conditions,
            Observation::new(ConditionType::Stalled, true, Reason::InvalidSpec, "x"),
            None,
            at(1),
        );
        assert!(remove(&mut conditions, ConditionType::Stalled));
        assert!(!remove(&mut conditions, ConditionType::Stalled));
        assert_eq!(serde_json::to_value(&conditions).unwrap(), theirs);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut conditions = Vec::new();
        let message = format!("{}é", "a".repeat(MAX_MESSAGE_BYTES - 1));
        set(
            &mut conditions,
            Observation::new(ConditionType::Ready, true, Reason::Applied, message),
            None,
            at(1),
        );
        assert_eq!(conditions[0].message.len(), MAX_MESSAGE_BYTES - 1);
    }
}
