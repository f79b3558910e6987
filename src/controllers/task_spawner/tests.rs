//! The controller on the real API server over an in-memory store, on a clock that the test moves.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::*;
use crate::api::kind::Kind;
use crate::api::schema;
use crate::api::task_spawner::TaskSpawnerStatus;
use crate::apiserver::{self, ApiServer, Options, Resource};
use crate::clock::{Clock as _, ManualClock, SharedClock};
use crate::metrics::Metrics;
use crate::store::Store;

/// Longer than anything that is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

struct World {
    client: kube::Client,
    clock: Arc<ManualClock>,
    /// Keeps the server alive.
    _server: ApiServer,
}

impl World {
    async fn at(now: &str) -> Self {
        let clock = Arc::new(ManualClock::at(now.parse().unwrap()));
        let resources = Kind::ALL.iter().map(|kind| Resource::from_crd(&schema::crd(*kind), None).unwrap());
        let options = Options::new(Arc::clone(&clock) as SharedClock, "test");
        let server = ApiServer::new(Store::memory().unwrap(), resources.collect(), options);
        server.prepare().await.unwrap_or_else(|error| panic!("{}", error.message));
        let client = kube::Client::new(apiserver::in_process(server.router(), "test"), "default");
        Self { client, clock, _server: server }
    }

    /// Does `work` while the controller runs; when it is done the controller is gone as if killed.
    async fn controlled<T>(&self, work: impl Future<Output = T>) -> T {
        let clock = Arc::clone(&self.clock) as SharedClock;
        let timer = Timer::new(Arc::clone(&clock), Duration::from_millis(2));
        let controller = run_with(
            Context::new(self.client.clone(), clock, Metrics::new("test")),
            timer,
            CancellationToken::new(),
        );
        tokio::select! {
            result = controller => panic!("the controller ended: {result:?}"),
            done = work => done,
        }
    }

    fn spawners(&self) -> Api<TaskSpawner> {
        Api::namespaced(self.client.clone(), "default")
    }

    fn tasks(&self) -> Api<Task> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn create(&self, name: &str, cron: Value, more: Value) {
        let mut spec =
            json!({"when": {"cron": cron}, "taskTemplate": {"type": "shell", "promptTemplate": "true"}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let spawner = serde_json::from_value(json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "TaskSpawner", "metadata": {"name": name}, "spec": spec,
        }));
        self.spawners().create(&PostParams::default(), &spawner.unwrap()).await.unwrap();
    }

    async fn status(&self, name: &str) -> TaskSpawnerStatus {
        self.spawners().get(name).await.unwrap().status.unwrap_or_default()
    }

    async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&TaskSpawnerStatus) -> bool,
    ) -> TaskSpawnerStatus {
        let begun = Instant::now();
        loop {
            let status = self.status(name).await;
            if holds(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "never: {what}; {status:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn change(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.spawners().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn names(&self) -> BTreeMap<String, String> {
        let tasks = self.tasks().list(&ListParams::default()).await.unwrap();
        tasks.items.into_iter().map(|task| (task.name_any(), task.uid().unwrap())).collect()
    }

    async fn end(&self, task: &str) {
        let patch = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
        self.tasks().patch_status(task, &PatchParams::default(), &patch).await.unwrap();
    }
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_fortnight_with_kills_at_random_loses_and_doubles_no_tick() {
    let begin = instant("2026-03-20T12:00:00Z");
    let world = World::at("2026-03-20T12:00:00Z").await;
    let mut random = fastrand::Rng::with_seed(5);
    // The clocks change on the 29th: 02:30 is not there that night.
    let spawners = [
        ("latest", json!({"schedule": "30 */2 * * *", "timeZone": "Europe/Berlin"}), json!({})),
        ("all", json!({"schedule": "0 */3 * * *", "missedTicks": "RunAll"}), json!({"maxConcurrency": 2})),
        (
            "skip",
            json!({"schedule": "15 */4 * * *", "missedTicks": "Skip", "startingDeadlineSeconds": 600}),
            json!({}),
        ),
    ];
    for (name, cron, more) in &spawners {
        world.create(name, cron.clone(), more.clone()).await;
    }
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let end = begin + SignedDuration::from_hours(14 * 24);
    while world.clock.now() < end {
        let step = SignedDuration::from_mins(random.i64(1..600));
        let (steps, pause) = (random.usize(1..4), random.u64(0..40));
        world
            .controlled(async {
                for _ in 0..steps {
                    world.clock.advance(step);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            })
            .await;
        for (name, uid) in world.names().await {
            assert_eq!(seen.entry(name.clone()).or_insert_with(|| uid.clone()), &uid, "{name} ran twice");
            // What no spawner is about to create may end, and go as by its time to live.
            let mut starting = BTreeSet::new();
            for (spawner, _, _) in &spawners {
                let ticks = world.status(spawner).await.starting_ticks;
                starting
                    .extend(ticks.iter().map(|tick| format!("{spawner}-{}", tick.0.strftime("%Y%m%d-%H%M"))));
            }
            if !starting.contains(&name) && random.bool() {
                world.end(&name).await;
                if random.bool() {
                    world.tasks().delete(&name, &DeleteParams::default()).await.unwrap();
                }
            }
        }
    }
    // However late all were looked at: at least this tick of "skip" comes in time.
    let skip = Schedule::parse("15 */4 * * *", None).unwrap();
    world.clock.set(skip.next_after(world.clock.now()).unwrap());
    let now = world.clock.now();
    for (name, cron, _) in &spawners {
        let schedule =
            Schedule::parse(cron["schedule"].as_str().unwrap(), cron["timeZone"].as_str()).unwrap();
        let ticks = schedule.passed(begin, now, 1);
        let settled = |status: &TaskSpawnerStatus| {
            status.starting_ticks.is_empty()
                && status.last_schedule_time.as_ref().map(|time| time.0) == ticks.newest.last().copied()
        };
        let status = world.controlled(world.until(name, "all is decided", settled)).await;
        seen.extend(world.names().await);
        let created = seen.keys().filter(|task| task.starts_with(&format!("{name}-"))).count() as u64;
        assert_eq!(status.total_tasks_created.unwrap_or_default(), i64::try_from(created).unwrap(), "{name}");
        let skipped = u64::try_from(status.total_ticks_skipped.unwrap_or_default()).unwrap();
        let decided = created + skipped + status.pending_ticks.len() as u64;
        assert_eq!(decided, ticks.count, "{name}: {created} ran, {skipped} were skipped");
        assert!(created > 0, "{name}: nothing ran");
    }
}

#[tokio::test]
async fn all_missed_ticks_run_one_after_the_other() {
    let world = World::at("2026-03-20T12:00:30Z").await;
    let cron = json!({"schedule": "0 * * * *", "missedTicks": "RunAll"});
    world.create("hourly", cron, json!({"maxConcurrency": 1, "maxTotalTasks": 4})).await;
    world.controlled(world.until("hourly", "it is seen", |status| status.next_schedule_time.is_some())).await;
    world.clock.set(instant("2026-03-20T15:30:00Z"));
    let hours = [13, 14, 15, 16];
    world
        .controlled(async {
            for (index, hour) in hours.iter().enumerate() {
                if *hour == 16 {
                    world.clock.set(instant("2026-03-20T18:00:00Z"));
                }
                let count = i64::try_from(index + 1).ok();
                let started = |status: &TaskSpawnerStatus| {
                    status.total_tasks_created == count && status.starting_ticks.is_empty()
                };
                let status = world.until("hourly", "one more is started", started).await;
                assert_eq!(status.active_tasks, Some(1));
                let name = format!("hourly-20260320-{hour}00");
                assert_eq!(world.names().await.keys().last(), Some(&name));
                world.end(&name).await;
            }
            let status =
                world.until("hourly", "nothing is left", |status| status.active_tasks == Some(0)).await;
            assert_eq!((status.total_ticks_skipped, status.pending_ticks.len()), (Some(2), 0));
            assert_eq!(status.last_skip_reason.as_deref(), Some("maxTotalTasks is reached"));
        })
        .await;
}

#[tokio::test]
async fn another_schedule_makes_up_for_nothing_of_before() {
    let world = World::at("2026-03-20T08:59:00Z").await;
    world.create("daily", json!({"schedule": "0 9 * * *", "missedTicks": "RunAll"}), json!({})).await;
    world
        .controlled(async {
            world.until("daily", "it is seen", |status| status.observed_schedule.is_some()).await;
            world.clock.set(instant("2026-03-20T09:00:00Z"));
            world.until("daily", "the tick runs", |status| status.total_tasks_created == Some(1)).await;
            world.clock.set(instant("2026-03-20T17:02:00Z"));
            world.change("daily", json!({"when": {"cron": {"schedule": "*/5 * * * *"}}})).await;
            let next = Some(instant("2026-03-20T17:05:00Z"));
            let is_next =
                |status: &TaskSpawnerStatus| status.next_schedule_time.as_ref().map(|time| time.0) == next;
            world.until("daily", "the new schedule counts from now on", is_next).await;
            assert_eq!(world.names().await.len(), 1);
            world.clock.set(instant("2026-03-20T17:05:00Z"));
            world.until("daily", "the new tick runs", |status| status.total_tasks_created == Some(2)).await;
        })
        .await;
    assert!(world.names().await.contains_key("daily-20260320-1705"));
}

#[tokio::test]
async fn what_was_about_to_start_does_not_when_it_is_suspended() {
    let world = World::at("2026-03-20T08:59:00Z").await;
    world.create("daily", json!({"schedule": "0 9 * * *"}), json!({"suspend": true})).await;
    // As a daemon leaves it that was killed between the decision and the Task.
    let status = json!({"status": {
        "totalTasksCreated": 7, "startingTicks": ["2026-03-19T09:00:00Z"], "lastScheduleTime": "2026-03-19T09:00:00Z",
    }});
    let patched =
        world.spawners().patch_status("daily", &PatchParams::default(), &Patch::Merge(&status)).await;
    patched.unwrap();
    let status = world
        .controlled(world.until("daily", "it is taken back", |status| status.starting_ticks.is_empty()))
        .await;
    assert_eq!((status.total_tasks_created, status.total_ticks_skipped), (Some(6), Some(1)));
    assert_eq!(world.names().await.len(), 0);
    world.clock.set(instant("2026-03-21T12:00:00Z"));
    world.change("daily", json!({"suspend": false})).await;
    let resumed = |status: &TaskSpawnerStatus| status.total_ticks_skipped == Some(3);
    world.controlled(world.until("daily", "the ticks of meanwhile are skipped", resumed)).await;
    assert_eq!(world.names().await.len(), 0);
}
