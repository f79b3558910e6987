//! `kelos run` makes a Task out of flags, and can wait for its end.

use crate::support::env::TestEnv;

#[test]
fn a_task_is_printed_without_a_server() {
    let env = TestEnv::new();
    let flags = [
        "run",
        "--dry-run",
        "--name",
        "fix",
        "-p",
        "Fix it",
        "--secret",
        "anthropic",
        "--model",
        "opus",
        "--effort",
        "high",
        "--workspace",
        "app",
        "--agent-config",
        "rules",
        "--depends-on",
        "a",
        "--depends-on",
        "b",
        "--branch",
        "fix",
        "--timeout",
        "30m",
        "--env",
        "A=b=c",
        "--image",
        "registry.example.com/agent:1",
        "-y",
    ];
    insta::assert_snapshot!(env.kelos(&flags), @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: Task
    metadata:
      name: fix
    spec:
      agentConfigRef:
        name: rules
      branch: fix
      credentials:
        secretRef:
          name: anthropic
        type: api-key
      dependsOn:
      - a
      - b
      effort: high
      image: registry.example.com/agent:1
      model: opus
      podOverrides:
        activeDeadlineSeconds: 1800
        env:
        - name: A
          value: b=c
      prompt: Fix it
      type: claude-code
      workspaceRef:
        name: app
    ");
}

#[test]
fn several_agent_configs_and_a_prompt_from_standard_input_are_taken() {
    let env = TestEnv::new();
    let configs = [
        "run",
        "--dry-run",
        "-t",
        "shell",
        "-p",
        "x",
        "--agent-config",
        "a",
        "--agent-config",
        "b",
        "--name",
        "n",
    ];
    insta::assert_snapshot!(env.kelos(&configs), @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: Task
    metadata:
      name: 'n'
    spec:
      agentConfigRefs:
      - name: a
      - name: b
      prompt: x
      type: shell
    ");
    insta::assert_snapshot!(env.kelos_with_input(&["run", "--dry-run", "-t", "shell", "--prompt-file", "-", "--name", "n"], "echo 1\necho 2\n"), @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: Task
    metadata:
      name: 'n'
    spec:
      prompt: |
        echo 1
        echo 2
      type: shell
    ");
}

#[test]
fn a_wrong_command_line_says_what_to_do() {
    let env = TestEnv::new();
    insta::assert_snapshot!(env.kelos(&["run"]), @"
    exit: 2
    --- stderr
    error: the following required arguments were not provided:
      --prompt <PROMPT>

    Usage: kelos run --prompt <PROMPT>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(env.kelos(&["run", "-p", "x"]), @"
    exit: 2
    --- stderr
    Error: claude-code needs credentials and no Secret is named
    Hint: 'kelos init' finds the key or login that you have for claude-code; runs take it from then on
    Hint: --secret NAME names a Secret that is there; 'kelos create secret' makes one
    Hint: An agent that needs none runs with --credential-type none
    ");
    insta::assert_snapshot!(env.kelos(&["run", "-p", "x", "-t", "clippy"]), @r#"
    exit: 2
    --- stderr
    error: invalid value 'clippy' for '--type <AGENT>': unknown value "clippy", expected one of: claude-code, codex, gemini, opencode, cursor, shell

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(env.kelos(&["run", "-t", "shell", "--prompt-file", "missing.md"]), @"
    exit: 1
    --- stderr
    Error: cannot read missing.md
    Caused by: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(env.kelos(&["run", "-p", "x", "--env", "A"]), @"
    exit: 2
    --- stderr
    error: invalid value 'A' for '--env <NAME=VALUE>': a variable is given as NAME=VALUE

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(env.kelos(&["run", "-p", "x", "--from", "ts/a"]), @"
    exit: 2
    --- stderr
    error: the argument '--prompt <PROMPT>' cannot be used with '--from <taskspawner/NAME>'

    Usage: kelos run --prompt <PROMPT>

    For more information, try '--help'.
    ");
}

#[test]
fn a_run_is_watched_to_its_end() {
    let env = TestEnv::up();
    let good = env.kelos(&["run", "-t", "shell", "--name", "good", "-p", "echo fine", "--watch"]);
    assert_eq!(good.code, Some(0), "{good}");
    assert!(good.stdout.starts_with("task/good created\n"), "{good}");
    assert!(good.stdout.ends_with("task/good Succeeded\n"), "{good}");
    let bad = env.kelos(&["run", "-t", "shell", "--name", "bad", "-p", "exit 3", "-w"]);
    assert_eq!(bad.code, Some(1), "{bad}");
    assert!(bad.stdout.ends_with("task/bad Failed\n"), "{bad}");
    insta::assert_snapshot!(bad.stderr.lines().skip(1).collect::<Vec<_>>().join("\n"), @"
    the agent ended with exit code 3
    Hint: 'kelos logs bad' shows what it did
    ");
    insta::assert_snapshot!(env.kelos(&["run", "-t", "shell", "--name", "good", "-p", "echo again"]), @r#"
    exit: 1
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Error: the server refused: tasks.kelos.dev "good" already exists
    "#);
    let unnamed = env.kelos(&["run", "-t", "shell", "-p", "echo"]).success();
    let name = unnamed.stdout.strip_prefix("task/task-").unwrap().strip_suffix(" created\n").unwrap();
    assert_eq!(name.len(), 5, "{unnamed}");
}

#[test]
fn a_spawner_is_run_by_hand() {
    let env = TestEnv::up_with(&[(
        "yearly.yaml",
        r#"apiVersion: kelos.dev/v1alpha1
kind: TaskSpawner
metadata:
  name: yearly
spec:
  suspend: true
  when:
    cron:
      schedule: "0 0 1 1 *"
  taskTemplate:
    type: shell
    promptTemplate: echo "$KELOS_TASK_NAME"
"#,
    )]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    let ran = env.kelos(&["run", "--from", "taskspawner/yearly", "--name", "by-hand", "-w"]).success();
    assert!(ran.stdout.ends_with("task/by-hand Succeeded\n"), "{ran}");
    let task = env.object("task", "by-hand").unwrap();
    assert_eq!(task.pointer("/metadata/labels/kelos.dev~1taskspawner"), None);
    assert_eq!(task["metadata"]["annotations"]["kelos.dev/created-from-taskspawner"], "yearly");
    let spawner = env.object("taskspawner", "yearly").unwrap();
    assert_eq!(
        spawner.pointer("/status/totalTasksCreated").and_then(serde_json::Value::as_i64).unwrap_or(0),
        0
    );
    insta::assert_snapshot!(env.kelos(&["run", "--from", "taskspawner/missing"]), @r#"
    exit: 1
    --- stderr
    Error: taskspawners.kelos.dev "missing" not found
    Hint: 'kelos get taskspawners' shows what is there; -n chooses the namespace
    "#);
}

#[test]
fn the_variables_of_an_agent_stand_in_the_reference() {
    let env = TestEnv::up();
    let rules = ["create", "agentconfig", "rules", "--agents-md", "Be brief", "--skill", "look=Look twice"];
    env.kelos(&rules).success();
    let script = "env | sed -n 's/^\\(KELOS_[A-Z_]*\\)=.*/\\1/p'";
    let flags = ["--model", "m", "--effort", "high", "--agent-config", "rules", "--branch", "b"];
    env.kelos(&[&["run", "-t", "shell", "--name", "vars", "-w", "-p", script], &flags[..]].concat())
        .success();
    let found = env.kelos(&["logs", "vars"]).success().stdout;
    let found: Vec<&str> = found.lines().filter(|line| line.starts_with("KELOS_")).collect();
    assert!(found.len() >= 8, "{found:?}");
    for name in found {
        let known = kelos::cli::reference::AGENT_VARIABLES.iter().any(|(known, _)| *known == name);
        assert!(known, "{name} is missing in the reference");
    }
}
