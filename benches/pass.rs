//! How long a pass takes, and what it costs: `cargo bench --bench pass -- 1000 10000`.
//!
//! A repository of that many spawners is pushed to a running daemon: all are new, all changed, one changed, nothing
//! changed; then the daemon is started again.

mod shared;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kelos::api::task::Task;
use kube::api::{Api, PostParams};
use serde_json::json;

use shared::daemon::{Daemon, Usage};
use shared::repository::ConfigRepository;
use shared::{head, mebibytes, numbers, row, seconds};

/// How many passes over an unchanged tree are made.
const IDLE_PASSES: u32 = 20;

/// How many Tasks that wait are there at the restart.
const TASKS: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for count in numbers(&[1_000, 10_000]) {
        measure(count).await;
    }
}

async fn measure(count: usize) {
    head(&format!("{count} definitions, embedded"));
    let folder = tempfile::Builder::new().prefix("kelos-bench").tempdir().expect("a temporary folder");
    let config = ConfigRepository::new(&folder.path().join("config"));
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a writable folder");
    let repository = config.folder.display().to_string();
    // No poll comes by itself: each attempt is asked for.
    let arguments = ["--repo", repository.as_str(), "--interval", "1h"];
    let daemon = Daemon::start(&data, &arguments).await;
    daemon.settle().await;
    let large = count >= 10_000;

    for number in 0..count {
        config.define(number, "one");
    }
    let budget = if large { "4 s" } else { "0.5 s" };
    step(&daemon, "all new: commit to applied", budget, &config.commit()).await;
    for number in 0..count {
        config.define(number, "two");
    }
    step(&daemon, "all changed: commit to applied", budget, &config.commit()).await;
    config.define(count / 2, "three");
    let commit = config.commit();
    step(&daemon, "one changed: commit to applied", "0.1 s", &commit).await;
    row("resident memory", &mebibytes(daemon.usage().resident), if large { "90 MiB" } else { "40 MiB" });

    let (before, mut total) = (daemon.usage(), Duration::ZERO);
    let (first, asked) = (daemon.revision().await, daemon.requests().await);
    for _ in 0..IDLE_PASSES {
        total += daemon.reconcile(&commit).await;
    }
    let (after, writes) = (daemon.usage(), daemon.revision().await - first);
    let cost = |of: fn(&Usage) -> Duration| seconds(of(&after).saturating_sub(of(&before)) / IDLE_PASSES);
    row("unchanged: request to handled", &seconds(total / IDLE_PASSES), "20 ms");
    row(
        "unchanged: processor time of a pass, and of git for it",
        &format!("{}, {}", cost(|u| u.cpu), cost(|u| u.children)),
        "",
    );
    let requests = (daemon.requests().await - asked) / u64::from(IDLE_PASSES);
    row(
        "unchanged: requests of a pass, the benchmark's 3 and the note among them",
        &requests.to_string(),
        "4",
    );
    // Each request is one write, and so is the note that it was handled.
    row("unchanged: writes beside request and note", &(writes - 2 * u64::from(IDLE_PASSES)).to_string(), "0");

    if large {
        make_waiting_tasks(&daemon).await;
        daemon.settle().await;
    }
    daemon.stop();
    let daemon = Daemon::start(&data, &arguments).await;
    row("restart: to ready", &seconds(daemon.ready), "1 s");
    let first_pass = daemon.reconcile(&commit).await;
    let usage = daemon.usage();
    row("restart: ready to first pass done", &seconds(first_pass), "");
    daemon.settle().await;
    row("restart: processor time to first pass done", &seconds(usage.cpu), "");
    let budget = if large { "90 MiB" } else { "40 MiB" };
    row("restart: resident memory", &mebibytes(daemon.usage().resident), budget);

    // A request and what becomes of it are writes, so that those of a restart are counted without one.
    let before = daemon.revision().await;
    daemon.stop();
    let daemon = Daemon::start(&data, &arguments).await;
    daemon.settle().await;
    row("restart: writes", &(daemon.revision().await - before).to_string(), "0");
    daemon.stop();
}

async fn step(daemon: &Daemon, what: &str, budget: &str, commit: &str) {
    let (before, first, asked) = (daemon.usage(), daemon.revision().await, daemon.requests().await);
    let time = daemon.reconcile(commit).await;
    let (applied, requests) = (daemon.usage(), daemon.requests().await - asked);
    daemon.settle().await;
    let (after, last) = (daemon.usage(), daemon.revision().await);
    row(what, &seconds(time), budget);
    row(
        "- processor time to applied, and to settled",
        &format!(
            "{}, {}",
            seconds(applied.cpu.saturating_sub(before.cpu)),
            seconds(after.cpu.saturating_sub(before.cpu))
        ),
        "",
    );
    row("- writes", &(last - first).to_string(), "");
    row("- requests until then, 3 of them the benchmark's", &requests.to_string(), "");
    row("- peak memory so far", &mebibytes(after.peak), "");
}

/// Makes Tasks that wait for one that never comes.
async fn make_waiting_tasks(daemon: &Daemon) {
    let api: Api<Task> = Api::namespaced(daemon.client(), "default");
    for number in 0..TASKS {
        let spec = json!({"type": "shell", "prompt": "true", "dependsOn": ["never"]});
        let task = Task {
            metadata: ObjectMeta { name: Some(format!("waits-{number}")), ..ObjectMeta::default() },
            spec: serde_json::from_value(spec).expect("a valid spec"),
            status: None,
        };
        api.create(&PostParams::default(), &task).await.expect("the API takes it");
    }
}
