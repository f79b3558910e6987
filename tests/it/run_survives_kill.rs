//! Whoever is killed, a run is paid for once and its end is known.

use kelos::api::run::{Exit, RunState, STARTED_FILE, Secrets, Started};
use kelos::executor::{Executor as _, StartError};
use kelos::process::tree;
use rustix::process::Signal;

use crate::run_bench::{Bench, executor, none_left, shell};

fn runner(bench: &Bench, run: &str) -> i32 {
    let text = std::fs::read(bench.file(run, STARTED_FILE)).expect("it was started");
    serde_json::from_slice::<Started>(&text).expect("it is ours").process
}

#[tokio::test]
async fn a_run_goes_on_without_the_daemon_and_is_adopted() {
    let mut bench = Bench::new();
    let script = "echo ready; while ! [ -e go ]; do sleep 0.02; done; echo went on";
    bench.executor.start(shell("a", script), Secrets::default()).await.unwrap();
    bench.says("a", "ready").await;
    bench.executor = executor(&bench.data);
    assert!(matches!(bench.executor.observe("a").await.unwrap(), RunState::Running { since: Some(_) }));
    assert_eq!(bench.executor.slots().used, 1);
    let begun = bench.executor.start(shell("a", script), Secrets::default()).await;
    assert!(matches!(begun, Err(StartError::Begun { .. })), "{begun:?}");
    let mut ends = bench.executor.ends();
    std::fs::write(bench.file("a", "work/go"), "").unwrap();
    assert_eq!(futures::StreamExt::next(&mut ends).await.as_deref(), Some("a"));
    assert_eq!(bench.end("a").await.exit, Exit::Succeeded);
    assert!(bench.log("a").await.contains("went on"));
}

#[tokio::test]
async fn a_killed_runner_is_an_interrupted_run_that_never_starts_again() {
    // What is left is found by the identity of the run: no other test may have a run of this name.
    let bench = Bench::new();
    let script = "setsid sleep 62001 & echo ready; sleep 62001";
    bench.executor.start(shell("killed-runner", script), Secrets::default()).await.unwrap();
    bench.says("killed-runner", "ready").await;
    assert!(tree::signal(tree::look_at(runner(&bench, "killed-runner")).unwrap(), Signal::KILL));
    let state = bench.until("killed-runner", |state| !matches!(state, RunState::Running { .. })).await;
    assert!(matches!(state, RunState::Interrupted { since: Some(_) }), "{state:?}");
    none_left("62001").await;
    let again = bench.executor.start(shell("killed-runner", script), Secrets::default()).await;
    assert!(matches!(again, Err(StartError::Begun { .. })), "{again:?}");
    let by_hand = kelos::process::command(env!("CARGO_BIN_EXE_kelos"))
        .args(["runner", "run"])
        .arg(bench.file("killed-runner", ""))
        .output()
        .unwrap();
    assert!(!by_hand.status.success(), "the runner refuses as well");
    assert_eq!(bench.executor.slots().used, 0);
    bench.executor.remove("killed-runner").await.unwrap();
}

#[tokio::test]
async fn the_lock_is_held_from_before_the_runner_exists() {
    let bench = Bench::new();
    for number in 0..20 {
        let run = format!("r{number}");
        bench.executor.start(shell(&run, "true"), Secrets::default()).await.unwrap();
        let state = bench.executor.observe(&run).await.unwrap();
        assert!(matches!(state, RunState::Running { .. } | RunState::Finished(_)), "{state:?}");
        bench.end(&run).await;
    }
}

#[tokio::test]
async fn a_start_that_never_reached_the_runner_can_be_made_again() {
    let bench = Bench::new();
    let broken =
        kelos::executor::local::Local::new(&bench.data, bench.data.join("no-such-program"), 1).unwrap();
    let refused = broken.start(shell("a", "true"), Secrets::default()).await;
    assert!(matches!(refused, Err(StartError::Executor(_))), "{refused:?}");
    assert_eq!(bench.executor.observe("a").await.unwrap(), RunState::Prepared);
    assert_eq!(bench.outcome(shell("a", "true")).await.exit, Exit::Succeeded);
}

#[tokio::test]
async fn an_agent_side_that_is_killed_is_an_incomplete_outcome() {
    let bench = Bench::new();
    bench.executor.start(shell("a", "echo ready; sleep 62002"), Secrets::default()).await.unwrap();
    bench.says("a", "ready").await;
    let step = *tree::below(runner(&bench, "a")).first().unwrap();
    assert!(tree::signal(step, Signal::KILL));
    let outcome = bench.end("a").await;
    assert_eq!((outcome.exit, outcome.signal), (Exit::IncompleteOutput, Some(9)), "{}", outcome.message);
    none_left("62002").await;
}
