//! What the Task controller costs: `cargo bench --bench tasks -- 1000 10000`.
//!
//! Server, store and controller are those of the daemon, in this process; runs are pretended, so that nothing else is
//! measured. Processor time is that of all of it, with one client beside that watches.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the cluster is that of tests")]

#[path = "../tests/it/support/cluster.rs"]
#[expect(dead_code, reason = "tests use the rest of it")]
mod cluster;
mod shared;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kelos::api::phase::TaskPhase;
use kelos::clock::Clock as _;
use kelos::store::{Options, Store};
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

use cluster::{Cluster, phase_of, succeeded, task_manifest};
use shared::daemon::Usage;
use shared::{head, numbers, row, seconds};

/// How many runs are ended while the others wait.
const ENDS: usize = 200;

#[tokio::main]
async fn main() {
    for count in numbers(&[1_000, 10_000]) {
        head(&format!("{count} Tasks"));
        claims(count).await;
        slots(count).await;
        dependencies(count).await;
    }
}

/// All may start at once.
async fn claims(count: usize) {
    let (_folder, mut cluster) = with_tasks(count, count, |_| json!({})).await;
    let (time, cpu) = measured(async {
        cluster.start();
        until(&cluster, TaskPhase::Running, count).await;
    })
    .await;
    let rate = count as u128 * 1_000_000 / time.as_micros().max(1);
    row(
        "to claimed runs",
        &format!("{} ({rate}/s), {} of processor", seconds(time), seconds(cpu)),
        "2,000/s",
    );
}

/// All but four wait for a slot.
async fn slots(count: usize) {
    let (_folder, mut cluster) = with_tasks(4, count, |_| json!({})).await;
    let (time, cpu) = measured(async {
        cluster.start();
        until(&cluster, TaskPhase::Waiting, count - 4).await;
    })
    .await;
    row(
        "all say that they wait for a slot",
        &format!("{}, {} of processor", seconds(time), seconds(cpu)),
        "",
    );
    let (time, cpu) = measured(async {
        for ended in 0..ENDS {
            let started = cluster
                .until("another one starts", async || {
                    let started = cluster.runs.started();
                    (started.len() > ended).then_some(started)
                })
                .await;
            cluster.runs.finish(&started[ended], succeeded(cluster.clock.now(), &[]));
        }
    })
    .await;
    let each = |time: Duration| seconds(time / u32::try_from(ENDS).expect("few"));
    row(
        "an end while the others wait",
        &format!("{}, {} of processor", each(time), each(cpu)),
        "the same for any number",
    );
}

/// All wait for one; then half of them, a chain, for one another.
async fn dependencies(count: usize) {
    let (_folder, mut cluster) = with_tasks(count, count, |number| match number {
        0 => json!({}),
        _ if number % 2 == 0 => json!({"dependsOn": [format!("t{}", number - 2)]}),
        _ => json!({"dependsOn": ["t0"]}),
    })
    .await;
    let (time, cpu) = measured(async {
        cluster.start();
        until(&cluster, TaskPhase::Waiting, count - 1).await;
    })
    .await;
    row("all say what they depend on", &format!("{}, {} of processor", seconds(time), seconds(cpu)), "");
    let (time, cpu) = measured(async {
        cluster.runs.finish("t0", succeeded(cluster.clock.now(), &[]));
        // All that depend on it, and the next of the chain.
        until(&cluster, TaskPhase::Running, count / 2 + 1).await;
    })
    .await;
    row("half of them start when it ends", &format!("{}, {} of processor", seconds(time), seconds(cpu)), "");
}

/// Returns a cluster on a disk whose controller does not run yet, and which has these Tasks.
async fn with_tasks(
    slots: usize,
    count: usize,
    spec: impl Fn(usize) -> Value,
) -> (tempfile::TempDir, Cluster) {
    let folder = tempfile::Builder::new().prefix("kelos-bench").tempdir().expect("a temporary folder");
    let store = Store::open(&folder.path().join("store.db"), Options::default()).expect("a store");
    let cluster = Cluster::over(store, slots).await;
    let creates = stream::iter(0..count).map(|number| {
        let manifest = task_manifest(&format!("t{number}"), spec(number));
        let cluster = &cluster;
        async move { drop(cluster.create(manifest).await) }
    });
    creates.buffer_unordered(32).collect::<()>().await;
    (folder, cluster)
}

/// Waits until this many Tasks have the phase.
async fn until(cluster: &Cluster, phase: TaskPhase, count: usize) {
    let changes = watcher(cluster.tasks(), watcher::Config::default()).default_backoff().touched_objects();
    let mut changes = Box::pin(changes);
    let mut there = HashSet::new();
    while there.len() < count {
        let task = changes.next().await.expect("a watch has no end").expect("a watch in process");
        if phase_of(&task) == Some(phase) {
            there.insert(task.name_any());
        } else {
            there.remove(&task.name_any());
        }
    }
}

async fn measured(work: impl Future<Output = ()>) -> (Duration, Duration) {
    let before = Usage::of(std::process::id()).expect("we run").cpu;
    let begun = Instant::now();
    work.await;
    (begun.elapsed(), Usage::of(std::process::id()).expect("we run").cpu.saturating_sub(before))
}
