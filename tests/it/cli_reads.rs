//! What commands that only read print, and with which exit status.

use crate::support::env::TestEnv;

#[test]
fn without_a_server_the_user_is_told_how_to_have_one() {
    let env = TestEnv::new();
    insta::assert_snapshot!(env.kelos(&["get", "tasks"]), @"
    exit: 1
    --- stderr
    Error: no server is known
    Hint: Start one with 'kelos up', or name a cluster with --kubeconfig
    ");
}

#[test]
fn a_running_daemon_is_found_by_itself() {
    let mut env = TestEnv::up();
    insta::assert_snapshot!(env.kelos(&["get", "tasks"]), @"
    exit: 0
    --- stderr
    No tasks in default
    ");
    if let Some(ran) = env.kubectl(&["get", "tasks"]) {
        insta::assert_snapshot!(ran, @"
        exit: 0
        --- stderr
        No resources found in default namespace.
        ");
    }
    insta::assert_snapshot!(env.kelos(&["version"]), @"
    exit: 0
    --- stdout
    kelos 0.1.0
    server v1.37.0+kelos.0.1.0 at [SERVER]
    ");
    insta::assert_snapshot!(env.kelos(&["version", "--client"]), @"
    exit: 0
    --- stdout
    kelos 0.1.0
    ");
    assert_eq!(env.stop(), Some(0));
    insta::assert_snapshot!(env.kelos(&["version"]), @"
    exit: 0
    --- stdout
    kelos 0.1.0
    ");
}

/// A repository with one object of each kind that git may define.
const FILES: &[(&str, &str)] = &[
    (
        "objects.yaml",
        r#"apiVersion: kelos.dev/v1alpha1
kind: Workspace
metadata:
  name: app
spec:
  repo: https://example.com/team/app.git
  ref: main
---
apiVersion: kelos.dev/v1alpha1
kind: AgentConfig
metadata:
  name: house-rules
spec:
  agentsMD: Be brief.
  skills:
    - source: team/skills
---
apiVersion: kelos.dev/v1alpha1
kind: TaskSpawner
metadata:
  name: yearly
spec:
  when:
    cron:
      schedule: "0 0 1 1 *"
  taskTemplate:
    type: shell
    promptTemplate: echo happy new year
"#,
    ),
    (
        "tasks/hello.yaml",
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: hello\nspec:\n  type: shell\n  prompt: echo hello\n",
    ),
];

#[test]
fn any_address_of_this_machine_alone_can_be_listened_on() {
    let mut env = TestEnv::new();
    env.start(&["--listen", "127.0.0.2:0"]);
    assert_eq!(env.address().ip().to_string(), "127.0.0.2");
    // Clients check that the certificate is for the address that they ask.
    env.kelos(&["get", "tasks"]).success();
    assert!(env.list("tasks").is_empty());
}

#[test]
fn objects_are_listed_as_tables() {
    let env = TestEnv::up_with(FILES);
    let commit = env.git("config", &["rev-parse", "HEAD"]);
    env.applied(&commit);
    env.task_ended("hello");
    for (kind, name) in [("taskspawner", "yearly"), ("workspace", "app"), ("agentconfig", "house-rules")] {
        assert!(env.object(kind, name).is_some(), "{kind} {name}");
    }
    insta::assert_snapshot!(env.kelos(&["get", "tasks"]).success(), @"
    exit: 0
    --- stdout
    NAME   TYPE   PHASE   BRANCH   WORKSPACE   AGENT CONFIG   DURATION   AGE
    hello   shell   Succeeded   -   -   -   [SPAN]   [SPAN]
    ");
    insta::assert_snapshot!(env.kelos(&["get", "task", "hello", "-A"]), @"
    exit: 2
    --- stderr
    error: the argument '[NAME]' cannot be used with '--all-namespaces'

    Usage: kelos get <KIND> <NAME>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(env.kelos(&["get", "ts", "-A"]), @"
    exit: 0
    --- stdout
    NAMESPACE   NAME   SOURCE   PHASE   DISCOVERED   TASKS   AGE
    default   yearly   cron: 0 0 1 1 *   Running   0   0   [SPAN]
    ");
    insta::assert_snapshot!(env.kelos(&["get", "ws"]), @"
    exit: 0
    --- stdout
    NAME   REPO   REF   AGE
    app   https://example.com/team/app.git   main   [SPAN]
    ");
    insta::assert_snapshot!(env.kelos(&["get", "ac"]), @"
    exit: 0
    --- stdout
    NAME   PLUGINS   SKILLS   MCP SERVERS   AGE
    house-rules   0   1   0   [SPAN]
    ");
    insta::assert_snapshot!(env.kelos(&["get", "cfg"]), @"
    exit: 0
    --- stdout
    NAME   URL   READY   REASON   REVISION   AGE
    default   [DIR]/config   True   Applied   [SHORT]   [SPAN]
    ");
}

#[test]
fn objects_are_chosen_and_printed_for_programs() {
    let env = TestEnv::up_with(FILES);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    env.task_ended("hello");
    insta::assert_snapshot!(env.kelos(&["get", "task", "--phase", "failed"]), @"
    exit: 0
    --- stderr
    No tasks in phase Failed in default
    ");
    insta::assert_snapshot!(env.kelos(&["get", "task", "--phase", "done"]), @"
    exit: 2
    --- stderr
    error: invalid value 'done' for '--phase <PHASE>': no phase is called so; known are Waiting, Pending, Running, Succeeded, Failed

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(env.kelos(&["get", "tasks", "-o", "name"]), @"
    exit: 0
    --- stdout
    task.kelos.dev/hello
    ");
    insta::assert_snapshot!(env.kelos(&["get", "workspace", "app", "-o", "yaml"]), @"
    exit: 0
    --- stdout
    apiVersion: kelos.dev/v1alpha1
    kind: Workspace
    metadata:
      annotations:
        gitops.kelos.dev/manifest-digest: '[DIGEST]'
        kelos.dev/config-file: objects.yaml
        kelos.dev/config-line: '1'
        kelos.dev/config-revision: '[COMMIT]'
      creationTimestamp: '[TIME]'
      generation: 1
      labels:
        gitops.kelos.dev/owner: default
        gitops.kelos.dev/owner-uid: [UID]
      name: app
      namespace: default
      resourceVersion: '[VERSION]'
      uid: [UID]
    spec:
      ref: main
      repo: https://example.com/team/app.git
    ");
    insta::assert_snapshot!(env.kelos(&["get", "workspace", "-A", "-o", "json"]), @r#"
    exit: 0
    --- stdout
    {
      "apiVersion": "kelos.dev/v1alpha1",
      "items": [
        {
          "apiVersion": "kelos.dev/v1alpha1",
          "kind": "Workspace",
          "metadata": {
            "annotations": {
              "gitops.kelos.dev/manifest-digest": "[DIGEST]",
              "kelos.dev/config-file": "objects.yaml",
              "kelos.dev/config-line": "1",
              "kelos.dev/config-revision": "[COMMIT]"
            },
            "creationTimestamp": "[TIME]",
            "generation": 1,
            "labels": {
              "gitops.kelos.dev/owner": "default",
              "gitops.kelos.dev/owner-uid": "[UID]"
            },
            "name": "app",
            "namespace": "default",
            "resourceVersion": "[VERSION]",
            "uid": "[UID]"
          },
          "spec": {
            "ref": "main",
            "repo": "https://example.com/team/app.git"
          }
        }
      ],
      "kind": "WorkspaceList",
      "metadata": {}
    }
    "#);
    insta::assert_snapshot!(env.kelos(&["get", "task", "missing"]), @r#"
    exit: 1
    --- stderr
    Error: tasks.kelos.dev "missing" not found
    Hint: 'kelos get tasks' shows what is there; -n chooses the namespace
    "#);
    insta::assert_snapshot!(env.kelos(&["get", "pods"]), @"
    exit: 2
    --- stderr
    error: invalid value 'pods' for '<KIND>': there is no kind 'pods'; known are task, taskspawner, workspace, agentconfig, configrepository, runrecord, runs

    For more information, try '--help'.
    ");
}

#[test]
fn objects_are_shown_in_detail() {
    let env = TestEnv::up_with(FILES);
    let commit = env.git("config", &["rev-parse", "HEAD"]);
    env.applied(&commit);
    env.task_ended("hello");
    insta::assert_snapshot!(env.kelos(&["get", "task", "hello", "-d"]), @"
    exit: 0
    --- stdout
    Name:   hello
    Namespace:   default
    Type:   shell
    Phase:   Succeeded
    Prompt:   echo hello
    Start Time:   [TIME]
    Completion Time:   [TIME]
    Duration:   [SPAN]
    Reason:   Completed
    Message:   the agent ended well
    Defined In:   tasks/hello.yaml:1 at [SHORT]
    Age:   [SPAN]
    ");
    insta::assert_snapshot!(env.kelos(&["get", "taskspawner", "yearly", "--detail"]), @"
    exit: 0
    --- stdout
    Name:   yearly
    Namespace:   default
    Phase:   Running
    Source:   Cron
    Schedule:   0 0 1 1 *
    Next Tick:   [TIME]
    Task Type:   shell
    Poll Interval:   [SPAN]
    Discovered:   0
    Tasks Created:   0
    Message:   fires next at [TIME]
    Defined In:   objects.yaml:18 at [SHORT]
    Age:   [SPAN]
    ");
    insta::assert_snapshot!(env.kelos(&["get", "workspace", "-d"]), @"
    exit: 0
    --- stdout
    Name:   app
    Namespace:   default
    Repo:   https://example.com/team/app.git
    Ref:   main
    Defined In:   objects.yaml:1 at [SHORT]
    Age:   [SPAN]
    ");
    insta::assert_snapshot!(env.kelos(&["get", "agentconfig", "-d"]), @"
    exit: 0
    --- stdout
    Name:   house-rules
    Namespace:   default
    Agents MD:   Be brief.
    Skills:   team/skills
    Defined In:   objects.yaml:9 at [SHORT]
    Age:   [SPAN]
    ");
    // Whether the report is pushed already is a matter of time.
    let mut repository = env.kelos(&["get", "configrepository", "default", "-d"]);
    let is_certain = |line: &&str| !line.starts_with("Report Commit:");
    repository.stdout = repository.stdout.split_inclusive('\n').filter(is_certain).collect();
    insta::assert_snapshot!(repository, @"
    exit: 0
    --- stdout
    Name:   default
    Namespace:   default
    URL:   [DIR]/config
    Interval:   [SPAN]
    Ready:   True
    Reason:   Applied
    Message:   4 objects of [SHORT] are applied
    Applied:   [COMMIT]
    Attempted:   [COMMIT]
    Objects:   1 AgentConfig, 1 Task, 1 TaskSpawner, 1 Workspace
    Age:   [SPAN]
    ");
}
