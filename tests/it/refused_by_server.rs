//! What only the server can refuse: the revision changes nothing when the refusal comes first, and nothing is pruned
//! when it comes late.

use std::fmt::Write as _;

use serde_json::json;

use crate::support::api::condition;
use crate::support::env::TestEnv;

/// How many objects a revision has, and which of them the server refuses.
const ALL: usize = 1_000;
const REFUSED: usize = 600;

/// Returns spawners, of which later revisions name an AgentConfig in the newer of two ways.
fn spawners(from: usize, concurrency: u32) -> String {
    let mut text = String::new();
    let named = if concurrency > 1 { "\n    agentConfigRefs:\n      - name: house" } else { "" };
    for number in from..ALL {
        writeln!(
            text,
            "---\napiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: s{number:04}\nspec:\n  \
             maxConcurrency: {concurrency}\n  when:\n    cron:\n      schedule: \"0 9 1 1 *\"\n  taskTemplate:\n    type: shell\n    promptTemplate: echo{named}\n"
        )
        .unwrap();
    }
    text
}

const HOUSE: &str = "apiVersion: kelos.dev/v1alpha1\nkind: AgentConfig\nmetadata:\n  name: house\nspec: {}\n";

/// Splits the definitions over files, as each file is read up to a limit.
fn files(text: &str) -> Vec<(String, String)> {
    let documents: Vec<&str> = text.split("---\n").filter(|document| !document.is_empty()).collect();
    documents
        .chunks(100)
        .enumerate()
        .map(|(number, chunk)| (format!("part-{number:02}.yaml"), chunk.join("---\n")))
        .chain([("house.yaml".to_owned(), HOUSE.to_owned())])
        .collect()
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}

/// Gives spawner number 600 a field by hand that does not go together with what git is about to say.
fn take_hold(env: &TestEnv) {
    let field = json!({"spec": {"taskTemplate": {"agentConfigRef": {"name": "house"}}}});
    env.patch("taskspawners", &format!("s{REFUSED:04}"), &field);
}

fn concurrency(env: &TestEnv) -> usize {
    env.list("taskspawners").iter().filter(|spawner| spawner["spec"]["maxConcurrency"] == 2).count()
}

#[test]
fn a_refusal_that_is_found_first_leaves_everything_as_it_is() {
    let env = TestEnv::up_with(&borrowed(&files(&spawners(0, 1))));
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    env.patch("configrepositories", "default", &json!({"spec": {"drift": "Report"}}));
    env.reconcile("drift is only reported");
    take_hold(&env);
    env.reconcile("somebody else holds a part of it");
    env.until("every spawner has its first status", |env| {
        env.list("taskspawners").iter().all(|spawner| spawner["status"]["phase"].is_string()).then_some(())
    });
    let before = env.versions();
    // One object leaves as well: it is not pruned.
    let repository = env.push(&borrowed(&files(&spawners(1, 2))));
    let ready = condition(&repository, "Ready");
    assert_eq!(ready["reason"], "DryRunRefused", "{ready}");
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("TaskSpawner/s0600 (part-"), "{message}");
    assert_eq!(env.versions(), before);
    assert_ne!(repository["status"]["lastAppliedRevision"], repository["status"]["lastAttemptedRevision"]);
    // Once nobody stands in the way, the same commit is applied.
    env.patch("taskspawners", "s0600", &json!({"spec": {"taskTemplate": {"agentConfigRef": null}}}));
    let repository = env.reconcile("nobody is in the way");
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{:#}", repository["status"]);
    // A spawner has a finalizer, so that it goes a moment after it was pruned.
    env.until("the spawner that left is gone", |env| {
        (env.names("taskspawners").len() == ALL - 1).then_some(())
    });
    assert_eq!(concurrency(&env), ALL - 1);
}

#[test]
fn a_refusal_that_comes_late_prunes_nothing_and_is_tried_again() {
    let workspace = |annotation: &str| {
        format!(
            "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: app\n  annotations:\n    note: {annotation}\nspec:\n  repo: https://example.com/app.git\n"
        )
    };
    let env = TestEnv::up_with(&[
        ("house.yaml", HOUSE),
        ("spawners.yaml", &spawners(ALL - 10, 1)),
        ("app.yaml", &workspace("short")),
    ]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    // Nothing is asked beforehand, as it is with what lies outside a sample. Annotations have a limit that only the
    // server knows.
    env.patch("configrepositories", "default", &json!({"spec": {"dryRunLimit": 0}}));
    env.reconcile("nothing is asked beforehand");
    let long = workspace(&"x".repeat(300_000));
    let repository = env.push(&[("spawners.yaml", &spawners(ALL - 9, 2)), ("app.yaml", &long)]);
    let ready = condition(&repository, "Ready");
    assert_eq!(ready["reason"], "PartiallyApplied", "{ready}");
    assert!(ready["message"].as_str().unwrap().contains("Workspace/app (app.yaml:1)"), "{ready}");
    assert_eq!(concurrency(&env), 9, "what could be written is");
    assert_eq!(env.names("taskspawners").len(), 10, "nothing is pruned");
    assert_ne!(repository["status"]["lastAppliedRevision"], repository["status"]["lastAttemptedRevision"]);
    let repository = env.push(&[("app.yaml", &workspace("short"))]);
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{:#}", repository["status"]);
    assert_eq!(env.names("taskspawners").len(), 9, "what was held back is pruned");
}

#[test]
fn an_object_that_is_too_large_is_refused_and_not_asked_about_for_ever() {
    let env = TestEnv::up_with(&[("house.yaml", HOUSE)]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    let prose = "0123456789abcde\n".repeat(60_000);
    let skills: String = (0..4)
        .map(|number| format!("    - name: s{number}\n      content: {{ $file: prose.md }}\n"))
        .collect();
    let large = HOUSE
        .replace("name: house", "name: large")
        .replace("spec: {}", &format!("spec:\n  plugins:\n  - name: p\n    skills:\n{skills}"));
    let repository = env.push(&[("prose.md", &prose), ("large.yaml", &large)]);
    let ready = condition(&repository, "Ready");
    assert_eq!(ready["reason"], "DryRunRefused", "{ready}");
    assert!(ready["message"].as_str().unwrap().contains("AgentConfig/large (large.yaml:1)"), "{ready}");
    assert_eq!(env.names("agentconfigs"), ["house"]);
}
