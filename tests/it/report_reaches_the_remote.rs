//! The report is written back into git: nothing is lost while the remote refuses it, and nobody's commits are.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;

use crate::support::api::condition;
use crate::support::env::TestEnv;
use crate::task_in_git_runs_once::ledger;

fn task(name: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\nspec:\n  type: shell\n  prompt: \"true\"\n"
    )
}

fn all_reported(env: &TestEnv, count: usize) -> Option<()> {
    let records = env.list("runrecords");
    let reported = |record: &Value| record["status"]["reportedCommit"].is_string();
    (records.len() == count && records.iter().all(reported)).then_some(())
}

/// Expects that each record has one line, and that each commit of the branch has the one before it as its parent.
fn sound(env: &TestEnv, count: usize) {
    let mut lines = ledger(env);
    lines.sort();
    let mut uids: Vec<String> = env
        .list("runrecords")
        .iter()
        .map(|record| record["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    uids.sort();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines.dedup();
    assert_eq!(lines.len(), count, "no line stands twice");
    assert!(uids.iter().all(|uid| lines.contains(uid)), "{uids:?}");
}

/// Keeps a list of where the branch was: every value that it ever had.
pub(crate) fn keep_history(env: &TestEnv) {
    env.git("config", &["config", "core.logAllRefUpdates", "always"]);
}

/// Expects that each place where the branch was leads on to the next.
pub(crate) fn never_forced(env: &TestEnv) {
    let log = env.git("config", &["reflog", "show", "--format=%H", "kelos-status"]);
    let places: Vec<&str> = log.lines().collect();
    assert!(places.len() > 1, "{log}");
    for pair in places.windows(2) {
        env.git("config", &["merge-base", "--is-ancestor", pair[1], pair[0]]);
    }
}

#[test]
fn a_push_that_is_refused_for_a_while_loses_nothing() {
    let mut env = TestEnv::new();
    env.commit("config", &[("a.yaml", &task("a")), ("b.yaml", &task("b"))]);
    keep_history(&env);
    let hook = "config/.git/hooks/pre-receive";
    env.write(hook, "#!/bin/sh\necho 'the report is not wanted today' >&2\nexit 1\n");
    std::fs::set_permissions(env.path(hook), std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = env.path("config").display().to_string();
    let arguments = ["--repo", folder.as_str(), "--interval", "1s"];
    env.start(&arguments);
    let refused = |env: &TestEnv| {
        let repository = env.object("configrepository", "default")?;
        let reported = condition(&repository, "Reported");
        (reported["reason"] == "ReportFailed").then(|| reported["message"].as_str().unwrap().to_owned())
    };
    let message = env.until("the refusal is told", refused);
    assert!(message.contains("the report is not wanted today"), "{message}");
    env.until("both runs are recorded", |env| (env.list("runrecords").len() == 2).then_some(()));
    env.kill();
    env.start(&arguments);
    env.push(&[("c.yaml", &task("c"))]);
    env.until("all runs are recorded", |env| (env.list("runrecords").len() == 3).then_some(()));
    assert!(all_reported(&env, 3).is_none());
    std::fs::remove_file(env.path(hook)).unwrap();
    env.until("everything is reported", |env| all_reported(env, 3));
    sound(&env, 3);
    env.push(&[("d.yaml", &task("d"))]);
    env.until("what came later is reported too", |env| all_reported(env, 4));
    sound(&env, 4);
    never_forced(&env);
}

#[test]
fn two_daemons_write_to_one_branch() {
    let one = TestEnv::up_with(&[("a.yaml", &task("a"))]);
    keep_history(&one);
    let mut other = TestEnv::new();
    let folder = one.path("config").display().to_string();
    other.start(&["--repo", &folder, "--interval", "1s"]);
    for name in ["b", "c", "d"] {
        let commit = one.commit("config", &[(&format!("{name}.yaml"), &task(name))]);
        one.judged(&commit);
        other.judged(&commit);
    }
    for env in [&one, &other] {
        env.until("everything is reported", |env| all_reported(env, 4));
    }
    sound(&one, 8);
    let lines = ledger(&one);
    let reported =
        |record: &Value| lines.iter().any(|uid| *uid == record["metadata"]["name"].as_str().unwrap());
    assert!(other.list("runrecords").iter().all(reported));
    never_forced(&one);
    // Both come to rest: neither answers the report of the other.
    let tip = |env: &TestEnv| env.git("config", &["rev-parse", "kelos-status"]);
    one.until("both are at rest", |env| {
        let before = tip(env);
        std::thread::sleep(Duration::from_millis(3_500));
        (before == tip(env)).then_some(())
    });
}

#[test]
fn our_own_commits_cause_no_pass() {
    let env = TestEnv::up_with(&[("a.yaml", &task("a"))]);
    env.until("the run is reported", |env| all_reported(env, 1));
    let repository = env.object("configrepository", "default").unwrap();
    let main = env.git("config", &["rev-parse", "main"]);
    assert_eq!(repository["status"]["lastAttemptedRevision"], main);
    let before = env.git("config", &["rev-list", "--count", "kelos-status"]);
    env.until("nothing more is reported", |env| {
        let before = env.git("config", &["rev-list", "--count", "kelos-status"]);
        std::thread::sleep(Duration::from_secs(3));
        (before == env.git("config", &["rev-list", "--count", "kelos-status"])).then_some(())
    });
    let after: u32 = env.git("config", &["rev-list", "--count", "kelos-status"]).parse().unwrap();
    assert!(after <= before.parse::<u32>().unwrap() + 2, "{before} and then {after} commits");
    assert_eq!(env.git("config", &["rev-parse", "main"]), main);
}
