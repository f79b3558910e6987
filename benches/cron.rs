//! How late Tasks of many schedules are: `cargo bench --bench cron -- 10000`.
//!
//! The schedules are spread over the minutes of an hour. For two minutes each Task that comes is compared with the
//! tick that it stands for; the Tasks themselves wait for one that never comes, so that no run disturbs.

mod shared;

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use kelos::api::labels;
use kelos::api::task::Task;
use kelos::api::task_spawner::TaskSpawner;
use kelos::clock;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;

use shared::daemon::Daemon;
use shared::{head, mebibytes, numbers, row, seconds};

/// How long Tasks are looked at.
const WATCHED: Duration = Duration::from_mins(2);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for count in numbers(&[10_000]) {
        measure(count).await;
    }
}

async fn measure(count: usize) {
    head(&format!("{count} schedules, spread over the minutes of an hour"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemon = Daemon::start(folder.path(), &[]).await;
    let spawners: Api<TaskSpawner> = Api::namespaced(daemon.client(), "default");
    let made = stream::iter(0..count).map(|number| make(&spawners, number));
    made.buffer_unordered(8).try_collect::<Vec<_>>().await.expect("the API takes them");
    daemon.settle().await;

    let before = daemon.usage();
    let tasks: Api<Task> = Api::namespaced(daemon.client(), "default");
    let clock = clock::system();
    let mut late: Vec<Duration> = Vec::new();
    let began = clock.now();
    let mut changes = Box::pin(
        watcher(tasks, watcher::Config::default())
            .default_backoff()
            .touched_objects()
            .take_until(tokio::time::sleep(WATCHED)),
    );
    let mut seen = std::collections::HashSet::new();
    while let Some(task) = changes.next().await {
        let task = task.expect("the API serves");
        let now = clock.now();
        let tick =
            task.annotations().get(labels::SCHEDULED_AT).and_then(|text| text.parse::<Timestamp>().ok());
        if let Some(tick) = tick.filter(|tick| *tick > began)
            && seen.insert(task.name_any())
        {
            late.push(Duration::try_from(now.duration_since(tick)).unwrap_or_default());
        }
    }
    late.sort_unstable();
    let at =
        |percent: usize| late.get((late.len() * percent / 100).min(late.len().saturating_sub(1))).copied();
    let shown = |time: Option<Duration>| time.map_or_else(|| "no Task came".to_owned(), seconds);
    row("Tasks that came", &late.len().to_string(), "");
    row("lateness, half of them", &shown(at(50)), "");
    row("lateness, 99 of 100", &shown(at(99)), "50 ms");
    row("lateness, the last", &shown(late.last().copied()), "");
    let after = daemon.usage();
    row("processor time per minute", &seconds(after.cpu.saturating_sub(before.cpu) / 2), "");
    row("resident memory", &mebibytes(after.resident), "");
    daemon.stop();
}

async fn make(spawners: &Api<TaskSpawner>, number: usize) -> Result<TaskSpawner, kube::Error> {
    let object = json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": "TaskSpawner",
        "metadata": {"name": format!("s-{number}")},
        "spec": {
            "when": {"cron": {"schedule": format!("{} * * * *", number % 60)}},
            "taskTemplate": {"type": "shell", "promptTemplate": "true", "dependsOn": ["never"]},
        },
    });
    let spawner = serde_json::from_value(object).expect("a valid spawner");
    spawners.create(&PostParams::default(), &spawner).await
}
