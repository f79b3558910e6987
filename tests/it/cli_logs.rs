//! Logs are shown while they grow and after, and why there is none.

use crate::support::env::TestEnv;

#[test]
fn the_log_of_a_shell_task_is_shown_as_it_is() {
    let env = TestEnv::up();
    let script = r#"echo "{\"type\":\"user\"}"; printf 'no end'"#;
    env.kelos(&["run", "-t", "shell", "-p", script, "--name", "talker"]).success();
    let followed = env.kelos(&["logs", "-f", "talker"]).success();
    assert!(followed.stdout.contains("{\"type\":\"user\"}\n"), "{followed}");
    env.task_ended("talker");
    insta::assert_snapshot!(env.kelos(&["logs", "talker"]), @r#"
    exit: 0
    --- stdout
    {"type":"user"}
    no end[no newline]
    "#);
    insta::assert_snapshot!(env.kelos(&["logs", "nobody"]), @r#"
    exit: 1
    --- stderr
    Error: tasks.kelos.dev "nobody" not found
    Hint: 'kelos get tasks' shows what is there; -n chooses the namespace
    "#);
}

#[test]
fn a_task_that_waits_has_no_log_yet() {
    let env = TestEnv::up();
    env.kelos(&["run", "-t", "shell", "-p", "echo", "--name", "late", "--depends-on", "never"]).success();
    env.until("it waits", |env| {
        let task = env.object("task", "late")?;
        (task.pointer("/status/phase")? == "Waiting").then_some(())
    });
    insta::assert_snapshot!(env.kelos(&["logs", "late"]), @"
    exit: 1
    --- stderr
    Error: the Task late has no log: its phase is Waiting
    Hint: -f waits for the run to begin
    ");
}

#[test]
fn a_task_that_failed_before_it_ran_says_why() {
    let env = TestEnv::up();
    env.kelos(&["run", "-t", "shell", "-p", "exit 3", "--name", "first"]).success();
    env.kelos(&["run", "-t", "shell", "-p", "true", "--name", "second", "--depends-on", "first"]).success();
    env.task_ended("second");
    for arguments in [&["logs", "second"][..], &["logs", "-f", "second"]] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(env.kelos(arguments), @"
            exit: 1
            --- stderr
            Error: the Task second failed before it ran: the Task first, on which it depends, failed
            ");
        }
    }
}
