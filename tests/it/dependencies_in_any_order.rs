//! A Task starts when all that it depends on has succeeded, in whatever order Tasks come and go.

use jiff::SignedDuration;
use kelos::api::labels;
use kelos::api::phase::TaskPhase;
use kelos::api::run_record::{Departure, RunOutcome};
use kelos::clock::Clock as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::cluster::{Cluster, failed, message_of, reason_of, succeeded, task_manifest};

/// What a model is asked, so that the prompt is a template; the scripted executor starts nothing.
fn asks(prompt: &str, depends_on: &[&str]) -> serde_json::Value {
    json!({"type": "claude-code", "credentials": {"type": "none"}, "prompt": prompt, "dependsOn": depends_on})
}

#[tokio::test]
async fn a_dependent_that_comes_first_waits_and_gets_the_results() {
    let cluster = Cluster::new(4).await;
    let prompt =
        "on {{ .Deps.build.Results.branch }} {{ index .Deps \"build\" \"Outputs\" }} {{ .Deps.build.Name }}";
    cluster.create_task("deploy", asks(prompt, &["build"])).await;
    let message = cluster.waits("deploy", "WaitingForDependency").await;
    assert_eq!(message, "waits until the Task build, on which it depends, exists");
    cluster.create_task("build", json!({})).await;
    cluster.phase("build", TaskPhase::Running).await;
    cluster
        .task_until("deploy", "names the Task that it waits for", |task| {
            message_of(task) == "waits for the Task build, on which it depends"
        })
        .await;
    cluster.succeed("build", &[("branch", "fix-1")]).await;
    cluster.phase("deploy", TaskPhase::Running).await;
    assert_eq!(cluster.runs.plan("deploy").agent.prompt, "on fix-1 [branch: fix-1] build");
}

#[tokio::test]
async fn a_dependency_that_expired_counts_by_its_record() {
    let cluster = Cluster::new(4).await;
    cluster.create_task("build", json!({"ttlSecondsAfterFinished": 0})).await;
    cluster.create_task("slow", json!({})).await;
    let prompt = "on {{ .Deps.build.Results.branch }} {{ index .Deps \"build\" \"Outputs\" }}";
    cluster.create_task("deploy", asks(prompt, &["build", "slow"])).await;
    let long = "é".repeat(1_500);
    cluster.succeed("build", &[("branch", &long)]).await;
    cluster.gone("build").await;
    cluster.clock.advance(SignedDuration::from_mins(10));
    cluster.create_task("later", asks(prompt, &["build"])).await;
    let message = cluster.waits("later", "WaitingForDependency").await;
    assert!(message.contains("has expired, comes anew"), "{message}");
    cluster.clock.advance(SignedDuration::from_secs(6));
    cluster.phase("later", TaskPhase::Running).await;
    cluster.succeed("slow", &[]).await;
    cluster.phase("deploy", TaskPhase::Running).await;
    for name in ["deploy", "later"] {
        assert_eq!(cluster.runs.plan(name).agent.prompt, format!("on {long} [branch: {long}]"), "{name}");
    }
}

#[tokio::test]
async fn a_dependency_that_comes_anew_counts_before_the_record_of_the_older() {
    let cluster = Cluster::new(4).await;
    cluster.create_task("build", json!({"ttlSecondsAfterFinished": 0})).await;
    cluster.succeed("build", &[("branch", "old")]).await;
    cluster.gone("build").await;
    cluster.clock.advance(SignedDuration::from_hours(1));
    cluster.create_task("deploy", asks("{{ .Deps.build.Results.branch }}", &["build"])).await;
    cluster.waits("deploy", "WaitingForDependency").await;
    cluster.create_task("build", json!({})).await;
    cluster.clock.advance(SignedDuration::from_hours(1));
    cluster.succeed("build", &[("branch", "new")]).await;
    cluster.phase("deploy", TaskPhase::Running).await;
    assert_eq!(cluster.runs.plan("deploy").agent.prompt, "new");
}

#[tokio::test]
async fn tasks_of_a_config_repository_take_a_record_at_once() {
    let cluster = Cluster::new(4).await;
    let owned = |name: &str, spec| {
        let mut manifest = task_manifest(name, spec);
        manifest["metadata"]["labels"] = json!({"gitops.kelos.dev/owner-uid": "the-repository"});
        manifest
    };
    cluster.create(owned("build", json!({"ttlSecondsAfterFinished": 0}))).await;
    cluster.succeed("build", &[]).await;
    cluster.gone("build").await;
    cluster.create(owned("deploy", json!({"dependsOn": ["build"]}))).await;
    cluster.phase("deploy", TaskPhase::Running).await;
}

#[tokio::test]
async fn a_dependency_that_was_deleted_is_waited_for() {
    let cluster = Cluster::new(4).await;
    cluster.create_task("build", json!({})).await;
    cluster.create_task("slow", json!({})).await;
    cluster.create_task("deploy", json!({"dependsOn": ["build", "slow"]})).await;
    cluster.succeed("build", &[]).await;
    cluster.delete_task("build").await;
    cluster.gone("build").await;
    let records = cluster.records().list(&kube::api::ListParams::default()).await.unwrap();
    let record = records.iter().find(|record| record.spec.task_name == "build").unwrap();
    assert_eq!(record.status.as_ref().unwrap().departure, Some(Departure::Deleted));
    cluster.succeed("slow", &[]).await;
    let message = cluster
        .task_until("deploy", "waits for what was deleted", |task| message_of(task).contains("exists"))
        .await;
    assert_eq!(message_of(&message), "waits until the Task build, on which it depends, exists");
    cluster.create_task("build", json!({})).await;
    cluster.succeed("build", &[]).await;
    cluster.phase("deploy", TaskPhase::Running).await;
}

#[tokio::test]
async fn a_dependency_that_makes_room_for_another_is_waited_for() {
    let cluster = Cluster::new(4).await;
    cluster.create_task("build", json!({})).await;
    cluster.phase("build", TaskPhase::Running).await;
    cluster.runs.finish("build", failed(cluster.clock.now()));
    cluster.phase("build", TaskPhase::Failed).await;
    // Somebody holds it for a while.
    let finalizers = |add: Option<&str>| {
        let names: Vec<&str> = add.into_iter().chain(add.map(|_| labels::FINALIZER)).collect();
        Patch::Merge(json!({"metadata": {"finalizers": names}}))
    };
    let tasks = cluster.tasks();
    tasks.patch("build", &PatchParams::default(), &finalizers(Some("example.com/hold"))).await.unwrap();
    cluster.delete_task("build").await;
    cluster.create_task("deploy", json!({"dependsOn": ["build"]})).await;
    let message = cluster.waits("deploy", "WaitingForDependency").await;
    assert_eq!(message, "waits until the Task build, on which it depends, exists");
    tasks.patch("build", &PatchParams::default(), &finalizers(None)).await.unwrap();
    cluster.gone("build").await;
    cluster.create_task("build", json!({})).await;
    cluster.succeed("build", &[]).await;
    cluster.phase("deploy", TaskPhase::Running).await;
}

#[tokio::test]
async fn a_failed_dependency_fails_all_that_depend_on_it_at_once() {
    let cluster = Cluster::new(4).await;
    cluster.create_task("third", json!({"dependsOn": ["second"]})).await;
    cluster.create_task("second", json!({"dependsOn": ["slow", "first"]})).await;
    cluster.create_task("slow", json!({})).await;
    cluster.create_task("first", json!({"ttlSecondsAfterFinished": 0})).await;
    cluster.phase("slow", TaskPhase::Running).await;
    cluster.phase("first", TaskPhase::Running).await;
    cluster.runs.finish("first", failed(cluster.clock.now()));
    for (name, dependency) in [("second", "first"), ("third", "second")] {
        let task = cluster.phase(name, TaskPhase::Failed).await;
        assert_eq!(reason_of(&task), "DependencyFailed");
        assert_eq!(message_of(&task), format!("the Task {dependency}, on which it depends, failed"));
        assert!(task.status.unwrap().completion_time.is_some());
    }
    // The same by the record, once the failed one has expired.
    cluster.gone("first").await;
    cluster.create_task("late", json!({"dependsOn": ["first"]})).await;
    cluster.clock.advance(SignedDuration::from_secs(6));
    assert_eq!(reason_of(&cluster.phase("late", TaskPhase::Failed).await), "DependencyFailed");
    assert_eq!(cluster.runs.started().len(), 2);
    let outcomes = cluster
        .until("all ends are recorded", async || {
            let records = cluster.records().list(&kube::api::ListParams::default()).await.unwrap().items;
            (records.len() == 4).then_some(records)
        })
        .await;
    let failed_by_dependency =
        outcomes.iter().filter(|record| record.spec.outcome == RunOutcome::DependencyFailed).count();
    assert_eq!(failed_by_dependency, 3);
}

#[tokio::test]
async fn circles_are_named_in_whatever_order_they_come() {
    let cluster = Cluster::new(4).await;
    cluster.create_task("self", json!({"dependsOn": ["self"]})).await;
    let task = cluster.phase("self", TaskPhase::Failed).await;
    assert_eq!(reason_of(&task), "DependencyCycle");
    assert_eq!(message_of(&task), "its dependencies lead back to it: self -> self");
    for (name, needs) in [("behind", "c"), ("a", "b"), ("c", "a"), ("b", "c")] {
        cluster.create_task(name, json!({"dependsOn": [needs]})).await;
    }
    for (name, way) in [("a", "a -> b -> c -> a"), ("b", "b -> c -> a -> b"), ("c", "c -> a -> b -> c")] {
        let task = cluster.phase(name, TaskPhase::Failed).await;
        assert_eq!(reason_of(&task), "DependencyCycle", "{name}: {}", message_of(&task));
        assert_eq!(message_of(&task), format!("its dependencies lead back to it: {way}"));
    }
    assert_eq!(reason_of(&cluster.phase("behind", TaskPhase::Failed).await), "DependencyFailed");
    assert_eq!(cluster.runs.started(), Vec::<String>::new());
}

#[tokio::test]
async fn a_prompt_that_cannot_be_rendered_fails_the_task_and_names_the_place() {
    let cluster = Cluster::new(4).await;
    cluster.create_task("build", json!({})).await;
    cluster.succeed("build", &[]).await;
    cluster.create_task("typo", asks("first line\n{{ .Deps.build.Results.brnch }}", &["build"])).await;
    let task = cluster.phase("typo", TaskPhase::Failed).await;
    assert_eq!(reason_of(&task), "PromptFailed");
    let message = message_of(&task);
    assert!(message.starts_with("spec.prompt cannot be rendered: line 2: "), "{message}");
    assert!(message.contains("brnch"), "{message}");
    cluster.create_task("broken", asks("{{ .Deps", &["build"])).await;
    let message = message_of(&cluster.phase("broken", TaskPhase::Failed).await);
    assert!(message.starts_with("spec.prompt cannot be rendered: line 1: "), "{message}");
    // Without dependencies a prompt is no template, and a script never is.
    cluster.create_task("plain", asks("{{ .Deps", &[])).await;
    cluster.create_task("script", json!({"prompt": "echo {{ .Deps", "dependsOn": ["build"]})).await;
    for name in ["plain", "script"] {
        cluster.phase(name, TaskPhase::Running).await;
        assert!(cluster.runs.plan(name).agent.prompt.ends_with("{{ .Deps"));
    }
    let item = cluster.runs.plan("script").item.unwrap();
    assert_eq!(item["Deps"]["build"]["Name"], "build");
    assert_eq!(cluster.runs.started().len(), 3);
}

#[tokio::test]
async fn a_restart_between_dependency_and_dependent_changes_nothing() {
    let mut cluster = Cluster::new(4).await;
    cluster.create_task("deploy", json!({"dependsOn": ["build"]})).await;
    cluster.create_task("build", json!({"ttlSecondsAfterFinished": 0})).await;
    cluster.phase("build", TaskPhase::Running).await;
    cluster.kill().await;
    cluster.runs.finish("build", succeeded(cluster.clock.now(), &[]));
    cluster.start();
    cluster.phase("deploy", TaskPhase::Running).await;
    assert_eq!(cluster.runs.started(), ["build", "deploy"]);
}
