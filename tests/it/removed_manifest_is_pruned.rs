//! What leaves git leaves the cluster, and nothing is pruned without proof that this was meant.

use kelos::api::labels;
use serde_json::{Value, json};

use crate::support::api::condition;
use crate::support::env::TestEnv;

fn workspace(name: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec:\n  repo: https://example.com/{name}.git\n"
    )
}

/// Returns a user whose repository defines as many Workspaces, `w0` and so on, each in a file of its own.
fn with_workspaces(count: usize) -> TestEnv {
    let files: Vec<(String, String)> =
        (0..count).map(|number| (format!("w{number}.yaml"), workspace(&format!("w{number}")))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let env = TestEnv::up_with(&files);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    env
}

fn left(env: &TestEnv) -> usize {
    env.names("workspaces").len()
}

#[test]
fn a_removed_object_goes_and_nothing_else() {
    let env = with_workspaces(4);
    env.create(
        "workspaces",
        &json!({"apiVersion": "kelos.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "by-hand"}, "spec": {"repo": "https://example.com/x.git"}}),
    );
    let repository = env.push(&[("w1.yaml", "")]);
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
    assert_eq!(env.names("workspaces"), ["by-hand", "w0", "w2", "w3"]);
    assert_eq!(repository["status"]["inventory"]["count"], 3);
}

#[test]
fn much_waits_for_a_confirmation_of_this_very_revision() {
    let env = with_workspaces(5);
    let repository = env.push(&[("w0.yaml", ""), ("w1.yaml", ""), ("w2.yaml", "")]);
    assert_eq!(left(&env), 5);
    assert_eq!(condition(&repository, "PruneBlocked")["status"], "True", "{repository:#}");
    assert_eq!(repository["status"]["blockedPrune"]["count"], 3);
    assert_eq!(repository["status"]["blockedPrune"]["owned"], 5);
    let confirm = |revision: &Value| {
        env.patch(
            "configrepositories",
            "default",
            &json!({"metadata": {"annotations": {labels::CONFIRM_PRUNE: revision}}}),
        );
    };
    confirm(&json!("0000000000000000000000000000000000000000"));
    env.reconcile("another revision was confirmed");
    assert_eq!(left(&env), 5);
    confirm(&repository["status"]["lastAttemptedRevision"]);
    env.until("the confirmed removal is made", |env| (left(env) == 2).then_some(()));
    let repository = env.reconcile("after");
    assert_eq!(condition(&repository, "PruneBlocked"), &Value::Null);
    assert_eq!(repository["status"]["blockedPrune"], Value::Null);
}

#[test]
fn what_is_held_back_stays_however_much_comes_with_it() {
    let mut env = with_workspaces(5);
    let new: Vec<(String, String)> =
        (0..5).map(|number| (format!("n{number}.yaml"), workspace(&format!("n{number}")))).collect();
    let mut files = vec![("w0.yaml", ""), ("w1.yaml", ""), ("w2.yaml", "")];
    files.extend(new.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let repository = env.push(&files);
    let held = |repository: &Value| {
        let blocked = &repository["status"]["blockedPrune"];
        assert_eq!((&blocked["count"], &blocked["owned"]), (&json!(3), &json!(5)), "{repository:#}");
        assert_eq!(condition(repository, "PruneBlocked")["status"], "True", "{repository:#}");
    };
    held(&repository);
    assert_eq!(left(&env), 10);
    // Of ten they would be no more than three.
    for request in ["once more", "and again"] {
        held(&env.reconcile(request));
        assert_eq!(left(&env), 10);
    }
    env.kill();
    let folder = env.path("config").display().to_string();
    env.start(&["--repo", &folder, "--interval", "1s"]);
    held(&env.reconcile("after a restart"));
    assert_eq!(left(&env), 10);
    // A later revision that brings enough back needs no confirmation.
    env.push(&[("w0.yaml", &workspace("w0"))]);
    let repository = env.reconcile("less leaves");
    assert_eq!(repository["status"]["blockedPrune"], Value::Null, "{repository:#}");
    assert_eq!(left(&env), 8);
}

#[test]
fn an_emptied_branch_and_a_rewritten_history_wipe_nothing() {
    let env = with_workspaces(3);
    env.patch("configrepositories", "default", &json!({"spec": {"pruneLimit": 100}}));
    env.git("config", &["checkout", "--quiet", "--orphan", "other"]);
    env.git("config", &["rm", "-r", "--quiet", "--force", "."]);
    env.git("config", &["commit", "--quiet", "--allow-empty", "-m", "nothing"]);
    env.git("config", &["branch", "--force", "main", "other"]);
    env.git("config", &["checkout", "--quiet", "main"]);
    let empty = env.git("config", &["rev-parse", "HEAD"]);
    let repository = env.judged(&empty);
    assert_eq!(left(&env), 3, "all of it waits, whatever the limit");
    assert_eq!(condition(&repository, "PruneBlocked")["status"], "True");
    // A history that was written anew and says the same changes nothing.
    for number in 0..3 {
        env.write(&format!("config/w{number}.yaml"), &workspace(&format!("w{number}")));
    }
    env.git("config", &["add", "--all"]);
    env.git("config", &["commit", "--quiet", "--amend", "-m", "anew"]);
    let before = env.versions();
    let repository = env.judged(&env.git("config", &["rev-parse", "HEAD"]));
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
    assert_eq!(condition(&repository, "PruneBlocked"), &Value::Null);
    assert_eq!(env.versions(), before);
    // A branch that is gone is a fault of the source and no wish.
    env.git("config", &["checkout", "--quiet", "--detach"]);
    env.git("config", &["branch", "--quiet", "-D", "main", "other"]);
    env.patch("configrepositories", "default", &json!({"spec": {"ref": {"branch": "main"}}}));
    let repository = env.reconcile("the branch is gone");
    assert_eq!(condition(&repository, "Ready")["reason"], "RevisionNotFound", "{repository:#}");
    assert_eq!(env.versions(), before);
}

#[test]
fn a_folder_that_is_gone_wipes_nothing() {
    let env = with_workspaces(2);
    env.patch("configrepositories", "default", &json!({"spec": {"path": "not/here"}}));
    let repository = env.reconcile("elsewhere");
    assert_eq!(condition(&repository, "Ready")["reason"], "PathNotFound", "{repository:#}");
    assert_eq!(left(&env), 2);
}

#[test]
fn pruning_can_be_switched_off_for_one_object_and_for_all() {
    let env = with_workspaces(4);
    let kept = workspace("w0")
        .replace("  name: w0", "  name: w0\n  annotations:\n    gitops.kelos.dev/prune: disabled");
    env.push(&[("w0.yaml", &kept)]);
    env.push(&[("w0.yaml", ""), ("w1.yaml", "")]);
    assert_eq!(env.names("workspaces"), ["w0", "w2", "w3"]);
    env.patch("configrepositories", "default", &json!({"spec": {"prune": false}}));
    let repository = env.push(&[("w2.yaml", "")]);
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
    assert_eq!(env.names("workspaces"), ["w0", "w2", "w3"]);
    env.patch("configrepositories", "default", &json!({"spec": {"prune": true}}));
    env.until("pruning is on again", |env| (env.names("workspaces") == ["w0", "w3"]).then_some(()));
}

#[test]
fn nothing_is_pruned_while_a_file_cannot_be_read() {
    let env = with_workspaces(4);
    env.push(&[("w0.yaml", ""), ("w1.yaml", "a: {")]);
    assert_eq!(left(&env), 4);
    // Nor is what an older revision would have removed.
    env.patch("configrepositories", "default", &json!({"spec": {"prune": false}}));
    env.push(&[("w1.yaml", "")]);
    env.push(&[("w2.yaml", "a: {")]);
    env.patch("configrepositories", "default", &json!({"spec": {"prune": true}}));
    env.reconcile("pruning is on, the newest revision is broken");
    assert_eq!(left(&env), 4);
    env.push(&[("w2.yaml", &workspace("w2"))]);
    assert_eq!(env.names("workspaces"), ["w2", "w3"]);
}

#[test]
fn a_deleted_spawner_lets_its_running_tasks_end() {
    let env = TestEnv::up_with(&[
        ("w.yaml", &workspace("w")),
        ("v.yaml", &workspace("v")),
        (
            "spawner.yaml",
            "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: often\nspec:\n  when:\n    cron:\n      schedule: \"0 0 1 1 *\"\n  taskTemplate:\n    type: shell\n    promptTemplate: echo\n",
        ),
    ]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    // A Task of the spawner is made by hand, because a tick comes once a minute at most.
    let spawner = env.list("taskspawners").remove(0);
    let task = json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": "Task",
        "metadata": {
            "name": "often-1", "labels": {labels::TASK_SPAWNER: "often"},
            "ownerReferences": [{"apiVersion": "kelos.dev/v1alpha1", "kind": "TaskSpawner", "name": "often", "uid": spawner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {"type": "shell", "prompt": "while ! [ -e go ]; do sleep 0.05; done"},
    });
    env.create("tasks", &task);
    let phase = |env: &TestEnv, wanted: &str| {
        let task = env.object("task", "often-1")?;
        (task["status"]["phase"] == wanted).then_some(())
    };
    env.until("the Task runs", |env| phase(env, "Running"));
    env.push(&[("spawner.yaml", "")]);
    env.until("the spawner is being deleted", |env| {
        env.list("taskspawners").first()?["metadata"]["deletionTimestamp"].is_string().then_some(())
    });
    env.reconcile("once more");
    phase(&env, "Running").expect("it runs on");
    env.delete("taskspawners", "often");
    phase(&env, "Running").expect("it runs on");
    env.let_go("often-1");
    env.until("the spawner is gone", |env| env.names("taskspawners").is_empty().then_some(()));
    env.until("the run is recorded", |env| {
        let records = env.list("runrecords");
        (records.first()?["spec"]["outcome"] == "Succeeded").then_some(())
    });
}

#[test]
fn a_config_repository_that_is_made_anew_takes_its_objects_up() {
    let mut env = with_workspaces(3);
    env.push(&[("task.yaml", "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: once\nspec:\n  type: shell\n  prompt: \"true\"\n")]);
    env.task_ended("once");
    env.delete("configrepositories", "default");
    assert_eq!(left(&env), 3, "what it applied stays");
    assert_eq!(env.stop(), Some(0));
    let commit = env.commit("config", &[("w1.yaml", "")]);
    env.start(&["--repo", &env.path("config").display().to_string(), "--interval", "1s"]);
    let repository = env.judged(&commit);
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
    assert_eq!(left(&env), 3, "what left git while nobody owned it is not known to be ours");
    let repository = env.push(&[("w2.yaml", "")]);
    assert_eq!(env.names("workspaces"), ["w0", "w1"], "{repository:#}");
    assert_eq!(env.list("runrecords").len(), 1);
}
