//! A remote that takes no push for long, over kills and the turn of a year: no line is lost, and none stands twice.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kelos::clock;
use serde_json::{Value, json};

use crate::support::api::condition;
use crate::support::env::TestEnv;

/// The bare repository that is followed and reported to.
const REMOTE: &str = "remote.git";

/// Refuses pushes to what the file `refused` names, and counts them.
const HOOK: &str = "#!/bin/sh
while read old new ref; do
  for pattern in $(cat refused); do
    case $ref in $pattern) echo $ref >>refusals; echo 'not today' >&2; exit 1;; esac
  done
done
";

fn task(name: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\nspec:\n  type: shell\n  ttlSecondsAfterFinished: 1\n  prompt: \"true\"\n"
    )
}

/// Makes the remote from the repository `config`, which pushes to it from then on.
fn make_remote(env: &TestEnv) {
    env.git("", &["clone", "--quiet", "--bare", "config", REMOTE]);
    env.git(REMOTE, &["config", "core.logAllRefUpdates", "always"]);
    env.git("config", &["remote", "add", "origin", &env.path(REMOTE).display().to_string()]);
    let hook = format!("{REMOTE}/hooks/pre-receive");
    env.write(&hook, HOOK);
    std::fs::set_permissions(env.path(&hook), std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn push(env: &TestEnv, name: &str) {
    env.commit("config", &[(&format!("{name}.yaml"), &task(name))]);
    env.git("config", &["push", "--quiet", "origin", "main"]);
}

/// From now on the remote refuses pushes to references of this form; none, when it is empty.
fn refuse(env: &TestEnv, pattern: &str) {
    env.write(&format!("{REMOTE}/refused"), pattern);
}

fn refusals(env: &TestEnv) -> usize {
    std::fs::read_to_string(env.path(REMOTE).join("refusals")).unwrap_or_default().lines().count()
}

fn more_refusals(env: &TestEnv, more: usize) {
    let before = refusals(env);
    env.until("pushes are refused", |env| (refusals(env) >= before + more).then_some(()));
}

/// Returns the uids of the lines of each branch that is reported to, as often as they stand there.
fn lines(env: &TestEnv) -> BTreeMap<String, Vec<String>> {
    let branches =
        env.git(REMOTE, &["for-each-ref", "--format=%(refname:short)", "refs/heads/kelos-status*"]);
    let on = |branch: &str| {
        let files = env.git(REMOTE, &["ls-tree", "-r", "--name-only", branch]);
        let mut uids = Vec::new();
        for file in files.lines().filter(|file| file.contains(".jsonl")) {
            for line in env.git(REMOTE, &["show", &format!("{branch}:{file}")]).lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                uids.push(line["taskUid"].as_str().unwrap().to_owned());
            }
        }
        uids.sort();
        uids
    };
    branches.lines().map(|branch| (branch.to_owned(), on(branch))).collect()
}

/// Returns where the line of each record belongs, in the same form.
fn wanted(records: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut wanted = BTreeMap::<String, Vec<String>>::new();
    for record in records {
        let ended: Timestamp = record["spec"]["completionTime"].as_str().unwrap().parse().unwrap();
        let branch = format!("kelos-status-{}", ended.to_zoned(TimeZone::UTC).year());
        wanted.entry(branch).or_default().push(record["metadata"]["name"].as_str().unwrap().to_owned());
    }
    for uids in wanted.values_mut() {
        uids.sort();
    }
    wanted
}

fn records_of(env: &TestEnv, count: usize) -> Vec<Value> {
    env.until(&format!("{count} runs are recorded and their Tasks are gone"), |env| {
        let records = env.list("runrecords");
        (records.len() == count && env.names("tasks").is_empty()).then_some(records)
    })
}

#[test]
fn what_is_refused_for_long_and_over_the_turn_of_a_year_is_told_once() {
    let mut env = TestEnv::new();
    env.commit("config", &[("a.yaml", &task("a")), ("b.yaml", &task("b"))]);
    make_remote(&env);
    refuse(&env, "refs/heads/kelos-status*");
    let remote = env.path(REMOTE).display().to_string();
    let arguments = ["--repo", remote.as_str(), "--interval", "200ms"];
    env.start(&arguments);
    let change = json!({"spec": {"report": {"rotation": "Yearly"}}});
    env.patch("configrepositories", "default", &change);
    let ran = records_of(&env, 2);

    // Two more ended around the last turn of a year, when the remote did not take their lines either.
    let year = clock::system().now().to_zoned(TimeZone::UTC).year();
    let turn = [format!("{}-12-31T23:59:59Z", year - 1), format!("{year}-01-01T00:00:00Z")];
    let mut known = ran;
    for (number, ended) in turn.iter().enumerate() {
        let uid = format!("00000000-0000-4000-8000-00000000000{number}");
        let mut record = known[0].clone();
        record["metadata"] = json!({"name": uid});
        record["status"].take();
        record["spec"]["taskUid"] = json!(uid);
        record["spec"]["taskName"] = json!(format!("turn-{number}"));
        record["spec"]["specDigest"].take();
        record["spec"]["startTime"].take();
        record["spec"]["completionTime"] = json!(ended);
        known.push(env.create("runrecords", &record));
    }
    env.until("what waits is told", |env| {
        let repository = env.object("configrepository", "default")?;
        let reported = condition(&repository, "Reported");
        let message = reported["message"].as_str()?;
        (reported["reason"] == "ReportFailed"
            && message.contains("the lines of 4 runs wait")
            && message.contains("not today"))
        .then_some(())
    });
    more_refusals(&env, 2);
    env.kill();
    env.start(&arguments);
    more_refusals(&env, 2);
    push(&env, "c");
    known.extend(records_of(&env, 5).into_iter().filter(|record| record["spec"]["taskName"] == "c"));
    assert_eq!(env.stop(), Some(0));
    env.start(&arguments);
    more_refusals(&env, 2);
    assert_eq!(lines(&env), BTreeMap::new(), "nothing is there yet");

    // For a while it takes the lines of the year that is over, and no others: they are not told again with the rest.
    let last_year = format!("kelos-status-{}", year - 1);
    refuse(&env, &format!("refs/heads/kelos-status-{year} refs/heads/kelos-status-{}", year + 1));
    env.until("the year that is over is told", |env| (!lines(env).is_empty()).then_some(()));
    more_refusals(&env, 2);
    assert_eq!(lines(&env).into_keys().collect::<Vec<_>>(), [last_year], "the rest waits");
    env.kill();
    env.start(&arguments);

    refuse(&env, "");
    env.until("all lines are there", |env| (lines(env) == wanted(&known)).then_some(()));
    push(&env, "d");
    known.push(env.until("what comes later is told too", |env| {
        let later = env.list("runrecords").into_iter().find(|record| record["spec"]["taskName"] == "d")?;
        later["status"]["reportedCommit"].is_string().then_some(later)
    }));
    assert_eq!(lines(&env), wanted(&known));
    // Each branch went forward only.
    for branch in lines(&env).keys() {
        let log = env.git(REMOTE, &["reflog", "show", "--format=%H", branch]);
        let places: Vec<&str> = log.lines().collect();
        for pair in places.windows(2) {
            env.git(REMOTE, &["merge-base", "--is-ancestor", pair[1], pair[0]]);
        }
    }
}
