//! Phases: one word for where a Task or a TaskSpawner stands.

use crate::api::closed_set::closed_set;

closed_set! {
    /// Where a Task stands. A Task without a phase has not been looked at yet.
    pub enum TaskPhase {
        /// It waits for something that is named in the status: a dependency, a branch, a slot, a missing object.
        Waiting = "Waiting",
        /// Its run is accepted and about to start.
        Pending = "Pending",
        /// Its run is going on.
        Running = "Running",
        /// Its run ended well.
        Succeeded = "Succeeded",
        /// Its run ended badly, or could never start.
        Failed = "Failed",
    }
}

impl TaskPhase {
    /// Returns true when the phase never changes again.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

closed_set! {
    /// Where a TaskSpawner stands.
    pub enum TaskSpawnerPhase {
        /// It is accepted and its source has not been asked yet.
        Pending = "Pending",
        /// Its source is asked on schedule.
        Running = "Running",
        /// It is suspended by `spec.suspend`.
        Suspended = "Suspended",
        /// Its last discovery failed; the message says why.
        Failed = "Failed",
    }
}
