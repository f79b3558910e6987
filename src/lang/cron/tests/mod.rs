mod evaluator;

use jiff::Timestamp;
use serde_json::Value;

use super::*;

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the next `count` instants after `after`.
fn walk(schedule: &Schedule, after: Timestamp, count: usize) -> Vec<String> {
    std::iter::successors(schedule.next_after(after), |last| schedule.next_after(*last))
        .take(count)
        .map(|due| due.to_string())
        .collect()
}

fn due(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    walk(&Schedule::parse(expression, Some(zone)).unwrap(), instant(after), count)
}

/// Upstream counts at most this many ticks of the past.
const UPSTREAM_CAP: usize = 1000;

#[test]
fn recorded_schedules_agree_with_upstream() {
    let mut cases = 0;
    for line in include_str!("../../../../tests/testdata/upstream/cron.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let input = |name: &str| case["input"][name].as_str().unwrap();
        let schedule = Schedule::parse_as(input("schedule"), None, Dialect::Upstream);
        if case.get("error").is_some() {
            assert!(schedule.is_err(), "{case}");
            cases += 1;
            continue;
        }
        let schedule = schedule.unwrap_or_else(|error| panic!("{case}: {error}"));
        match case["op"].as_str().unwrap() {
            "cron_next_6" => {
                let expected: Vec<String> = serde_json::from_value(case["output"].clone()).unwrap();
                assert_eq!(walk(&schedule, instant(input("after")), 6), expected, "{case}");
            }
            "cron_discover" => {
                let now = instant(input("now")).to_string();
                let last = instant(input("lastDiscoveryTime"));
                let mut found = walk(&schedule, last, UPSTREAM_CAP);
                found.retain(|due| *due <= now);
                assert_eq!(Some(found.len() as u64), case["output"]["count"].as_u64(), "{case}");
                for (found, item) in found.iter().zip(case["output"]["items"].as_array().unwrap()) {
                    assert_eq!(found, item["time"].as_str().unwrap(), "{case}");
                }
                if let Some(last) = case["output"]["lastItemID"].as_str() {
                    let time = found.last().unwrap().replace(['-', ':'], "").replace('T', "-");
                    assert!(time.starts_with(last), "{case}");
                }
            }
            other => panic!("the operation {other} is not known"),
        }
        cases += 1;
    }
    assert_eq!(cases, 81);
}

#[test]
fn macros_stand_for_fields() {
    for (name, fields) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("TZ=UTC @annually", "0 0 1 1 *"),
    ] {
        let after = instant("2026-03-01T12:34:56Z");
        let expected = walk(&Schedule::parse(fields, None).unwrap(), after, 4);
        assert_eq!(walk(&Schedule::parse(name, None).unwrap(), after, 4), expected, "{name}");
        assert!(Schedule::parse_as(name, None, Dialect::Upstream).is_err(), "{name}");
    }
}

#[test]
fn errors_name_column_fault_and_remedy() {
    for (expression, column, message, hint) in [
        ("61 * * * *", 1, "the minute 61 is not in 0-59", ""),
        ("0 24 * * *", 3, "the hour 24 is not in 0-23", ""),
        ("0 0 0 * *", 5, "the day of month 0 is not in 1-31", ""),
        ("0  0 1 13 *", 8, "the month 13 is not in 1-12", ""),
        ("* * * * 7", 9, "the day of week 7 is not in 0-6", "Sunday is 0"),
        ("* * * * 1,2,9-10", 13, "the day of week 9 is not in 0-6", ""),
        ("0 9 * * mno", 9, "the day of week `mno` is not 0-6 or SUN-SAT", "did you mean `MON`?"),
        ("0 9 * * Monday", 9, "the day of week `Monday` is not 0-6 or SUN-SAT", "did you mean `MON`?"),
        ("0 9 * sept *", 7, "the month `sept` is not 1-12 or JAN-DEC", "did you mean `SEP`?"),
        (
            "0 9 L * *",
            5,
            "the day of month `L` is not 1-31",
            "`L`, `W` and `#` are extensions of other cron dialects",
        ),
        (
            "0 9 * * 1#2",
            9,
            "the day of week `1#2` is not 0-6 or SUN-SAT",
            "`L`, `W` and `#` are extensions of other cron dialects",
        ),
        ("0 9 * * FRI-MON", 9, "the day of week range FRI-MON runs backwards", "split it: `5-6,0-1`"),
        ("*/0 * * * *", 3, "the step `0` of the minute is not a positive number", ""),
        ("1-2-3 * * * *", 5, "the minute has a second `-`", ""),
        ("*/2/3 * * * *", 5, "the minute has a second `/`", ""),
        (
            "-1 * * * *",
            1,
            "a number is missing in the minute",
            "a range is written `N-M`, and numbers have no sign",
        ),
        ("*-5 * * * *", 1, "the minute mixes `*` with a range", "write either `*` or `N-M`"),
        (", * * * *", 1, "the minute has no value", ""),
        (
            "0 9 * *",
            8,
            "the schedule has 4 fields, not five: minute, hour, day of month, month, day of week",
            "write `*` for a field that does not matter",
        ),
        (
            "0 0 9 * * 1",
            11,
            "the schedule has 6 fields, not five: minute, hour, day of month, month, day of week",
            "there is no field for seconds or years, and lists have no blanks",
        ),
        ("  ", 1, "the schedule is empty", "write five fields, such as `0 9 * * MON-FRI`"),
        ("@dayly", 1, "the macro `@dayly` is not known", "did you mean `@daily`?"),
        ("@daily 5", 8, "nothing may follow the macro `@daily`", ""),
        (
            "@every 1h",
            1,
            "`@every` is not supported: it has no fixed times, so a restart would move it",
            "write fields, such as `*/15 * * * *` or `0 */6 * * *`",
        ),
        (
            "TZ=Europe/Belin 0 9 * * *",
            4,
            "the time zone `Europe/Belin` is not known",
            "did you mean `Europe/Berlin`?",
        ),
        (
            "CRON_TZ=Mars 0 9 * * *",
            9,
            "the time zone `Mars` is not known",
            "write a name of the IANA database, such as `Europe/Berlin` or `UTC`",
        ),
        ("ü * * * 99", 1, "the minute `ü` is not 0-59", ""),
    ] {
        let error = Schedule::parse(expression, None).unwrap_err();
        let found = (error.column, error.message.as_str(), error.hint.as_deref().unwrap_or_default());
        assert_eq!(found, (column, message, hint), "{expression:?}");
    }
    assert!(Schedule::parse("TZ=UTC 0 9 * * *", Some("Europe/Berlin")).is_err());
    assert!(Schedule::parse("0 9 * * *", Some("Berlin")).is_err());
    let long = format!("0 9 * * {}", vec!["1"; 300].join(","));
    assert_eq!(Schedule::parse(&long, None).unwrap_err().message, "the schedule has more than 512 bytes");
}

#[test]
fn what_never_is_due_is_an_answer_of_its_own() {
    for expression in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
        let schedule = Schedule::parse(expression, Some("Europe/Berlin")).unwrap();
        assert_eq!(schedule.next_after(instant("2026-01-01T00:00:00Z")), None, "{expression}");
    }
    // 2100 has no leap day: from 2096 on the next one is eight years away.
    let leap = Schedule::parse("0 0 29 2 *", None).unwrap();
    assert_eq!(leap.next_after(instant("2027-01-01T00:00:00Z")), Some(instant("2028-02-29T00:00:00Z")));
    assert_eq!(leap.next_after(instant("2096-03-01T00:00:00Z")), None);
    assert_eq!(leap.next_after(Timestamp::MAX), None);
    assert!(leap.next_after(Timestamp::MIN).is_none_or(|due| due > Timestamp::MIN));
}

#[test]
fn fractions_of_a_second_neither_repeat_nor_skip() {
    let hourly = Schedule::parse("0 * * * *", None).unwrap();
    for (after, expected) in [
        ("2026-01-01T08:59:59.999Z", "2026-01-01T09:00:00Z"),
        ("2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z"),
        ("2026-01-01T09:00:00.5Z", "2026-01-01T10:00:00Z"),
    ] {
        assert_eq!(hourly.next_after(instant(after)), Some(instant(expected)), "{after}");
    }
}

#[test]
fn skipped_local_times_are_skipped_and_repeated_ones_repeat() {
    let new_york = "America/New_York";
    // 2:30 does not exist on the 8th.
    assert_eq!(
        due("30 2 * * *", new_york, "2026-03-07T00:00:00Z", 3),
        ["2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z"]
    );
    // 1:30 exists twice on 1 November, also for a schedule whose last tick is a year ago.
    for expression in ["30 1 * * *", "30 1 1 11 *"] {
        let after =
            if expression.ends_with("11 *") { "2025-12-01T00:00:00Z" } else { "2026-10-31T12:00:00Z" };
        assert_eq!(
            due(expression, new_york, after, 2),
            ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"],
            "{expression}"
        );
    }
    // Midnight is skipped in Havana, half an hour repeats on Lord Howe, and Apia had no 30 December 2011.
    assert_eq!(due("0 0 * * *", "America/Havana", "2026-03-07T12:00:00Z", 1), ["2026-03-09T04:00:00Z"]);
    assert_eq!(
        due("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2),
        ["2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"]
    );
    assert_eq!(due("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z", 1), ["2011-12-30T22:00:00Z"]);
}
