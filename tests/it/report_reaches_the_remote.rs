//! The report is written back into git: nothing is lost while the remote refuses it, and nobody's commits are.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::condition;
use crate::support::env::TestEnv;
use crate::task_in_git_runs_once::ledger;

fn task(name: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\nspec:\n  type: shell\n  prompt: \"true\"\n"
    )
}

/// Returns the folders of the writers on the status branch.
fn writers(env: &TestEnv) -> Vec<String> {
    let listed = env.git("config", &["ls-tree", "-d", "--name-only", "kelos-status"]);
    listed.lines().map(str::to_owned).collect()
}

/// Returns a file of the report of the only writer.
pub(crate) fn report(env: &TestEnv, file: &str) -> String {
    let writers = writers(env);
    assert_eq!(writers.len(), 1, "{writers:?}");
    env.git("config", &["show", &format!("kelos-status:{}/{file}", writers[0])])
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
    // Each has a folder of its own, whose name it keeps, and any of them writes the index of both.
    let folders = writers(&one);
    assert_eq!(folders.len(), 2, "{folders:?}");
    assert!(folders.iter().all(|folder| folder.starts_with("default.default.")), "{folders:?}");
    let index = one.git("config", &["show", "kelos-status:README.md"]);
    for folder in &folders {
        assert!(index.contains(&format!("[`{folder}`](<{folder}/README.md>) | `Ready`")), "{index}");
        let status = one.git("config", &["show", &format!("kelos-status:{folder}/status.json")]);
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["recent"].as_array().unwrap().len(), 4, "{status:#}");
    }
    other.kill();
    other.start(&["--repo", &folder, "--interval", "1s"]);
    let commit = one.commit("config", &[("e.yaml", &task("e"))]);
    other.judged(&commit);
    other.until("the new daemon of the old data reports", |env| all_reported(env, 5));
    assert_eq!(writers(&one), folders);
    // Both come to rest: neither answers the report of the other.
    let tip = |env: &TestEnv| env.git("config", &["rev-parse", "kelos-status"]);
    one.until("both are at rest", |env| {
        let before = tip(env);
        std::thread::sleep(Duration::from_millis(3_500));
        (before == tip(env)).then_some(())
    });
}

/// Returns how many passes were made since the daemon started.
pub(crate) fn passes(env: &TestEnv) -> u64 {
    let scrape = env.exchange("GET /metrics", "", b"").expect("the daemon answers").text();
    let counts = scrape.lines().filter(|line| line.starts_with("kelos_pass_duration_seconds_count"));
    counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[test]
fn our_own_commits_cause_no_pass() {
    let env = TestEnv::up_with(&[("a.yaml", &task("a"))]);
    env.until("the run is reported", |env| all_reported(env, 1));
    // The remote is asked so seldom that whatever pass comes has another reason.
    env.patch("configrepositories", "default", &json!({"spec": {"interval": "1h"}}));
    env.reconcile("the interval is known");
    let commits = || env.git("config", &["rev-list", "--count", "kelos-status"]);
    env.until("nothing more is reported", |env| {
        let before = (commits(), passes(env));
        std::thread::sleep(Duration::from_secs(3));
        (before == (commits(), passes(env))).then_some(())
    });
    let (main, before, reported) = (env.git("config", &["rev-parse", "main"]), passes(&env), commits());
    let task = json!({
        "apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"name": "by-hand"},
        "spec": {"type": "shell", "prompt": "true"},
    });
    env.create("tasks", &task);
    env.until("the second run is reported", |env| all_reported(env, 2));
    assert_ne!(commits(), reported);
    assert_eq!(env.git("config", &["rev-parse", "main"]), main);
    assert_eq!(passes(&env), before, "a report made a pass");
}

#[test]
fn a_report_does_not_go_where_definitions_are_followed() {
    let env = TestEnv::up_with(&[("a.yaml", &task("a")), ("README.md", "ours\n")]);
    env.until("the run is reported", |env| all_reported(env, 1));
    let main = env.git("config", &["rev-parse", "main"]);
    let folder = env.path("config");
    // The branch that is followed has no name here: it is the default one of the remote.
    let report = json!({"branch": "main", "url": format!("{}/.git", folder.display()), "interval": "1s"});
    env.patch("configrepositories", "default", &json!({"spec": {"report": report}}));
    let reported = env.until("the report is refused", |env| {
        let repository = env.object("configrepository", "default")?;
        let reported = condition(&repository, "Reported").clone();
        (reported["status"] == "False").then_some(reported)
    });
    let message = reported["message"].as_str().unwrap();
    assert!(message.contains("would go to main, which is followed"), "{message}");
    env.create(
        "tasks",
        &json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"name": "b"},
            "spec": {"type": "shell", "prompt": "true"},
        }),
    );
    env.task_ended("b");
    assert_eq!(env.git("config", &["rev-parse", "main"]), main);
    // What is switched off is not said to be tried again.
    env.patch("configrepositories", "default", &json!({"spec": {"report": {"enabled": false}}}));
    env.until("the condition says so", |env| {
        let repository = env.object("configrepository", "default")?;
        (condition(&repository, "Reported")["reason"] == "ReportDisabled").then_some(())
    });
    env.patch(
        "configrepositories",
        "default",
        &json!({"spec": {"report": {"enabled": true, "branch": "kelos-status", "url": null}}}),
    );
    env.until("both runs are reported", |env| all_reported(env, 2));
    assert_eq!(env.git("config", &["rev-parse", "main"]), main);
}

#[test]
fn lines_that_somebody_took_from_the_branch_come_back() {
    let env = TestEnv::up_with(&[("a.yaml", &task("a")), ("b.yaml", &task("b"))]);
    env.until("both runs are reported", |env| all_reported(env, 2));
    env.git("config", &["update-ref", "-d", "refs/heads/kelos-status"]);
    env.push(&[("c.yaml", &task("c"))]);
    env.until("everything is reported", |env| all_reported(env, 3));
    sound(&env, 3);
    // And when somebody else put something there, theirs stays.
    env.git("config", &["checkout", "--quiet", "--orphan", "scribble"]);
    env.commit("config", &[("mine.md", "not yours\n")]);
    env.git("config", &["update-ref", "refs/heads/kelos-status", "HEAD"]);
    env.git("config", &["checkout", "--quiet", "main"]);
    env.push(&[("d.yaml", &task("d"))]);
    env.until("everything is reported again", |env| all_reported(env, 4));
    env.until("all lines are back", |env| (ledger(env).len() == 4).then_some(()));
    sound(&env, 4);
    assert_eq!(env.git("config", &["show", "kelos-status:mine.md"]), "not yours");
}

#[test]
fn a_report_goes_where_it_is_told_to_go() {
    let env = TestEnv::up_with(&[("a.yaml", &task("a"))]);
    env.until("the run is reported", |env| all_reported(env, 1));
    env.git("home", &["init", "--quiet", "--bare", "status.git"]);
    let url = env.path("home/status.git").display().to_string();
    let report = json!({"url": url, "branch": "reports", "writer": "laptop", "rotation": "Yearly"});
    env.patch("configrepositories", "default", &json!({"spec": {"report": report}}));
    env.push(&[("b.yaml", &task("b"))]);
    env.until("the other run is reported", |env| all_reported(env, 2));
    let branches = env.git("home/status.git", &["for-each-ref", "--format=%(refname:short)"]);
    let [year] = branches.lines().collect::<Vec<_>>()[..] else { panic!("{branches}") };
    assert!(year.strip_prefix("reports-").is_some_and(|year| year.len() == 4), "{branches}");
    let page = env.git("home/status.git", &["show", &format!("{year}:laptop/README.md")]);
    assert!(page.contains("branches of their own: `reports-YYYY`"), "{page}");
    let lines = env.git("home/status.git", &["grep", "-h", "taskUid", year, "--", "*.jsonl"]);
    assert!(lines.contains(r#""task":"b""#), "{lines}");
}

#[test]
fn what_cannot_be_told_is_a_condition_that_says_how_to_mend_it() {
    let env = TestEnv::up_with(&[("a.yaml", &task("a"))]);
    env.until("the run is reported", |env| all_reported(env, 1));
    let writer = writers(&env).remove(0);
    // Another daemon with a later lease took the name over.
    env.git("config", &["checkout", "--quiet", "kelos-status"]);
    let path = format!("{writer}/status.json");
    let status = std::fs::read_to_string(env.path("config").join(&path)).unwrap();
    env.commit("config", &[(&path, &status.replace("\"generation\": 0", "\"generation\": 7"))]);
    env.git("config", &["checkout", "--quiet", "main"]);
    env.push(&[("b.yaml", &task("b"))]);
    let message = env.until("the other writer is told", |env| {
        let repository = env.object("configrepository", "default")?;
        let reported = condition(&repository, "Reported");
        let message = reported["message"].as_str()?;
        (reported["reason"] == "ReportFailed" && message.contains("the line of 1 run waits"))
            .then(|| message.to_owned())
    });
    assert!(message.contains("spec.report.writer"), "{message}");
    env.patch("configrepositories", "default", &json!({"spec": {"report": {"writer": "mine"}}}));
    env.until("it goes on under another name", |env| all_reported(env, 2));
}

#[test]
fn every_run_says_which_definition_made_it() {
    let spawner = "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: minutely\nspec:\n  when:\n    \
                   cron: {schedule: '* * * * *'}\n  taskTemplate:\n    type: shell\n    promptTemplate: { $file: defs/check.sh }\n";
    let second = format!("# Two definitions.\n{}---\n{spawner}", task("first"));
    let env = TestEnv::up_with(&[("defs/all.yaml", &second), ("defs/check.sh", "echo {{.Time}}")]);
    let commit = env.git("config", &["rev-parse", "main"]);
    env.applied(&commit);
    // The tick of the minute before now is due, as after a pause of the daemon.
    let long_ago = "2020-01-01T00:00:00Z";
    let observed = json!({"schedule": "* * * * *", "since": long_ago});
    let status = json!({"status": {"lastScheduleTime": long_ago, "observedSchedule": observed}});
    env.patch("taskspawners", "minutely/status", &status);
    env.until("a Task of the spawner and the other have ended and are reported", |env| {
        let records = env.list("runrecords");
        let spawned = records.iter().any(|record| record["spec"]["spawner"] == "minutely");
        (spawned && all_reported(env, records.len()).is_some() && records.len() > 1).then_some(())
    });
    let lines = env.git("config", &["grep", "-h", "taskUid", "kelos-status", "--", "*.jsonl"]);
    let digest = |prompt: &str| kelos::digest::sha256_hex(prompt);
    for (task, first_line, prompt) in [("first", 2, "true"), ("minutely-", 10, "echo {{.Time}}")] {
        let is_of = |value: &Value| value.as_str().is_some_and(|name| name.starts_with(task));
        let line: Value = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .find(|line: &Value| is_of(&line["task"]))
            .unwrap();
        assert_eq!(line["sourceRevision"], *commit, "{line}");
        assert_eq!(
            (&line["sourceFile"], &line["sourceLine"]),
            (&json!("defs/all.yaml"), &json!(first_line)),
            "{line}"
        );
        assert_eq!(line["promptDigest"], digest(prompt), "{line}");
        let record =
            env.list("runrecords").into_iter().find(|record| is_of(&record["spec"]["taskName"])).unwrap();
        assert_eq!(record["spec"]["promptDigest"], digest(prompt), "{record:#}");
        let object = env.list("tasks").into_iter().find(|task| is_of(&task["metadata"]["name"])).unwrap();
        let noted = &object["metadata"]["annotations"];
        assert_eq!(noted["kelos.dev/prompt-digest"], digest(prompt), "{noted:#}");
        assert_eq!(noted["kelos.dev/config-revision"], *commit, "{noted:#}");
        assert_eq!(noted["kelos.dev/config-line"], first_line.to_string(), "{noted:#}");
    }
    // The same is a row of the history on the page.
    let page = report(&env, "README.md");
    let row =
        page.lines().find(|line| line.starts_with("| `minutely` | `") && line.contains("few runs")).unwrap();
    let short = digest("echo {{.Time}}").chars().take(12).collect::<String>();
    assert!(row.contains(&short) && row.contains("defs/all.yaml:10"), "{page}");
}
