//! What ran, and what became of each revision of a prompt: from the API, and from git when the API has forgotten.

use serde_json::Value;

use crate::support::env::TestEnv;

fn task(script: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: sign\nspec:\n  type: shell\n  prompt: {script}\n"
    )
}

fn json(env: &TestEnv, arguments: &[&str]) -> Value {
    let ran = env.kelos(&[arguments, &["-o", "json"]].concat()).success();
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Waits until `count` runs of the Task are recorded, and their lines are in git.
fn reported(env: &TestEnv, count: usize) {
    env.until("the runs are reported", |env| {
        let records = json(env, &["get", "runrecords"]);
        let records = records["items"].as_array().unwrap();
        let is_reported = |record: &&Value| record.pointer("/status/reportedCommit").is_some();
        (records.len() == count && records.iter().filter(is_reported).count() == count).then_some(())
    });
}

#[test]
fn each_revision_of_a_prompt_has_its_runs_and_its_place() {
    let env = TestEnv::up_with(&[("tasks/sign.yaml", &task("exit 3"))]);
    reported(&env, 1);
    let first = env.git("config", &["rev-parse", "main"]);
    let second = env.commit("config", &[("tasks/sign.yaml", &format!("# Mended.\n{}", task("echo signed")))]);
    reported(&env, 2);
    insta::assert_snapshot!(env.kelos(&["history", "sign"]), @"
    exit: 0
    --- stdout
    PROMPT   RUNS   SUCCESS   COST   COST/RUN   TOKENS   MEDIAN   LAST OUTCOME   LAST RUN   DEFINED AT
    [SHORT]   1   100% (1 of 1)   -   -   -   [SPAN]   Succeeded   [SPAN] ago   tasks/sign.yaml:2@[SHORT]
    [SHORT]   1   0% (0 of 1)   -   -   -   [SPAN]   Failed   [SPAN] ago   tasks/sign.yaml:1@[SHORT]
    ");
    let runs = env.kelos(&["get", "runs"]);
    insta::assert_snapshot!(runs, @"
    exit: 0
    --- stdout
    TASK   SPAWNER   STATE   DURATION   COST   TOKENS   PROMPT   DEFINED AT   ENDED
    sign   -   Succeeded   [SPAN]   -   -   [SHORT]   tasks/sign.yaml:2@[SHORT]   [SPAN] ago
    sign   -   Failed (AgentFailed)   [SPAN]   -   -   [SHORT]   tasks/sign.yaml:1@[SHORT]   [SPAN] ago
    ");
    let history = json(&env, &["history", "task", "sign"]);
    assert_eq!((&history["kind"], &history["name"]), (&"Task".into(), &"sign".into()));
    let revisions = history["revisions"].as_array().unwrap();
    assert_eq!(revisions[0]["sourceRevision"], second.as_str());
    assert_eq!(revisions[1]["sourceRevision"], first.as_str());
    assert_ne!(revisions[0]["promptDigest"], revisions[1]["promptDigest"]);
    assert_eq!(revisions[1]["outcomes"], serde_json::json!({"Failed": 1}));

    // The API forgets, git does not.
    env.kelos(&["delete", "runrecord", "--all"]).success();
    env.until("the records are gone", |env| {
        json(env, &["get", "runrecords"])["items"].as_array().unwrap().is_empty().then_some(())
    });
    let unknown = env.kelos(&["history", "sign", "--no-ledger"]);
    assert_eq!(unknown.code, Some(1), "{unknown}");
    assert!(unknown.stderr.contains("no run of a TaskSpawner or Task sign is known"), "{unknown}");
    let from_git = json(&env, &["history", "sign"]);
    assert_eq!(digests(&from_git), digests(&history));
    // A kubeconfig that lies elsewhere does not lead to the daemon's own copy of the branch, which is fetched then.
    std::fs::copy(env.data_dir().join("kubeconfig"), env.path("elsewhere.yaml")).unwrap();
    let fetched = ["history", "sign", "--kubeconfig", "elsewhere.yaml"];
    assert_eq!(digests(&json(&env, &fetched)), digests(&history));
    std::fs::rename(env.path("config"), env.path("moved")).unwrap();
    let away = env.kelos(&fetched);
    assert_eq!(away.code, Some(1), "{away}");
    assert!(away.stderr.contains("the ledger of configrepository/default is left out"), "{away}");
    assert_eq!(digests(&json(&env, &["history", "sign"])), digests(&history), "the copy is still there");
}

fn digests(history: &Value) -> Vec<(String, u64, String)> {
    let revisions = history["revisions"].as_array().unwrap().iter();
    revisions
        .map(|revision| {
            let text = |key: &str| revision[key].as_str().unwrap().to_owned();
            (text("promptDigest"), revision["runs"].as_u64().unwrap(), text("sourceRevision"))
        })
        .collect()
}

#[test]
fn runs_are_there_before_they_have_ended_and_are_filtered() {
    let env = TestEnv::up();
    insta::assert_snapshot!(env.kelos(&["get", "runs"]), @"
    exit: 0
    --- stderr
    No runs in default
    ");
    env.kelos(&["run", "-t", "shell", "--name", "waits", "-p", "true", "--depends-on", "other"]).success();
    env.kelos(&["run", "-t", "shell", "--name", "ends", "-p", "true", "-w"]).success();
    env.until("it is recorded", |env| {
        let runs = json(env, &["get", "runs", "ends"]);
        runs[0]["recorded"].as_bool().unwrap().then_some(())
    });
    env.until("it waits", |env| {
        (json(env, &["get", "runs", "waits"])[0]["state"] == "Waiting").then_some(())
    });
    insta::assert_snapshot!(env.kelos(&["get", "runs"]), @"
    exit: 0
    --- stdout
    TASK   SPAWNER   STATE   DURATION   COST   TOKENS   PROMPT   DEFINED AT   ENDED
    waits   -   Waiting (WaitingForDependency)   -   -   -   [SHORT]   -   -
    ends   -   Succeeded   [SPAN]   -   -   [SHORT]   -   [SPAN] ago
    ");
    insta::assert_snapshot!(env.kelos(&["get", "runs", "-o", "name"]), @"
    exit: 0
    --- stdout
    task.kelos.dev/waits
    runrecord.gitops.kelos.dev/[UID]
    ");
    insta::assert_snapshot!(env.kelos(&["get", "runs", "--spawner", "nightly"]), @"
    exit: 0
    --- stderr
    No runs in default
    ");
    insta::assert_snapshot!(env.kelos(&["get", "runs", "-w"]), @"
    exit: 2
    --- stderr
    Error: runs have no --phase, --watch and --detail
    Hint: 'kelos get tasks --watch' shows how Tasks advance
    ");
    insta::assert_snapshot!(env.kelos(&["history", "workspace", "app"]), @"
    exit: 2
    --- stderr
    Error: a taskspawner and a task have a history, and nothing else has
    ");
}

fn spawner(schedule: &str, prompt: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: checker\nspec:\n  when:\n    cron:\n      \
         schedule: {schedule}\n  taskTemplate:\n    type: shell\n    promptTemplate: {prompt}\n"
    )
}

/// Lets the last tick of the schedule be due, as after a long pause of the daemon.
fn fire(env: &TestEnv, schedule: &str) {
    env.until("the schedule is known", |env| {
        let spawner = env.object("taskspawner", "checker")?;
        (spawner.pointer("/status/observedSchedule/schedule")? == schedule).then_some(())
    });
    let long_ago = "2020-06-01T00:00:00Z";
    let observed = serde_json::json!({"schedule": schedule, "since": long_ago});
    let status = serde_json::json!({"status": {"lastScheduleTime": long_ago, "observedSchedule": observed}});
    env.patch("taskspawners", "checker/status", &status);
}

#[test]
fn a_spawner_has_its_runs_and_the_history_of_its_prompt() {
    // Ticks that come by themselves are far away.
    let (first, second) = ("0 0 1 1 *", "0 0 1 2 *");
    let env = TestEnv::up_with(&[("checker.yaml", &spawner(first, "echo fine {{.Time}}"))]);
    let earlier = env.git("config", &["rev-parse", "main"]);
    env.applied(&earlier);
    fire(&env, first);
    reported(&env, 1);
    env.kelos(&["run", "-t", "shell", "--name", "by-hand", "-p", "true", "-w"]).success();
    reported(&env, 2);
    let later = env.commit("config", &[("checker.yaml", &format!("---\n{}", spawner(second, "exit 4")))]);
    env.applied(&later);
    fire(&env, second);
    reported(&env, 3);

    let runs = json(&env, &["get", "runs", "--spawner", "checker"]);
    let names: Vec<&str> = runs.as_array().unwrap().iter().map(|run| run["task"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2, "{runs:#}");
    let shown = |arguments: &[&str]| {
        let text = env.kelos(arguments).to_string();
        text.replace(names[0], "[SECOND]").replace(names[1], "[FIRST]")
    };
    insta::assert_snapshot!(shown(&["get", "runs", "--spawner", "checker"]), @"
    exit: 0
    --- stdout
    TASK   SPAWNER   STATE   DURATION   COST   TOKENS   PROMPT   DEFINED AT   ENDED
    [SECOND]   checker   Failed (AgentFailed)   [SPAN]   -   -   [SHORT]   checker.yaml:2@[SHORT]   [SPAN] ago
    [FIRST]   checker   Succeeded   [SPAN]   -   -   [SHORT]   checker.yaml:1@[SHORT]   [SPAN] ago
    ");
    insta::assert_snapshot!(shown(&["get", "runs", names[1]]), @"
    exit: 0
    --- stdout
    TASK   SPAWNER   STATE   DURATION   COST   TOKENS   PROMPT   DEFINED AT   ENDED
    [FIRST]   checker   Succeeded   [SPAN]   -   -   [SHORT]   checker.yaml:1@[SHORT]   [SPAN] ago
    ");
    insta::assert_snapshot!(shown(&["history", "checker"]), @"
    exit: 0
    --- stdout
    PROMPT   RUNS   SUCCESS   COST   COST/RUN   TOKENS   MEDIAN   LAST OUTCOME   LAST RUN   DEFINED AT
    [SHORT]   1   0% (0 of 1)   -   -   -   [SPAN]   Failed   [SPAN] ago   checker.yaml:2@[SHORT]
    [SHORT]   1   100% (1 of 1)   -   -   -   [SPAN]   Succeeded   [SPAN] ago   checker.yaml:1@[SHORT]
    ");
    insta::assert_snapshot!(shown(&["history", "taskspawner", "nobody"]), @"
    exit: 1
    --- stderr
    Error: no run of a TaskSpawner or Task nobody is known in default
    Hint: 'kelos get runs' shows what ran; -n chooses the namespace
    ");
    let history = json(&env, &["history", "taskspawner", "checker"]);
    assert_eq!((&history["kind"], &history["name"]), (&"TaskSpawner".into(), &"checker".into()));
    let sources: Vec<&Value> =
        history["revisions"].as_array().unwrap().iter().map(|revision| &revision["sourceRevision"]).collect();
    assert_eq!(sources, [later.as_str(), earlier.as_str()]);
}
