use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rules(missed: MissedTicks) -> Rules {
    Rules { missed, deadline: None, activity: Activity::Runs, room: None, most: None }
}

fn since(watermark: &str) -> Ticks {
    Ticks { watermark: instant(watermark), pending: Vec::new(), starting: Vec::new(), total: 0 }
}

/// Decides for `0 * * * *` at 07:30 when everything up to midnight is decided: seven ticks were missed.
fn seven_missed(rules: &Rules) -> Decision {
    let schedule = Schedule::parse("0 * * * *", None).unwrap();
    decide(&schedule, &since("2026-03-01T00:00:00Z"), rules, instant("2026-03-01T07:30:00Z"))
}

fn hours(ticks: &[Timestamp]) -> Vec<i8> {
    ticks.iter().map(|tick| tick.to_zoned(jiff::tz::TimeZone::UTC).hour()).collect()
}

#[track_caller]
fn check(decision: &Decision, starting: &[i8], pending: &[i8], skipped: &[(SkipReason, u64)]) {
    assert_eq!(hours(&decision.ticks.starting), starting);
    assert_eq!(hours(&decision.ticks.pending), pending);
    assert_eq!(decision.skipped, skipped);
}

#[test]
fn missed_ticks_follow_the_policy() {
    let latest = seven_missed(&rules(MissedTicks::RunLatest));
    check(&latest, &[7], &[], &[(SkipReason::Superseded, 6)]);
    assert_eq!(latest.next, Some(instant("2026-03-01T08:00:00Z")));
    assert_eq!(latest.ticks.watermark, instant("2026-03-01T07:00:00Z"));
    assert_eq!((latest.passed, latest.ticks.total), (7, 1));
    check(&seven_missed(&rules(MissedTicks::RunAll)), &[1, 2, 3, 4, 5, 6, 7], &[], &[]);
    let none = seven_missed(&rules(MissedTicks::Skip));
    check(&none, &[], &[], &[(SkipReason::Superseded, 6), (SkipReason::TooLate, 1)]);
}

#[test]
fn a_tick_that_nothing_held_up_runs_whatever_the_policy() {
    let schedule = Schedule::parse("30 7 * * *", None).unwrap();
    for missed in MissedTicks::ALL {
        let decision = decide(
            &schedule,
            &since("2026-03-01T00:00:00Z"),
            &rules(*missed),
            instant("2026-03-01T07:30:00Z"),
        );
        check(&decision, &[7], &[], &[]);
        let again = decide(&schedule, &decision.ticks, &rules(*missed), instant("2026-03-01T07:30:00Z"));
        assert_eq!(again.ticks, decision.ticks, "deciding again changes nothing");
        assert_eq!((again.passed, again.skipped.len()), (0, 0));
    }
}

#[test]
fn what_starts_late_is_bounded_by_the_deadline() {
    let deadline = Some(SignedDuration::from_mins(100));
    let all = seven_missed(&Rules { deadline, ..rules(MissedTicks::RunAll) });
    check(&all, &[6, 7], &[], &[(SkipReason::TooLate, 5)]);
    let latest = seven_missed(&Rules { deadline, ..rules(MissedTicks::RunLatest) });
    check(&latest, &[7], &[], &[(SkipReason::Superseded, 6)]);
    let skip = seven_missed(&Rules { deadline, ..rules(MissedTicks::Skip) });
    check(&skip, &[7], &[], &[(SkipReason::Superseded, 6)]);
}

#[test]
fn ticks_wait_for_room_as_long_as_the_policy_lets_them() {
    let full = |missed| Rules { room: Some(0), ..rules(missed) };
    check(&seven_missed(&full(MissedTicks::RunLatest)), &[], &[7], &[(SkipReason::Superseded, 6)]);
    let all = seven_missed(&Rules { room: Some(2), ..rules(MissedTicks::RunAll) });
    check(&all, &[1, 2], &[3, 4, 5, 6, 7], &[]);
    assert_eq!(all.ticks.total, 2, "only what starts is counted");
    let schedule = Schedule::parse("0 * * * *", None).unwrap();
    let later = instant("2026-03-01T08:10:00Z");
    let latest = seven_missed(&full(MissedTicks::RunLatest));
    let replaced = decide(&schedule, &latest.ticks, &full(MissedTicks::RunLatest), later);
    check(&replaced, &[], &[8], &[(SkipReason::Superseded, 1)]);
    // What is being created takes its place before the cluster shows it.
    let held = decide(&schedule, &all.ticks, &Rules { room: Some(2), ..rules(MissedTicks::RunAll) }, later);
    check(&held, &[1, 2], &[3, 4, 5, 6, 7, 8], &[]);
    let freed = decide(&schedule, &started(&all.ticks, 0), &rules(MissedTicks::RunAll), later);
    check(&freed, &[3, 4, 5, 6, 7, 8], &[], &[]);
    assert_eq!(freed.ticks.total, 8);
}

#[test]
fn a_long_absence_is_made_up_for_within_bounds() {
    let schedule = Schedule::parse("* * * * *", None).unwrap();
    let before = since("2020-01-01T00:00:00Z");
    let now = instant("2026-01-01T00:00:30Z");
    let decision = decide(&schedule, &before, &rules(MissedTicks::RunAll), now);
    assert_eq!(decision.ticks.starting.len(), MAX_PENDING_TICKS);
    assert_eq!(decision.ticks.starting.first(), Some(&instant("2025-12-31T22:21:00Z")));
    let minutes = 2192 * 1440;
    assert_eq!(
        (decision.passed, &decision.skipped[..]),
        (minutes, &[(SkipReason::TooMany, minutes - 100)][..])
    );
}

#[test]
fn suspended_ticks_are_skipped_and_what_waited_too() {
    let waits = seven_missed(&Rules { room: Some(0), ..rules(MissedTicks::RunAll) });
    let schedule = Schedule::parse("0 * * * *", None).unwrap();
    let suspended = Rules { activity: Activity::Suspended, ..rules(MissedTicks::RunAll) };
    let decision = decide(&schedule, &waits.ticks, &suspended, instant("2026-03-01T09:30:00Z"));
    check(&decision, &[], &[], &[(SkipReason::Suspended, 7)]);
    assert_eq!(decision.next, Some(instant("2026-03-01T10:00:00Z")));
    let resumed = Rules { activity: Activity::Resumed, ..rules(MissedTicks::RunAll) };
    let decision = decide(&schedule, &decision.ticks, &resumed, instant("2026-03-01T12:30:00Z"));
    check(&decision, &[], &[], &[(SkipReason::Suspended, 5)]);
    let decision =
        decide(&schedule, &decision.ticks, &rules(MissedTicks::RunAll), instant("2026-03-01T13:00:00Z"));
    check(&decision, &[13], &[], &[]);
}

#[test]
fn the_total_is_never_passed_and_counts_what_was_created() {
    let limited = Rules { most: Some(3), ..rules(MissedTicks::RunAll) };
    let decision = seven_missed(&limited);
    check(&decision, &[1, 2, 3], &[], &[(SkipReason::LimitReached, 4)]);
    // One of the three was refused by the server, so one more may come.
    let ticks = started(&decision.ticks, 1);
    assert_eq!((ticks.total, ticks.starting.len()), (2, 0));
    let schedule = Schedule::parse("0 * * * *", None).unwrap();
    let next = decide(&schedule, &ticks, &limited, instant("2026-03-01T09:00:00Z"));
    check(&next, &[8], &[], &[(SkipReason::LimitReached, 1)]);
    let over = decide(&schedule, &started(&next.ticks, 0), &limited, instant("2026-03-01T10:00:00Z"));
    check(&over, &[], &[], &[(SkipReason::LimitReached, 1)]);
}

#[test]
fn nothing_is_due_when_the_clock_is_set_back() {
    let schedule = Schedule::parse("0 * * * *", None).unwrap();
    for missed in MissedTicks::ALL {
        let before = since("2026-03-01T07:00:00Z");
        let decision = decide(&schedule, &before, &rules(*missed), instant("2026-03-01T05:00:00Z"));
        assert_eq!(decision.ticks, before);
        assert_eq!(decision.next, Some(instant("2026-03-01T08:00:00Z")));
    }
}

#[test]
fn a_date_that_does_not_exist_never_fires() {
    let schedule = Schedule::parse("0 0 30 2 *", None).unwrap();
    let before = since("2026-03-01T00:00:00Z");
    let decision = decide(&schedule, &before, &rules(MissedTicks::RunAll), instant("2030-03-01T00:00:00Z"));
    assert_eq!((decision.ticks, decision.next), (before, None));
}

/// What is durable of a spawner and its Tasks, and what happened to it.
struct World {
    status: Ticks,
    /// Whether the status says that the spawner is suspended.
    was_suspended: bool,
    /// Tasks that the cluster holds, by tick: when each ends, until it has.
    tasks: BTreeMap<Timestamp, Option<Timestamp>>,
    /// How often a Task was made for each tick.
    runs: BTreeMap<Timestamp, u32>,
    skipped: u64,
}

/// Where something is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kill {
    BeforeStatus,
    BeforeCreate,
    AmongCreates,
    BeforeClear,
    Never,
}

impl World {
    fn unfinished(&self) -> u64 {
        self.tasks.values().flatten().count() as u64
    }

    /// One look of the controller, which may be killed in it.
    fn look(
        &mut self,
        schedule: &Schedule,
        rules: &Rules,
        limit: Option<u64>,
        now: Timestamp,
        kill: Kill,
        minutes: i64,
    ) {
        // A Task goes once it has ended and its tick is no longer about to be created.
        let starting = &self.status.starting;
        self.tasks.values_mut().for_each(|end| *end = end.filter(|end| *end > now));
        self.tasks.retain(|tick, end| end.is_some() || starting.contains(tick));
        let activity = match (rules.activity, self.was_suspended) {
            (Activity::Suspended, _) => Activity::Suspended,
            (_, true) => Activity::Resumed,
            (_, false) => Activity::Runs,
        };
        let room = limit.map(|limit| limit.saturating_sub(self.unfinished()));
        let decision = decide(schedule, &self.status, &Rules { activity, room, ..*rules }, now);
        if kill == Kill::BeforeStatus {
            return;
        }
        assert!(decision.ticks.watermark >= self.status.watermark, "the watermark moves forward");
        self.status = decision.ticks;
        self.was_suspended = activity == Activity::Suspended;
        self.skipped += decision.skipped.iter().map(|(_, count)| count).sum::<u64>();
        if kill == Kill::BeforeCreate {
            return;
        }
        for (index, tick) in self.status.starting.clone().into_iter().enumerate() {
            if kill == Kill::AmongCreates && index == 1 {
                return;
            }
            // The name follows from the tick: a Task that is there is not made again.
            self.tasks.entry(tick).or_insert_with(|| {
                *self.runs.entry(tick).or_default() += 1;
                Some(now + SignedDuration::from_mins(minutes))
            });
        }
        assert!(limit.is_none_or(|limit| self.unfinished() <= limit), "more than maxConcurrency allows");
        if kill != Kill::BeforeClear {
            self.status = started(&self.status, 0);
        }
    }
}

#[test]
fn a_year_with_restarts_at_random_loses_and_doubles_no_tick() {
    let mut random = fastrand::Rng::with_seed(11);
    let schedules = [
        ("*/20 * * * *", None),
        ("17 * * * *", Some("Asia/Kolkata")),
        ("30 2 * * *", Some("America/New_York")),
        ("*/30 0-3 * * *", Some("Europe/Berlin")),
        ("15 1,2 * * SUN", Some("Australia/Lord_Howe")),
        ("0 0 1,15 * MON", Some("America/Havana")),
    ];
    let mut ticks = 0;
    for round in 0..36 {
        let (expression, zone) = schedules[round % schedules.len()];
        let schedule = Schedule::parse(expression, zone).unwrap();
        let missed = MissedTicks::ALL[round / schedules.len() % 3];
        let limit = random.bool().then(|| random.u64(1..4));
        let most = (round >= 30).then(|| random.u64(10..2_000));
        let deadline = random.bool().then(|| SignedDuration::from_mins(random.i64(1..300)));
        let mut rules = Rules { missed, deadline, most, ..rules(missed) };
        let begin = instant("2026-01-01T00:00:00Z");
        let end = instant("2027-01-01T00:00:00Z");
        let mut world = World {
            status: Ticks { watermark: begin, ..since("2026-01-01T00:00:00Z") },
            was_suspended: false,
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            skipped: 0,
        };
        let mut now = begin;
        while now < end {
            let kill = match random.u8(..20) {
                0 => Kill::BeforeStatus,
                1 => Kill::BeforeCreate,
                2 => Kill::AmongCreates,
                3 => Kill::BeforeClear,
                _ => Kill::Never,
            };
            if random.u8(..200) == 0 {
                let suspend = rules.activity == Activity::Runs;
                rules.activity = if suspend { Activity::Suspended } else { Activity::Runs };
            }
            world.look(&schedule, &rules, limit, now, kill, random.i64(1..90));
            // Most looks come at the tick; some after an absence of up to ten days, some on a clock that was set back.
            let next = schedule.next_after(now).unwrap_or(end);
            now = match random.u16(..1_000) {
                0..4 => now + SignedDuration::from_mins(random.i64(1..14_400)),
                4..8 => now - SignedDuration::from_mins(random.i64(1..180)),
                8..200 => {
                    now + SignedDuration::from_secs(random.i64(1..=next.duration_since(now).as_secs().max(1)))
                }
                _ => next + SignedDuration::from_millis(random.i64(0..900)),
            };
            now = now.min(end);
        }
        rules.activity = Activity::Runs;
        world.look(&schedule, &rules, limit, end, Kill::Never, 1);
        let walk = std::iter::successors(schedule.next_after(begin), |tick| schedule.next_after(*tick));
        let all: BTreeSet<Timestamp> = walk.take_while(|tick| *tick <= end).collect();
        let case = format!("{expression} {zone:?} {rules:?} {limit:?}");
        assert!(world.runs.values().all(|count| *count == 1), "{case}: a tick ran twice");
        assert!(world.runs.keys().all(|tick| all.contains(tick)), "{case}: what is no tick ran");
        let created = world.runs.len() as u64;
        assert_eq!(world.status.total, created, "{case}");
        assert!(most.is_none_or(|most| created <= most), "{case}");
        let decided = created + world.skipped + world.status.pending.len() as u64;
        assert_eq!(decided, all.len() as u64, "{case}: every tick runs, waits, or is counted");
        assert!(created > 0, "{case}: nothing ran");
        ticks += all.len();
    }
    assert!(ticks > 100_000, "{ticks}");
}
