//! Whatever an agent does, nothing of it outlives its run, and it holds nobody up.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kelos::api::run::{Exit, RunState, STARTED_FILE, SandboxLevel, Secrets, Started};
use kelos::executor::Executor as _;
use kelos::process::tree;
use rustix::process::Signal;

use crate::run_bench::{Bench, none_left, shell};
use crate::support::no_sandbox;

#[tokio::test]
async fn what_detaches_itself_is_ended() {
    let bench = Bench::new();
    let outcome = bench
        .outcome(shell("a", "(setsid sleep 61001 &) & (trap '' TERM HUP; sleep 61001) & echo done"))
        .await;
    assert_eq!(outcome.exit, Exit::Succeeded);
    none_left("61001").await;
}

#[tokio::test]
async fn what_ignores_the_request_is_ended_by_force() {
    let bench = Bench::new();
    let mut plan = shell("a", "trap '' TERM; echo ready; while :; do sleep 61002; done");
    plan.limits.active_deadline_seconds = Some(1);
    let begun = Instant::now();
    let outcome = bench.outcome(plan).await;
    assert_eq!(outcome.exit, Exit::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(30));
    none_left("61002").await;
}

#[tokio::test]
async fn what_holds_the_pipe_holds_up_nobody() {
    let bench = Bench::new();
    let begun = Instant::now();
    let outcome = bench.outcome(shell("a", "setsid sleep 61003 & echo done")).await;
    assert_eq!(outcome.exit, Exit::Succeeded);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(bench.log("a").await.contains("done"));
    none_left("61003").await;
}

#[tokio::test]
async fn what_prints_much_is_bounded_with_head_and_tail() {
    let bench = Bench::new();
    let mut plan =
        shell("a", "echo first; yes 0123456789012345678901234567890 | head -c 50000000; echo last");
    plan.limits.log_bytes = 1024 * 1024;
    bench.executor.start(plan, Secrets::default()).await.unwrap();
    let mut followed = bench.executor.log("a", true).await.unwrap();
    let mut seen = Vec::new();
    while let Some(bytes) = followed.next().await {
        seen.extend_from_slice(&bytes.unwrap());
    }
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("first\n"), "{seen:.100}");
    assert!(seen.ends_with("last\n"), "it was not followed to its end: {}", seen.len());
    let outcome = bench.end("a").await;
    assert_eq!(outcome.exit, Exit::Succeeded);
    assert!(outcome.log_bytes > 50_000_000);
    let log = bench.log("a").await;
    assert!(log.len() < 1_100_000, "{}", log.len());
    assert!(log.starts_with("first\n") && log.ends_with("last\n"));
    assert!(log.contains("bytes are left out here]"));
}

#[tokio::test]
async fn what_forks_without_end_is_ended() {
    let bench = Bench::new();
    // Each process starts its successor, half of them in a session of its own, and ends: none can be caught by its number.
    let mut plan = shell(
        "a",
        "echo 'sh next 61004 $1 &' >next; echo 'setsid sh away 61004 $1 &' >away\n\
         for number in 1 2 3 4 5; do sh next 61004 $number & sh away 61004 $number & done; sleep 600",
    );
    plan.limits.active_deadline_seconds = Some(1);
    plan.limits.grace_seconds = 0;
    let outcome = bench.outcome(plan).await;
    assert_eq!(outcome.exit, Exit::TimedOut, "{outcome:?}");
    assert_eq!(outcome.message, "it was ended after 1 seconds", "and the kernel holds none of them");
    none_left("61004").await;
}

#[tokio::test]
async fn what_is_stopped_and_what_changes_its_group_is_ended() {
    let bench = Bench::new();
    let script = "sleep 61005 & kill -STOP $!; sh -c 'kill -STOP $$; exec sleep 61005' & \
                  setsid sh -c 'trap \"\" TERM HUP INT; setsid sleep 61005 & sleep 61005' & \
                  bash -mc 'sleep 61005 & disown' ; echo done";
    let outcome = bench.outcome(shell("a", script)).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}", bench.log("a").await);
    none_left("61005").await;
}

#[tokio::test]
async fn nobody_inside_an_enclosure_stops_the_one_that_watches_it() {
    let bench = Bench::new();
    let script = "kill -STOP 1; kill -TERM 1; kill -KILL 1; echo ---KELOS_OUTPUTS_START---; echo 'still: here'; \
                  echo ---KELOS_OUTPUTS_END---";
    let mut plan = shell("a", script);
    plan.sandbox.minimum = SandboxLevel::Enclosed;
    let outcome = bench.outcome(plan).await;
    if outcome.exit == Exit::SandboxUnavailable {
        no_sandbox(SandboxLevel::Enclosed, &bench.log("a").await);
        return;
    }
    assert_eq!(outcome.exit, Exit::Succeeded, "{}", bench.log("a").await);
    assert_eq!(outcome.results["still"], "here");
}

#[tokio::test]
async fn an_agent_that_stops_its_step_holds_up_nobody() {
    let bench = Bench::new();
    for level in [SandboxLevel::Limited, SandboxLevel::Isolated, SandboxLevel::Enclosed] {
        let mut plan = shell(&format!("a-{}", level.as_str()), "kill -STOP $PPID; echo done");
        plan.sandbox.maximum = level;
        let outcome = bench.outcome(plan).await;
        assert_eq!(outcome.exit, Exit::Succeeded, "{}", outcome.message);
    }
}

#[tokio::test]
async fn an_enclosure_ends_with_its_runner_at_once() {
    let bench = Bench::new();
    // What clears its environment cannot be found by it, and what leaves its session not by that.
    let script = "setsid env -i sleep 61006 & echo ready; sleep 61006";
    let mut plan = shell("ends-at-once", script);
    plan.sandbox.minimum = SandboxLevel::Enclosed;
    bench.executor.start(plan, Secrets::default()).await.unwrap();
    let said = async { bench.says("ends-at-once", "ready").await };
    let refused = async { bench.until("ends-at-once", |state| matches!(state, RunState::Finished(_))).await };
    tokio::select! {
        () = said => {}
        _ = refused => {
            no_sandbox(SandboxLevel::Enclosed, &bench.log("ends-at-once").await);
            return;
        }
    }
    let text = std::fs::read(bench.file("ends-at-once", STARTED_FILE)).unwrap();
    let runner = serde_json::from_slice::<Started>(&text).unwrap().process;
    assert!(tree::signal(tree::look_at(runner).unwrap(), Signal::KILL));
    none_left("61006").await;
}
