//! `kelos reconcile` asks for a pass at once and tells what came of it.

use crate::support::env::TestEnv;

fn workspace(name: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: {name}\nspec:\n  repo: https://example.com/{name}.git\n"
    )
}

/// A daemon that asks its repository once an hour.
fn lazy(files: &[(&str, &str)]) -> TestEnv {
    let mut env = TestEnv::new();
    let commit = env.commit("config", files);
    let repository = env.path("config").display().to_string();
    env.start(&["--repo", &repository, "--interval", "1h"]);
    env.applied(&commit);
    env
}

#[test]
fn a_pass_is_asked_for_and_awaited() {
    let env = lazy(&[("a.yaml", &workspace("a"))]);
    env.commit("config", &[("b.yaml", &workspace("b"))]);
    assert_eq!(env.object("workspace", "b"), None);
    insta::assert_snapshot!(env.kelos(&["reconcile", "default"]), @"
    exit: 0
    --- stdout
    configrepository/default applied [SHORT]
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    assert!(env.object("workspace", "b").is_some());
    env.commit("config", &[("b.yaml", "kind: Workspace\n")]);
    insta::assert_snapshot!(env.kelos(&["reconcile", "configrepository", "default"]), @"
    exit: 1
    --- stdout
    configrepository/default FindingsPresent: [SHORT] is not applied: b.yaml:1:1: apiVersion is missing or is not text
    --- stderr
    on [SERVER] (from the running 'kelos up')
    b.yaml:1:1: apiVersion is missing or is not text [missing-kind]
    ");
    insta::assert_snapshot!(env.kelos(&["reconcile", "cfg", "default", "--wait=false"]), @"
    exit: 0
    --- stdout
    configrepository/default reconcile requested
    --- stderr
    on [SERVER] (from the running 'kelos up')
    ");
    insta::assert_snapshot!(env.kelos(&["reconcile", "other"]), @r#"
    exit: 1
    --- stderr
    Error: configrepositories.gitops.kelos.dev "other" not found
    Hint: 'kelos get configrepositories' shows what is there; -n chooses the namespace
    "#);
    insta::assert_snapshot!(env.kelos(&["reconcile", "task", "default"]), @"
    exit: 2
    --- stderr
    Error: this command takes a configrepository
    ");
}

#[test]
fn a_large_removal_waits_for_a_confirmation() {
    let files = ["a", "b", "c"].map(|name| (format!("{name}.yaml"), workspace(name)));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let env = lazy(&files);
    insta::assert_snapshot!(env.kelos(&["reconcile", "default", "--confirm-prune"]), @"
    exit: 1
    --- stderr
    Error: no removal waits in configrepository/default
    Hint: Without --confirm-prune the repository is reconciled as usual
    ");
    env.commit("config", &[("a.yaml", ""), ("b.yaml", "")]);
    insta::assert_snapshot!(env.kelos(&["reconcile", "default"]), @"
    exit: 0
    --- stdout
    configrepository/default applied [SHORT]
    --- stderr
    on [SERVER] (from the running 'kelos up')
    2 of 3 objects left the repository and wait for --confirm-prune
    ");
    assert!(env.object("workspace", "a").is_some());
    insta::assert_snapshot!(env.kelos(&["reconcile", "default", "--confirm-prune"]), @"
    exit: 0
    --- stdout
    configrepository/default applied [SHORT]
    --- stderr
    confirming the removal of 2 of 3 objects at [SHORT]
    on [SERVER] (from the running 'kelos up')
    ");
    assert_eq!(env.object("workspace", "a"), None);
    assert!(env.object("workspace", "c").is_some());
}
