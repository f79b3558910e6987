//! Commands that change objects say what they did, on which server, and can be repeated.

use std::process::Stdio;

use crate::support::env::TestEnv;

const SPAWNER: &str = r#"apiVersion: kelos.dev/v1alpha1
kind: TaskSpawner
metadata:
  name: yearly
spec:
  when:
    cron:
      schedule: "0 0 1 1 *"
  taskTemplate:
    type: shell
    promptTemplate: echo
"#;

#[test]
fn objects_are_created_from_flags() {
    let env = TestEnv::up();
    let workspace = ["create", "workspace", "app", "--repo", "https://example.com/app.git", "--ref", "main"];
    insta::assert_snapshot!(env.kelos(&[&workspace[..], &["--secret", "github", "--dry-run"]].concat()), @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: Workspace
    metadata:
      name: app
    spec:
      ref: main
      repo: https://example.com/app.git
      secretRef:
        name: github
    ");
    insta::assert_snapshot!(env.kelos(&[&workspace[..], &["--token", "hunter2"]].concat()), @"
    exit: 0
    --- stdout
    secret/app-credentials created
    workspace/app created
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    insta::assert_snapshot!(env.kelos(&workspace), @r#"
    exit: 1
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Error: the server refused: workspaces.kelos.dev "app" already exists
    "#);
    let second = ["create", "ws", "app", "--repo", "https://example.com/app.git", "--token", "other"];
    insta::assert_snapshot!(env.kelos(&second), @"
    exit: 1
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Error: secret/app-credentials is left as it is, and nothing was created
    Hint: -y overwrites it
    ");
    let bad = ["create", "workspace", "Bad", "--repo", "https://example.com/app.git"];
    insta::assert_snapshot!(env.kelos(&bad), @r#"
    exit: 1
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Error: the server refused: Workspace.kelos.dev "Bad" is invalid: metadata.name: Invalid value: "Bad": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#);
    env.write("rules.md", "Be brief.\nBe kind.\n");
    let config = [
        "create",
        "agentconfig",
        "rules",
        "--agents-md",
        "@rules.md",
        "--skill",
        "review=Look twice",
        "--agent",
        "tester=Test",
        "--mcp",
        r#"docs={"type":"http","url":"https://example.com/mcp"}"#,
        "--skills-sh",
        "team/skills:one",
    ];
    insta::assert_snapshot!(env.kelos(&[&config[..], &["--dry-run"]].concat()), @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: AgentConfig
    metadata:
      name: rules
    spec:
      agentsMD: |-
        Be brief.
        Be kind.
      mcpServers:
      - name: docs
        type: http
        url: https://example.com/mcp
      plugins:
      - agents:
        - content: Test
          name: tester
        name: kelos
        skills:
        - content: Look twice
          name: review
      skills:
      - skill: one
        source: team/skills
    ");
    insta::assert_snapshot!(env.kelos(&config), @"
    exit: 0
    --- stdout
    agentconfig/rules created
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    insta::assert_snapshot!(env.kelos(&["create", "ac", "x", "--mcp", "docs=[]"]), @r#"
    exit: 2
    --- stderr
    Error: --mcp docs has to be a JSON object
    Hint: As in --mcp 'github={"type":"http","url":"https://example.com/mcp"}'
    "#);
}

#[test]
fn a_person_suspends_and_git_does_not_undo_it() {
    let env = TestEnv::up_with(&[("spawner.yaml", SPAWNER)]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    insta::assert_snapshot!(env.kelos(&["resume", "taskspawner", "yearly"]), @"
    exit: 0
    --- stdout
    taskspawner/yearly is not suspended
    ");
    insta::assert_snapshot!(env.kelos(&["suspend", "ts", "yearly"]), @"
    exit: 0
    --- stdout
    taskspawner/yearly suspended
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    insta::assert_snapshot!(env.kelos(&["suspend", "taskspawner", "yearly"]), @"
    exit: 0
    --- stdout
    taskspawner/yearly is already suspended
    ");
    let commit = env.commit("config", &[("spawner.yaml", &SPAWNER.replace("echo", "echo changed"))]);
    env.applied(&commit);
    let spawner = env.object("taskspawner", "yearly").unwrap();
    assert_eq!(spawner["spec"]["suspend"], true);
    assert_eq!(spawner["spec"]["taskTemplate"]["promptTemplate"], "echo changed");
    insta::assert_snapshot!(env.kelos(&["resume", "taskspawner", "yearly"]), @"
    exit: 0
    --- stdout
    taskspawner/yearly resumed
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    assert_eq!(env.object("taskspawner", "yearly").unwrap()["spec"]["suspend"], false);
    insta::assert_snapshot!(env.kelos(&["suspend", "task", "yearly"]), @"
    exit: 2
    --- stderr
    error: invalid value 'task' for '<KIND>': this command takes a taskspawner

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(env.kelos(&["suspend", "taskspawner", "nightly"]), @r#"
    exit: 1
    --- stderr
    Error: taskspawners.kelos.dev "nightly" not found
    Hint: 'kelos get taskspawners' shows what is there; -n chooses the namespace
    "#);
}

#[test]
fn objects_are_deleted_by_name_or_all() {
    let env = TestEnv::up();
    for name in ["one", "two"] {
        env.kelos(&["run", "-t", "shell", "-p", "echo", "--name", name, "-w"]).success();
    }
    insta::assert_snapshot!(env.kelos(&["delete", "task"]), @"
    exit: 2
    --- stderr
    error: the following required arguments were not provided:
      <NAME>

    Usage: kelos delete <KIND> <NAME>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(env.kelos(&["delete", "task", "three"]), @r#"
    exit: 1
    --- stderr
    Error: tasks.kelos.dev "three" not found
    Hint: 'kelos get tasks' shows what is there; -n chooses the namespace
    "#);
    insta::assert_snapshot!(env.kelos(&["delete", "task", "one"]), @"
    exit: 0
    --- stdout
    task/one deleted
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    env.until("it is gone", |env| env.object("task", "one").is_none().then_some(()));
    insta::assert_snapshot!(env.kelos(&["delete", "tasks", "--all"]), @"
    exit: 0
    --- stdout
    task/two deleted
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    env.until("all Tasks are gone", |env| (env.kelos(&["get", "tasks"]).stdout.is_empty()).then_some(()));
    insta::assert_snapshot!(env.kelos(&["delete", "tasks", "--all"]), @"
    exit: 0
    --- stderr
    No tasks in default
    ");
}

#[test]
fn what_git_defines_comes_back() {
    let env = TestEnv::up_with(&[("spawner.yaml", SPAWNER)]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    insta::assert_snapshot!(env.kelos(&["delete", "taskspawner", "yearly"]), @"
    exit: 0
    --- stdout
    taskspawner/yearly deleted
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Hint: git defines taskspawner/yearly (spawner.yaml); it comes back unless it leaves the config repository too
    ");
    env.until("it is back", |env| env.object("taskspawner", "yearly"));
}

/// Returns the server that a command which changes something names.
fn server(env: &TestEnv) -> String {
    let said = env.kelos(&["run", "-t", "shell", "-p", "true"]).stderr;
    said.lines()
        .find(|line| line.starts_with("on "))
        .unwrap_or_else(|| panic!("no server: {said}"))
        .to_owned()
}

#[test]
fn of_daemons_beside_each_other_the_last_one_that_runs_is_meant() {
    let env = TestEnv::up();
    let first = server(&env);
    let mut second = env.command();
    let mut second = second.args(["up", "--data-dir", "second"]).stdout(Stdio::null()).spawn().unwrap();
    env.until("the second is meant", |env| (server(env) != first).then_some(()));
    second.kill().unwrap();
    second.wait().unwrap();
    assert_eq!(server(&env), first, "it goes on, and what is left of the other names nobody");
}

#[test]
fn a_kubeconfig_that_is_not_there_is_no_reason_to_take_another_server() {
    let env = TestEnv::up();
    for kubeconfig in ["mistyped", "mistyped:another"] {
        let ran = env.ran(env.command().env("KUBECONFIG", kubeconfig).args(["delete", "tasks", "--all"]));
        assert!(
            ran.stderr.contains(&format!("KUBECONFIG names no file that is there: {kubeconfig}")),
            "{ran}"
        );
        assert!(!ran.stderr.contains("on https"), "{ran}");
    }
    let kubeconfig = format!("mistyped:{}", env.data_dir().join("kubeconfig").display());
    env.ran(env.command().env("KUBECONFIG", kubeconfig).args(["get", "tasks"])).success();
}
