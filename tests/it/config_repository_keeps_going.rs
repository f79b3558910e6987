//! A ConfigRepository goes on whatever happens to its Secret, to our copy of it and to the daemon, and asks its remote no more
//! often than it has to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::report_reaches_the_remote::passes;
use crate::support::api::condition;
use crate::support::env::TestEnv;

fn config(name: &str, text: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: AgentConfig\nmetadata:\n  name: {name}\nspec:\n  agentsMD: {text:?}\n"
    )
}

fn task(script: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: t\nspec:\n  type: shell\n  prompt: {script:?}\n"
    )
}

fn repository(env: &TestEnv) -> Value {
    env.object("configrepository", "default").expect("it is there")
}

/// Returns the folders of our copies.
fn copies(env: &TestEnv) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(env.data_dir().join("repositories")).unwrap();
    listed.map(|entry| entry.unwrap().path()).collect()
}

/// Returns the folder of our copy of the ConfigRepository `default`.
fn copy(env: &TestEnv) -> PathBuf {
    let uid = repository(env)["metadata"]["uid"].as_str().unwrap().to_owned();
    env.data_dir().join("repositories").join(format!("{uid}.git"))
}

fn packs(copy: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(copy.join("objects/pack")).unwrap();
    let paths = listed.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "pack")).collect()
}

#[test]
fn a_pass_that_waits_does_not_ask_the_remote() {
    let env = TestEnv::up_with(&[("t.yaml", &task("while ! [ -e go ]; do sleep 0.05; done"))]);
    // A pass that asks the remote again comes after an hour.
    env.patch("configrepositories", "default", &json!({"spec": {"interval": "1h"}}));
    env.until("the Task runs", |env| {
        (env.object("task", "t")?["status"]["phase"] == "Running").then_some(())
    });
    let waiting = env.push(&[("t.yaml", &task("echo second"))]);
    assert_eq!(condition(&waiting, "Ready")["reason"], "Progressing", "{waiting:#}");
    env.until("no pass is made while nothing happens", |env| {
        let before = passes(env);
        std::thread::sleep(Duration::from_secs(3));
        (before == passes(env)).then_some(())
    });
    env.let_go("t");
    env.until("the second run has succeeded", |env| {
        let task = env.object("task", "t")?;
        (task["spec"]["prompt"] == "echo second" && task["status"]["phase"] == "Succeeded").then_some(())
    });
    env.until("the revision is applied", |env| {
        (condition(&repository(env), "Ready")["status"] == "True").then_some(())
    });
}

#[test]
fn a_corrected_secret_is_taken_at_once() {
    let env = TestEnv::up_with(&[("a.yaml", &config("a", "hello"))]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    let spec = json!({"interval": "1h", "secretRef": {"name": "reader"}});
    env.patch("configrepositories", "default", &json!({"spec": spec}));
    let refused = |says: &str| {
        env.until(says, |env| {
            let ready = condition(&repository(env), "Ready").clone();
            let is_told = ready["message"].as_str()?.contains(says);
            (is_told && ready["reason"] == "AuthenticationFailed").then_some(())
        });
    };
    refused("the Secret reader does not exist");
    // It waits longer each time: nothing but the Secret wakes it soon.
    for _ in 0..5 {
        env.reconcile(&format!("again {}", passes(&env)));
    }
    env.secret("reader", &[("token", "t0ken")]);
    refused("a token or password is only sent over https");
    env.patch("secrets", "reader", &json!({"data": null, "stringData": {"user": "x"}}));
    refused("holds neither 'token'");
    let authority = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
    env.patch("secrets", "reader", &json!({"data": null, "stringData": {"ca.crt": authority}}));
    env.until("the repository is read", |env| {
        (condition(&repository(env), "Ready")["status"] == "True").then_some(())
    });
}

#[test]
fn a_damaged_copy_is_made_anew() {
    let env = TestEnv::up_with(&[("a.yaml", &config("a", "0"))]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("head", |copy| std::fs::write(copy.join("HEAD"), "garbage").unwrap()),
        ("packs", |copy| {
            for pack in packs(copy) {
                std::fs::remove_file(&pack).unwrap();
                std::fs::write(&pack, "garbage").unwrap();
            }
        }),
        ("objects", |copy| std::fs::remove_dir_all(copy.join("objects")).unwrap()),
        ("settings", |copy| std::fs::write(copy.join("config"), "[garbage").unwrap()),
    ];
    for (name, damage) in damages {
        damage(&copy(&env));
        let repository = env.push(&[("a.yaml", &config("a", name))]);
        assert_eq!(condition(&repository, "Ready")["status"], "True", "{name}: {repository:#}");
        assert_eq!(env.object("agentconfig", "a").unwrap()["spec"]["agentsMD"], name);
    }
}

#[test]
fn the_last_good_revision_runs_on_over_a_restart() {
    let running = task("while ! [ -e go ]; do sleep 0.05; done");
    let mut env = TestEnv::up_with(&[("a.yaml", &config("a", "older")), ("t.yaml", &running)]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    env.until("the Task runs", |env| {
        (env.object("task", "t")?["status"]["phase"] == "Running").then_some(())
    });
    // Carried out as far as it can be: the last good one, though it is not applied to its end.
    let good = env.push(&[("a.yaml", &config("a", "good")), ("t.yaml", &task("true"))]);
    assert_eq!(condition(&good, "Ready")["reason"], "Progressing", "{good:#}");
    let broken = env.push(&[("b.yaml", "a: {")]);
    assert_eq!(condition(&broken, "Ready")["reason"], "FindingsPresent", "{broken:#}");
    env.kill();
    let folder = env.path("config").display().to_string();
    env.start(&["--repo", &folder, "--interval", "1s"]);
    env.reconcile("after the restart");
    env.patch("agentconfigs", "a", &json!({"spec": {"agentsMD": "by hand"}}));
    env.until("what was changed by hand is set right", |env| {
        (env.object("agentconfig", "a")?["spec"]["agentsMD"] == "good").then_some(())
    });
    env.delete("agentconfigs", "a");
    env.until("what was deleted is there again", |env| env.object("agentconfig", "a").map(drop));
    assert_eq!(condition(&repository(&env), "Ready")["reason"], "FindingsPresent");
}

#[test]
fn what_is_known_is_held_while_the_remote_is_away() {
    let env = TestEnv::up_with(&[("a.yaml", &config("a", "good"))]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    std::fs::rename(env.path("config"), env.path("away")).unwrap();
    env.until("the remote is missed", |env| {
        (condition(&repository(env), "Ready")["reason"] == "FetchFailed").then_some(())
    });
    env.delete("agentconfigs", "a");
    env.until("what was deleted is there again", |env| env.object("agentconfig", "a").map(drop));
    assert_eq!(condition(&repository(&env), "Ready")["reason"], "FetchFailed");
    std::fs::rename(env.path("away"), env.path("config")).unwrap();
    env.push(&[("a.yaml", &config("a", "better"))]);
    assert_eq!(env.object("agentconfig", "a").unwrap()["spec"]["agentsMD"], "better");
}

#[test]
fn copies_are_tidied_up_and_go_with_their_repositories() {
    let mut env = TestEnv::up_with(&[("a.yaml", &config("a", "0"))]);
    for number in 1..=45 {
        env.push(&[("a.yaml", &config("a", &number.to_string()))]);
    }
    let left = packs(&copy(&env)).len();
    assert!(left < 40, "{left} packs after 46 fetches");
    assert_eq!(condition(&repository(&env), "Ready")["status"], "True");
    env.until("there is a copy for the report as well", |env| (copies(env).len() == 2).then_some(()));
    env.delete("configrepositories", "default");
    env.stop();
    env.start(&[]);
    env.until("the copies are gone", |env| copies(env).is_empty().then_some(()));
}
