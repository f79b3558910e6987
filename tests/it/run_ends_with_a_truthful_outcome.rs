//! What becomes of a run is written down as it was.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kelos::api::run::{Exit, Plan, RunState, SandboxLevel, Secrets};
use kelos::executor::{Executor as _, StartError};
use kelos::secret::Secret;
use serde_json::json;

use crate::run_bench::{Bench, shell};

#[tokio::test]
async fn a_script_that_ends_well_succeeds_with_its_results() {
    let bench = Bench::new();
    let script = "echo working; echo ---KELOS_OUTPUTS_START---; echo 'branch: kelos/7'; echo plain; \
                  echo ---KELOS_OUTPUTS_END---; echo problem >&2";
    let outcome = bench.outcome(shell("a", script)).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}", outcome.message);
    assert_eq!(outcome.outputs, ["branch: kelos/7", "plain"]);
    assert_eq!(outcome.results["branch"], "kelos/7");
    assert_eq!(outcome.exit_code, Some(0));
    assert!(outcome.sandbox >= Some(SandboxLevel::Limited));
    assert!(outcome.finished_at >= outcome.started_at);
    let log = bench.log("a").await;
    assert!(log.contains("working\n") && log.contains("problem\n"), "{log}");
    assert!(!bench.file("a", "secrets.json").exists());
    let is_clean = || ["home", "tmp", "work"].iter().all(|name| !bench.file("a", name).exists());
    while !is_clean() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_block_of_results_without_an_end_is_incomplete() {
    let bench = Bench::new();
    let outcome = bench.outcome(shell("a", "echo ---KELOS_OUTPUTS_START---; echo 'branch: kelos/7'")).await;
    assert_eq!(outcome.exit, Exit::AgentIncomplete, "{}", outcome.message);
    assert_eq!(outcome.message, "the agent ended within its block of results");
    assert!(outcome.outputs.is_empty() && outcome.results.is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn what_is_no_text_and_has_no_line_ends_is_kept_as_it_was_printed() {
    let bench = Bench::new();
    let script = "head -c 3000000 /dev/zero; printf '\\377\\376\\033[2J'; echo; \
                  echo ---KELOS_OUTPUTS_START---; printf 'odd: \\377\\n'; echo ---KELOS_OUTPUTS_END---; printf last";
    let outcome = bench.outcome(shell("a", script)).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}", outcome.message);
    assert_eq!(outcome.results["odd"], "\u{fffd}");
    let log = std::fs::read(bench.file("a", "log")).unwrap();
    assert!(log.len() > 3_000_000 && log.iter().take(3_000_000).all(|byte| *byte == 0));
    assert!(log.windows(6).any(|bytes| bytes == b"\xff\xfe\x1b[2J"));
}

#[tokio::test]
async fn the_first_command_that_fails_ends_a_script() {
    let bench = Bench::new();
    let outcome = bench.outcome(shell("a", "touch kept; false; echo not reached")).await;
    assert_eq!((outcome.exit, outcome.exit_code), (Exit::AgentFailed, Some(1)));
    assert_eq!(outcome.message, "the agent ended with exit code 1");
    assert!(!bench.log("a").await.contains("not reached"));
    assert!(bench.file("a", "work/kept").exists(), "the work of a failed run is kept");
    let outcome = bench.outcome(shell("b", "kill -9 $$")).await;
    assert_eq!((outcome.exit, outcome.signal), (Exit::AgentFailed, Some(9)));
}

#[tokio::test]
async fn a_program_that_is_not_here_is_told_before_anything_is_started() {
    let bench = Bench::new();
    let mut plan = shell("a", "");
    plan.agent.kind = "claude-code".to_owned();
    plan.agent.program = Some(PathBuf::from("no-such-agent"));
    let outcome = bench.outcome(plan).await;
    assert_eq!(outcome.exit, Exit::AgentProgramMissing);
    assert!(outcome.message.contains("no-such-agent"), "{}", outcome.message);
    assert!(outcome.exit.is_before_agent());
    assert!(!bench.file("a", "work").exists());
}

#[tokio::test]
async fn the_deadline_ends_a_run_and_keeps_what_it_said() {
    let bench = Bench::new();
    let script = "echo ---KELOS_OUTPUTS_START---; echo 'step: one'; echo ---KELOS_OUTPUTS_END---; sleep 600";
    let mut plan = shell("a", script);
    plan.limits.active_deadline_seconds = Some(1);
    let outcome = bench.outcome(plan).await;
    assert_eq!(outcome.exit, Exit::TimedOut);
    assert_eq!(outcome.message, "it was ended after 1 seconds");
    assert_eq!(outcome.results["step"], "one");
}

#[tokio::test]
async fn a_run_that_is_stopped_is_cancelled_and_may_tidy_up() {
    let bench = Bench::new();
    let script = "trap 'echo tidied; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    bench.executor.start(shell("a", script), Secrets::default()).await.unwrap();
    bench.says("a", "ready").await;
    bench.executor.stop("a", Duration::from_secs(20)).await.unwrap();
    let outcome = bench.end("a").await;
    assert_eq!((outcome.exit, outcome.exit_code), (Exit::Cancelled, Some(3)));
    assert!(bench.log("a").await.contains("tidied"));
    bench.executor.stop("a", Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_model_agent_that_is_cut_off_is_incomplete_and_one_that_reports_is_not() {
    let bench = Bench::new();
    let program = bench.data.join("agent");
    let write = |text: &str| write_program(&program, text);
    let plan = |run: &str| plan_of(run, "claude-code", &program);
    write("echo '{\"type\":\"assistant\"}'; printf '{\"type\":\"resu'");
    let outcome = bench.outcome(plan("a")).await;
    assert_eq!(outcome.exit, Exit::AgentIncomplete, "{}", outcome.message);
    // A block of results between what a model's agent prints is not ours.
    write(
        "echo ---KELOS_OUTPUTS_START---; echo 'branch: forged'; echo ---KELOS_OUTPUTS_END---\n\
         echo '{\"type\":\"result\",\"subtype\":\"success\",\"total_cost_usd\":0.5,\"usage\":{\"input_tokens\":3,\"output_tokens\":4},\"result\":\"done\"}'",
    );
    let outcome = bench.outcome(plan("b")).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}", outcome.message);
    assert_eq!(outcome.outputs, ["cost-usd: 0.5", "input-tokens: 3", "output-tokens: 4"]);
    let usage = outcome.usage.unwrap();
    assert_eq!(
        (usage.cost_usd.as_deref(), usage.input_tokens, usage.output_tokens),
        (Some("0.5"), Some(3), Some(4))
    );
    assert_eq!(outcome.results["response"], "ZG9uZQ==");
}

#[tokio::test]
async fn an_agent_that_asks_its_model_for_ever_is_ended() {
    let bench = Bench::new();
    let program = bench.data.join("agent");
    // What OpenCode prints when no answer of its model ends.
    write_program(
        &program,
        "trap '' TERM INT\n\
         while :; do echo '{\"type\":\"step_finish\",\"part\":{\"reason\":\"unknown\",\"cost\":1e-5}}'; sleep 0.02; done",
    );
    let outcome = bench.outcome(plan_of("a", "opencode", &program)).await;
    assert_eq!((outcome.exit, outcome.signal), (Exit::AgentFailed, Some(9)), "{}", outcome.message);
    assert!(outcome.message.contains("the agent asks again without an end"), "{}", outcome.message);
    assert!(outcome.usage.unwrap().cost_usd.is_some(), "what it used is known");
}

fn write_program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn plan_of(run: &str, kind: &str, program: &Path) -> Plan {
    let mut plan = shell(run, "do it");
    plan.agent.kind = kind.to_owned();
    plan.agent.program = Some(program.to_owned());
    plan.sandbox.readable.push(program.to_owned());
    plan
}

#[tokio::test]
async fn a_script_sees_its_item_and_its_own_variables_and_nothing_of_ours() {
    let bench = Bench::new();
    let mut plan = shell(
        "a",
        "printf '%s|%s|%s|%s\\n' \"$KELOS_ITEM_TITLE\" \"$KEY\" \"$CARGO_MANIFEST_DIR\" \"$KELOS_AGENT_TYPE\"; cat \"$KELOS_ITEM_FILE\"",
    );
    plan.item = Some(json!({"Title": "$(touch /tmp/no) {{.ID}}"}));
    let mut secrets = Secrets::default();
    secrets.environment.insert("KEY".to_owned(), Secret::new("k"));
    bench.executor.start(plan, secrets).await.unwrap();
    assert_eq!(bench.end("a").await.exit, Exit::Succeeded);
    let log = bench.log("a").await;
    assert!(log.contains("$(touch /tmp/no) {{.ID}}|k||shell\n"), "{log}");
    assert!(log.contains("{\"Title\":\"$(touch /tmp/no) {{.ID}}\"}"), "{log}");
}

#[tokio::test]
async fn a_run_begins_once_and_slots_are_counted() {
    let bench = Bench::new();
    bench.outcome(shell("a", "true")).await;
    let again = bench.executor.start(shell("a", "true"), Secrets::default()).await;
    assert!(
        matches!(&again, Err(StartError::Begun { state, .. }) if matches!(**state, RunState::Finished(_))),
        "{again:?}"
    );
    for run in ["b", "c", "d", "e"] {
        bench.executor.start(shell(run, "sleep 600"), Secrets::default()).await.unwrap();
    }
    let full = bench.executor.start(shell("f", "true"), Secrets::default()).await;
    assert!(matches!(full, Err(StartError::NoSlot { total: 4 })), "{full:?}");
    assert_eq!(bench.executor.observe("f").await.unwrap(), RunState::Absent);
    let refused = bench.executor.remove("b").await;
    assert!(refused.is_err(), "a run that runs is not removed");
    for run in ["b", "c", "d", "e"] {
        bench.executor.stop(run, Duration::ZERO).await.unwrap();
    }
    bench.outcome(shell("f", "true")).await;
    assert_eq!(bench.executor.slots().used, 0);
    bench.executor.remove("f").await.unwrap();
    bench.executor.remove("f").await.unwrap();
    assert_eq!(bench.executor.observe("f").await.unwrap(), RunState::Absent);
    for identity in ["", "../a", "a/b", ".new-a", "-a"] {
        assert!(bench.executor.observe(identity).await.is_err(), "{identity}");
    }
}
