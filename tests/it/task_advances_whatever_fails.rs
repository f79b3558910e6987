//! A Task goes on when what it lacks comes, when writes are refused for a while, and wherever it is deleted; its run is
//! started once and its end is not lost.

use http::Method;
use jiff::SignedDuration;
use kelos::api::phase::TaskPhase;
use kelos::api::run::{Exit, RunState, Usage};
use kelos::api::run_record::{Departure, RunOutcome, RunRecord};
use kelos::clock::Clock as _;
use serde_json::json;

use crate::support::cluster::{Cluster, failed, message_of, phase_of, reason_of, succeeded};

async fn record_of(cluster: &Cluster, task: &str) -> RunRecord {
    cluster
        .until(&format!("the end of {task} is recorded"), async || {
            let records = cluster.records().list(&kube::api::ListParams::default()).await.unwrap().items;
            let mut of_task = records.into_iter().filter(|record| record.spec.task_name == task);
            let record = of_task.next()?;
            assert!(of_task.next().is_none(), "one record for each Task");
            Some(record)
        })
        .await
}

#[tokio::test]
async fn what_is_missing_is_waited_for_by_name_and_then_the_task_goes_on() {
    let cluster = Cluster::new(4).await;
    let spec = json!({
        "type": "claude-code", "credentials": {"type": "api-key", "secretRef": {"name": "key"}},
        "workspaceRef": {"name": "app"}, "agentConfigRefs": [{"name": "one"}, {"name": "two"}],
    });
    cluster.create_task("task", spec).await;
    let message = cluster.waits("task", "WaitingForWorkspace").await;
    assert_eq!(
        message,
        "waits until the Workspace app and the AgentConfig one and the AgentConfig two and the Secret key exists"
    );
    let metadata = |name: &str| json!({"name": name, "namespace": "default"});
    let workspace = json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": "Workspace", "metadata": metadata("app"),
        "spec": {"repo": "https://github.com/acme/app", "secretRef": {"name": "git"}},
    });
    cluster.create(workspace).await;
    let message = cluster.waits("task", "WaitingForAgentConfig").await;
    assert!(message.contains("the Secret git") && message.contains("the Secret key"), "{message}");
    for name in ["two", "one"] {
        let spec = json!({"mcpServers": [{
            "name": name, "type": "stdio", "command": "x", "envFrom": {"secretRef": {"name": "mcp"}},
        }]});
        let config = json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "AgentConfig", "metadata": metadata(name), "spec": spec,
        });
        cluster.create(config).await;
    }
    let message = cluster.waits("task", "WaitingForSecret").await;
    assert_eq!(message, "waits until the Secret git and the Secret key and the Secret mcp exists");
    let secret = |name: &str, data| json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(name), "stringData": data});
    cluster.create(secret("mcp", json!({"A": "b"}))).await;
    cluster.create(secret("git", json!({"GITHUB_TOKEN": "t"}))).await;
    cluster.create(secret("key", json!({"WRONG_KEY": "k"}))).await;
    cluster
        .task_until("task", "names the key", |task| {
            message_of(task) == "waits until the Secret key with the key ANTHROPIC_API_KEY exists"
        })
        .await;
    let patch = json!({"stringData": {"ANTHROPIC_API_KEY": "k"}});
    let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
        kube::Api::namespaced(cluster.client.clone(), "default");
    secrets.patch("key", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&patch)).await.unwrap();
    cluster.phase("task", TaskPhase::Running).await;
}

#[tokio::test]
async fn an_end_is_written_down_when_writes_are_taken_again() {
    let cluster = Cluster::new(4).await;
    cluster.create_task("task", json!({"ttlSecondsAfterFinished": 0})).await;
    cluster.phase("task", TaskPhase::Running).await;
    // The disk is full: nothing is taken.
    for method in [Method::PUT, Method::POST, Method::PATCH] {
        cluster.faults.refuse(method, "/");
    }
    cluster.runs.finish("task", succeeded(cluster.clock.now(), &[("branch", "b")]));
    cluster.until("the write is refused", async || (cluster.faults.count() > 0).then_some(())).await;
    assert_eq!(phase_of(&cluster.task("task").await.unwrap()), Some(TaskPhase::Running));
    cluster.faults.mend();
    cluster.gone("task").await;
    let record = record_of(&cluster, "task").await;
    assert_eq!((record.spec.outcome, record.spec.results["branch"].as_str()), (RunOutcome::Succeeded, "b"));
    assert_eq!(cluster.runs.started(), ["task"]);
    assert_eq!(cluster.runs.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_task_stays_until_its_record_is_stored() {
    let mut cluster = Cluster::new(4).await;
    cluster.create_task("task", json!({"ttlSecondsAfterFinished": 0})).await;
    cluster.phase("task", TaskPhase::Running).await;
    cluster.faults.refuse(Method::POST, "/runrecords");
    cluster.runs.finish("task", failed(cluster.clock.now()));
    cluster.phase("task", TaskPhase::Failed).await;
    cluster.until("the record is refused", async || (cluster.faults.count() > 0).then_some(())).await;
    // Even a deletion by hand waits for it, and a restart forgets nothing.
    cluster.delete_task("task").await;
    cluster.kill().await;
    cluster.start();
    let refused = cluster.faults.count();
    cluster.until("it is refused again", async || (cluster.faults.count() > refused).then_some(())).await;
    assert!(cluster.task("task").await.unwrap().metadata.deletion_timestamp.is_some());
    cluster.faults.mend();
    cluster.gone("task").await;
    let record = record_of(&cluster, "task").await;
    assert_eq!(record.spec.outcome, RunOutcome::Failed);
    assert_eq!(record.status.unwrap().departure, Some(Departure::Deleted));
}

#[tokio::test]
async fn nothing_starts_before_its_status_is_stored() {
    let cluster = Cluster::new(4).await;
    cluster.faults.refuse(Method::PUT, "/status");
    cluster.create_task("task", json!({})).await;
    cluster.until("the status is refused", async || (cluster.faults.count() > 0).then_some(())).await;
    assert_eq!(cluster.runs.started(), Vec::<String>::new());
    cluster.faults.mend();
    let task = cluster.phase("task", TaskPhase::Running).await;
    assert_eq!(task.status.unwrap().run_id, task.metadata.uid);
    assert_eq!(cluster.runs.started(), ["task"]);
}

#[tokio::test]
async fn a_start_that_fails_is_tried_again_and_costs_nothing() {
    let mut cluster = Cluster::new(1).await;
    cluster.runs.break_starts(true);
    cluster.create_task("task", json!({})).await;
    cluster.phase("task", TaskPhase::Pending).await;
    // Its place is kept over a restart: what comes later does not overtake it.
    cluster.kill().await;
    cluster.create_task("a-later", json!({})).await;
    cluster.start();
    cluster.waits("a-later", "WaitingForSlot").await;
    cluster.runs.break_starts(false);
    cluster.succeed("task", &[]).await;
    cluster.phase("a-later", TaskPhase::Running).await;
    assert_eq!(cluster.runs.started(), ["task", "a-later"]);
}

#[tokio::test]
async fn what_is_lost_between_acceptance_and_start_is_waited_for() {
    let mut cluster = Cluster::new(1).await;
    cluster.create_task("build", json!({})).await;
    cluster.succeed("build", &[]).await;
    cluster.runs.break_starts(true);
    cluster.create_task("deploy", json!({"dependsOn": ["build"]})).await;
    cluster.phase("deploy", TaskPhase::Pending).await;
    cluster.delete_task("build").await;
    cluster.gone("build").await;
    cluster.kill().await;
    cluster.start();
    cluster.waits("deploy", "WaitingForDependency").await;
    cluster.runs.break_starts(false);
    // It gave its slot back.
    cluster.create_task("build", json!({})).await;
    cluster.succeed("build", &[]).await;
    cluster.phase("deploy", TaskPhase::Running).await;
    assert_eq!(cluster.runs.started(), ["build", "build", "deploy"]);
}

#[tokio::test]
async fn a_task_can_be_deleted_wherever_it_is() {
    let cluster = Cluster::new(2).await;
    cluster.create_task("running", json!({})).await;
    cluster.phase("running", TaskPhase::Running).await;
    cluster.runs.break_starts(true);
    cluster.create_task("pending", json!({})).await;
    cluster.phase("pending", TaskPhase::Pending).await;
    cluster.create_task("waiting", json!({})).await;
    cluster.waits("waiting", "WaitingForSlot").await;
    cluster.create_task("dependent", json!({"dependsOn": ["running"]})).await;
    cluster.waits("dependent", "WaitingForDependency").await;
    for name in ["waiting", "pending"] {
        cluster.delete_task(name).await;
        cluster.gone(name).await;
    }
    cluster.delete_task("running").await;
    let record = record_of(&cluster, "running").await;
    assert_eq!(record.spec.outcome, RunOutcome::Cancelled);
    cluster.gone("running").await;
    assert_eq!(reason_of(&cluster.phase("dependent", TaskPhase::Failed).await), "DependencyFailed");
    record_of(&cluster, "dependent").await;
    cluster.delete_task("dependent").await;
    cluster.gone("dependent").await;
    cluster.runs.break_starts(false);
    cluster.create_task("ended", json!({})).await;
    cluster.succeed("ended", &[]).await;
    record_of(&cluster, "ended").await;
    cluster.delete_task("ended").await;
    cluster.gone("ended").await;
    assert_eq!(cluster.runs.started(), ["running", "ended"]);
    assert_eq!(cluster.runs.left(), Vec::<String>::new());
    let records = cluster.records().list(&kube::api::ListParams::default()).await.unwrap();
    assert_eq!(records.items.len(), 3, "what never began is recorded nowhere");
    // All slots are free again.
    for name in ["one", "two"] {
        cluster.create_task(name, json!({})).await;
        cluster.phase(name, TaskPhase::Running).await;
    }
}

#[tokio::test]
async fn an_interrupted_run_is_told_and_never_repeated() {
    let mut cluster = Cluster::new(1).await;
    cluster.create_task("task", json!({})).await;
    cluster.phase("task", TaskPhase::Running).await;
    cluster.kill().await;
    cluster.runs.put("task", RunState::Interrupted { since: None });
    cluster.start();
    let task = cluster.phase("task", TaskPhase::Failed).await;
    assert_eq!(reason_of(&task), "Interrupted");
    assert_eq!(record_of(&cluster, "task").await.spec.outcome, RunOutcome::Interrupted);
    assert_eq!(cluster.runs.started(), ["task"]);
}

#[tokio::test]
async fn what_a_run_reports_is_in_status_and_record() {
    let cluster = Cluster::new(1).await;
    cluster.create_task("task", json!({})).await;
    cluster.phase("task", TaskPhase::Running).await;
    let mut outcome = succeeded(cluster.clock.now(), &[("branch", "b"), ("commit", "c")]);
    outcome.usage = Some(Usage {
        cost_usd: Some("0.25".to_owned()),
        input_tokens: Some(10),
        output_tokens: Some(u64::MAX),
    });
    outcome.outputs.push("x".repeat(10_000));
    cluster.runs.finish("task", outcome);
    let status = cluster.phase("task", TaskPhase::Succeeded).await.status.unwrap();
    let record = record_of(&cluster, "task").await.spec;
    assert_eq!(status.outputs[..2], ["branch: b", "commit: c"]);
    assert_eq!(status.outputs[2].len(), 4096, "long lines are cut");
    assert_eq!((&record.outputs, &record.results), (&status.outputs, &status.results));
    let usage = status.usage.unwrap();
    assert_eq!(usage.cost_usd.as_ref().unwrap().0, "0.25");
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(10), None), "what cannot be is not told");
    assert_eq!(record.usage, Some(usage));
    assert_eq!(record.branch.as_deref(), Some("b"));
}

#[tokio::test]
async fn clocks_may_jump() {
    let cluster = Cluster::new(1).await;
    cluster.create_task("kept", json!({"ttlSecondsAfterFinished": 3600})).await;
    cluster.succeed("kept", &[]).await;
    record_of(&cluster, "kept").await;
    // Back: it is kept longer, and nothing is started for it.
    cluster.clock.advance(SignedDuration::from_hours(-48));
    cluster.create_task("past", json!({"ttlSecondsAfterFinished": 3600})).await;
    cluster.succeed("past", &[]).await;
    let record = record_of(&cluster, "past").await;
    assert!(record.spec.duration_seconds.is_none_or(|seconds| seconds >= 0));
    assert!(cluster.task("kept").await.is_some());
    // Forward, as after a sleep: both expire, by a look within half a minute of real time.
    cluster.clock.advance(SignedDuration::from_hours(96));
    cluster.gone("past").await;
    cluster.gone("kept").await;
    // An end that somebody wrote lies beyond all time.
    cluster.create_task("odd", json!({"ttlSecondsAfterFinished": i32::MAX})).await;
    cluster.phase("odd", TaskPhase::Running).await;
    cluster.runs.finish("odd", succeeded(jiff::Timestamp::MAX, &[]));
    cluster.phase("odd", TaskPhase::Succeeded).await;
    record_of(&cluster, "odd").await;
    cluster.create_task("next", json!({})).await;
    cluster.phase("next", TaskPhase::Running).await;
}

#[tokio::test]
async fn a_run_whose_task_went_without_us_is_ended_and_removed() {
    let mut cluster = Cluster::without_controller(1).await;
    cluster.runs.leave_over("00000000-0000-0000-0000-000000000001", RunState::Running { since: None });
    let old = Box::new(succeeded(cluster.clock.now(), &[]));
    cluster.runs.leave_over("00000000-0000-0000-0000-000000000002", RunState::Finished(old));
    cluster.start();
    cluster.until("what was left over is gone", async || cluster.runs.left().is_empty().then_some(())).await;
    // Somebody takes the finalizer off a Task that runs and deletes it: its slot does not stay taken.
    cluster.create_task("torn-out", json!({})).await;
    cluster.phase("torn-out", TaskPhase::Running).await;
    cluster.kill().await;
    let patch = json!({"metadata": {"finalizers": null}});
    cluster
        .tasks()
        .patch("torn-out", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&patch))
        .await
        .unwrap();
    cluster.delete_task("torn-out").await;
    cluster.gone("torn-out").await;
    cluster.start();
    cluster.create_task("next", json!({})).await;
    cluster.phase("next", TaskPhase::Running).await;
    assert_eq!(cluster.runs.left().len(), 1);
}

#[tokio::test]
async fn a_status_that_somebody_reset_runs_nothing_again() {
    let cluster = Cluster::new(1).await;
    cluster.create_task("task", json!({})).await;
    cluster.succeed("task", &[]).await;
    record_of(&cluster, "task").await;
    cluster.put_status("task", |task| task.status = None).await;
    cluster.phase("task", TaskPhase::Succeeded).await;
    cluster.put_status("task", |task| task.status.as_mut().unwrap().phase = Some(TaskPhase::Running)).await;
    cluster.phase("task", TaskPhase::Succeeded).await;
    assert_eq!(cluster.runs.started(), ["task"]);
    let exits = [Exit::TimedOut, Exit::RunnerFailed, Exit::IncompleteOutput];
    for (number, exit) in exits.into_iter().enumerate() {
        let name = format!("ends-{number}");
        cluster.create_task(&name, json!({})).await;
        cluster.phase(&name, TaskPhase::Running).await;
        let outcome = kelos::api::run::Outcome { exit, ..failed(cluster.clock.now()) };
        cluster.runs.finish(&name, outcome);
        let outcome = record_of(&cluster, &name).await.spec.outcome;
        let reached = if exit == Exit::TimedOut { RunOutcome::DeadlineExceeded } else { RunOutcome::Failed };
        assert_eq!(outcome, reached, "{exit}: nothing says that the agent was never reached");
    }
}
