//! Shells complete commands, flags and names of objects.

use crate::support::env::TestEnv;

#[test]
fn names_come_from_the_server_and_silence_from_its_absence() {
    let mut env = TestEnv::up();
    for name in ["app", "api", "docs"] {
        env.kelos(&["create", "workspace", name, "--repo", "https://example.com/x.git"]).success();
    }
    let complete = |env: &TestEnv, words: &[&str]| {
        let ran = env.kelos(&[&["complete", "--"], words].concat()).success();
        assert_eq!(ran.stderr, "", "{ran}");
        ran.stdout
    };
    assert_eq!(complete(&env, &["get", "ws", "a"]), "api\napp\n");
    assert_eq!(complete(&env, &["run", "-p", "x", "--workspace", "d"]), "docs\n");
    assert_eq!(complete(&env, &["sus"]), "suspend\n");
    let namespace = serde_json::json!({"metadata": {"name": "other"}});
    env.ask(http::Method::POST, "/api/v1/namespaces", Some(&namespace)).unwrap();
    let away = ["create", "workspace", "away", "-n", "other", "--repo", "https://example.com/x.git"];
    env.kelos(&away).success();
    assert_eq!(complete(&env, &["get", "ws", "-n", "other", "a"]), "away\n");
    assert_eq!(complete(&env, &["--kubeconfig", "nowhere", "get", "ws", "a"]), "");
    env.stop();
    assert_eq!(complete(&env, &["get", "ws", "a"]), "");
    assert_eq!(complete(&env, &["get", "task", "--ph"]), "--phase\n");
}

#[test]
fn bash_asks_the_program() {
    let env = TestEnv::new();
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_kelos")).parent().unwrap();
    let script = "source <(kelos completion bash); COMP_WORDS=(kelos create ''); COMP_CWORD=2; _kelos; echo \"${COMPREPLY[@]}\"";
    let Some(bash) = kelos::process::find("bash", std::ffi::OsStr::new(crate::run_bench::SEARCH_PATH)) else {
        return crate::support::say("SKIPPED: no bash is there");
    };
    let path = format!("{}:{}", folder.display(), crate::run_bench::SEARCH_PATH);
    let mut command = kelos::process::command(bash);
    let output =
        command.env("PATH", path).env("HOME", env.path("home")).args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "workspace agentconfig secret\n", "{output:?}");
    for shell in ["zsh", "fish"] {
        assert!(env.kelos(&["completion", shell]).success().stdout.contains("kelos complete --"), "{shell}");
    }
}
