//! Runs share a mirror of their repository: whoever is killed, whatever is damaged or full, the next run gets its copy or
//! a truthful refusal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kelos::api::run::{Exit, Plan, RunState, STARTED_FILE, Secrets, Started, Workspace};
use kelos::executor::Executor as _;
use kelos::executor::age::Keep;
use kelos::executor::local::Local;
use kelos::process::tree;
use rustix::process::Signal;

use crate::run_bench::{Bench, shell};
use crate::support::env::TestEnv;
use crate::support::small_disk::SmallDisk;
use crate::support::web::{Reply, Repositories, Web};

fn plan(bench: &Bench, run: &str, repository: &str, authority: Option<&str>, script: &str) -> Plan {
    let mut plan = shell(run, script);
    plan.workspace = Some(Workspace {
        repo: repository.to_owned(),
        reference: Some("main".to_owned()),
        mirror: bench.data.join("mirrors/one.git"),
        remotes: Vec::new(),
        files: Vec::new(),
        authority: authority.map(str::to_owned),
        git_environment: std::collections::BTreeMap::new(),
        setup_command: Vec::new(),
    });
    plan.sandbox.private.push(bench.data.clone());
    plan
}

#[tokio::test]
async fn a_run_that_is_killed_while_it_fetches_leaves_nothing_in_the_way() {
    let env = TestEnv::new();
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let repositories = Repositories::below(&env.path("served"));
    let hangs = Arc::new(AtomicBool::new(true));
    let first = Arc::clone(&hangs);
    let server = Web::start(move |asked| {
        // The first one that fetches waits for ever.
        let is_fetch = asked.method == "POST" && asked.body.windows(4).any(|four| four == b"want");
        if is_fetch && first.swap(false, Ordering::Relaxed) {
            return Reply::silence();
        }
        repositories.serve(asked)
    });
    let bench = Bench::new();
    let url = server.url("/acme/code.git");
    // What is left is found by the identity of the run: no other test may have a run of this name.
    let run = "killed-while-it-fetches";
    bench
        .executor
        .start(plan(&bench, run, &url, Some(server.authority()), "true"), Secrets::default())
        .await
        .unwrap();
    env.until("it fetches", |_| (!hangs.load(Ordering::Relaxed)).then_some(()));
    let started: Started =
        serde_json::from_slice(&std::fs::read(bench.file(run, STARTED_FILE)).unwrap()).unwrap();
    assert!(tree::signal(tree::look_at(started.process).unwrap(), Signal::KILL));
    bench.until(run, |state| matches!(state, RunState::Interrupted { .. })).await;
    let next = plan(&bench, "next", &url, Some(server.authority()), "cat readme");
    let outcome = bench.outcome(next).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}", outcome.message);
    assert!(bench.log("next").await.contains("one"));
}

#[tokio::test]
async fn many_runs_at_once_and_after_damage_get_their_copies() {
    let env = TestEnv::new();
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let bare = env.path("served/acme/code.git");
    // Names that a porcelain would not make; nothing of them may be taken for an option or a path.
    let tip = env.git("code", &["rev-parse", "HEAD"]);
    for name in
        ["-x", "--upload-pack=touch", "HEAD", "a;touch${IFS}b", "$(touch\u{a0}c)", "ü/ä", "refs/heads/main"]
    {
        env.git("served/acme/code.git", &["update-ref", &format!("refs/heads/{name}"), &tip]);
    }
    let server = {
        let repositories = Repositories::below(&env.path("served"));
        Web::start(move |asked| repositories.serve(asked))
    };
    let bench = Bench::new();
    let url = server.url("/acme/code.git");
    let make =
        |run: &str| plan(&bench, run, &url, Some(server.authority()), "cat readme; git branch -r | wc -l");
    for run in ["a", "b", "c", "d"] {
        bench.executor.start(make(run), Secrets::default()).await.unwrap();
    }
    for run in ["a", "b", "c", "d"] {
        let outcome = bench.end(run).await;
        assert_eq!(outcome.exit, Exit::Succeeded, "{run}: {}", outcome.message);
    }
    let objects = bench.data.join("mirrors/one.git/objects");
    std::fs::remove_dir_all(&objects).unwrap();
    std::fs::create_dir(&objects).unwrap();
    assert_eq!(bench.outcome(make("damaged")).await.exit, Exit::Succeeded);
    for (run, branch) in [
        ("e", "a..b"),
        ("f", "a b"),
        ("g", "@{-1}"),
        ("h", "a.lock"),
        ("i", "--orphan"),
        ("j", "a\nb"),
        ("k", "/a"),
    ] {
        let hostile = Plan { branch: Some(branch.to_owned()), ..make(run) };
        let outcome = bench.outcome(hostile).await;
        assert_eq!(outcome.exit, Exit::PrepareFailed, "{branch:?}: {}", outcome.message);
        assert!(!bench.log(run).await.lines().any(|line| line == "one"));
    }
    assert!(bare.exists() && !Path::new("b").exists() && !Path::new("c").exists());
}

#[tokio::test]
async fn a_full_disk_is_named_and_costs_no_mirror() {
    let env = TestEnv::new();
    let mut random = fastrand::Rng::with_seed(7);
    let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(24 << 20).collect();
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let Some(disk) = SmallDisk::new("12m") else { return };
    let mut bench = Bench::on(disk.path());
    bench.executor =
        Local::with_room(&bench.data, PathBuf::from(env!("CARGO_BIN_EXE_kelos")), 4, 0, Keep::default())
            .unwrap();
    let bare = env.path("served/acme/code.git").display().to_string();
    let first = bench.outcome(plan(&bench, "a", &bare, None, "cat readme")).await;
    assert_eq!(first.exit, Exit::Succeeded, "{}", first.message);
    let small = env.git("code", &["rev-parse", "HEAD"]);
    env.publish("code", &[("noise", &noise)]);
    let outcome = bench.outcome(plan(&bench, "b", &bare, None, "cat readme")).await;
    assert_eq!(outcome.exit, Exit::PrepareFailed, "{}", outcome.message);
    assert!(outcome.message.contains("No space left on device"), "{}", outcome.message);
    // What was there before is there still, and serves once the branch is small again.
    env.git("served/acme/code.git", &["update-ref", "refs/heads/main", &small]);
    let outcome = bench.outcome(plan(&bench, "c", &bare, None, "cat readme")).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}", outcome.message);
}
