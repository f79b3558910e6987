//! Whatever is killed and refused, and when: every run is started at most once, ends, and is told once.
//!
//! Tasks with a short life come by commit and by schedule while the daemon and runners are killed at random and the
//! remote refuses the report for a while. Each run leaves a branch of its own in a repository outside, so that a start
//! is counted by somebody who is not killed. `KELOS_CHAOS_ROUNDS` makes it longer.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use kelos::process::tree;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::report_reaches_the_remote::{keep_history, never_forced};
use crate::run_bench::marked;
use crate::support::env::TestEnv;
use crate::task_in_git_runs_once::ledger;

/// How many rounds there are unless told otherwise; each ends with a kill.
const ROUNDS: usize = 25;
/// How many spawners fire each minute.
const SPAWNERS: usize = 5;
/// How long everything may take to come to rest.
const PATIENCE: Duration = Duration::from_mins(2);
/// The hook that refuses pushes of the report.
const HOOK: &str = "config/.git/hooks/pre-receive";

/// What every run does: it leaves a branch that no other start leaves, and works a little.
fn script(seconds: &str) -> String {
    format!(
        "git push -q origin HEAD:refs/heads/start/$KELOS_RUN/$(date +%s%N)-$$; sleep {seconds}; git rev-parse HEAD"
    )
}

fn task(name: &str, ttl: usize, more: &str, seconds: &str) -> String {
    let script = script(seconds);
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\nspec:\n  type: shell\n  workspaceRef:\n    name: counts\n  ttlSecondsAfterFinished: {ttl}\n{more}  prompt: \"{script}\"\n"
    )
}

fn spawner(number: usize) -> String {
    let script = script("0.1");
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: minutely-{number}\nspec:\n  when:\n    cron:\n      schedule: \"* * * * *\"\n  taskTemplate:\n    type: shell\n    workspaceRef:\n      name: counts\n    ttlSecondsAfterFinished: 0\n    promptTemplate: \"{script}\"\n"
    )
}

fn workspace(env: &TestEnv) -> String {
    let repository = env.path("counts.git");
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: counts\nspec:\n  repo: file://{}\n",
        repository.display()
    )
}

fn rounds() -> usize {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the test says how long")]
    let told = std::env::var("KELOS_CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    told.unwrap_or(ROUNDS)
}

/// Kills the runner of one run that goes on, if there is one; returns whether it did.
fn kill_a_runner(env: &TestEnv, random: &mut fastrand::Rng) -> bool {
    let runners = marked(&format!("run\0{}", env.data_dir().join("runs").display()));
    let Some(seen) = random.choice(runners).and_then(tree::look_at) else { return false };
    tree::signal(seen, Signal::KILL)
}

fn refuse_reports(env: &TestEnv, refuse: bool) {
    if refuse {
        env.write(HOOK, "#!/bin/sh\necho 'not now' >&2\nexit 1\n");
        std::fs::set_permissions(env.path(HOOK), std::fs::Permissions::from_mode(0o755)).unwrap();
    } else if env.path(HOOK).exists() {
        std::fs::remove_file(env.path(HOOK)).unwrap();
    }
}

/// Returns how often each run was started, by its uid.
fn starts(env: &TestEnv) -> BTreeMap<String, usize> {
    let listed = env.git("counts.git", &["for-each-ref", "--format=%(refname:lstrip=3)", "refs/heads/start"]);
    let mut starts = BTreeMap::new();
    for line in listed.lines() {
        let uid = line.split_once('/').expect("a start is named by run and moment").0;
        *starts.entry(uid.to_owned()).or_default() += 1;
    }
    starts
}

/// Returns what people were told about a Task, which may be gone.
fn told(env: &TestEnv, uid: &str) -> Vec<String> {
    let about = |event: &Value| event["involvedObject"]["uid"] == *uid;
    let events = env.list("events").into_iter().filter(about);
    events.map(|event| format!("{}: {}", event["reason"], event["message"])).collect()
}

fn outcome(record: &Value) -> &str {
    record["spec"]["outcome"].as_str().unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in the order in which it happens")]
fn runs_are_started_once_and_told_once_whatever_is_killed_and_refused() {
    let rounds = rounds();
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    println!("the moments follow from the seed {seed}");
    let mut env = TestEnv::new();
    env.commit("counts", &[("readme.md", "counted here\n")]);
    env.git("", &["clone", "--quiet", "--bare", "counts", "counts.git"]);
    let spawners: Vec<(String, String)> =
        (0..SPAWNERS).map(|number| (format!("spawner-{number}.yaml"), spawner(number))).collect();
    let mut files: Vec<(&str, &str)> =
        spawners.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let workspace = workspace(&env);
    files.push(("workspace.yaml", &workspace));
    env.commit("config", &files);
    keep_history(&env);
    let folder = env.path("config").display().to_string();
    let arguments = ["--repo", folder.as_str(), "--interval", "1s"];
    env.start(&arguments);

    let mut runners_killed = 0;
    for round in 0..rounds {
        let seconds = format!("0.{}", random.usize(0..8));
        // Every third works on a branch that it shares, every fourth depends on the one before, which may be gone.
        let mut more = String::new();
        if round % 3 == 0 {
            more.push_str(&format!("  branch: shared-{}\n", round % 2));
        }
        if round % 4 == 3 {
            more.push_str(&format!("  dependsOn: [t{}]\n", round - 1));
        }
        let task = task(&format!("t{round}"), random.usize(0..3), &more, &seconds);
        env.commit("config", &[(&format!("t{round}.yaml"), &task), ("note.md", &format!("round {round}\n"))]);
        refuse_reports(&env, round % 6 < 3);
        std::thread::sleep(Duration::from_millis(random.u64(0..1_200)));
        if random.usize(0..3) == 0 {
            runners_killed += usize::from(kill_a_runner(&env, &mut random));
        }
        env.kill();
        // Sometimes a runner dies while nobody looks.
        if random.usize(0..4) == 0 {
            runners_killed += usize::from(kill_a_runner(&env, &mut random));
        }
        env.start(&arguments);
    }

    // Everything comes to rest.
    refuse_reports(&env, false);
    env.judged(&env.git("config", &["rev-parse", "HEAD"]));
    for number in 0..SPAWNERS {
        env.patch("taskspawners", &format!("minutely-{number}"), &json!({"spec": {"suspend": true}}));
    }
    let all: BTreeSet<String> = (0..rounds).map(|round| format!("t{round}")).collect();
    let begun = Instant::now();
    loop {
        let tasks = env.list("tasks");
        let records = env.list("runrecords");
        let ran: BTreeSet<String> = records.iter().map(|record| text(record, "/spec/taskName")).collect();
        if tasks.is_empty() && ran.is_superset(&all) {
            break;
        }
        if begun.elapsed() > PATIENCE {
            let lost: Vec<&String> = all.difference(&ran).collect();
            let left: Vec<_> = tasks.iter().map(|task| (&task["metadata"], &task["status"])).collect();
            panic!("seed {seed}: never run are {lost:?}, never gone are {left:#?}\n{}", env.daemon_log());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    env.until("every run is in the ledger", |env| {
        let all = env.list("runrecords");
        all.iter().all(|record| record["status"]["reportedCommit"].is_string()).then_some(())
    });

    let records = env.list("runrecords");
    let starts = starts(&env);
    let say = format!("seed {seed}, {runners_killed} runners killed, {} records", records.len());
    println!("{say}, {} starts", starts.len());
    // At most once, and where a run came to its end, once.
    assert!(starts.values().all(|count| *count == 1), "{say}: {starts:?}");
    let uids: BTreeSet<String> = records.iter().map(|record| text(record, "/metadata/name")).collect();
    assert!(starts.keys().all(|uid| uids.contains(uid)), "{say}: a start without a record");
    for record in &records {
        let known = matches!(outcome(record), "Succeeded" | "Interrupted" | "DependencyFailed");
        assert!(known, "{say}: {record:#}\n{:#?}", told(&env, &text(record, "/spec/taskUid")));
        let was_started = starts.contains_key(&text(record, "/metadata/name"));
        match outcome(record) {
            "Succeeded" => assert!(was_started, "{say}: {record:#}"),
            "DependencyFailed" => assert!(!was_started, "{say}: {record:#}"),
            _ => {}
        }
        assert_eq!(record["status"]["departure"], "Expired", "{say}: {record:#}");
    }
    let interrupted = records.iter().filter(|record| outcome(record) == "Interrupted").count();
    assert!(interrupted <= runners_killed, "{say}: {interrupted} runs were lost");
    // One run for each request, one Task for each tick that was counted.
    let mut names: Vec<String> = records.iter().map(|record| text(record, "/spec/taskName")).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "{say}: a name ran twice");
    for number in 0..SPAWNERS {
        let name = format!("minutely-{number}");
        let spawner = env.object("taskspawner", &name).unwrap();
        let created = spawner["status"]["totalTasksCreated"].as_u64().unwrap_or_default();
        let ran = records.iter().filter(|record| record["spec"]["spawner"] == *name).count();
        assert_eq!(u64::try_from(ran).unwrap(), created, "{say}: {name}");
    }
    // One line for each.
    let mut lines = ledger(&env);
    lines.sort();
    assert_eq!(lines, Vec::from_iter(uids), "{say}");
    never_forced(&env);
    // Nothing is left: no folder of a run, no process of one.
    env.until("no folder of a run is left", |env| {
        std::fs::read_dir(env.data_dir().join("runs")).unwrap().next().is_none().then_some(())
    });
    env.until("no process of a run is left", |env| {
        marked(&env.data_dir().join("runs").display().to_string()).is_empty().then_some(())
    });
    assert_eq!(env.stop(), Some(0), "{say}");
}

fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer}: {object:#}"))
        .to_owned()
}
