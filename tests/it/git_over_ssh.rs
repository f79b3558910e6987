//! Config repositories, reports and runs reach a server over ssh: with a key from a Secret, which the agent's git has as well,
//! and with the keys of the user; and a server that is not the one that it should be is told nothing.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::run_bench::SEARCH_PATH;
use crate::support::env::TestEnv;
use crate::support::forge::task_in;
use crate::support::ssh::Sshd;

const CONFIG: &str =
    "apiVersion: kelos.dev/v1alpha1\nkind: AgentConfig\nmetadata:\n  name: a\nspec:\n  agentsMD: hello\n";

fn is_reported(env: &TestEnv) {
    env.until("the report is on the server", |env| {
        let branches = env.git("served/acme/config.git", &["branch", "--list", "kelos-status"]);
        (!branches.is_empty()).then_some(())
    });
}

#[test]
fn a_key_of_a_secret_opens_the_server_that_it_knows() {
    let mut env = TestEnv::new();
    let Some(server) = Sshd::start(&env.path("sshd")) else { return };
    env.serve("acme/config.git", "config", &[("a.yaml", CONFIG)]);
    env.start(&[]);
    env.secret("git", &[("identity", &server.key("user")), ("known_hosts", &server.known_hosts("host"))]);
    let url = server.url(&env.path("served/acme/config.git"));
    env.follow(&url, json!({"secretRef": {"name": "git"}, "report": {"interval": "1s"}}));
    env.until("it is applied", |env| env.names("agentconfigs").contains(&"a".to_owned()).then_some(()));
    is_reported(&env);
    // A key lies there as long as a call goes on.
    env.until("no key lies around", |env| {
        let folders = std::fs::read_dir(env.data_dir().join("repositories")).unwrap().flatten();
        let mut files =
            folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
        (!files.any(|file| file.file_name().to_string_lossy().starts_with("private-"))).then_some(())
    });
}

#[test]
fn a_server_that_is_unknown_or_another_or_refuses_the_key_is_told_apart() {
    let mut env = TestEnv::new();
    let Some(server) = Sshd::start(&env.path("sshd")) else { return };
    env.serve("acme/config.git", "config", &[("a.yaml", CONFIG)]);
    env.start(&[]);
    let url = server.url(&env.path("served/acme/config.git"));
    let elsewhere =
        "example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ8FzSU1Zc8kS2Ck4xW2q1y6Zp8Jm5jQv1o2d3e4f5g\n";
    let cases = [
        ("unknown", server.key("user"), elsewhere.to_owned(), "cannot be verified"),
        ("changed", server.key("user"), server.known_hosts("stranger"), "cannot be verified"),
        ("refused", server.key("stranger"), server.known_hosts("host"), "refused our credentials"),
    ];
    for (name, key, hosts, expected) in cases {
        env.secret(name, &[("identity", &key), ("known_hosts", &hosts)]);
        env.follow_as(name, &url, json!({"secretRef": {"name": name}, "report": {"enabled": false}}));
        let message = env.refused(name, "AuthenticationFailed");
        assert!(message.contains(expected), "{name}: {message}");
    }
    // Without a Secret the user's own keys and hosts count, and this server is not among them.
    env.follow_as("own", &url, json!({"report": {"enabled": false}}));
    let message = env.refused("own", "AuthenticationFailed");
    assert!(message.contains("cannot be verified"), "{message}");
    let log = std::fs::read_to_string(env.path("sshd/log")).unwrap();
    assert!(!log.contains("Accepted"), "{log}");
}

#[test]
fn the_keys_and_the_agent_of_the_user_serve_pulls_reports_and_clones() {
    let mut env = TestEnv::new();
    let Some(server) = Sshd::start(&env.path("sshd")) else { return };
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let path = env.path("served/acme/code.git");
    let manifest = task_in(&format!("git@127.0.0.1:{}", path.display()), Some("forge"), "cat readme\nenv");
    env.serve("acme/config.git", "config", &[("task.yaml", &manifest)]);
    let agent = server.agent();
    env.set_variable("SSH_AUTH_SOCK", &agent.socket.display().to_string());
    env.set_variable("PATH", &format!("{}:{SEARCH_PATH}", server.set_up_ssh().display()));
    env.start(&[]);
    // A token beside ssh is for the agent's calls of the forge.
    env.secret("forge", &[("GITHUB_TOKEN", "t0ken-canary")]);
    let url = server.url(&env.path("served/acme/config.git"));
    env.follow(&url, json!({"report": {"interval": "1s"}}));
    let task = env.task_ended("change");
    assert_eq!(task["status"]["phase"], "Succeeded", "{task:#}");
    let log = env.kelos(&["logs", "change"]).success().stdout;
    assert!(log.contains("one\n") && log.contains("GITHUB_TOKEN=t0ken-canary"), "{log}");
    assert!(!log.contains("SSH_AUTH_SOCK"), "the agent of a run has no keys of the user: {log}");
    is_reported(&env);
}

#[test]
fn the_key_of_a_workspace_serves_its_clone_and_the_pushes_of_its_runs() {
    let mut env = TestEnv::new();
    let Some(server) = Sshd::start(&env.path("sshd")) else { return };
    env.serve("acme/code.git", "code", &[("readme", "one\n")]);
    let url = server.url(&env.path("served/acme/code.git"));
    let key = server.key("user");
    for (round, arguments) in [("enclosed", [].as_slice()), ("isolated", &["--maximum-sandbox", "isolated"])]
    {
        env.start(arguments);
        for (name, hosts) in [("code", Some("host")), ("changed", Some("stranger")), ("half", None)] {
            let name = format!("{round}-{name}");
            let hosts = hosts.map(|hosts| server.known_hosts(hosts));
            let hosts = hosts.as_deref().map(|hosts| ("known_hosts", hosts));
            env.secret(&name, &[("identity", key.as_str())].into_iter().chain(hosts).collect::<Vec<_>>());
            let object = json!({
                "apiVersion": "kelos.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
                "spec": {"repo": url, "ref": "main", "secretRef": {"name": name}},
            });
            env.create("workspaces", &object);
            let script = "cat readme; echo two >two; git add two; git commit --quiet -m two; git push --quiet origin HEAD\n\
                          stat -c '%a %n' ~/.kelos/ssh/*; env";
            let task = json!({
                "apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"name": name},
                "spec": {
                    "type": "shell", "prompt": script, "workspaceRef": {"name": name}, "branch": format!("work-{round}"),
                },
            });
            env.create("tasks", &task);
        }
        env.until("a key without host keys is waited for", |env| {
            let task = env.object("task", &format!("{round}-half"))?;
            let says = task.pointer("/status/message")?.as_str()?.contains("with the key known_hosts");
            (says && task["status"]["phase"] == "Waiting").then_some(())
        });
        let changed = env.task_ended(&format!("{round}-changed"));
        let message = changed["status"]["message"].as_str().unwrap();
        assert!(
            message.contains("cannot be verified"),
            "a server that is another is told nothing: {changed:#}"
        );
        let task = env.task_ended(&format!("{round}-code"));
        let log = env.kelos(&["logs", &format!("{round}-code")]).success().stdout;
        assert_eq!(task["status"]["phase"], "Succeeded", "{log}");
        let pushed = env.git("served/acme/code.git", &["show", &format!("work-{round}:two")]);
        assert_eq!(pushed, "two", "{log}");
        for file in ["identity", "known_hosts", "config"] {
            let is_private = |line: &str| line.starts_with("600 ") && line.ends_with(&format!("/ssh/{file}"));
            assert!(log.lines().any(is_private), "{file}: {log}");
        }
        // The middle of the key: its lines are wrapped.
        let part = key.lines().nth(2).unwrap();
        assert!(!log.contains(part), "no variable holds it: {log}");
        // The home of a run goes a moment after its result is there.
        env.until("the homes of the runs are gone", |env| {
            let mut runs = std::fs::read_dir(env.data_dir().join("runs")).unwrap().flatten();
            (!runs.any(|run| run.path().join("home").exists())).then_some(())
        });
        env.holds_nowhere(part);
        env.stop();
    }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let mut env = TestEnv::new();
    if kelos::process::find("ssh", SEARCH_PATH.as_ref()).is_none() {
        return crate::support::say("SKIPPED: there is no ssh");
    }
    // It takes connections and never says who it is.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ssh://git@{}/acme/config.git", listener.local_addr().unwrap());
    env.start(&[]);
    env.follow_as("soon", &url, json!({"timeout": "1s", "report": {"enabled": false}}));
    let message = env.refused("soon", "FetchFailed");
    assert!(message.contains("did not answer within 1 s"), "{message}");
    env.follow_as("never", &url, json!({"timeout": "1h", "report": {"enabled": false}}));
    drop(listener.accept().unwrap());
    let begun = Instant::now();
    assert_eq!(env.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(45), "the daemon ended after {:?}", begun.elapsed());
}
