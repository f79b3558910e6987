//! Which ticks of a schedule become Tasks.
//!
//! A schedule keeps a watermark: the last tick that was decided. It only moves forward, so that neither a restart nor
//! a clock set back runs a tick twice. It is stored in one write with the ticks that wait for room, with those whose
//! Tasks are about to be created, and with the count of Tasks, in which the latter are included already: whatever is
//! killed after that write, the next look goes on from it.

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use crate::api::task_spawner::MAX_PENDING_TICKS;
use crate::api::task_spawner::source::MissedTicks;
use crate::lang::cron::Schedule;

/// How late a tick may start that is not to run when it was missed, unless the spawner says otherwise.
const SKIP_DEADLINE: SignedDuration = SignedDuration::from_mins(1);

/// What is remembered of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticks {
    /// The last tick that was decided, or the instant from which ticks count.
    pub watermark: Timestamp,
    /// Ticks that wait for room, oldest first.
    pub pending: Vec<Timestamp>,
    /// Ticks whose Tasks are to be created now, or may have been when something was killed; oldest first.
    pub starting: Vec<Timestamp>,
    /// Tasks created so far, those of `starting` included.
    pub total: u64,
}

/// Whether ticks count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// They do.
    Runs,
    /// They do not.
    Suspended,
    /// Those up to now do not, later ones do.
    Resumed,
}

/// What the spawner wants of its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What becomes of ticks that could not start in time.
    pub missed: MissedTicks,
    /// How late a tick may start; `None` for no limit.
    pub deadline: Option<SignedDuration>,
    /// Whether ticks count.
    pub activity: Activity,
    /// How many more Tasks may be unfinished; `None` for no limit.
    pub room: Option<u64>,
    /// How many Tasks may ever be created; `None` for no limit.
    pub most: Option<u64>,
}

/// Why a tick gets no Task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// The spawner was suspended.
    Suspended,
    /// A later tick came before it could start.
    Superseded,
    /// More ticks were missed than are made up for.
    TooMany,
    /// It was too late for it.
    TooLate,
    /// All Tasks that the spawner may create are created.
    LimitReached,
    /// The server or a template refused its Task.
    NotCreated,
}

impl SkipReason {
    /// Returns the reason for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "the spawner was suspended",
            Self::Superseded => "a later tick came before it could start",
            Self::TooMany => "more ticks were missed than are made up for",
            Self::TooLate => "it could not start before its deadline",
            Self::LimitReached => "maxTotalTasks is reached",
            Self::NotCreated => "the Task could not be created",
        }
    }
}

/// What is decided at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is to be remembered, before anything is created.
    pub ticks: Ticks,
    /// How many ticks passed since the watermark.
    pub passed: u64,
    /// How many ticks get no Task, and why.
    pub skipped: Vec<(SkipReason, u64)>,
    /// The first tick after now that is not decided; `None` when the schedule never fires again.
    pub next: Option<Timestamp>,
}

/// Decides which ticks start at `now`, which wait and which are skipped.
///
/// Every tick after the watermark and up to now gets into exactly one of `starting`, `pending` and `skipped`. Deciding
/// again at the same instant changes nothing.
pub fn decide(schedule: &Schedule, before: &Ticks, rules: &Rules, now: Timestamp) -> Decision {
    let mut decision = Decision { ticks: before.clone(), passed: 0, skipped: Vec::new(), next: None };
    if rules.activity == Activity::Suspended {
        let dropped = decision.ticks.pending.drain(..).count();
        decision.skip(SkipReason::Suspended, dropped);
        decision.next = schedule.next_after(before.watermark.max(now));
        return decision;
    }
    decision.next = schedule.next_after(before.watermark);
    if decision.next.is_some_and(|tick| tick <= now) {
        decision.take(schedule, rules, now);
        decision.next = schedule.next_after(now);
    }
    let deadline = rules.deadline.or((rules.missed == MissedTicks::Skip).then_some(SKIP_DEADLINE));
    if let Some(deadline) = deadline {
        let waiting = decision.ticks.pending.len();
        decision.ticks.pending.retain(|tick| now.duration_since(*tick) <= deadline);
        decision.skip(SkipReason::TooLate, waiting - decision.ticks.pending.len());
    }
    decision.start(rules);
    decision
}

/// Returns what is to be remembered once the Tasks of all starting ticks exist, but for `refused` of them.
#[must_use]
pub fn started(ticks: &Ticks, refused: u64) -> Ticks {
    Ticks { starting: Vec::new(), total: ticks.total.saturating_sub(refused), ..ticks.clone() }
}

impl Decision {
    fn skip(&mut self, reason: SkipReason, count: usize) {
        self.skip_many(reason, u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn skip_many(&mut self, reason: SkipReason, count: u64) {
        if count > 0 {
            self.skipped.push((reason, count));
        }
    }

    /// Takes up the ticks that passed since the watermark.
    fn take(&mut self, schedule: &Schedule, rules: &Rules, now: Timestamp) {
        let keep = if rules.missed == MissedTicks::RunAll { MAX_PENDING_TICKS } else { 1 };
        let passed = schedule.passed(self.ticks.watermark, now, keep);
        let Some(last) = passed.newest.last() else { return };
        self.ticks.watermark = *last;
        self.passed = passed.count;
        if rules.activity == Activity::Resumed {
            self.skip_many(SkipReason::Suspended, passed.count);
            return;
        }
        let taken = u64::try_from(passed.newest.len()).unwrap_or(u64::MAX);
        let left = passed.count.saturating_sub(taken);
        let waiting = &mut self.ticks.pending;
        waiting.extend(passed.newest);
        let too_many = waiting.len().saturating_sub(keep);
        waiting.drain(..too_many);
        let reason = match rules.missed {
            MissedTicks::RunAll => SkipReason::TooMany,
            MissedTicks::RunLatest | MissedTicks::Skip => SkipReason::Superseded,
        };
        self.skip_many(reason, left);
        self.skip(reason, too_many);
    }

    /// Lets as many ticks start as there is room for.
    fn start(&mut self, rules: &Rules) {
        let left = rules.most.map_or(u64::MAX, |most| most.saturating_sub(self.ticks.total));
        // What starts already takes room that is not seen yet.
        let starting = u64::try_from(self.ticks.starting.len()).unwrap_or(u64::MAX);
        let room = rules.room.unwrap_or(u64::MAX).saturating_sub(starting);
        let most = u64::try_from(MAX_PENDING_TICKS).unwrap_or(u64::MAX).saturating_sub(starting);
        let count = usize::try_from(left.min(room).min(most)).unwrap_or(usize::MAX);
        let count = count.min(self.ticks.pending.len());
        self.ticks.starting.extend(self.ticks.pending.drain(..count));
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.ticks.total = self.ticks.total.saturating_add(count);
        if left == count {
            let dropped = self.ticks.pending.drain(..).count();
            self.skip(SkipReason::LimitReached, dropped);
        }
    }
}
