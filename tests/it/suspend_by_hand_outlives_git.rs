//! Who suspends a spawner in an emergency wins over git, until the same person resumes it.

use serde_json::{Value, json};

use crate::support::api::condition;
use crate::support::env::TestEnv;

fn spawner(more: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: noisy\nspec:\n{more}  when:\n    cron:\n      schedule: \"0 9 1 1 *\"\n  taskTemplate:\n    type: shell\n    promptTemplate: echo\n"
    )
}

fn live(env: &TestEnv) -> Value {
    env.object("taskspawner", "noisy").expect("because it was applied")["spec"].clone()
}

#[test]
fn git_does_not_undo_it_and_shows_it_as_drift() {
    for said in ["", "  suspend: false\n"] {
        let env = TestEnv::up_with(&[("a.yaml", &spawner(said))]);
        env.applied(&env.git("config", &["rev-parse", "HEAD"]));
        env.kelos(&["suspend", "taskspawner", "noisy"]).success();
        let repository = env.reconcile("an unchanged pass");
        assert_eq!(live(&env)["suspend"], true);
        assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
        assert_eq!(condition(&repository, "Drifted")["status"], "True", "{repository:#}");
        assert_eq!(repository["status"]["drift"]["objects"][0]["fields"][0], "/spec/suspend");
        let repository = env.push(&[("a.yaml", &spawner(&format!("{said}  maxConcurrency: 2\n")))]);
        assert_eq!((&live(&env)["suspend"], &live(&env)["maxConcurrency"]), (&true.into(), &2.into()));
        assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
        env.kelos(&["resume", "taskspawner", "noisy"]).success();
        let repository = env.reconcile("after");
        assert_ne!(live(&env)["suspend"], true);
        assert_eq!(condition(&repository, "Drifted")["status"], "False", "{repository:#}");
    }
}

#[test]
fn a_suspend_in_git_is_gits_to_undo() {
    let env = TestEnv::up_with(&[("a.yaml", &spawner("  suspend: true\n"))]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    assert_eq!(live(&env)["suspend"], true);
    env.kelos(&["resume", "taskspawner", "noisy"]).success();
    env.reconcile("git says suspended");
    assert_eq!(live(&env)["suspend"], true, "git holds what it says");
    env.push(&[("a.yaml", &spawner("  suspend: false\n"))]);
    assert_ne!(live(&env)["suspend"], true);
    env.push(&[("a.yaml", &spawner("  suspend: true\n"))]);
    env.push(&[("a.yaml", &spawner(""))]);
    assert_ne!(live(&env)["suspend"], true);
}

#[test]
fn it_outlives_git_when_both_suspended() {
    let env = TestEnv::up_with(&[("a.yaml", &spawner(""))]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    env.kelos(&["suspend", "taskspawner", "noisy"]).success();
    env.push(&[("a.yaml", &spawner("  suspend: true\n"))]);
    env.push(&[("a.yaml", &spawner(""))]);
    assert_eq!(live(&env)["suspend"], true, "whoever suspended it by hand did not resume it");
    env.kelos(&["resume", "taskspawner", "noisy"]).success();
    env.reconcile("after");
    assert_ne!(live(&env)["suspend"], true);
}

#[test]
fn what_was_set_by_hand_in_the_repository_of_the_command_line_outlives_a_restart() {
    let mut env = TestEnv::up_with(&[("a.yaml", &spawner(""))]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    let by_hand =
        json!({"suspend": true, "prune": false, "report": {"rotation": "Yearly", "enabled": false}});
    env.patch("configrepositories", "default", &json!({"spec": by_hand}));
    assert_eq!(env.stop(), Some(0));
    let folder = env.path("config").display().to_string();
    env.start(&["--repo", &folder, "--interval", "2s", "--path", "definitions"]);
    let spec = env.object("configrepository", "default").unwrap()["spec"].clone();
    let expected = json!({"suspend": true, "prune": false, "interval": "2s", "path": "definitions"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(spec[field], *value, "{spec:#}");
    }
    let report = json!({"rotation": "Yearly", "enabled": false, "interval": "2s", "branch": "kelos-status"});
    assert_eq!(spec["report"], report, "{spec:#}");
    // What the command line no longer says goes back to what it is by default.
    assert_eq!(env.stop(), Some(0));
    env.start(&["--repo", &folder]);
    let spec = env.object("configrepository", "default").unwrap()["spec"].clone();
    assert_eq!((&spec["path"], &spec["interval"]), (&Value::Null, &json!("1m")), "{spec:#}");
}
