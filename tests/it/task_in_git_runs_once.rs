//! A Task manifest is a run request: it runs once for what it says, whatever became of the object since.

use serde_json::Value;

use crate::support::api::condition;
use crate::support::env::TestEnv;

fn task(name: &str, ttl: Option<u32>, script: &str) -> String {
    let ttl = ttl.map(|seconds| format!("  ttlSecondsAfterFinished: {seconds}\n")).unwrap_or_default();
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\nspec:\n  type: shell\n{ttl}  prompt: {script:?}\n"
    )
}

/// Returns the records of a Task's runs.
fn records(env: &TestEnv, task: &str) -> Vec<Value> {
    env.list("runrecords").into_iter().filter(|record| record["spec"]["taskName"] == task).collect()
}

/// Returns the uids of all lines of the ledger on the status branch, as often as they stand there.
pub(crate) fn ledger(env: &TestEnv) -> Vec<String> {
    let listed = env.git("config", &["ls-tree", "-r", "--name-only", "kelos-status"]);
    let mut uids = Vec::new();
    for path in
        listed.lines().filter(|path| path.rsplit_once('.').is_some_and(|(_, ending)| ending == "jsonl"))
    {
        for line in env.git("config", &["show", &format!("kelos-status:{path}")]).lines() {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            uids.push(line["taskUid"].as_str().expect("a line names its Task").to_owned());
        }
    }
    uids
}

#[test]
fn a_task_with_a_short_life_runs_once_over_commits_and_restarts() {
    let mut env = TestEnv::up_with(&[("task.yaml", &task("once", Some(1), "echo paid for"))]);
    let folder = env.path("config").display().to_string();
    env.until("the Task has expired", |env| {
        (records(env, "once").len() == 1 && env.names("tasks").is_empty()).then_some(())
    });
    for round in 0..6 {
        match round % 3 {
            1 => drop(env.stop()),
            2 => env.kill(),
            _ => {}
        }
        let commit = env.commit("config", &[(&format!("note-{round}.md"), "unrelated")]);
        if round % 3 != 0 {
            env.start(&["--repo", &folder, "--interval", "1s"]);
        }
        let repository = env.judged(&commit);
        assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
        assert_eq!(env.names("tasks"), Vec::<String>::new(), "round {round}");
        assert_eq!(records(&env, "once").len(), 1, "round {round}");
    }
    env.until("the run is in the ledger", |env| {
        records(env, "once")[0]["status"]["reportedCommit"].is_string().then_some(())
    });
    assert_eq!(ledger(&env).len(), 1);
}

#[test]
fn many_requests_that_expire_at_once_run_once_each() {
    let files: Vec<(String, String)> = (0..20)
        .map(|number| (format!("t{number}.yaml"), task(&format!("t{number}"), Some(0), "true")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut env = TestEnv::up_with(&files);
    let folder = env.path("config").display().to_string();
    // Passes are made without a pause while Tasks end, are recorded and go.
    for round in 0.. {
        env.reconcile(&format!("request {round}"));
        if env.names("tasks").is_empty() && env.list("runrecords").len() >= 20 {
            break;
        }
        assert!(round < 2_000, "they do not end: {:?}", env.names("tasks"));
        if round == 5 {
            env.kill();
            env.start(&["--repo", &folder, "--interval", "1s"]);
        }
    }
    env.reconcile("after all");
    assert_eq!(env.names("tasks"), Vec::<String>::new());
    assert_eq!(env.list("runrecords").len(), 20);
}

#[test]
fn a_changed_spec_runs_again_after_the_older_run_has_ended() {
    let env =
        TestEnv::up_with(&[("task.yaml", &task("twice", None, "while ! [ -e go ]; do sleep 0.05; done"))]);
    let runs = |env: &TestEnv| {
        let task = env.object("task", "twice")?;
        (task["status"]["phase"] == "Running").then(|| task["metadata"]["uid"].clone())
    };
    let first = env.until("the first run goes on", runs);
    let repository = env.push(&[("task.yaml", &task("twice", None, "echo second"))]);
    let ready = condition(&repository, "Ready");
    assert_eq!(ready["reason"], "Progressing", "{ready}");
    assert!(ready["message"].as_str().unwrap().contains("Task/twice changed"), "{ready}");
    assert_eq!(runs(&env), Some(first.clone()), "the older run goes on");
    env.let_go("twice");
    let second = env.until("the second run has ended", |env| {
        let task = env.object("task", "twice")?;
        (task["metadata"]["uid"] != first && task["status"]["phase"] == "Succeeded").then_some(task)
    });
    assert_eq!(second["spec"]["prompt"], "echo second");
    env.until("both runs are recorded", |env| (records(env, "twice").len() == 2).then_some(()));
    assert!(records(&env, "twice").iter().all(|record| record["spec"]["outcome"] == "Succeeded"));
    env.until("the revision is applied", |env| {
        let repository = env.object("configrepository", "default")?;
        (condition(&repository, "Ready")["status"] == "True").then_some(())
    });
    // Labels and comments are no other request, and what ran once does not run again.
    env.push(&[("task.yaml", &format!("# a comment\n{}", task("twice", None, "echo second")))]);
    assert_eq!(env.object("task", "twice").unwrap()["metadata"]["uid"], second["metadata"]["uid"]);
}

/// Returns a Task that depends on another.
fn after(name: &str, dependency: &str, script: &str) -> String {
    task(name, None, script).replace("  prompt:", &format!("  dependsOn: [{dependency}]\n  prompt:"))
}

#[test]
fn a_chain_that_changes_runs_on_what_it_says_now() {
    let env = TestEnv::up_with(&[("a.yaml", &task("a", None, "while ! [ -e go ]; do sleep 0.05; done"))]);
    env.until("the first run goes on", |env| {
        (env.object("task", "a")?["status"]["phase"] == "Running").then_some(())
    });
    // One commit changes the Task and adds another that depends on it.
    let repository =
        env.push(&[("a.yaml", &task("a", None, "echo second")), ("b.yaml", &after("b", "a", "true"))]);
    assert_eq!(condition(&repository, "Ready")["reason"], "Progressing", "{repository:#}");
    assert_eq!(env.names("tasks"), ["a"]);
    env.let_go("a");
    let dependent = env.task_ended("b");
    assert_eq!(dependent["status"]["phase"], "Succeeded", "{dependent:#}");
    let first = env.object("task", "a").unwrap();
    assert_eq!(first["spec"]["prompt"], "echo second");
    let time = |task: &Value, field: &str| task["status"][field].as_str().unwrap().to_owned();
    assert!(time(&dependent, "startTime") >= time(&first, "completionTime"), "{first:#}\n{dependent:#}");
    assert_eq!((records(&env, "a").len(), records(&env, "b").len()), (2, 1));
}

#[test]
fn a_chain_that_failed_with_its_first_task_runs_once_that_is_mended() {
    let env = TestEnv::up_with(&[
        ("a.yaml", &task("a", None, "exit 1")),
        ("b.yaml", &after("b", "a", "true")),
        ("c.yaml", &after("c", "b", "true")),
    ]);
    for name in ["a", "b", "c"] {
        assert_eq!(env.task_ended(name)["status"]["phase"], "Failed", "{name}");
    }
    env.until("all are recorded", |env| (env.list("runrecords").len() == 3).then_some(()));
    let before = env.versions();
    env.reconcile("nothing changed");
    assert_eq!(env.versions(), before, "what failed is not tried again by itself");
    // The commit that mends the first one adds another that depends on it.
    env.push(&[("a.yaml", &task("a", None, "true")), ("d.yaml", &after("d", "a", "true"))]);
    for name in ["a", "b", "c", "d"] {
        env.until(&format!("{name} has succeeded"), |env| {
            (env.object("task", name)?["status"]["phase"] == "Succeeded").then_some(())
        });
    }
    let outcomes = |name: &str| {
        let outcome = |record: Value| record["spec"]["outcome"].as_str().unwrap().to_owned();
        let mut outcomes: Vec<String> = records(&env, name).into_iter().map(outcome).collect();
        outcomes.sort();
        outcomes
    };
    env.until("all are recorded", |env| (env.list("runrecords").len() == 7).then_some(()));
    assert_eq!(outcomes("a"), ["Failed", "Succeeded"]);
    assert_eq!(outcomes("b"), ["DependencyFailed", "Succeeded"]);
    assert_eq!(outcomes("c"), ["DependencyFailed", "Succeeded"]);
    assert_eq!(outcomes("d"), ["Succeeded"]);
    env.reconcile("once more");
    assert_eq!(env.list("runrecords").len(), 7);
}

#[test]
fn a_task_that_is_deleted_by_hand_does_not_run_again() {
    let script = "while ! [ -e go ]; do sleep 0.05; done";
    let env = TestEnv::up_with(&[
        ("a.yaml", &task("ended", None, "true")),
        ("b.yaml", &task("running", None, script)),
    ]);
    env.task_ended("ended");
    env.until("the other one runs", |env| {
        (env.object("task", "running")?["status"]["phase"] == "Running").then_some(())
    });
    env.delete("tasks", "ended");
    env.delete("tasks", "running");
    for request in 0.. {
        env.reconcile(&format!("while they go {request}"));
        if env.names("tasks").is_empty() {
            break;
        }
        assert!(request < 1_000, "they do not go: {:?}", env.list("tasks"));
    }
    env.push(&[("note.md", "unrelated")]);
    env.reconcile("after");
    assert_eq!(env.names("tasks"), Vec::<String>::new());
    let outcome = |name: &str| records(&env, name)[0]["spec"]["outcome"].clone();
    assert_eq!((outcome("ended"), outcome("running")), ("Succeeded".into(), "Cancelled".into()));
    assert_eq!(env.list("runrecords").len(), 2);
}
