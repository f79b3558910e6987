//! A daemon that is killed at any moment converges: no Task runs twice, none is lost, and each is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::condition;
use crate::support::env::TestEnv;
use crate::task_in_git_runs_once::ledger;

const ROUNDS: usize = 20;

fn task(number: usize) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: t{number}\nspec:\n  type: shell\n  ttlSecondsAfterFinished: {}\n  prompt: \"echo kelos-began; sleep 0.{}; echo done\"\n",
        number % 3,
        number % 5
    )
}

const SPAWNER: &str = "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: minutely\nspec:\n  when:\n    cron:\n      schedule: \"* * * * *\"\n  taskTemplate:\n    type: shell\n    ttlSecondsAfterFinished: 0\n    promptTemplate: echo tick\n";

fn by_name(records: &[Value]) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for record in records {
        *names.entry(record["spec"]["taskName"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    names
}

#[test]
fn no_task_runs_twice_and_each_is_told_once() {
    let mut env = TestEnv::new();
    env.commit("config", &[("spawner.yaml", SPAWNER)]);
    let folder = env.path("config").display().to_string();
    let arguments = ["--repo", folder.as_str(), "--interval", "1s"];
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    println!("the moments follow from the seed {seed}");
    for round in 0..ROUNDS {
        env.commit("config", &[(&format!("t{round}.yaml"), &task(round))]);
        env.start(&arguments);
        std::thread::sleep(Duration::from_millis(random.u64(0..700)));
        env.kill();
    }
    env.start(&arguments);
    env.judged(&env.git("config", &["rev-parse", "HEAD"]));
    // Suspended, the spawner makes no more Tasks, and everything can come to rest.
    env.patch("taskspawners", "minutely", &json!({"spec": {"suspend": true}}));
    env.until("all Tasks have ended and gone", |env| {
        let repository = env.object("configrepository", "default")?;
        let settled = condition(&repository, "Ready")["status"] == "True";
        (settled && env.names("tasks").iter().all(|name| name.starts_with("minutely-"))).then_some(())
    });
    env.until("the ticks have ended", |env| env.names("tasks").is_empty().then_some(()));
    let records = env.list("runrecords");
    let runs = by_name(&records);
    for round in 0..ROUNDS {
        assert_eq!(runs.get(&format!("t{round}")), Some(&1), "seed {seed}: {runs:?}");
    }
    assert!(runs.values().all(|count| *count == 1), "seed {seed}: {runs:?}");
    let spawner = env.object("taskspawner", "minutely").unwrap();
    let created = spawner["status"]["totalTasksCreated"].as_u64().unwrap_or_default();
    let ticks = records.iter().filter(|record| record["spec"]["spawner"] == "minutely").count();
    assert_eq!(u64::try_from(ticks).unwrap(), created, "seed {seed}: {runs:?}");
    env.until("every run is in the ledger", |env| {
        let all = env.list("runrecords");
        all.iter().all(|record| record["status"]["reportedCommit"].is_string()).then_some(())
    });
    let mut lines = ledger(&env);
    lines.sort();
    let mut uids: Vec<&str> =
        records.iter().map(|record| record["metadata"]["name"].as_str().unwrap()).collect();
    uids.sort_unstable();
    assert_eq!(lines, uids, "seed {seed}");
    for record in &records {
        assert!(
            matches!(record["spec"]["outcome"].as_str(), Some("Succeeded" | "Interrupted")),
            "seed {seed}: {record:#}"
        );
        let interrupted = record["spec"]["outcome"] == "Interrupted";
        assert!(!interrupted, "the runner outlives the daemon, seed {seed}: {record:#}");
    }
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused_and_harms_nothing() {
    let script = "while ! [ -e go ]; do sleep 0.05; done";
    let manifest = format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: t\nspec:\n  type: shell\n  prompt: \"{script}\"\n"
    );
    let env = TestEnv::up_with(&[("t.yaml", &manifest)]);
    let running = |env: &TestEnv| {
        let task = env.object("task", "t")?;
        (task["status"]["phase"] == "Running").then_some(())
    };
    env.until("the run goes on", running);
    let data = env.data_dir().display().to_string();
    let refused = env.kelos(&["up", "--data-dir", &data]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(refused.stderr.contains("in use by another process"), "{refused}");
    assert!(running(&env).is_some(), "the first goes on, and so does the run");
    env.let_go("t");
    assert_eq!(env.task_ended("t")["status"]["phase"], "Succeeded");
}
