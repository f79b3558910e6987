//! Upstream's example of a pipeline, three Tasks of Claude Code on one branch, runs to its end with the real program: each
//! finds what the one before it pushed and is told what that one reported.

use kelos::api::labels;
use kelos::yaml::{self, Limits};
use serde_json::{Value, json};

use crate::support::agents::program;
use crate::support::env::TestEnv;
use crate::support::model_endpoint::{Asked, INPUT_TOKENS, ModelEndpoint, OUTPUT_TOKENS, Turn};
use crate::tidy::source::{files, text};

const LOGIN: &str = "replace-with-your-oauth-token";
const PULL_REQUEST: &str = "https://github.com/your-org/your-repo/pull/7";

/// A `gh` that knows one pull request, once it was made.
const GH: &str = r#"#!/bin/sh
opened=$(git rev-parse --git-dir)/opened
case "$1 $2" in
"pr create") touch "$opened" && echo https://github.com/your-org/your-repo/pull/7 ;;
"pr list") if test -e "$opened"; then echo '[{"url":"https://github.com/your-org/your-repo/pull/7"}]'; else echo '[]'; fi ;;
*) exit 2 ;;
esac
"#;

fn script(asked: &Asked) -> Turn {
    if asked.results > 0 {
        return Turn::Say("done");
    }
    let commands = [
        ("Write no tests", "echo 'fn healthz() {}' >healthz.rs"),
        ("Write its tests", "test -s healthz.rs && echo '#[test]' >tests.rs"),
        ("Open a pull request", "test -s tests.rs && gh pr create --fill --base main"),
    ];
    let (_, command) =
        commands.into_iter().find(|(words, _)| asked.tells(words)).expect("it is one of the three");
    let push = "git add -A && { git diff --cached --quiet || git commit -qm 'One step'; } && git push -q origin HEAD";
    Turn::Run(format!("{command} && {push}"))
}

#[test]
fn the_pipeline_of_the_examples_runs_to_its_end_with_the_real_program() {
    let Some(program) = program("claude-code") else { return };
    let endpoint = ModelEndpoint::start(script);
    let mut env = TestEnv::new();
    env.commit("app", &[("readme", "one\n")]);
    env.git(".", &["clone", "--quiet", "--bare", "app", "app.git"]);
    env.write_program("tools/gh", GH);
    std::os::unix::fs::symlink(&program.path, env.path("tools/claude")).unwrap();
    env.look_first_in("tools");
    env.start(&["--loopback-port", &endpoint.port()]);
    apply_example(&env, &endpoint);

    let ended = ["scaffold", "write-tests", "open-pr"].map(|name| {
        let task = env.task_ended(name);
        let log = env.kelos(&["logs", name]);
        assert_eq!(task["status"]["phase"], "Succeeded", "{:#}\n{log}", task["status"]);
        task
    });
    let log = env.git("app.git", &["log", "--format=%H", "--reverse", "main..feature/healthz"]);
    let commits: Vec<&str> = log.lines().collect();
    assert_eq!(commits.len(), 2, "one for the endpoint and one for its tests: {log}");
    for (task, commit) in ended.iter().zip([commits[0], commits[1], commits[1]]) {
        let status = &task["status"];
        assert_eq!(status["results"]["branch"], "feature/healthz", "{status:#}");
        assert_eq!(status["results"]["commit"], commit, "{status:#}");
        assert_eq!(status["usage"]["inputTokens"], 2 * INPUT_TOKENS, "{status:#}");
        assert_eq!(status["usage"]["outputTokens"], 2 * OUTPUT_TOKENS, "{status:#}");
        let cost = status["usage"]["costUSD"].as_str().expect("it says what it cost");
        assert!(cost.contains(|character: char| matches!(character, '1'..='9')), "{cost}");
        assert_eq!(status["agentVersion"], program.version.as_str());
    }
    assert_eq!(ended[2]["status"]["results"]["pr"], PULL_REQUEST);

    // The second is told branch and commit of the first, the login reaches the provider.
    let told = format!("somebody added an endpoint, last in commit\n{}.", commits[0]);
    let asked = endpoint.at_work();
    assert!(asked.iter().any(|asked| asked.tells("On branch feature/healthz ") && asked.tells(&told)));
    let bearer = format!("Bearer {LOGIN}");
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some(bearer.as_str())));
    let records = env.until("each run is recorded", |env| {
        Some(env.list("runrecords")).filter(|records| records.len() >= ended.len())
    });
    assert_eq!(records.len(), 3, "{records:?}");
    assert!(records.iter().all(|record| record["spec"]["agentVersion"] == program.version.as_str()));
}

/// Creates the objects of the example in the order in which kubectl does, with the repository of this machine and the
/// address of the endpoint as a user would give it.
fn apply_example(env: &TestEnv, endpoint: &ModelEndpoint) {
    for path in files("examples/07-task-pipeline", ".yaml") {
        for document in yaml::parse(&text(&path), &Limits::default()).unwrap() {
            let mut object = document.value;
            let kind = object["kind"].as_str().unwrap().to_owned();
            match kind.as_str() {
                "Workspace" => {
                    let spec = object["spec"].as_object_mut().unwrap();
                    spec.insert(
                        "repo".to_owned(),
                        json!(format!("file://{}", env.path("app.git").display())),
                    );
                    // A repository of this machine takes no token.
                    spec.remove("secretRef");
                }
                "Task" => {
                    let variable = json!({"name": "ANTHROPIC_BASE_URL", "value": endpoint.url()});
                    object["spec"]["podOverrides"] = json!({"env": [variable]});
                    object["metadata"]["annotations"] = json!({labels::LOOPBACK_PORTS: endpoint.port()});
                }
                _ => {}
            }
            let plural = format!("{}s", kind.to_lowercase());
            let _created: Value = env.create(&plural, &object);
        }
    }
}
