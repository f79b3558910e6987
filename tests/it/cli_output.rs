//! Output is harmless on a terminal, exact for programs, and may be read as far as one likes.

use std::process::Stdio;

use kelos::process;

use crate::run_bench::SEARCH_PATH;
use crate::support::env::TestEnv;

const HOSTILE: &str = r"printf '\033]0;title\007\033[2Jgone\rEVIL \033[31mred\033[0m\n'
echo ---KELOS_OUTPUTS_START---
printf 'note: \033]52;c;aGk=\007\n'
echo ---KELOS_OUTPUTS_END---
";

#[test]
fn what_an_agent_prints_does_not_reach_the_terminal_as_a_command() {
    let env = TestEnv::up();
    env.kelos(&["run", "-t", "shell", "--name", "evil", "-p", HOSTILE, "-w"]).success();
    let log = env.kelos(&["logs", "evil"]).success().stdout;
    assert!(log.contains("\u{1b}]0;title\u{7}"), "programs get the bytes: {log:?}");
    for people in [&["get", "task", "evil", "-d"][..], &["get", "tasks"], &["get", "runs"]] {
        let text = env.kelos(people).success().stdout;
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    }
    let Some(script) = process::find("script", SEARCH_PATH.as_ref()) else {
        return crate::support::say("SKIPPED: there is no program 'script', which makes a terminal");
    };
    for shown in ["logs evil", "logs --raw evil", "get task evil -d", "get task evil -o yaml"] {
        let line = format!("{} {shown}", env!("CARGO_BIN_EXE_kelos"));
        let ran = env.ran(env.program(&script, None).args(["-qec", &line, "/dev/null"])).success();
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stdout.contains('\u{7}'), "{shown}: {:?}", ran.stdout);
        assert!(ran.stdout.contains("aGk="), "{shown}: {:?}", ran.stdout);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let env = TestEnv::up();
    env.kelos(&["run", "-t", "shell", "--name", "one", "-p", "echo hello", "-w"]).success();
    for arguments in [
        &["get", "tasks", "-o", "yaml"][..],
        &["get", "runs"],
        &["logs", "one"],
        &["get", "tasks", "-w"],
        &["completion", "bash"],
        &["new", "config"],
    ] {
        let mut command = env.command();
        let mut child =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn names_that_are_none_never_become_a_request() {
    let env = TestEnv::up();
    for name in ["..", "../secrets/x", "a?watch=true", "a/log", "A", "", "a b", "a\u{1b}[31m"] {
        for command in
            [&["get", "task"][..], &["delete", "task"], &["logs"], &["suspend", "ts"], &["history"]]
        {
            let ran = env.kelos(&[command, &[name]].concat());
            assert_eq!(ran.code, Some(2), "{command:?} {name:?}: {ran}");
        }
        let ran = env.kelos(&["get", "tasks", "-n", name]);
        assert_eq!(ran.code, Some(2), "namespace {name:?}: {ran}");
    }
}

#[test]
fn what_exists_only_upstream_says_so() {
    let env = TestEnv::new();
    insta::assert_snapshot!(env.kelos(&["install", "--dry-run"]), @"
    exit: 2
    --- stderr
    Error: there is nothing to install: this version runs on one machine
    Hint: 'kelos up' starts it, in the foreground; 'kelos down' stops it
    ");
    insta::assert_snapshot!(env.kelos(&["get", "sessions"]), @"
    exit: 2
    --- stderr
    error: invalid value 'sessions' for '<KIND>': the kind 'sessions' of upstream is not served here; known are task, taskspawner, workspace, agentconfig, configrepository, runrecord, runs

    For more information, try '--help'.
    ");
}
