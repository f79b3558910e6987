//! A run that uses more than it may is ended, and its outcome says of what and how much.

use std::path::PathBuf;
use std::time::Duration;

use kelos::api::run::{Exit, Outcome, RunState, Secrets};
use kelos::executor::age::Keep;
use kelos::executor::local::Local;
use kelos::executor::{Executor as _, StartError};

use crate::run_bench::{Bench, none_left, shell};
use crate::support::env::TestEnv;
use crate::support::small_disk::SmallDisk;

async fn with_limits(script: &str, set: impl Fn(&mut kelos::api::run::Limits)) -> Outcome {
    let bench = Bench::new();
    let mut plan = shell("a", script);
    set(&mut plan.limits);
    bench.outcome(plan).await
}

#[tokio::test]
async fn memory_is_the_sum_of_all_processes() {
    // None of the four is too large, and together they are.
    let script = "for each in 1 2 3 4; do sh -c 'x=$(head -c 20000000 /dev/zero | tr \"\\\\0\" x); sleep 61101' & done; wait";
    let outcome = with_limits(script, |limits| limits.memory_bytes = Some(64 << 20)).await;
    assert_eq!(outcome.exit, Exit::OutOfMemory, "{}", outcome.message);
    assert!(outcome.message.contains("67108864"), "{}", outcome.message);
    none_left("61101").await;
}

#[tokio::test]
async fn processes_are_counted_wherever_they_are() {
    let script = "for each in $(seq 40); do setsid sleep 61102 & done; wait; sleep 61102";
    let outcome = with_limits(script, |limits| limits.processes = Some(24)).await;
    assert_eq!(outcome.exit, Exit::TooManyProcesses, "{}", outcome.message);
    assert!(outcome.message.contains("24"), "{}", outcome.message);
    none_left("61102").await;
}

#[tokio::test]
async fn files_are_counted_together_and_one_by_one() {
    let many = "mkdir a $HOME/b; for each in 1 2 3 4; do head -c 400000 /dev/zero >a/$each; done; \
                head -c 400000 /dev/zero >$HOME/b/5; head -c 400000 /dev/zero >$TMPDIR/6; sleep 61103";
    let one = "head -c 4000000 /dev/zero >file; echo NOT REACHED";
    for script in [many, one] {
        let outcome = with_limits(script, |limits| limits.disk_bytes = Some(2_000_000)).await;
        assert_eq!(outcome.exit, Exit::DiskQuotaExceeded, "{}", outcome.message);
        assert!(outcome.message.contains("may take 2000000"), "{}", outcome.message);
    }
    none_left("61103").await;
}

#[tokio::test]
async fn a_run_within_its_limits_knows_nothing_of_them() {
    let script = "head -c 100000 /dev/zero >file; echo done";
    let outcome = with_limits(script, |limits| {
        limits.memory_bytes = Some(256 << 20);
        limits.disk_bytes = Some(1 << 30);
        limits.processes = Some(100);
        limits.cpu_millis = Some(500);
    });
    assert_eq!(outcome.await.exit, Exit::Succeeded);
}

#[tokio::test]
async fn a_full_disk_loses_no_result_that_was_paid_for() {
    let Some(disk) = SmallDisk::new("4m") else { return };
    let local = |floor| {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_kelos"));
        Local::with_room(&disk.path(), program, 4, floor, Keep::default()).unwrap()
    };
    let refused = local(1 << 30).start(shell("a", "true"), Secrets::default()).await;
    assert!(matches!(refused, Err(StartError::NoRoom { floor: 0x4000_0000 })), "{refused:?}");
    assert_eq!(local(1 << 30).missing_room(), Some(1 << 30));

    let mut bench = Bench::on(disk.path());
    bench.executor = local(0);
    let script = "head -c 9000000 /dev/zero >fill 2>/dev/null || :; echo is full; \
                  echo ---KELOS_OUTPUTS_START---; echo 'paid: for'; echo ---KELOS_OUTPUTS_END---; \
                  head -c 100000 /dev/zero | tr '\\0' x";
    bench.executor.start(shell("a", script), Secrets::default()).await.unwrap();
    let fill = bench.file("a", "work/fill");
    let begun = std::time::Instant::now();
    while kelos::process::free_room(&disk.path()).unwrap() > 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "the disk never fills");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Long enough for a run that would give up, as its own script does not.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let state = bench.executor.observe("a").await.unwrap();
    assert!(matches!(state, RunState::Running { .. }), "it waits for room: {state:?}");
    std::fs::remove_file(&fill).unwrap();
    let outcome = bench.end("a").await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}", outcome.message);
    assert_eq!(outcome.results["paid"], "for");
}

#[test]
fn a_task_waits_for_room_on_the_disk_and_says_so() {
    let mut env = TestEnv::new();
    env.start(&["--disk-floor", "1000Ti"]);
    env.kelos(&["run", "--type", "shell", "--prompt", "true", "--name", "waits"]).success();
    let task = env.until("the Task waits", |env| {
        env.object("task", "waits").filter(|task| task["status"]["reason"] == "WaitingForDisk")
    });
    assert_eq!(task["status"]["phase"], "Waiting");
    let message = task["status"]["message"].as_str().unwrap();
    assert!(message.contains("--disk-floor"), "{message}");
    env.stop();
    env.start(&[]);
    assert_eq!(env.task_ended("waits")["status"]["phase"], "Succeeded");
}
