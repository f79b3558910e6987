//! `kelos get --watch` shows objects as they change.

use std::fs::File;
use std::process::{Child, Stdio};

use crate::support::env::TestEnv;

/// A `kelos get` that goes on until it is dropped.
struct Watch {
    child: Child,
    output: std::path::PathBuf,
}

impl Watch {
    fn start(env: &TestEnv, name: &str, arguments: &[&str]) -> Self {
        let output = env.path(name);
        let mut command = env.command();
        command.args(arguments).stdout(File::create(&output).unwrap()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), output }
    }

    fn until(&self, env: &TestEnv, what: &str, holds: impl Fn(&str) -> bool) -> String {
        env.until(what, |_| Some(std::fs::read_to_string(&self.output).unwrap()).filter(|text| holds(text)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn every_change_is_a_row_and_nothing_is_shown_twice() {
    let env = TestEnv::up();
    env.kelos(&["run", "-t", "shell", "--name", "before", "-p", "true", "-w"]).success();
    let all = Watch::start(&env, "all", &["get", "tasks", "-w"]);
    let documents = Watch::start(&env, "documents", &["get", "task", "before", "-w", "-o", "name"]);
    let failed = Watch::start(&env, "failed", &["get", "tasks", "--watch", "--phase", "Failed"]);
    all.until(&env, "the one that is there is shown", |text| text.contains("before"));
    env.kelos(&["run", "-t", "shell", "--name", "after", "-p", "exit 1", "-w"]);
    let text = all.until(&env, "its end is shown", |text| {
        text.lines().any(|line| line.starts_with("after") && line.contains("Failed"))
    });
    assert_eq!(text.lines().filter(|line| line.starts_with("NAME")).count(), 1, "{text}");
    let phases: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("after"))
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    let place = |phase: &str| phases.iter().position(|shown| *shown == phase);
    assert!(place("Pending") < place("Failed") && place("Failed").is_some(), "{text}");
    failed.until(&env, "what failed is shown", |text| text.contains("after"));
    assert!(!std::fs::read_to_string(&failed.output).unwrap().contains("before"));
    env.kelos(&["delete", "task", "before"]).success();
    let text = documents.until(&env, "its end is told", |text| text.lines().count() >= 2);
    assert!(text.lines().all(|line| line == "task.kelos.dev/before"), "{text}");
    assert!(!text.contains("after"), "{text}");
}

#[test]
fn a_watch_outlives_a_restart_of_the_daemon() {
    let mut env = TestEnv::up();
    env.kelos(&["run", "-t", "shell", "--name", "before", "-p", "true", "-w"]).success();
    let watch = Watch::start(&env, "all", &["get", "tasks", "-w"]);
    watch.until(&env, "the one that is there is shown", |text| text.contains("before"));
    env.stop();
    env.start(&[]);
    env.kelos(&["run", "-t", "shell", "--name", "after", "-p", "true", "-w"]).success();
    let text = watch.until(&env, "what came later is shown", |text| text.contains("after"));
    let settled = text.lines().filter(|line| line.starts_with("before") && line.contains("Succeeded"));
    assert!(settled.count() <= 2, "what did not change is not shown again:\n{text}");
}

#[test]
fn what_does_not_exist_is_not_waited_for() {
    let env = TestEnv::up();
    insta::assert_snapshot!(env.kelos(&["get", "task", "nothing", "-w"]), @r#"
    exit: 1
    --- stderr
    Error: tasks.kelos.dev "nothing" not found
    Hint: 'kelos get tasks' shows what is there; -n chooses the namespace
    "#);
}
