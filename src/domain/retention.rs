//! How long the record of a run is kept.
//!
//! A record is what keeps a run from being paid for again and what its line in the ledger is made from. It goes when it
//! is old and nothing needs it any more.

use jiff::{SignedDuration, Timestamp};

use crate::api::run_record::RunRecord;

/// How long every record is kept.
pub const RECORD_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What needs a record; each is false only when it is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own, and all combinations exist"
)]
pub struct Needs {
    /// Its Task is still there, and would be recorded and reported anew without it; or one that depends on its Task.
    pub task: bool,
    /// Its line is to be written and is not known to be on the remote.
    pub ledger: bool,
    /// The manifest that asked for the run stands in its config repository, or what stands there is not known.
    pub manifest: bool,
    /// The work item that asked for the run may still match.
    pub item: bool,
}

/// Returns whether the record may go at `now`.
pub fn may_go(record: &RunRecord, needs: Needs, now: Timestamp) -> bool {
    let Needs { task, ledger, manifest, item } = needs;
    let age = now.duration_since(record.spec.completion_time.0);
    age > RECORD_LIFETIME && !task && !ledger && !manifest && !item
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_goes_when_it_is_old_and_nothing_needs_it() {
        let record: RunRecord = serde_json::from_value(json!({
            "apiVersion": "gitops.kelos.dev/v1alpha1", "kind": "RunRecord", "metadata": {"name": "u"},
            "spec": {
                "taskName": "t", "taskUid": "u", "agentType": "shell", "outcome": "Succeeded",
                "completionTime": "2026-03-01T09:00:00Z",
            },
        }))
        .unwrap();
        let at = |now: &str, needs| may_go(&record, needs, now.parse().unwrap());
        let none = Needs::default();
        assert!(!at("2026-03-31T09:00:00Z", none));
        assert!(at("2026-03-31T09:00:01Z", none));
        assert!(!at("2026-02-01T00:00:00Z", none), "the clock was set back");
        for needs in [
            Needs { task: true, ..none },
            Needs { ledger: true, ..none },
            Needs { manifest: true, ..none },
            Needs { item: true, ..none },
        ] {
            assert!(!at("2027-03-31T09:00:01Z", needs), "{needs:?}");
        }
    }
}
