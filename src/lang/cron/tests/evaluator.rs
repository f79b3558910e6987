//! Schedules against two judges that share no code with them: the rules of cron applied to every minute of a clock on
//! the wall, and the answers of robfig/cron.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::Value;

use super::{instant, walk};
use crate::lang::cron::Schedule;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Says whether the text of a field matches a number, straight from the rules: `*`, `?`, `N`, `N-M`, `/STEP`, lists, names.
fn field_matches(field: &str, value: i32, (low, high): (i32, i32), names: &[&str]) -> bool {
    let number = |word: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(word));
        named.map_or_else(|| word.parse().unwrap(), |index| low + i32::try_from(index).unwrap())
    };
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (low, high),
            Some((from, to)) => (number(from), number(to)),
            None if step.is_some() => (number(range), high),
            None => (number(range), number(range)),
        };
        let step: i32 = step.map_or(1, |step| step.parse().unwrap());
        (from..=to).contains(&value) && (value - from) % step == 0
    })
}

/// Says whether a field counts as a star, which decides how the two fields of days are joined.
fn is_star(field: &str) -> bool {
    field.split(',').any(|item| matches!(item, "*" | "?" | "*/1" | "?/1"))
}

/// An expression as what each field says about each number.
struct Judge {
    fields: [Vec<bool>; 5],
    either: bool,
}

impl Judge {
    fn of(expression: &str) -> Self {
        let fields: Vec<&str> = expression.split(' ').collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { panic!("{expression}") };
        let table = |field: &str, bounds, names: &[&str]| {
            (0..60).map(|value| field_matches(field, value, bounds, names)).collect()
        };
        Self {
            fields: [
                table(minute, (0, 59), &[]),
                table(hour, (0, 23), &[]),
                table(day, (1, 31), &[]),
                table(month, (1, 12), &MONTHS),
                table(weekday, (0, 6), &WEEKDAYS),
            ],
            either: !is_star(day) && !is_star(weekday),
        }
    }

    fn is_due(&self, wall: DateTime) -> bool {
        let says = |field: usize, value: i8| self.fields[field][usize::try_from(value).unwrap()];
        let (date, name) = (says(2, wall.day()), says(4, wall.weekday().to_sunday_zero_offset()));
        wall.second() == 0
            && says(0, wall.minute())
            && says(1, wall.hour())
            && says(3, wall.month())
            && if self.either { date || name } else { date && name }
    }
}

fn random_item(random: &mut fastrand::Rng, low: u8, high: u8, names: &[&str]) -> String {
    let (one, other) = (random.u8(low..=high), random.u8(low..=high));
    let word = |random: &mut fastrand::Rng, number: u8| {
        if names.is_empty() || random.bool() {
            return number.to_string();
        }
        let name = names[usize::from(number - low)];
        if random.bool() { name.to_uppercase() } else { name.to_owned() }
    };
    match random.u8(..9) {
        0..=2 => "*".to_owned(),
        3 => format!("*/{}", random.u8(1..20)),
        4 => format!("{}/{}", word(random, one), random.u8(1..20)),
        5 => format!("{}-{}", word(random, one.min(other)), word(random, one.max(other))),
        6 => format!("{}-{}/{}", one.min(other), one.max(other), random.u8(1..9)),
        7 => "?".to_owned(),
        _ => word(random, one),
    }
}

fn random_field(random: &mut fastrand::Rng, low: u8, high: u8, names: &[&str]) -> String {
    let items = if random.u8(..5) == 0 { random.usize(2..4) } else { 1 };
    let items: Vec<String> = (0..items).map(|_| random_item(random, low, high, names)).collect();
    items.join(",")
}

/// Places and days of changes: by an hour, by half an hour, by a day, by two hours, at midnight, twice a year.
const PLACES: [(&str, &str); 16] = [
    ("UTC", "2024-02-28T00:00:00Z"),
    ("America/New_York", "2023-03-11T12:00:00Z"),
    ("America/New_York", "2023-11-04T12:00:00Z"),
    ("Europe/London", "2024-03-30T20:00:00Z"),
    ("Europe/Berlin", "2024-10-26T20:00:00Z"),
    ("Australia/Lord_Howe", "2024-04-06T09:00:00Z"),
    ("Australia/Lord_Howe", "2024-10-05T09:00:00Z"),
    ("America/Havana", "2024-03-09T22:00:00Z"),
    ("America/Havana", "2024-11-02T22:00:00Z"),
    ("America/Santiago", "2024-09-07T20:00:00Z"),
    ("America/St_Johns", "2011-11-05T20:00:00Z"),
    ("Pacific/Apia", "2011-12-29T00:00:00Z"),
    ("Antarctica/Troll", "2024-03-30T20:00:00Z"),
    ("Asia/Beirut", "2024-03-30T18:00:00Z"),
    ("Africa/Casablanca", "2024-03-09T18:00:00Z"),
    ("Asia/Kolkata", "2023-12-30T18:00:00Z"),
];

#[test]
fn schedules_agree_with_looking_at_every_minute_of_the_wall() {
    const EXPRESSIONS: usize = 125;
    const HOURS: i64 = 54;
    let mut random = fastrand::Rng::with_seed(3);
    let (mut ticks, mut judged) = (0, 0);
    for (place, start) in PLACES {
        // Its own reading of the zone: the database of the system, by another library.
        let Ok(zone) = TimeZone::get(place) else {
            eprintln!("skipped for {place}: this system has no time zone database (package tzdata)");
            continue;
        };
        let start = instant(start);
        let minutes: Vec<(Timestamp, DateTime)> = (1..=HOURS * 60)
            .map(|minute| start + SignedDuration::from_mins(minute))
            .map(|minute| (minute, zone.to_datetime(minute)))
            .collect();
        let end = minutes.last().unwrap().0;
        for _ in 0..EXPRESSIONS {
            let mut fields =
                [(0, 59, &[][..]), (0, 23, &[]), (1, 31, &[]), (1, 12, &MONTHS), (0, 6, &WEEKDAYS)]
                    .map(|(low, high, names)| random_field(&mut random, low, high, names));
            // Months that miss the window would make most runs empty.
            if random.u8(..4) > 0 {
                "*".clone_into(&mut fields[3]);
            }
            let expression = fields.join(" ");
            let schedule = Schedule::parse(&expression, Some(place)).unwrap();
            let judge = Judge::of(&expression);
            let due = minutes.iter().filter(|(_, wall)| judge.is_due(*wall));
            let expected: Vec<Timestamp> = due.map(|(minute, _)| *minute).collect();
            let found: Vec<Timestamp> =
                std::iter::successors(schedule.next_after(start), |last| schedule.next_after(*last))
                    .take_while(|due| *due <= end)
                    .collect();
            assert_eq!(found, expected, "{expression} in {place}");
            // The same by counting, over a part that begins and ends anywhere.
            let after = start + SignedDuration::from_secs(random.i64(0..HOURS * 3_000));
            let through = after + SignedDuration::from_secs(random.i64(0..HOURS * 600));
            let part: Vec<Timestamp> =
                expected.iter().copied().filter(|due| *due > after && *due <= through).collect();
            let keep = random.usize(..6);
            let passed = schedule.passed(after, through, keep);
            let case = format!("{expression} in {place} from {after} through {through}");
            assert_eq!(passed.count, part.len() as u64, "{case}");
            assert_eq!(passed.newest, part[part.len().saturating_sub(keep)..], "{case}");
            ticks += found.len();
            judged += 1;
        }
    }
    assert!(judged == 0 || ticks > 50 * judged, "the runs were nearly empty: {ticks} ticks of {judged}");
}

#[test]
fn long_spans_are_counted_as_a_walk_counts_them() {
    for (expression, zone) in
        [("*/7 * * * *", "Europe/Berlin"), ("30 1,2 * * *", "America/New_York"), ("0 0 13 * FRI", "UTC")]
    {
        let schedule = Schedule::parse(expression, Some(zone)).unwrap();
        let (after, through) = (instant("2019-05-05T05:05:05Z"), instant("2023-11-30T00:00:00Z"));
        let all = walk(&schedule, after, 1_000_000);
        let through_text = through.to_string();
        let all: Vec<&String> = all.iter().filter(|due| **due <= through_text).collect();
        let passed = schedule.passed(after, through, 3);
        assert_eq!(passed.count, all.len() as u64, "{expression}");
        let newest: Vec<String> = passed.newest.iter().map(ToString::to_string).collect();
        assert_eq!(newest.iter().collect::<Vec<_>>(), all[all.len() - 3..], "{expression}");
    }
}

/// Returns whether the offset of a zone changes within two days of `near` in a way that robfig/cron stumbles over: by
/// anything but whole hours, or so that a midnight does not exist or exists twice.
fn is_odd_change(zone: &str, from: Timestamp, to: Timestamp) -> bool {
    let zone = TimeZone::get(zone).unwrap();
    zone.following(from - 48.hours()).take_while(|change| change.timestamp() <= to + 48.hours()).any(
        |change| {
            let at = change.timestamp();
            let (before, after) = (zone.to_offset(at - SignedDuration::from_secs(1)), change.offset());
            let shift = after.seconds() - before.seconds();
            let wall = |offset: jiff::tz::Offset| offset.to_datetime(at);
            let near_midnight = |wall: DateTime| wall.hour() <= 1 || wall.hour() == 23;
            shift % 3_600 != 0 || near_midnight(wall(before)) || near_midnight(wall(after))
        },
    )
}

#[test]
fn thousands_of_schedules_agree_with_the_library_that_kubernetes_uses() {
    if TimeZone::get("Europe/Berlin").is_err() {
        eprintln!("skipped: this system has no time zone database (package tzdata)");
        return;
    }
    let (mut cases, mut odd, mut empty) = (0, 0, 0);
    for line in include_str!("../../../../tests/testdata/upstream/cron-robfig.jsonl").lines() {
        let (expression, zone, after, expected): (String, String, String, Vec<String>) =
            serde_json::from_str::<Value>(line).and_then(serde_json::from_value).unwrap();
        let schedule =
            Schedule::parse(&expression, Some(&zone)).unwrap_or_else(|error| panic!("{line}: {error}"));
        let found = walk(&schedule, instant(&after), 3);
        cases += 1;
        empty += usize::from(expected.is_empty());
        if found == expected {
            continue;
        }
        // Meant: ours fires at the local times that exist, robfig/cron skips or invents some at such changes.
        let ends = found.iter().chain(&expected).map(|text| instant(text));
        let (from, to) = (instant(&after), ends.max().unwrap_or(instant(&after)));
        assert!(is_odd_change(&zone, from, to), "{line} and not {found:?}");
        odd += 1;
    }
    assert_eq!(cases, 5_000);
    assert!(odd < cases / 50 && empty < cases / 10, "{odd} disagree, {empty} never fire");
}
