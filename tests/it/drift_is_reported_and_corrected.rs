//! What somebody changes on the cluster is told, and set right unless the ConfigRepository only reports.

use std::time::Duration;

use serde_json::{Value, json};

use crate::report_reaches_the_remote::report;
use crate::support::api::condition;
use crate::support::env::TestEnv;

const FILES: &[(&str, &str)] = &[
    (
        "spawner.yaml",
        "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: nightly\n  labels: {}\n  annotations:\n    team: tools\nspec:\n  maxConcurrency: 1\n  when:\n    cron:\n      schedule: \"0 9 1 1 *\"\n  taskTemplate:\n    type: shell\n    promptTemplate: echo\n",
    ),
    (
        "workspace.yaml",
        "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: app\nspec:\n  repo: https://example.com/app.git\n",
    ),
];

fn up() -> TestEnv {
    let env = TestEnv::up_with(FILES);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    env
}

fn spec(env: &TestEnv) -> Value {
    env.object("taskspawner", "nightly").expect("because it was applied")["spec"].clone()
}

#[test]
fn a_changed_field_is_set_right_and_others_are_left() {
    let env = up();
    env.patch(
        "taskspawners",
        "nightly",
        &json!({"metadata": {"annotations": {"team": "none", "theirs": "x"}}, "spec": {"maxConcurrency": 9, "maxTotalTasks": 7}}),
    );
    let repository = env.reconcile("drifted");
    assert_eq!(repository["status"]["drift"]["objects"][0]["name"], "nightly", "{repository:#}");
    assert_eq!(spec(&env)["maxConcurrency"], 1);
    assert_eq!(spec(&env)["maxTotalTasks"], 7, "git does not say this field");
    let metadata = env.object("taskspawner", "nightly").unwrap()["metadata"]["annotations"].clone();
    assert_eq!((&metadata["team"], &metadata["theirs"]), (&json!("tools"), &json!("x")));
    env.delete("workspaces", "app");
    env.reconcile("deleted");
    assert_eq!(env.names("workspaces"), ["app"]);
    let repository = env.reconcile("after");
    assert_eq!(condition(&repository, "Drifted")["status"], "False", "{repository:#}");
    assert_eq!(repository["status"]["drift"], Value::Null);
}

#[test]
fn with_the_policy_report_it_is_told_and_left() {
    let env = up();
    env.patch("configrepositories", "default", &json!({"spec": {"drift": "Report"}}));
    env.patch("taskspawners", "nightly", &json!({"spec": {"maxConcurrency": 9}}));
    let repository = env.reconcile("drifted");
    assert_eq!(spec(&env)["maxConcurrency"], 9);
    assert_eq!(condition(&repository, "Drifted")["status"], "True", "{repository:#}");
    let message = condition(&repository, "Drifted")["message"].as_str().unwrap();
    assert!(message.contains("TaskSpawner/nightly"), "{message}");
    assert_eq!(repository["status"]["drift"]["objects"][0]["fields"], json!(["/spec/maxConcurrency"]));
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
    env.until("the report says so", |env| {
        let status = report(env, "status.json");
        let status: Value = serde_json::from_str(&status).unwrap();
        (status.pointer("/status/drifted").or_else(|| status.pointer("/drifted"))? == 1).then_some(())
    });
    // A change in git is applied under this policy too.
    env.push(&[("spawner.yaml", &FILES[0].1.replace("maxConcurrency: 1", "maxConcurrency: 2"))]);
    assert_eq!(spec(&env)["maxConcurrency"], 2);
}

#[test]
fn an_unchanged_remote_leads_to_no_write() {
    let env = up();
    env.until("all is said", |env| {
        let repository = env.object("configrepository", "default")?;
        (condition(&repository, "Reported")["status"] == "True").then_some(())
    });
    env.reconcile("the last request");
    let everything = |env: &TestEnv| {
        let repository = env.object("configrepository", "default").unwrap();
        let status = env.git("config", &["rev-parse", "kelos-status"]);
        (env.versions(), repository["metadata"]["resourceVersion"].clone(), status)
    };
    let before = env.until("nothing is on its way any more", |env| {
        let before = everything(env);
        std::thread::sleep(Duration::from_millis(2_500));
        everything(env).eq(&before).then_some(before)
    });
    // Several polls pass: the interval is a second.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(before, everything(&env));
}
