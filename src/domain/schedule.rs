//! Which ticks of a schedule are due.
//!
//! A schedule keeps a watermark: the last tick that was decided, either run or skipped for a reason that is
//! counted. It only moves forward, so that neither a restart nor a clock set back runs a tick twice.

use jiff::Timestamp;

use crate::lang::cron::Schedule;

/// What is due at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The tick to run: the latest of those that passed since the watermark.
    pub run: Option<Timestamp>,
    /// How many earlier ticks passed as well and are skipped.
    pub skipped: u64,
    /// The watermark once this is decided.
    pub watermark: Timestamp,
    /// The first tick after now; `None` when the schedule never fires again.
    pub next: Option<Timestamp>,
}

/// Returns what is due at `now`, when everything up to `watermark` is decided.
///
/// Of several missed ticks only the latest runs: after a night of sleep an hourly job is wanted once.
pub fn due(schedule: &Schedule, watermark: Timestamp, now: Timestamp) -> Due {
    let mut run = None;
    let mut skipped = 0;
    let mut next = schedule.next_after(watermark);
    while let Some(tick) = next.filter(|tick| *tick <= now) {
        skipped += u64::from(run.is_some());
        run = Some(tick);
        next = schedule.next_after(tick);
    }
    Due { run, skipped, watermark: run.unwrap_or(watermark), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, watermark: &str, now: &str) -> (Option<String>, u64, Option<String>) {
        let schedule = Schedule::parse(expression, None).unwrap();
        let due = due(&schedule, watermark.parse().unwrap(), now.parse().unwrap());
        (due.run.map(|tick| tick.to_string()), due.skipped, due.next.map(|tick| tick.to_string()))
    }

    #[test]
    fn the_latest_missed_tick_runs_and_the_others_are_counted() {
        let (run, skipped, next) = check("0 * * * *", "2026-03-01T00:00:00Z", "2026-03-01T07:30:00Z");
        assert_eq!(run.as_deref(), Some("2026-03-01T07:00:00Z"));
        assert_eq!(skipped, 6);
        assert_eq!(next.as_deref(), Some("2026-03-01T08:00:00Z"));
    }

    #[test]
    fn a_tick_is_due_in_its_own_second() {
        let (run, _, _) = check("30 7 * * *", "2026-03-01T00:00:00Z", "2026-03-01T07:30:00Z");
        assert_eq!(run.as_deref(), Some("2026-03-01T07:30:00Z"));
    }

    #[test]
    fn nothing_is_due_when_the_clock_is_set_back() {
        let (run, skipped, next) = check("0 * * * *", "2026-03-01T07:00:00Z", "2026-03-01T05:00:00Z");
        assert_eq!((run, skipped), (None, 0));
        assert_eq!(next.as_deref(), Some("2026-03-01T08:00:00Z"));
    }

    #[test]
    fn a_date_that_does_not_exist_never_fires() {
        assert_eq!(check("0 0 30 2 *", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"), (None, 0, None));
    }
}
