//! `kelos down` stops the daemon; runs go on and are taken up again, or end truthfully when that is wanted.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run_bench::marked;
use crate::support::env::TestEnv;

fn start(env: &TestEnv, name: &str, script: &str) {
    env.kelos(&["run", "-t", "shell", "--name", name, "-p", script]).success();
    env.until("it runs", |env| {
        let task = env.object("task", name)?;
        (task.pointer("/status/phase")? == "Running").then_some(())
    });
}

/// Returns outcome and reason of the one record of a Task.
fn recorded(env: &TestEnv, task: &str) -> (String, String) {
    env.until("it is recorded", |env| {
        let ran = env.kelos(&["get", "runs", task, "-o", "json"]).success();
        let runs: Value = serde_json::from_str(&ran.stdout).unwrap();
        let [run] = runs.as_array().unwrap().as_slice() else { panic!("one run: {runs}") };
        let text = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
        run["recorded"].as_bool().unwrap().then(|| (text("state"), text("reason")))
    })
}

#[test]
fn the_daemon_ends_and_its_runs_go_on() {
    let mut env = TestEnv::up();
    start(&env, "long", "until test -e done; do sleep 0.05; done; echo done");
    let ran = env.kelos(&["down"]);
    let data = env.data_dir().display().to_string();
    let process = ran.stderr.split_whitespace().nth(2).unwrap().to_owned();
    insta::assert_snapshot!(ran.to_string().replace(&process, "[PROCESS]"), @"
    exit: 0
    --- stdout
    kelos up stopped
    --- stderr
    stopping process [PROCESS] which keeps its data in [DIR]/data
    These runs go on: default/long
    Hint: the next 'kelos up --data-dir [DIR]/data' takes them up; 'kelos down --data-dir [DIR]/data --stop-runs' ends them
    ");
    assert_eq!(env.ended(), Some(0));
    assert!(!marked(&data).is_empty(), "the run goes on");
    insta::assert_snapshot!(env.kelos(&["down", "--data-dir", "data"]), @"
    exit: 0
    --- stdout
    no kelos up runs in [DIR]/data
    --- stderr
    These runs go on: default/long
    Hint: the next 'kelos up --data-dir [DIR]/data' takes them up; 'kelos down --data-dir [DIR]/data --stop-runs' ends them
    ");
    env.start(&[]);
    assert_eq!(env.object("task", "long").unwrap()["status"]["phase"], "Running");
    let checkout = env.data_dir().join("runs");
    let run = std::fs::read_dir(checkout).unwrap().next().unwrap().unwrap().path();
    let here = std::fs::read_link(format!("/proc/{}/cwd", script(&run.display().to_string()))).unwrap();
    std::fs::write(here.join("done"), "").unwrap();
    assert_eq!(env.task_ended("long")["status"]["phase"], "Succeeded");
}

/// Returns a process that works below the folder of a run.
fn script(folder: &str) -> i32 {
    let all = kelos::process::tree::all();
    let works_there = |pid: &i32| {
        std::fs::read_link(format!("/proc/{pid}/cwd"))
            .is_ok_and(|cwd| cwd.display().to_string().starts_with(&format!("{folder}/")))
    };
    all.into_iter().map(|seen| seen.pid).find(works_there).expect("the script works somewhere below")
}

#[test]
fn runs_are_cancelled_with_a_record_and_nothing_is_left() {
    let mut env = TestEnv::up();
    start(&env, "polite", "sleep 300");
    start(&env, "stubborn", "trap '' TERM; (trap '' TERM; sleep 300) & sleep 300; sleep 300");
    let ran = env.kelos(&["down", "--stop-runs"]).success();
    assert_eq!(ran.stdout, "kelos up stopped\n", "{ran}");
    assert_eq!(env.ended(), Some(0));
    let data = env.data_dir().display().to_string();
    assert_eq!(marked(&data), Vec::<i32>::new(), "no process is left");
    env.start(&[]);
    for name in ["polite", "stubborn"] {
        // It was written before the daemon ended, so there is nothing to wait for.
        let task = env.object("task", name).unwrap();
        assert_eq!(task["status"]["phase"], "Failed", "{task}");
        assert_eq!(task["status"]["reason"], "Cancelled", "{task}");
        assert_eq!(recorded(&env, name), ("Cancelled".to_owned(), "Cancelled".to_owned()));
    }
}

#[test]
fn runs_that_no_daemon_looks_after_are_ended_as_well() {
    let mut env = TestEnv::up();
    start(&env, "orphan", "sleep 300");
    env.kill();
    let ran = env.kelos(&["down", "--stop-runs", "--data-dir", "data"]);
    insta::assert_snapshot!(ran, @"
    exit: 0
    --- stdout
    no kelos up runs in [DIR]/data
    --- stderr
    runs that are cancelled: 1; the next 'kelos up' records them
    ");
    let data = env.data_dir().display().to_string();
    assert_eq!(marked(&data), Vec::<i32>::new(), "no process is left");
    env.start(&[]);
    assert_eq!(recorded(&env, "orphan"), ("Cancelled".to_owned(), "Cancelled".to_owned()));
}

#[test]
fn tasks_that_come_while_runs_are_cancelled_wait_for_the_next_start() {
    let mut env = TestEnv::up();
    // It takes its time to end, and so long the daemon is there.
    start(&env, "slow", "trap 'sleep 3; exit 1' TERM; sleep 300 & wait");
    let mut down = env.command().args(["down", "--stop-runs"]).spawn().unwrap();
    env.until("the daemon cancels runs", |env| env.daemon_log().contains("Runs are cancelled").then_some(()));
    env.kelos(&["run", "-t", "shell", "--name", "late", "-p", "echo late"]).success();
    let begun = Instant::now();
    while down.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_mins(1), "down does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(env.ended(), Some(0));
    assert!(!env.daemon_log().contains(r#""task":"late","phase":"Running""#), "{}", env.daemon_log());
    env.start(&[]);
    assert_eq!(env.task_ended("late")["status"]["phase"], "Succeeded");
}

#[test]
fn where_nothing_runs_nothing_is_done() {
    let env = TestEnv::new();
    insta::assert_snapshot!(env.kelos(&["down"]), @"
    exit: 0
    --- stdout
    no kelos up runs in [DIR]/home/.local/share/kelos
    ");
    insta::assert_snapshot!(env.kelos(&["down", "--data-dir", "nowhere"]), @"
    exit: 1
    --- stderr
    Error: there is no folder nowhere
    Hint: --data-dir is the folder that 'kelos up' was started with
    ");
}
