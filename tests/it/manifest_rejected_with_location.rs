//! A broken commit harms nobody: nothing changes, and the author is told where, what and how to mend it.

use serde_json::{Value, json};

use crate::report_reaches_the_remote::report;
use crate::support::api::condition;
use crate::support::env::TestEnv;

const SPAWNER: &str = r#"apiVersion: kelos.dev/v1alpha1
kind: TaskSpawner
metadata:
  name: nightly
spec:
  when:
    cron:
      schedule: "0 9 1 1 *"
  taskTemplate:
    type: shell
    promptTemplate:
      $file: prompts/fix.sh
"#;

const TASK: &str = "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: hello\nspec:\n  type: shell\n  prompt: echo\n";

/// One way to break a repository: a file, and where which finding is expected.
struct Broken {
    file: &'static str,
    text: String,
    code: &'static str,
    place: (u64, u64),
    says: &'static str,
}

fn broken(
    file: &'static str,
    text: impl Into<String>,
    code: &'static str,
    place: (u64, u64),
    says: &'static str,
) -> Broken {
    Broken { file, text: text.into(), code, place, says }
}

fn all() -> Vec<Broken> {
    let another = SPAWNER.replace("nightly", "another");
    let spawner = |from: &str, to: &str| another.replace(from, to);
    let task = |from: &str, to: &str| TASK.replace("hello", "other").replace(from, to);
    vec![
        broken("a.yaml", "kind: [Task\n", "syntax", (1, 7), "not closed"),
        broken(
            "a.yaml",
            spawner("    type: shell", "    type: shell\n    type: shell"),
            "duplicate-key",
            (11, 5),
            "stands twice",
        ),
        broken("a.yaml", spawner("  when:", "  suspend: on\n  when:"), "ambiguous-scalar", (6, 12), "`on`"),
        broken(
            "a.yaml",
            spawner("  when:", "  maxConcurency: 1\n  when:"),
            "unknown-field",
            (6, 3),
            "no field spec.maxConcurency",
        ),
        broken(
            "a.yaml",
            spawner("0 9 1 1 *", "0 25 * * *"),
            "invalid-cron",
            (8, 17),
            "the hour 25 is not in 0-23",
        ),
        broken(
            "a.yaml",
            task("  prompt: echo", "  prompt: echo\n  workspaceRef:\n    name: ap"),
            "missing-reference",
            (9, 11),
            "no Workspace \"ap\"",
        ),
        broken(
            "a.yaml",
            format!(
                "{}---\n{}",
                task("  prompt: echo", "  prompt: echo\n  dependsOn: [third]"),
                TASK.replace("hello", "third") + "  dependsOn: [other]\n"
            ),
            "dependency-cycle",
            (8, 15),
            "other -> third -> other",
        ),
        broken(
            "a.yaml",
            spawner("type: shell", "type: claude-code\n    credentials:\n      type: none")
                .replace("      $file: prompts/fix.sh", "      \"Look at {{.Tim}}\""),
            "unknown-variable",
            (14, 7),
            "no variable .Tim",
        ),
        broken(
            "a.yaml",
            task("  name: other", "  name: other\n  namespace: kube-system"),
            "foreign-namespace",
            (5, 14),
            "kube-system",
        ),
        broken(
            "a.yaml",
            "apiVersion: gitops.kelos.dev/v1alpha1\nkind: ConfigRepository\nmetadata:\n  name: inner\nspec:\n  url: https://example.com/x.git\n",
            "kind-not-allowed",
            (2, 7),
            "has no place in a config repository",
        ),
        broken(
            "a.yaml",
            spawner(
                "type: shell",
                "type: claude-code\n    credentials:\n      type: api-key\n      secretRef:\n        name: theirs",
            ),
            "secret-not-allowed",
            (14, 15),
            "\"theirs\" may not be used",
        ),
        broken(
            "a.yaml",
            spawner("fix.sh", "fixx.sh"),
            "invalid-file-reference",
            (12, 7),
            "did you mean 'prompts/fix.sh'",
        ),
        broken(
            "a.yaml",
            spawner("prompts/fix.sh", "../../../../etc/passwd"),
            "invalid-file-reference",
            (12, 7),
            "no file '../../../../etc/passwd'",
        ),
        broken("zz.yaml", TASK, "duplicate-object", (4, 9), "another Task \"hello\""),
        broken("a.yaml.tera", "kind: Task\n[% if %]\n", "render-failed", (2, 7), "expected"),
        broken("kelos.yaml", "includ: []\n", "invalid-repository-file", (1, 1), "includ"),
    ]
}

#[test]
fn nothing_changes_until_the_repository_is_mended() {
    let env =
        TestEnv::up_with(&[("spawner.yaml", SPAWNER), ("z-task.yaml", TASK), ("prompts/fix.sh", "echo fix")]);
    let good = env.git("config", &["rev-parse", "HEAD"]);
    env.applied(&good);
    env.task_ended("hello");
    env.patch("configrepositories", "default", &json!({"spec": {"allowedSecrets": ["ours"]}}));
    env.until("the record is stored", |env| (env.names("runrecords").len() == 1).then_some(()));
    env.reconcile("before");
    let before = env.versions();
    let mut removed = None;
    for case in all() {
        let mut files = vec![(case.file, case.text.as_str())];
        files.extend(removed.filter(|file| *file != case.file).map(|file| (file, "")));
        let repository = env.push(&files);
        removed = Some(case.file);
        let what = format!("{}: {repository:#}", case.code);
        let ready = condition(&repository, "Ready");
        assert_eq!(
            (&ready["status"], &ready["reason"]),
            (&json!("False"), &json!("FindingsPresent")),
            "{what}"
        );
        assert_eq!(repository["status"]["lastAppliedRevision"], good, "{what}");
        let findings = repository["status"]["findings"]["items"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["code"] == case.code).expect(&what);
        let place = (found["line"].as_u64().unwrap(), found["column"].as_u64().unwrap());
        assert_eq!((found["file"].as_str().unwrap(), place), (case.file, case.place), "{what}");
        assert!(found["message"].as_str().unwrap().contains(case.says), "{what}");
        let message = ready["message"].as_str().unwrap();
        assert!(message.contains(&format!("{}:{}:{}", case.file, place.0, place.1)), "{message}");
        assert_eq!(env.versions(), before, "{what}");
    }
    let notes = env.until("the Event is written", |env| {
        let notes: Vec<Value> =
            env.list("events").into_iter().filter(|event| event["reason"] == "FindingsPresent").collect();
        (!notes.is_empty()).then_some(notes)
    });
    assert!(notes.iter().any(|event| {
        event["type"] == "Warning" && event["message"].as_str().unwrap().contains("a.yaml:8:17: ")
    }));
    env.until("the report shows the finding", |env| {
        let page = report(env, "README.md");
        page.contains("kelos.yaml:1:1").then_some(())
    });
    let mended = env.push(&[("kelos.yaml", "")]);
    assert_eq!(condition(&mended, "Ready")["status"], "True", "{mended:#}");
    assert_eq!(mended["status"]["findings"], Value::Null);
    assert_eq!(env.versions(), before, "what did not change in git is not written again");
    env.until("the report shows that it is mended", |env| {
        let page = report(env, "README.md");
        (!page.contains("kelos.yaml:1:1")).then_some(())
    });
}

#[test]
fn findings_of_all_files_come_at_once_and_warnings_do_not_block() {
    let env = TestEnv::up_with(&[("z-task.yaml", TASK)]);
    let unused = SPAWNER
        .replace("type: shell", "type: claude-code\n    credentials:\n      type: none")
        .replace("      $file: prompts/fix.sh", "      \"Look at {{.Body}}\"");
    let repository = env.push(&[
        ("a.yaml", &SPAWNER.replace("0 9 1 1 *", "0 25 * * *")),
        ("b.yaml", &TASK.replace("hello", "b").replace("prompt", "promt")),
        ("c/d.yaml", "a: {"),
        ("warning.yaml", &unused.replace("nightly", "warned")),
    ]);
    let files: Vec<&str> = repository["status"]["findings"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["file"].as_str().unwrap())
        .collect();
    for file in ["a.yaml", "b.yaml", "c/d.yaml", "warning.yaml"] {
        assert!(files.contains(&file), "{files:?}");
    }
    assert_eq!(files.last(), Some(&"warning.yaml"), "errors come first");
    let repository = env.push(&[("a.yaml", ""), ("b.yaml", ""), ("c/d.yaml", "")]);
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{repository:#}");
    assert_eq!(repository["status"]["findings"]["errors"], 0);
    assert_eq!(repository["status"]["findings"]["total"], 1, "{repository:#}");
    assert_eq!(env.names("taskspawners"), ["warned"]);
}

#[test]
fn what_was_missing_and_is_made_by_hand_is_no_finding_any_more() {
    let env = TestEnv::up_with(&[(
        "task.yaml",
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: hello\nspec:\n  type: claude-code\n  credentials:\n    type: none\n  prompt: hi\n  agentConfigRef:\n    name: theirs\n",
    )]);
    let repository = env.reconcile("1");
    assert_eq!(condition(&repository, "Ready")["reason"], "FindingsPresent");
    let config = json!({"apiVersion": "kelos.dev/v1alpha1", "kind": "AgentConfig", "metadata": {"name": "theirs"}, "spec": {}});
    env.create("agentconfigs", &config);
    env.until("the revision is applied", |env| {
        let repository = env.object("configrepository", "default")?;
        (condition(&repository, "Ready")["status"] == "True").then_some(())
    });
}
