//! The Python client of Kubernetes works with `kelos up`: its typed clients, its dynamic client, and its watches.
//!
//! The scripts lie in `tests/clients/python/`. Each checks by itself what the server answers, and says so at its end.

use crate::support::clients::python;
use crate::support::env::{Ran, TestEnv};

/// Runs a script; `None` when the client is not installed.
fn run(env: &TestEnv, script: &str, arguments: &[&str]) -> Option<Ran> {
    let mut command = env.program(&python()?, None);
    command
        // No byte code is written beside the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("KUBECONFIG", env.data_dir().join("kubeconfig"))
        .arg(format!("{}/tests/clients/python/{script}.py", env!("CARGO_MANIFEST_DIR")))
        .args(arguments);
    Some(env.ran(&mut command))
}

/// Runs a script against a new server; it has to come to its end.
fn check(script: &str, last_line: &str) {
    let env = TestEnv::up();
    if let Some(ran) = run(&env, script, &[]) {
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), last_line), "{ran}");
    }
}

#[test]
fn the_typed_clients_read_and_write() {
    check("typed", "typed: done\n");
}

#[test]
fn the_dynamic_client_discovers_applies_and_watches() {
    check("dynamic_client", "dynamic: done\n");
}

#[test]
fn watches_go_on_where_they_were() {
    check("watching", "watching: done\n");
}

#[test]
fn a_watch_from_before_a_crash_is_told_to_list_again() {
    let mut env = TestEnv::up();
    let Some(before) = run(&env, "forgotten", &[]) else { return };
    let version = before.success().stdout;
    env.kill();
    env.start(&[]);
    let after = run(&env, "forgotten", &[version.trim()]).expect("the client was there before").success();
    assert_eq!(after.stdout, "forgotten: done\n", "{after}");
}
