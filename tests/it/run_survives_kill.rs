//! Whoever is killed, a run is paid for once and its end is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kelos::api::run::{
    Exit, LOG_FILE, PLAN_FILE, RESULT_FILE, RunState, SECRETS_FILE, STARTED_FILE, SandboxLevel, Secrets,
    Started, TEMPORARY_FOLDER, TOKEN_FILE, Workspace,
};
use kelos::executor::{Executor as _, StartError};
use kelos::process::tree;
use kelos::secret::Secret;
use rustix::process::Signal;

use crate::run_bench::{Bench, SEARCH_PATH, executor, none_left, shell};

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
    let script = "setsid sleep 62001 & echo \"$KEY\" >\"$HOME/login\"; echo x >\"$TMPDIR/file\"; echo x >kept\n\
                  echo ready; sleep 62001";
    let mut secrets = Secrets::default();
    secrets.environment.insert("KEY".to_owned(), Secret::new("canary-of-the-model"));
    secrets.environment.insert(TOKEN_FILE.to_owned(), Secret::new("canary-of-the-forge"));
    bench.executor.start(shell("killed-runner", script), secrets.clone()).await.unwrap();
    bench.says("killed-runner", "ready").await;
    // As if it had been killed before it read them.
    std::fs::write(bench.file("killed-runner", SECRETS_FILE), serde_json::to_vec(&secrets).unwrap()).unwrap();
    assert_eq!(holding(&bench.file("killed-runner", ""), "canary").len(), 3, "the test looks where they lie");
    assert!(tree::signal(tree::look_at(runner(&bench, "killed-runner")).unwrap(), Signal::KILL));
    let state = bench.until("killed-runner", |state| !matches!(state, RunState::Running { .. })).await;
    assert!(matches!(state, RunState::Interrupted { since: Some(_) }), "{state:?}");
    none_left("62001").await;
    let begun = Instant::now();
    while !holding(&bench.file("killed-runner", ""), "canary").is_empty() {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{:?}",
            holding(&bench.file("killed-runner", ""), "canary")
        );
        bench.executor.observe("killed-runner").await.unwrap();
    }
    assert!(!bench.file("killed-runner", TEMPORARY_FOLDER).exists());
    assert!(bench.file("killed-runner", "work/kept").exists(), "its work can be looked at");
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

/// Returns the files below `folder` that hold `text`.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if std::fs::read_to_string(entry.path()).is_ok_and(|content| content.contains(text)) {
                found.push(entry.path());
            }
        }
    }
    found
}

#[tokio::test]
async fn what_a_runner_did_not_clear_any_more_is_cleared_by_whoever_looks() {
    let bench = Bench::new();
    let login = |run: &str| bench.file(run, "home/login");
    for run in ["observed", "cleaned"] {
        bench.outcome(shell(run, "exit 3")).await;
        let begun = Instant::now();
        while !kelos::executor::local::going_on(&bench.data).unwrap().is_empty() {
            assert!(begun.elapsed() < Duration::from_mins(1), "a runner ends");
        }
        assert!(!login(run).parent().unwrap().exists(), "a runner clears its home");
        // As if it had been killed between its result and that.
        for file in [login(run), bench.file(run, "token/GITHUB_TOKEN")] {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "canary").unwrap();
        }
    }
    // Another daemon, which has not seen them before.
    let next = executor(&bench.data);
    assert!(matches!(next.observe("observed").await.unwrap(), RunState::Finished(_)));
    assert_eq!(holding(&bench.file("observed", ""), "canary"), Vec::<PathBuf>::new());
    assert!(login("cleaned").exists());
    next.clean(kelos::clock::system().now()).await.unwrap();
    assert_eq!(holding(&bench.file("cleaned", ""), "canary"), Vec::<PathBuf>::new());
    assert!(bench.file("cleaned", "work").exists(), "what a failed run left is kept for its time");
}

#[tokio::test]
async fn an_interrupted_run_that_said_nothing_is_old_one_day_as_well() {
    let bench = Bench::new();
    bench.outcome(shell("silent", "echo x >left; exit 3")).await;
    for file in [RESULT_FILE, LOG_FILE] {
        std::fs::remove_file(bench.file("silent", file)).ok();
    }
    bench.until("silent", |state| matches!(state, RunState::Interrupted { .. })).await;
    let now = kelos::clock::system().now();
    bench.executor.clean(now).await.unwrap();
    assert!(bench.file("silent", "work/left").exists());
    bench.executor.clean(now + jiff::SignedDuration::from_hours(25)).await.unwrap();
    assert!(!bench.file("silent", "work").exists());
}

#[tokio::test]
async fn a_run_that_is_ended_as_soon_as_it_begins_is_cancelled() {
    let bench = Bench::new();
    for number in 0..20 {
        let run = format!("soon-{number}");
        let mut plan = shell(&run, "trap 'exit 0' TERM; echo began; sleep 62003 & wait");
        plan.limits.grace_seconds = 600;
        bench.executor.start(plan, Secrets::default()).await.unwrap();
        // Before the runner has said its number, about to say it, or soon after.
        tokio::time::sleep(Duration::from_millis(number * 2)).await;
        bench.executor.stop(&run, Duration::from_mins(5)).await.unwrap();
        let outcome = bench.end(&run).await;
        assert_eq!(outcome.exit, Exit::Cancelled, "{number}: {}", outcome.message);
    }
}

#[tokio::test]
async fn nothing_is_started_once_the_end_was_asked_for() {
    let bench = Bench::new();
    for level in [SandboxLevel::Isolated, SandboxLevel::Enclosed] {
        let run = format!("setup-{}", level.as_str());
        let mut plan = shell(&run, "echo AGENT");
        plan.sandbox.maximum = level;
        plan.limits.grace_seconds = 600;
        let repository = bench.data.join("repository");
        let git = kelos::process::find("git", SEARCH_PATH.as_ref()).unwrap();
        if !repository.exists() {
            let made = kelos::process::command(git).args(["init", "-q"]).arg(&repository).status().unwrap();
            assert!(made.success());
            let commit = "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x";
            let mut shell = kelos::process::command("/bin/sh");
            let made = shell.args(["-c", commit]).env("PATH", SEARCH_PATH).current_dir(&repository);
            assert!(made.status().unwrap().success());
        }
        // Asked to end, it does as if it had done all that it should.
        let setup = "trap 'exit 0' TERM; echo ready; sleep 62004 & wait";
        plan.workspace = Some(Workspace {
            repo: format!("file://{}", repository.display()),
            reference: None,
            mirror: bench.data.join("mirror"),
            remotes: Vec::new(),
            files: Vec::new(),
            authority: None,
            git_environment: BTreeMap::new(),
            setup_command: ["/bin/sh", "-c", setup].map(str::to_owned).to_vec(),
        });
        bench.executor.start(plan, Secrets::default()).await.unwrap();
        bench.says(&run, "ready").await;
        bench.executor.stop(&run, Duration::from_mins(5)).await.unwrap();
        let outcome = bench.end(&run).await;
        assert_eq!(outcome.exit, Exit::Cancelled, "{}", outcome.message);
        let log = bench.log(&run).await;
        assert!(!log.contains("AGENT") && log.contains("ended before its agent began"), "{log}");
    }
}

#[tokio::test]
async fn a_runner_that_is_killed_at_any_moment_began_its_agent_at_most_once() {
    let bench = Bench::new();
    let mut finished = 0;
    for number in 0..40 {
        let run = format!("any-moment-{number}");
        let script = "echo began; sleep 0.01; echo ended";
        bench.executor.start(shell(&run, script), Secrets::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..60))).await;
        if bench.file(&run, STARTED_FILE).exists()
            && let Some(seen) = tree::look_at(runner(&bench, &run))
        {
            tree::signal(seen, Signal::KILL);
        }
        let state = bench.until(&run, |state| !matches!(state, RunState::Running { .. })).await;
        let began = bench.log(&run).await.matches("began").count();
        match state {
            RunState::Finished(outcome) => {
                assert_eq!((outcome.exit, began), (Exit::Succeeded, 1), "{}", outcome.message);
                finished += 1;
            }
            RunState::Interrupted { .. } => assert!(began <= 1),
            other => panic!("{run} is {other:?}"),
        }
        let again = bench.executor.start(shell(&run, script), Secrets::default()).await;
        assert!(matches!(again, Err(StartError::Begun { .. })), "{again:?}");
        assert!(began == bench.log(&run).await.matches("began").count());
    }
    assert!(finished < 40, "at least one was killed in time");
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

#[tokio::test]
async fn a_damaged_folder_is_an_interrupted_run() {
    let bench = Bench::new();
    let interrupted = |state: &RunState| matches!(state, RunState::Interrupted { .. });
    // A result that cannot be read, cut off, of a version yet to come, or no file at all.
    for (number, damage) in
        ["", "{\"version\": 1, ", "{\"exit\": \"OfTomorrow\"}", "folder"].into_iter().enumerate()
    {
        let run = format!("result-{number}");
        bench.outcome(shell(&run, "true")).await;
        let result = bench.file(&run, RESULT_FILE);
        std::fs::remove_file(&result).unwrap();
        if damage == "folder" {
            std::fs::create_dir(&result).unwrap();
        } else {
            std::fs::write(&result, damage).unwrap();
        }
        bench.until(&run, interrupted).await;
        let again = bench.executor.start(shell(&run, "true"), Secrets::default()).await;
        assert!(matches!(again, Err(StartError::Begun { .. })), "{again:?}");
        bench.executor.stop(&run, Duration::from_secs(1)).await.unwrap();
        bench.executor.remove(&run).await.unwrap();
    }
    // The mark that it began is damaged as well.
    bench.outcome(shell("mark", "true")).await;
    std::fs::remove_file(bench.file("mark", RESULT_FILE)).unwrap();
    std::fs::write(bench.file("mark", STARTED_FILE), "\0").unwrap();
    bench.until("mark", interrupted).await;
    // A plan that cannot be read is an end that is told, and nothing was started.
    let broken =
        kelos::executor::local::Local::new(&bench.data, bench.data.join("no-such-program"), 1).unwrap();
    drop(broken.start(shell("plan", "true"), Secrets::default()).await);
    std::fs::write(bench.file("plan", PLAN_FILE), "{}").unwrap();
    let ran = kelos::process::command(env!("CARGO_BIN_EXE_kelos"))
        .args(["runner", "run"])
        .arg(bench.file("plan", ""))
        .output()
        .unwrap();
    let outcome = bench.end("plan").await;
    assert_eq!(outcome.exit, Exit::RunnerFailed, "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(outcome.message.contains("damaged"), "{}", outcome.message);
}
