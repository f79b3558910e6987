//! The commands that `kelos demo` prints do the same when somebody types them.

use std::collections::BTreeSet;

use crate::support::env::TestEnv;

#[test]
fn the_commands_of_the_demo_stand_on_their_own() {
    let env = TestEnv::new();
    let script = env.kelos(&["demo", "--script"]).stdout;
    assert!(script.contains("kelos reconcile default"), "{script}");
    env.write("demo/script.sh", &script);
    let programs = env.path("bin");
    std::fs::create_dir_all(&programs).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kelos"), programs.join("kelos")).unwrap();
    let mut shell = env.program("/bin/sh".as_ref(), Some(&programs));
    let output = shell.arg("script.sh").current_dir(env.path("demo")).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("spawners/heartbeat.yaml:11:17"), "the broken line is shown: {said}");

    let ledger = env.git(
        "demo/config.git",
        &["grep", "--no-line-number", "-h", "taskUid", "kelos-status", "--", "*.jsonl"],
    );
    let lines: Vec<serde_json::Value> =
        ledger.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let uids: BTreeSet<&str> = lines.iter().map(|line| line["taskUid"].as_str().unwrap()).collect();
    let names: BTreeSet<&str> = lines.iter().map(|line| line["task"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), lines.len(), "no run is written twice");
    for task in ["greeting-write", "greeting-check", "greeting-sign", "slow"] {
        assert!(names.contains(task), "{task} is in the ledger: {names:?}");
    }
}
