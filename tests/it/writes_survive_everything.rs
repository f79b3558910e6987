//! What the API acknowledged is there, whatever happens to the daemon and its disk, and no version stands for two writes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::StreamExt as _;
use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

use crate::support::env::TestEnv;
use crate::support::small_disk::SmallDisk;

const SETTINGS: &str = "/api/v1/namespaces/default/configmaps";

/// How many clients write at once.
const WRITERS: usize = 4;

/// How often the daemon is killed.
const KILLS: usize = 5;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn settings(kubeconfig: &Path) -> Api<ConfigMap> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Api::namespaced(kube::Client::try_from(config.unwrap()).unwrap(), "default")
}

fn object(name: &str, count: usize) -> ConfigMap {
    let object = json!({"metadata": {"name": name}, "data": {"count": count.to_string()}});
    serde_json::from_value(object).unwrap()
}

fn count(object: &ConfigMap) -> usize {
    object.data.as_ref().and_then(|data| data.get("count")).map_or(0, |count| count.parse().unwrap())
}

/// A write that was acknowledged: of which object, with which count, as which version.
type Acknowledged = (String, usize, String);

/// Writes without a pause until the daemon does not answer; returns what it acknowledged.
fn write(kubeconfig: PathBuf, round: usize, writer: usize, done: Arc<Mutex<usize>>) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    runtime().block_on(async {
        let api = settings(&kubeconfig).await;
        for number in 1.. {
            let made = object(&format!("made-{round}-{writer}-{number}"), number);
            let changed = object(&format!("counter-{round}-{writer}"), number);
            let created = api.create(&PostParams::default(), &made).await;
            let parameters = PatchParams::apply("writer");
            let applied = match created {
                Ok(created) => {
                    acknowledged.push((created.name_any(), number, created.resource_version().unwrap()));
                    api.patch(&changed.name_any(), &parameters, &Patch::Apply(&applied_form(&changed))).await
                }
                Err(error) => Err(error),
            };
            let Ok(applied) = applied else { break };
            acknowledged.push((applied.name_any(), number, applied.resource_version().unwrap()));
            *done.lock().unwrap() += 1;
        }
    });
    acknowledged
}

fn applied_form(object: &ConfigMap) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    value["apiVersion"] = json!("v1");
    value["kind"] = json!("ConfigMap");
    value
}

/// What a client that follows the API believes.
#[derive(Default)]
struct View {
    versions: BTreeMap<String, String>,
    /// Faults that it met, such as a change that it was never told.
    faults: Vec<String>,
    relisted: usize,
}

/// Follows the API as controllers do, through all that happens to the daemon, until `over`.
fn follow(kubeconfig: PathBuf, view: Arc<Mutex<View>>, over: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        runtime().block_on(async {
            let api = settings(&kubeconfig).await;
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            let mut counts: HashMap<String, usize> = HashMap::new();
            let mut fresh = BTreeMap::new();
            while !over.load(Ordering::SeqCst) {
                let Ok(event) = tokio::time::timeout(Duration::from_millis(100), events.next()).await else {
                    continue;
                };
                let mut view = view.lock().unwrap();
                match event.unwrap() {
                    Ok(watcher::Event::Init) => {
                        fresh.clear();
                        counts.clear();
                        view.relisted += 1;
                    }
                    Ok(watcher::Event::InitApply(object)) => {
                        counts.insert(object.name_any(), count(&object));
                        fresh.insert(object.name_any(), object.resource_version().unwrap());
                    }
                    Ok(watcher::Event::InitDone) => view.versions = std::mem::take(&mut fresh),
                    Ok(watcher::Event::Apply(object)) => {
                        let (name, now) = (object.name_any(), count(&object));
                        let before = counts.insert(name.clone(), now);
                        if before.is_some_and(|before| now != before + 1) {
                            view.faults.push(format!("{name} went from {before:?} to {now}"));
                        }
                        view.versions.insert(name, object.resource_version().unwrap());
                    }
                    Ok(watcher::Event::Delete(object)) => {
                        view.faults.push(format!("{} was deleted by nobody", object.name_any()));
                    }
                    // The daemon is down, or its history does not reach back so far.
                    Err(_) => {}
                }
            }
        });
    })
}

#[test]
fn what_was_acknowledged_survives_kills_under_load() {
    let mut env = TestEnv::new();
    let kubeconfig = env.data_dir().join("kubeconfig");
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    println!("the moments follow from the seed {seed}");
    let (view, over) = (Arc::new(Mutex::new(View::default())), Arc::new(AtomicBool::new(false)));
    let mut follower = None;
    let mut acknowledged: Vec<Acknowledged> = Vec::new();
    for round in 0..KILLS {
        env.start(&[]);
        follower.get_or_insert_with(|| follow(kubeconfig.clone(), Arc::clone(&view), Arc::clone(&over)));
        let done = Arc::new(Mutex::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (kubeconfig, done) = (kubeconfig.clone(), Arc::clone(&done));
                std::thread::spawn(move || write(kubeconfig, round, writer, done))
            })
            .collect();
        let wanted = random.usize(20..60);
        env.until("enough is written", |_| (*done.lock().unwrap() >= wanted).then_some(()));
        env.kill();
        for writer in writers {
            acknowledged.extend(writer.join().unwrap());
        }
    }
    env.start(&[]);
    let listed = env.ask(Method::GET, SETTINGS, None).unwrap();
    let listed: BTreeMap<String, ConfigMap> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| serde_json::from_value::<ConfigMap>(item.clone()).unwrap())
        .map(|object| (object.name_any(), object))
        .collect();
    let mut versions = HashSet::new();
    let mut last: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (name, number, version) in &acknowledged {
        assert!(versions.insert(version.as_str()), "seed {seed}: {version} stands for two writes");
        last.insert(name, (*number, version));
    }
    assert!(last.len() > KILLS * 20, "only {} writes were acknowledged", last.len());
    for (name, (number, version)) in &last {
        let found = listed.get(*name).unwrap_or_else(|| panic!("seed {seed}: {name} is lost"));
        assert!(count(found) >= *number, "seed {seed}: {name} went back to {}", count(found));
        if count(found) == *number {
            assert_eq!(found.resource_version().as_deref(), Some(*version), "seed {seed}: {name}");
        } else {
            // The write whose answer was lost stands, under a version of its own.
            assert!(!versions.contains(found.resource_version().unwrap().as_str()), "seed {seed}: {name}");
        }
    }
    env.until("who follows the API knows all of it", |_| {
        let known = &view.lock().unwrap().versions;
        let is_known =
            |(name, object): (&String, &ConfigMap)| known.get(name) == object.resource_version().as_ref();
        (known.len() == listed.len() && listed.iter().all(is_known)).then_some(())
    });
    over.store(true, Ordering::SeqCst);
    follower.unwrap().join().unwrap();
    let view = view.lock().unwrap();
    assert!(view.faults.is_empty(), "seed {seed}: {:?}", view.faults);
    assert!(view.relisted >= 1);
}

/// Returns the type and the count of the events of a watch from `version` on, to its end after a second.
fn replay(env: &TestEnv, version: &str) -> Vec<(String, String)> {
    let path = format!("{SETTINGS}?watch=true&timeoutSeconds=1&resourceVersion={version}");
    let reply = env.exchange(&format!("GET {path}"), "", b"").unwrap();
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let object = &event["object"];
        let what = object["data"]["count"].as_str().or(object["message"].as_str()).unwrap_or_default();
        (event["type"].as_str().unwrap().to_owned(), what.to_owned())
    };
    reply.text().lines().map(event).collect()
}

#[test]
fn a_watch_goes_on_over_a_restart_without_a_gap() {
    let mut env = TestEnv::up();
    let change = |env: &TestEnv, number: usize| {
        let body = json!({"data": {"count": number.to_string()}});
        let changed = env.ask(Method::PATCH, &format!("{SETTINGS}/a"), Some(&body)).unwrap();
        changed["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    };
    env.ask(Method::POST, SETTINGS, Some(&applied_form(&object("a", 0)))).unwrap();
    let version = change(&env, 1);
    change(&env, 2);
    assert_eq!(env.stop(), Some(0));
    env.start(&[]);
    change(&env, 3);
    let seen = replay(&env, &version);
    let modified = |count: &str| ("MODIFIED".to_owned(), count.to_owned());
    assert_eq!(seen, [modified("2"), modified("3")]);
    // A killed daemon may have lost what a broken disk acknowledged: it says that the past is gone, and never less.
    env.kill();
    env.start(&[]);
    let seen = replay(&env, &version);
    assert!(matches!(&*seen, [(kind, what)] if kind == "ERROR" && what.contains("too old")), "{seen:?}");
}

#[test]
fn a_second_daemon_on_one_folder_is_refused() {
    let env = TestEnv::up();
    let data = env.data_dir().display().to_string();
    let second = env.kelos(&["up", "--data-dir", &data]);
    assert_ne!(second.code, Some(0), "{second}");
    assert!(second.stderr.contains("in use by another process"), "{second}");
    assert!(env.ask(Method::GET, SETTINGS, None).is_ok(), "the first one is not disturbed");
}

#[test]
fn a_full_disk_fails_writes_and_nothing_else_and_is_recovered_from() {
    let mut env = TestEnv::new();
    let Some(disk) = SmallDisk::at(&env.data_dir(), "20m") else { return };
    env.start(&[]);
    let mut watch = env.wire();
    let head = format!(
        "GET {SETTINGS}?watch=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        env.token()
    );
    assert!(watch.send(head.as_bytes()));
    let create = |env: &TestEnv, name: &str| {
        let mut large = applied_form(&object(name, 1));
        large["data"]["text"] = json!("x".repeat(20_000));
        let body = large.to_string();
        let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        env.exchange(&format!("POST {SETTINGS}"), &headers, body.as_bytes()).unwrap()
    };
    assert_eq!(create(&env, "before").code, 201);
    disk.fill();
    // What the file has in reserve is used up first.
    let mut kept = vec!["before".to_owned()];
    let refusal = (0..1_000).find_map(|number| {
        let name = format!("filling-{number}");
        let reply = create(&env, &name);
        if reply.code == 201 {
            kept.push(name);
            return None;
        }
        Some(reply)
    });
    let refusal = refusal.expect("a full disk takes nothing");
    let status = refusal.json();
    assert_eq!((refusal.code, &status["reason"]), (500, &json!("InternalError")), "{status:#}");
    assert!(status["message"].as_str().unwrap().contains("the store is full: no space left"), "{status:#}");
    // Reading goes on, and so does saying how things are.
    let names = |env: &TestEnv| {
        let listed = env.ask(Method::GET, SETTINGS, None).unwrap();
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = listed["items"].as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    };
    kept.sort();
    assert_eq!(names(&env), kept, "what was refused is not there");
    let health = |env: &TestEnv, path: &str| {
        let reply = env.exchange_as("", &format!("GET {path}"), "", b"").unwrap();
        (reply.code, reply.text())
    };
    let failed = "[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n".to_owned();
    assert_eq!(health(&env, "/readyz"), (500, failed.clone()));
    assert_eq!(health(&env, "/readyz?verbose"), (500, failed));
    assert_eq!(health(&env, "/livez"), (200, "ok".to_owned()), "another start would make no room");
    let metrics = env.exchange("GET /metrics", "", b"").unwrap().text();
    let failures = metrics.lines().find_map(|line| line.strip_prefix("kelos_store_commit_failures_total "));
    assert!(failures.is_some_and(|failures| failures != "0"), "{failures:?}");
    disk.clear();
    env.until("there is room again", |env| (create(env, "after").code == 201).then_some(()));
    kept.insert(0, "after".to_owned());
    assert_eq!(health(&env, "/readyz"), (200, "ok".to_owned()));
    // The watch that was open all the time saw what happened, and nothing that did not.
    let seen = String::from_utf8_lossy(&watch.until("\"name\":\"after\"")).into_owned();
    for name in &kept {
        assert!(seen.contains(&format!("\"name\":\"{name}\"")), "{name} was not told");
    }
    assert_eq!(seen.matches("\"type\":\"ADDED\"").count(), kept.len());
    env.kill();
    env.start(&[]);
    assert_eq!(names(&env), kept, "and all of it is there after a kill");
    env.stop();
}

#[test]
fn a_daemon_that_was_killed_on_a_full_disk_starts_again() {
    let mut env = TestEnv::new();
    let Some(disk) = SmallDisk::at(&env.data_dir(), "24m") else { return };
    env.start(&[]);
    for number in 0..20 {
        let mut large = applied_form(&object(&format!("large-{number}"), 1));
        large["data"]["text"] = json!("x".repeat(100_000));
        env.ask(Method::POST, SETTINGS, Some(&large)).unwrap();
    }
    disk.fill();
    for _ in 0..2 {
        env.kill();
        env.start(&[]);
        // Everything can be seen, and something be deleted to make room.
        let listed = env.ask(Method::GET, SETTINGS, None).unwrap();
        let last = listed["items"].as_array().unwrap().last().unwrap();
        let name = last["metadata"]["name"].as_str().unwrap();
        env.ask(Method::DELETE, &format!("{SETTINGS}/{name}"), None).unwrap();
    }
    env.kill();
    disk.clear();
    env.start(&[]);
    let listed = env.ask(Method::GET, SETTINGS, None).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 18);
    env.stop();
}
