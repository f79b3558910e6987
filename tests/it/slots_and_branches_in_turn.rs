//! Slots and branches go from one Task to the next in turn: nobody is forgotten, and no spawner keeps another waiting.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kelos::api::phase::TaskPhase;
use kelos::clock::Clock as _;
use serde_json::{Value, json};

use crate::support::cluster::{Cluster, message_of, succeeded, task_manifest};

async fn workspace(cluster: &Cluster, name: &str, namespace: &str, repo: &str) {
    let manifest = json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"repo": repo},
    });
    cluster.create(manifest).await;
}

fn on_branch(workspace: &str, branch: &str) -> Value {
    json!({"workspaceRef": {"name": workspace}, "branch": branch})
}

/// Returns a Task that says it was made by this spawner.
fn of_spawner(name: &str, spawner: &str) -> Value {
    let mut manifest = task_manifest(name, json!({}));
    manifest["metadata"]["labels"] = json!({"kelos.dev/taskspawner": spawner});
    manifest
}

#[tokio::test]
async fn one_task_at_a_time_works_on_a_branch_of_a_repository() {
    let cluster = Cluster::new(10).await;
    workspace(&cluster, "https", "default", "https://github.com/acme/tools.git").await;
    workspace(&cluster, "ssh", "default", "git@github.com:acme/Tools").await;
    workspace(&cluster, "other", "default", "https://github.com/acme/other").await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}});
    let namespaces: kube::Api<Namespace> = kube::Api::all(cluster.client.clone());
    namespaces
        .create(&kube::api::PostParams::default(), &serde_json::from_value(namespace).unwrap())
        .await
        .unwrap();
    workspace(&cluster, "https", "elsewhere", "https://github.com/acme/tools.git").await;
    cluster.create_task("first", on_branch("https", "main")).await;
    cluster.phase("first", TaskPhase::Running).await;
    cluster.clock.advance(SignedDuration::from_secs(2));
    cluster.create_task("second", on_branch("ssh", "main")).await;
    let message = cluster.waits("second", "WaitingForBranch").await;
    assert_eq!(message, "waits for the Task first, which has the same branch and comes first");
    cluster.clock.advance(SignedDuration::from_secs(2));
    cluster.create_task("third", on_branch("https", "main")).await;
    cluster.waits("third", "WaitingForBranch").await;
    // Another repository, another branch and another namespace are others.
    cluster.create_task("repository", on_branch("other", "main")).await;
    cluster.create_task("branch", on_branch("https", "next")).await;
    let mut manifest = task_manifest("namespace", on_branch("https", "main"));
    manifest["metadata"]["namespace"] = json!("elsewhere");
    cluster.create(manifest).await;
    cluster.phase("repository", TaskPhase::Running).await;
    cluster.phase("branch", TaskPhase::Running).await;
    cluster.until("the other namespace runs", async || (cluster.runs.running() == 4).then_some(())).await;
    cluster.succeed("first", &[]).await;
    cluster.phase("second", TaskPhase::Running).await;
    cluster
        .task_until("third", "waits for the second", |task| message_of(task).contains("the Task second,"))
        .await;
    cluster.delete_task("second").await;
    cluster.phase("third", TaskPhase::Running).await;
}

#[tokio::test]
async fn who_waits_for_something_else_holds_no_branch() {
    let cluster = Cluster::new(10).await;
    workspace(&cluster, "app", "default", "https://github.com/acme/app").await;
    // The older one depends on the younger one, and both work on the same branch.
    let mut older = on_branch("app", "main");
    older["dependsOn"] = json!(["younger"]);
    cluster.create_task("older", older).await;
    cluster.waits("older", "WaitingForDependency").await;
    let mut without_secret = on_branch("app", "main");
    without_secret["type"] = json!("claude-code");
    without_secret["credentials"] = json!({"type": "api-key", "secretRef": {"name": "key"}});
    cluster.create_task("without-secret", without_secret).await;
    cluster.waits("without-secret", "WaitingForSecret").await;
    cluster.clock.advance(SignedDuration::from_secs(10));
    cluster.create_task("younger", on_branch("app", "main")).await;
    cluster.succeed("younger", &[]).await;
    cluster.phase("older", TaskPhase::Running).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "default"},
        "stringData": {"ANTHROPIC_API_KEY": "k"},
    });
    cluster.create(secret).await;
    let message = cluster.waits("without-secret", "WaitingForBranch").await;
    assert!(message.contains("the Task older,"), "{message}");
}

#[tokio::test]
async fn a_spawner_that_floods_keeps_another_waiting_for_one_run_only() {
    let cluster = Cluster::new(2).await;
    for number in 0..20 {
        let name = format!("flood-{number:02}");
        cluster.create(of_spawner(&name, "flood")).await;
        // The first two have a slot before there is anybody to choose from.
        if number < 2 {
            cluster.phase(&name, TaskPhase::Running).await;
        }
        cluster.clock.advance(SignedDuration::from_secs(1));
    }
    cluster.waits("flood-19", "WaitingForSlot").await;
    cluster.create(of_spawner("small", "small")).await;
    cluster.waits("small", "WaitingForSlot").await;
    cluster.create_task("by-hand", json!({})).await;
    cluster.waits("by-hand", "WaitingForSlot").await;
    cluster.succeed("flood-00", &[]).await;
    cluster.phase("small", TaskPhase::Running).await;
    cluster.succeed("flood-01", &[]).await;
    cluster.phase("by-hand", TaskPhase::Running).await;
    cluster.succeed("small", &[]).await;
    cluster.phase("flood-02", TaskPhase::Running).await;
    cluster.succeed("by-hand", &[]).await;
    cluster.phase("flood-03", TaskPhase::Running).await;
    assert_eq!(
        cluster.runs.started(),
        ["flood-00", "flood-01", "small", "by-hand", "flood-02", "flood-03"],
        "in order within a spawner"
    );
}

#[tokio::test]
async fn a_restart_keeps_branches_slots_and_the_order() {
    let mut cluster = Cluster::new(2).await;
    workspace(&cluster, "app", "default", "https://github.com/acme/app").await;
    cluster.create_task("z-first", on_branch("app", "main")).await;
    cluster.phase("z-first", TaskPhase::Running).await;
    cluster.clock.advance(SignedDuration::from_secs(2));
    cluster.create_task("busy", json!({})).await;
    cluster.phase("busy", TaskPhase::Running).await;
    cluster.create_task("y-second", on_branch("app", "main")).await;
    cluster.waits("y-second", "WaitingForBranch").await;
    cluster.clock.advance(SignedDuration::from_secs(2));
    cluster.create_task("a-third", on_branch("app", "main")).await;
    cluster.waits("a-third", "WaitingForBranch").await;
    cluster.create_task("b-free", json!({})).await;
    cluster.waits("b-free", "WaitingForSlot").await;
    cluster.kill().await;
    // One that was never looked at comes first by its name.
    cluster.create_task("a-new", on_branch("app", "main")).await;
    cluster.start();
    cluster.waits("a-new", "WaitingForBranch").await;
    assert_eq!(cluster.runs.started(), ["z-first", "busy"]);
    cluster.succeed("busy", &[]).await;
    cluster.phase("b-free", TaskPhase::Running).await;
    for (done, next) in [("z-first", "y-second"), ("y-second", "a-third"), ("a-third", "a-new")] {
        cluster.succeed(done, &[]).await;
        cluster.phase(next, TaskPhase::Running).await;
    }
    assert_eq!(cluster.runs.started(), ["z-first", "busy", "b-free", "y-second", "a-third", "a-new"]);
}

#[tokio::test]
async fn who_waits_for_the_disk_keeps_its_turn() {
    let mut cluster = Cluster::new(1).await;
    cluster.runs.fill_disk(Some(1 << 30));
    cluster.create_task("first", json!({})).await;
    let message = cluster.waits("first", "WaitingForDisk").await;
    assert!(message.contains("1073741824"), "{message}");
    cluster.clock.advance(SignedDuration::from_secs(2));
    cluster.create_task("a-second", json!({})).await;
    cluster.waits("a-second", "WaitingForSlot").await;
    cluster.kill().await;
    cluster.start();
    cluster.runs.fill_disk(None);
    cluster.succeed("first", &[]).await;
    cluster.phase("a-second", TaskPhase::Running).await;
    assert_eq!(cluster.runs.started(), ["first", "a-second"]);
}

#[tokio::test]
async fn many_tasks_on_few_slots_and_branches_all_end() {
    let cluster = Cluster::new(3).await;
    workspace(&cluster, "app", "default", "https://github.com/acme/app").await;
    for number in 0..40 {
        let spec = if number % 2 == 0 { on_branch("app", &format!("b{}", number % 4)) } else { json!({}) };
        cluster.create_task(&format!("t{number:02}"), spec).await;
    }
    let mut ended = 0;
    while ended < 40 {
        let started = cluster.until("another one starts", async || {
            let started = cluster.runs.started();
            (started.len() > ended).then_some(started)
        });
        for name in started.await.into_iter().skip(ended) {
            assert!(cluster.runs.running() <= 3);
            cluster.runs.finish(&name, succeeded(cluster.clock.now(), &[]));
            ended += 1;
        }
    }
    let mut started = cluster.runs.started();
    started.sort();
    started.dedup();
    assert_eq!(started.len(), 40, "each ran once");
}
