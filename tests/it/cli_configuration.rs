//! A developer who is logged in already gives the login to runs in one step, and no secret is shown on the way.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::env::{Ran, TestEnv};

/// A value that must stand nowhere but in the Secret.
const CANARY: &str = "sk-canary-4711";

const SETTINGS: &str = ".kelos/config.yaml";

fn with_key(env: &TestEnv, arguments: &[&str], key: &str) -> Ran {
    let ran = env.ran(env.command().env("ANTHROPIC_API_KEY", key).args(arguments));
    assert!(!format!("{ran:?}").contains(key), "{ran}");
    ran
}

fn settings(env: &TestEnv) -> String {
    let text = std::fs::read_to_string(env.path("home").join(SETTINGS)).unwrap();
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_key_in_the_environment_is_written_down_by_its_name() {
    let env = TestEnv::new();
    insta::assert_snapshot!(with_key(&env, &["init"], CANARY), @"
    exit: 0
    --- stdout
    [DIR]/home/.kelos/config.yaml written
    --- stderr
    It takes the login of claude-code from ANTHROPIC_API_KEY
    Next: kelos run -p 'Say hello' -w
    ");
    assert_eq!(settings(&env), "type: claude-code\napiKey: \"$ANTHROPIC_API_KEY\"");
    let file = env.path("home").join(SETTINGS);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    insta::assert_snapshot!(env.kelos(&["init"]), @"
    exit: 1
    --- stderr
    Error: [DIR]/home/.kelos/config.yaml is there already
    Hint: Edit it, or overwrite it with --force
    ");
    insta::assert_snapshot!(env.kelos(&["init", "--force", "-t", "gemini"]), @"
    exit: 0
    --- stdout
    [DIR]/home/.kelos/config.yaml written
    --- stderr
    No login of an agent was found
    Hint: export GEMINI_API_KEY=…, or log in with the agent's own program, and run 'kelos init --force'; or put a key into the file
    ");
    assert_eq!(settings(&env), "type: gemini");
}

#[test]
fn the_logins_of_the_agents_own_programs_are_found() {
    let env = TestEnv::new();
    let claude = json!({"claudeAiOauth": {"accessToken": CANARY, "refreshToken": CANARY, "expiresAt": 4_102_444_800_000_u64}});
    env.write("home/.claude/.credentials.json", &claude.to_string());
    env.write("home/.codex/auth.json", &json!({"tokens": {"access_token": CANARY}}).to_string());
    insta::assert_snapshot!(env.kelos(&["init"]), @"
    exit: 0
    --- stdout
    [DIR]/home/.kelos/config.yaml written
    --- stderr
    It takes the login of claude-code from ~/.claude/.credentials.json
    Note: it is good until 2100-01-01 00:00 UTC, and whenever 'claude' has renewed it; 'claude setup-token' makes one that lasts
    Found as well: codex (~/.codex/auth.json); -t chooses another agent, and the file can be edited
    Next: kelos run -p 'Say hello' -w
    ");
    assert_eq!(settings(&env), "type: claude-code\noauthToken: \"@~/.claude/.credentials.json\"");
    env.kelos(&["init", "--force", "--type", "codex"]).success();
    assert_eq!(settings(&env), "type: codex\noauthToken: \"@~/.codex/auth.json\"");
}

/// Returns a configuration with a workspace, whose agents see the key of the Secret that is made of it.
fn configuration(workspace: &str) -> String {
    format!(
        "apiKey: $ANTHROPIC_API_KEY\nmodel: opus\nworkspace:\n  {workspace}\nenv:\n- name: SEEN\n  valueFrom:\n    \
         secretKeyRef:\n      name: kelos-credentials\n      key: ANTHROPIC_API_KEY\n"
    )
}

#[test]
fn a_run_takes_what_the_configuration_says_and_makes_what_is_missing() {
    let env = TestEnv::up();
    env.commit("app", &[("file", "x")]);
    let repository = format!("file://{}", env.path("app").display());
    let local = format!("repo: {repository}\n  ref: main");
    env.write(&format!("home/{SETTINGS}"), &configuration(&local));
    let run = ["run", "-p", "Fix it", "--name"];
    let dry = with_key(&env, &[&run[..], &["fix", "--dry-run"]].concat(), CANARY);
    insta::assert_snapshot!(dry, @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: Workspace
    metadata:
      name: kelos-workspace
    spec:
      ref: main
      repo: file://[DIR]/app
    ---
    apiVersion: kelos.dev/v1alpha1
    kind: Task
    metadata:
      name: fix
    spec:
      credentials:
        secretRef:
          name: kelos-credentials
        type: api-key
      model: opus
      podOverrides:
        env:
        - name: SEEN
          valueFrom:
            secretKeyRef:
              key: ANTHROPIC_API_KEY
              name: kelos-credentials
      prompt: Fix it
      type: claude-code
      workspaceRef:
        name: kelos-workspace
    --- stderr
    secret/kelos-credentials would hold ANTHROPIC_API_KEY
    ");
    insta::assert_snapshot!(with_key(&env, &[&run[..], &["one"]].concat(), CANARY), @"
    exit: 0
    --- stdout
    secret/kelos-credentials created
    workspace/kelos-workspace created
    task/one created
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Hint: 'kelos logs -f one' shows what it does
    ");
    insta::assert_snapshot!(with_key(&env, &[&run[..], &["two", "-o", "name"]].concat(), CANARY), @"
    exit: 0
    --- stdout
    task.kelos.dev/two
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Hint: 'kelos logs -f two' shows what it does
    ");
    // A script gets the variables and the workspace, and no credential of a model.
    env.kelos(&[
        "run",
        "-t",
        "shell",
        "--name",
        "seen",
        "-p",
        "echo $SEEN; ls; env | grep -c ANTHROPIC || true",
        "-w",
    ])
    .success();
    let log = env.kelos(&["logs", "seen"]).success().stdout;
    assert!(log.starts_with("sk-canary-4711\nfile\n0\n"), "{log}");
    assert!(!env.daemon_log().contains(CANARY), "{}", env.daemon_log());
}

#[test]
fn what_differs_is_overwritten_only_when_the_user_agrees() {
    let env = TestEnv::up();
    env.write("home/token", CANARY);
    env.write(&format!("home/{SETTINGS}"), &configuration("repo: https://example.com/web.git"));
    let run = ["run", "-p", "Fix it", "--name"];
    with_key(&env, &[&run[..], &["one"]].concat(), CANARY).success();
    insta::assert_snapshot!(with_key(&env, &[&run[..], &["three"]].concat(), "sk-canary-other"), @"
    exit: 1
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Error: secret/kelos-credentials is left as it is, and nothing was created
    Hint: -y overwrites it
    ");
    assert_eq!(env.object("task", "three"), None);
    insta::assert_snapshot!(with_key(&env, &[&run[..], &["four", "-y"]].concat(), "sk-canary-other"), @"
    exit: 0
    --- stdout
    secret/kelos-credentials updated
    task/four created
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Hint: 'kelos logs -f four' shows what it does
    ");
    // Another repository, and a token for it.
    let other = "repo: https://example.com/app.git\n  token: '@../token'";
    env.write(&format!("home/{SETTINGS}"), &configuration(other));
    insta::assert_snapshot!(with_key(&env, &[&run[..], &["five"]].concat(), "sk-canary-other"), @"
    exit: 1
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Error: workspace/kelos-workspace is left as it is, and nothing was created
    Hint: -y overwrites it
    ");
    let ran = with_key(&env, &[&run[..], &["five", "-y"]].concat(), "sk-canary-other").success();
    let created =
        "secret/kelos-workspace-credentials created\nworkspace/kelos-workspace updated\ntask/five created\n";
    assert_eq!(ran.stdout, created);
    let workspace = env.object("workspace", "kelos-workspace").unwrap();
    assert_eq!(workspace["spec"]["secretRef"]["name"], "kelos-workspace-credentials");
    assert!(!env.daemon_log().contains("sk-canary"), "{}", env.daemon_log());
}

#[test]
fn flags_come_before_the_configuration_and_a_credential_is_for_its_agent() {
    let env = TestEnv::new();
    env.write(
        "settings.yaml",
        "type: codex\nsecret: mine\ncredentialType: oauth\nmodel: m\neffort: high\nagentConfig: rules\nnamespace: team\n\
         workspace: {name: app}\nenv:\n- {name: A, value: a}\n- {name: B, value: b}\n",
    );
    let dry = ["run", "--config", "settings.yaml", "--dry-run", "--name", "fix", "-p", "Fix it"];
    insta::assert_snapshot!(env.kelos(&dry), @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: Task
    metadata:
      name: fix
      namespace: team
    spec:
      agentConfigRef:
        name: rules
      credentials:
        secretRef:
          name: mine
        type: oauth
      effort: high
      model: m
      podOverrides:
        env:
        - name: A
          value: a
        - name: B
          value: b
      prompt: Fix it
      type: codex
      workspaceRef:
        name: app
    ");
    let flags = [
        "-t",
        "gemini",
        "--secret",
        "other",
        "--credential-type",
        "api-key",
        "--agent-config",
        "own",
        "-n",
        "mine",
        "--workspace",
        "web",
        "--env",
        "B=c",
    ];
    insta::assert_snapshot!(env.kelos(&[&dry[..], &flags].concat()), @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: Task
    metadata:
      name: fix
      namespace: mine
    spec:
      agentConfigRef:
        name: own
      credentials:
        secretRef:
          name: other
        type: api-key
      podOverrides:
        env:
        - name: A
          value: a
        - name: B
          value: c
      prompt: Fix it
      type: gemini
      workspaceRef:
        name: web
    ");
    insta::assert_snapshot!(env.kelos(&[&dry[..], &["-t", "claude-code"]].concat()), @"
    exit: 2
    --- stderr
    Error: claude-code needs credentials and no Secret is named
    Hint: The credential in settings.yaml is for codex; -t codex would take it
    Hint: --secret NAME names a Secret that is there; 'kelos create secret' makes one
    Hint: An agent that needs none runs with --credential-type none
    ");
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_with_its_line() {
    let env = TestEnv::new();
    env.write(&format!("home/{SETTINGS}"), &format!("type: codex\napikey: {CANARY}\n"));
    insta::assert_snapshot!(env.kelos(&["run", "-p", "x"]), @"
    exit: 1
    --- stderr
    Error: [DIR]/home/.kelos/config.yaml:2: there is no field 'apikey'
    Hint: Did you mean 'apiKey'?
    ");
    insta::assert_snapshot!(env.kelos(&["run", "-p", "x", "--config", "none.yaml"]), @"
    exit: 1
    --- stderr
    Error: cannot read the configuration none.yaml
    Caused by: No such file or directory (os error 2)
    ");
    let env = TestEnv::up();
    env.write(&format!("home/{SETTINGS}"), &format!("apiKey: {CANARY}\n"));
    let exposed = env.kelos(&["run", "-p", "x", "--name", "one"]).success();
    assert!(exposed.stderr.contains("holds a secret and others may read it"), "{exposed}");
    env.write(&format!("home/{SETTINGS}"), "apiKey: $KELOS_TEST_UNSET_KEY\n");
    insta::assert_snapshot!(env.kelos(&["run", "-p", "x", "--name", "two"]), @"
    exit: 1
    --- stderr
    Error: the variable KELOS_TEST_UNSET_KEY, which the configuration names, is not set
    Hint: export KELOS_TEST_UNSET_KEY=…, or run 'kelos init --force' to look for another login
    ");
}

#[test]
fn a_secret_is_made_from_variables_files_and_standard_input_and_never_from_the_command_line() {
    let env = TestEnv::up();
    env.write("file", &format!("{CANARY}-file\n"));
    let create =
        ["create", "secret", "keys", "ANTHROPIC_API_KEY", "FILE=@file", "OTHER=env:ANTHROPIC_API_KEY"];
    insta::assert_snapshot!(with_key(&env, &create, CANARY), @"
    exit: 0
    --- stdout
    secret/keys created
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    insta::assert_snapshot!(with_key(&env, &create, CANARY), @"
    exit: 0
    --- stdout
    secret/keys unchanged
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    insta::assert_snapshot!(env.kelos_with_input(&["create", "secret", "keys", "FILE=-"], CANARY), @"
    exit: 1
    --- stderr
    on [SERVER] (from the running 'kelos up')
    Error: secret/keys is left as it is, and nothing was created
    Hint: -y overwrites it
    ");
    env.kelos_with_input(&["create", "secret", "keys", "FILE=-", "-y"], "from-input\n").success();
    let variable = "valueFrom: {secretKeyRef: {name: keys, key: FILE}}";
    env.write("settings.yaml", &format!("env:\n- name: SEEN\n  {variable}\n"));
    env.kelos(&[
        "run",
        "--config",
        "settings.yaml",
        "-t",
        "shell",
        "--name",
        "seen",
        "-p",
        "echo \"<$SEEN>\"",
        "-w",
    ])
    .success();
    assert_eq!(env.kelos(&["logs", "seen"]).success().stdout, "<from-input>\n");
    let literal = env.kelos(&["create", "secret", "keys", &format!("KEY={CANARY}")]);
    insta::assert_snapshot!(literal, @"
    exit: 2
    --- stderr
    Error: the value of KEY is not taken from the command line
    Hint: Others could see it there. Use KEY=@FILE, KEY=- or the variable KEY
    ");
    let token = ["create", "workspace", "app", "--repo", "https://example.com/app.git", "--token", "-"];
    let ran = env.kelos_with_input(&token, CANARY).success();
    assert_eq!(ran.stdout, "secret/app-credentials created\nworkspace/app created\n");
}
