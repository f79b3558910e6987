//! What must be true after all of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::chaos_converges::definitions::{SPAWNERS, spawner_name};
use crate::chaos_converges::story::{Story, is_empty, text};
use crate::report_reaches_the_remote::never_forced;
use crate::run_bench::marked;
use crate::support::env::TestEnv;
use crate::task_in_git_runs_once::ledger;

/// Judges what is left when everything has come to rest after `rounds` rounds.
pub(super) fn judge(story: &Story, rounds: usize) {
    let env = &story.env;
    let records = env.list("runrecords");
    let starts = starts(env);
    println!(
        "{rounds} rounds, {} daemons and {} runners killed, {} times without room, {} records, {} starts",
        story.daemons_killed,
        story.runners_killed,
        story.was_full.len(),
        records.len(),
        starts.len()
    );
    runs_were_started_once(story, &records, &starts);
    every_request_ran_once(rounds, &records);
    no_tick_is_lost(env, &records);
    every_run_has_one_line(env, &records);
    never_forced(env);
    // Nothing is left: no folder of a run, no process of one.
    let runs = env.data_dir().join("runs");
    env.until("no folder of a run is left", |_| is_empty(&runs).then_some(()));
    let mark = runs.display().to_string();
    env.until("no process of a run is left", |_| marked(&mark).is_empty().then_some(()));
}

/// Returns how often each run was started, by its uid, as the runs themselves told outside.
fn starts(env: &TestEnv) -> BTreeMap<String, usize> {
    let listed = env.git("counts.git", &["for-each-ref", "--format=%(refname:lstrip=3)", "refs/heads/start"]);
    let mut starts = BTreeMap::new();
    for line in listed.lines() {
        let uid = line.split_once('/').expect("a start is named by run and moment").0;
        *starts.entry(uid.to_owned()).or_default() += 1;
    }
    starts
}

/// Returns what people were told about a Task, which may be gone.
fn told(env: &TestEnv, uid: &str) -> Vec<String> {
    let about = |event: &Value| event["involvedObject"]["uid"] == *uid;
    let events = env.list("events").into_iter().filter(about);
    events.map(|event| format!("{}: {}", event["reason"], event["message"])).collect()
}

fn outcome(record: &Value) -> &str {
    record["spec"]["outcome"].as_str().unwrap()
}

/// Expects that no run was started twice, and that a start and its record agree.
fn runs_were_started_once(story: &Story, records: &[Value], starts: &BTreeMap<String, usize>) {
    assert!(starts.values().all(|count| *count == 1), "{starts:?}");
    let uids: BTreeSet<String> = records.iter().map(|record| text(record, "/metadata/name")).collect();
    assert!(starts.keys().all(|uid| uids.contains(uid)), "a start without a record");
    for record in records {
        let was_started = starts.contains_key(&text(record, "/metadata/name"));
        let say = || format!("{record:#}\n{:#?}", told(&story.env, &text(record, "/spec/taskUid")));
        match outcome(record) {
            "Succeeded" => assert!(was_started, "{}", say()),
            "DependencyFailed" => assert!(!was_started, "{}", say()),
            "Interrupted" => {}
            // Without room a run may fail, and an agent may be refused what it wants to write.
            "NeverStarted" => assert!(!was_started && had_no_room(story, record), "{}", say()),
            "Failed" => assert!(had_no_room(story, record), "{}", say()),
            _ => panic!("{}", say()),
        }
        assert_eq!(record["status"]["departure"], "Expired", "{}", say());
    }
    let interrupted = records.iter().filter(|record| outcome(record) == "Interrupted").count();
    assert!(interrupted <= story.runners_killed, "{interrupted} runs were lost");
}

/// Returns whether the disk was full while the run went on, which is known to the second.
fn had_no_room(story: &Story, record: &Value) -> bool {
    let instant = |pointer: &str| -> Option<Timestamp> { record.pointer(pointer)?.as_str()?.parse().ok() };
    let (Some(began), Some(ended)) = (instant("/spec/startTime"), instant("/spec/completionTime")) else {
        return false;
    };
    let slack = SignedDuration::from_secs(1);
    story.was_full.iter().any(|full| began <= full.until + slack && full.from <= ended + slack)
}

/// Expects one run for each request, and no name twice.
fn every_request_ran_once(rounds: usize, records: &[Value]) {
    let mut names: Vec<String> = records.iter().map(|record| text(record, "/spec/taskName")).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name ran twice");
    let requests = records.iter().filter(|record| record["spec"]["spawner"].is_null()).count();
    assert_eq!(requests, rounds);
}

/// Expects that each full minute since a spawner is there got its Task, or was skipped by its policy and counted.
fn no_tick_is_lost(env: &TestEnv, records: &[Value]) {
    for number in 0..SPAWNERS {
        let name = spawner_name(number);
        let spawner = env.object("taskspawner", &name).unwrap();
        let status = &spawner["status"];
        let count = |field: &str| status[field].as_i64().unwrap_or_default();
        let instant = |pointer: &str| text(&spawner, pointer).parse::<Timestamp>().unwrap();
        let since = instant("/status/observedSchedule/since");
        let last = instant("/status/lastScheduleTime");
        // Ticks after the first instant, up to the second.
        let passed = last.as_second().div_euclid(60) - since.as_second().div_euclid(60);
        assert!(passed > 0, "{spawner:#}");
        let (created, skipped) = (count("totalTasksCreated"), count("totalTicksSkipped"));
        assert_eq!(created + skipped, passed, "{spawner:#}");
        assert!(status["pendingTicks"].is_null() && status["startingTicks"].is_null(), "{spawner:#}");
        let ran = records.iter().filter(|record| record["spec"]["spawner"] == *name);
        let ticks: BTreeSet<String> = ran.clone().map(|record| text(record, "/spec/scheduledAt")).collect();
        assert_eq!(i64::try_from(ticks.len()).unwrap(), created, "{spawner:#}\n{ticks:?}");
        assert_eq!(ran.count(), ticks.len(), "{spawner:#}");
        let is_suspended = status["lastSkipReason"] == "the spawner was suspended";
        if spawner["spec"]["when"]["cron"]["missedTicks"] == "RunAll" && !is_suspended {
            assert_eq!(skipped, 0, "{spawner:#}");
        }
    }
}

/// Expects one line on the status branch for each run.
fn every_run_has_one_line(env: &TestEnv, records: &[Value]) {
    let mut uids: Vec<String> = records.iter().map(|record| text(record, "/metadata/name")).collect();
    uids.sort();
    let mut lines = ledger(env);
    lines.sort();
    assert_eq!(lines, uids);
}
