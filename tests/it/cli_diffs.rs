//! `kelos diff` tells reviewers what will behave differently, and changes nothing.

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
    promptTemplate: |
      echo one
      echo two
      echo three
"#;

fn workspace(name: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec:\n  repo: https://example.com/{name}.git\n"
    )
}

fn task(name: &str, script: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\nspec:\n  type: shell\n  prompt: {script}\n"
    )
}

/// Commits definitions, and then changes one of each kind in the working copy.
fn changed(env: &TestEnv) -> String {
    let (app, old) = (workspace("app"), workspace("old"));
    let (hello, bye) = (task("hello", "echo hello"), task("bye", "echo bye"));
    let files = [
        ("app.yaml", app.as_str()),
        ("old.yaml", &old),
        ("spawner.yaml", SPAWNER),
        ("hello.yaml", &hello),
        ("bye.yaml", &bye),
    ];
    let commit = env.commit("config", &files);
    env.write(
        "config/spawner.yaml",
        &SPAWNER.replace("0 0 1 1 *", "30 6 1 1 *").replace("echo two", "echo 2"),
    );
    env.write("config/hello.yaml", &task("hello", "echo hello again"));
    env.write("config/more/new.yaml", &task("new", "echo new"));
    env.write("config/more/docs.yaml", &workspace("docs"));
    std::fs::remove_file(env.path("config/old.yaml")).unwrap();
    commit
}

#[test]
fn a_folder_is_compared_with_a_revision() {
    let env = TestEnv::new();
    changed(&env);
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--offline"]), @r#"
    exit: 1
    --- stdout
    + Workspace/docs   (more/docs.yaml:1)
    ~ TaskSpawner/yearly   (spawner.yaml:1)
        $.spec.taskTemplate.promptTemplate:
            echo one
          - echo two
          + echo 2
            echo three
        $.spec.when.cron.schedule: "0 0 1 1 *" -> "30 6 1 1 *"
        fires next [TIME], before: [TIME]
    > Task/hello will run again   (hello.yaml:1)
        $.spec.prompt: "echo hello" -> "echo hello again"
    > Task/new will run   (more/new.yaml:1)
    - Workspace/old
    --- stderr
    1 added, 1 changed, 1 removed, 2 to run
    "#);
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--from", "main", "-o", "json"]), @r#"
    exit: 1
    --- stdout
    {
      "findings": [],
      "notices": [],
      "objects": [
        {
          "effect": "added",
          "fields": [],
          "file": "more/docs.yaml",
          "kind": "Workspace",
          "line": 1,
          "name": "docs"
        },
        {
          "effect": "changed",
          "fields": [
            {
              "after": "echo one\necho 2\necho three\n",
              "before": "echo one\necho two\necho three\n",
              "path": "$.spec.taskTemplate.promptTemplate"
            },
            {
              "after": "30 6 1 1 *",
              "before": "0 0 1 1 *",
              "path": "$.spec.when.cron.schedule"
            }
          ],
          "file": "spawner.yaml",
          "fires": {
            "after": "[TIME]",
            "before": "[TIME]"
          },
          "kind": "TaskSpawner",
          "line": 1,
          "name": "yearly"
        },
        {
          "effect": "runsAgain",
          "fields": [
            {
              "after": "echo hello again",
              "before": "echo hello",
              "path": "$.spec.prompt"
            }
          ],
          "file": "hello.yaml",
          "kind": "Task",
          "line": 1,
          "name": "hello"
        },
        {
          "effect": "runs",
          "fields": [],
          "file": "more/new.yaml",
          "kind": "Task",
          "line": 1,
          "name": "new"
        },
        {
          "effect": "removed",
          "fields": [],
          "file": "",
          "kind": "Workspace",
          "line": 0,
          "name": "old"
        }
      ]
    }
    "#);
}

#[test]
fn two_revisions_and_parts_are_compared_and_faults_are_told() {
    let env = TestEnv::new();
    changed(&env);
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--from", "main", "--to", "HEAD"]), @"
    exit: 0
    --- stderr
    no changes
    ");
    insta::assert_snapshot!(env.kelos(&["diff", "config/more", "--offline"]), @"
    exit: 1
    --- stdout
    + Workspace/docs   (docs.yaml:1)
    > Task/new will run   (new.yaml:1)
    --- stderr
    1 added, 1 to run
    ");
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--from", "nowhere"]), @"
    exit: 2
    --- stderr
    Error: cannot read revision 'nowhere' of config
    Caused by: config has no nowhere
    Hint: A revision is a branch, tag or commit of the working copy that the folder is in
    ");
    insta::assert_snapshot!(env.kelos(&["diff", "home", "--offline"]), @"
    exit: 2
    --- stderr
    Error: cannot read revision 'HEAD' of home
    Caused by: git rev-parse failed: fatal: not a git repository (or any of the parent directories): .git
    Hint: A revision is a branch, tag or commit of the working copy that the folder is in
    ");
    insta::assert_snapshot!(env.kelos(&["diff", "config"]), @"
    exit: 2
    --- stderr
    Error: no server is known
    Hint: Start one with 'kelos up', or name a cluster with --kubeconfig
    ");
    env.write("config/more/new.yaml", &task("new", "echo new").replace("prompt", "promt"));
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--offline"]), @r#"
    exit: 2
    --- stdout
    error[missing-field]: spec.prompt is required
     --> more/new.yaml:5:1
      |
    5 | spec:
      | ^
      = at $.spec.prompt

    error[unknown-field]: there is no field spec.promt
     --> more/new.yaml:7:3
      |
    7 |   promt: echo new
      |   ^
      = at $.spec.promt
      = help: did you mean "prompt"?

    --- stderr
    nothing would be applied: the definitions have errors
    "#);
}

#[test]
fn a_folder_is_compared_with_the_server() {
    let mut env = TestEnv::new();
    let commit = changed(&env);
    let repository = env.path("config").display().to_string();
    env.start(&["--repo", &repository, "--interval", "1s"]);
    env.applied(&commit);
    env.task_ended("hello");
    env.task_ended("bye");
    insta::assert_snapshot!(env.kelos(&["diff", "config"]), @r#"
    exit: 1
    --- stdout
    + Workspace/docs   (more/docs.yaml:1)
    ~ TaskSpawner/yearly   (spawner.yaml:1)
        $.spec.taskTemplate.promptTemplate:
            echo one
          - echo two
          + echo 2
            echo three
        $.spec.when.cron.schedule: "0 0 1 1 *" -> "30 6 1 1 *"
        fires next [TIME], before: [TIME]
    > Task/hello will run again   (hello.yaml:1)
        $.spec.prompt: "echo hello" -> "echo hello again"
    > Task/new will run   (more/new.yaml:1)
    - Workspace/old
    --- stderr
    against [SERVER] (from the running 'kelos up')
    1 added, 1 changed, 1 removed, 2 to run
    "#);
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--to", "HEAD"]), @"
    exit: 0
    --- stderr
    against [SERVER] (from the running 'kelos up')
    no changes
    ");
    // A Task that ran does not run again because its object is gone, and a person's suspension stays.
    env.kelos(&["delete", "task", "bye"]).success();
    env.kelos(&["suspend", "taskspawner", "yearly"]).success();
    env.until("bye is gone", |env| env.object("task", "bye").is_none().then_some(()));
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--to", "main"]), @"
    exit: 0
    --- stdout
    ! TaskSpawner/yearly was suspended by hand and stays suspended
    --- stderr
    against [SERVER] (from the running 'kelos up')
    no changes
    ");
    assert_eq!(env.object("workspace", "docs"), None, "a comparison changes nothing");
    std::fs::remove_file(env.path("config/app.yaml")).unwrap();
    std::fs::remove_file(env.path("config/bye.yaml")).unwrap();
    std::fs::remove_file(env.path("config/spawner.yaml")).unwrap();
    insta::assert_snapshot!(env.kelos(&["diff", "config"]), @r#"
    exit: 1
    --- stdout
    + Workspace/docs   (more/docs.yaml:1)
    > Task/hello will run again   (hello.yaml:1)
        $.spec.prompt: "echo hello" -> "echo hello again"
    > Task/new will run   (more/new.yaml:1)
    - TaskSpawner/yearly would be removed with so many others that it waits for a confirmation
    - Workspace/app would be removed with so many others that it waits for a confirmation
    - Workspace/old would be removed with so many others that it waits for a confirmation
    --- stderr
    against [SERVER] (from the running 'kelos up')
    1 added, 3 removed, 2 to run
    "#);
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--repository", "other"]), @"
    exit: 2
    --- stderr
    Error: there is no ConfigRepository 'other' in default on [SERVER]
    Hint: --repository names another one; --offline compares with a revision and asks no server
    ");
}

#[test]
fn a_part_of_a_config_repository_is_compared_by_its_path() {
    let mut env = TestEnv::new();
    let commit = env.commit(
        "config",
        &[
            ("teams/web/site.yaml", &workspace("site")),
            ("teams/web/old.yaml", &workspace("old")),
            ("teams/data/lake.yaml", &workspace("lake")),
        ],
    );
    env.write("config/teams/web/site.yaml", &workspace("site").replace("example.com", "example.org"));
    env.write("config/teams/web/shop/shop.yaml", &workspace("shop"));
    env.write("config/teams/data/pond.yaml", &workspace("pond"));
    std::fs::remove_file(env.path("config/teams/web/old.yaml")).unwrap();
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--offline"]), @r#"
    exit: 1
    --- stdout
    + Workspace/pond   (teams/data/pond.yaml:1)
    + Workspace/shop   (teams/web/shop/shop.yaml:1)
    ~ Workspace/site   (teams/web/site.yaml:1)
        $.spec.repo: "https://example.com/site.git" -> "https://example.org/site.git"
    - Workspace/old
    --- stderr
    2 added, 1 changed, 1 removed
    "#);
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--path", "teams/web", "--offline"]), @r#"
    exit: 1
    --- stdout
    + Workspace/shop   (shop/shop.yaml:1)
    ~ Workspace/site   (site.yaml:1)
        $.spec.repo: "https://example.com/site.git" -> "https://example.org/site.git"
    - Workspace/old
    --- stderr
    1 added, 1 changed, 1 removed
    "#);
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--path", "teams/data/", "--from", "main"]), @"
    exit: 1
    --- stdout
    + Workspace/pond   (pond.yaml:1)
    --- stderr
    1 added
    ");
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--path", "teams/none", "--offline"]), @"
    exit: 2
    --- stderr
    Error: cannot read config/teams/none
    Caused by: config/teams/none: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--path", "../home", "--offline"]), @"
    exit: 2
    --- stderr
    Error: --path ../home leads out of the folder
    ");

    let repository = env.path("config").display().to_string();
    env.start(&["--repo", &repository, "--path", "teams/web", "--interval", "1s"]);
    env.applied(&commit);
    // The server knows which folder is meant.
    insta::assert_snapshot!(env.kelos(&["diff", "config"]), @r#"
    exit: 1
    --- stdout
    + Workspace/shop   (shop/shop.yaml:1)
    ~ Workspace/site   (site.yaml:1)
        $.spec.repo: "https://example.com/site.git" -> "https://example.org/site.git"
    - Workspace/old
    --- stderr
    against [SERVER] (from the running 'kelos up')
    1 added, 1 changed, 1 removed
    "#);
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--path", "teams/web", "--to", "HEAD"]), @"
    exit: 0
    --- stderr
    against [SERVER] (from the running 'kelos up')
    no changes
    ");
    insta::assert_snapshot!(env.kelos(&["diff", "config", "--path", "teams/data"]), @"
    exit: 1
    --- stdout
    + Workspace/lake   (lake.yaml:1)
    + Workspace/pond   (pond.yaml:1)
    - Workspace/old would be removed with so many others that it waits for a confirmation
    - Workspace/site would be removed with so many others that it waits for a confirmation
    --- stderr
    against [SERVER] (from the running 'kelos up')
    2 added, 2 removed
    ");
}
