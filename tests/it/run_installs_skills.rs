//! Packages of skills.sh are installed with the installer that upstream uses, in the sandbox of the run, and become a
//! plugin; what goes wrong with that is told before an agent was started.

use std::path::{Path, PathBuf};

use kelos::api::run::{Exit, Plan, SandboxLevel, SkillPackage, Skills};

use crate::run_bench::{Bench, SEARCH_PATH, shell};
use crate::support::ssh::write_script;

/// An npx that notes what it is given, and installs as `skills add` 1.7.4 does for no agent in particular: a folder for
/// each skill below `.agents/skills` of the home folder.
const STAND_IN: &str = "#!/bin/sh\n\
    echo \"npx $*\" >>\"$HOME/../calls\"\n\
    cat \"$HOME/../calls\"\n\
    case $4 in\n\
    broken/*) echo 'no such repository' >&2; exit 1;;\n\
    silent/*) exit 0;;\n\
    curious/*) for place in PRIVATE; do if cat \"$place\" >/dev/null 2>&1; then echo \"READ $place\"; fi; done;;\n\
    esac\n\
    env\n\
    mkdir -p \"$HOME/.agents/skills/${4#*/}\"\n\
    echo \"# ${4#*/}\" >\"$HOME/.agents/skills/${4#*/}/SKILL.md\"\n";

fn package(source: &str, skill: Option<&str>) -> SkillPackage {
    SkillPackage { source: source.to_owned(), skill: skill.map(str::to_owned) }
}

fn plan(bench: &Bench, run: &str, packages: Vec<SkillPackage>) -> Plan {
    let mut plan = shell(
        run,
        "echo AGENT; for file in $(find \"$KELOS_PLUGIN_DIR\" -type f | sort); do echo \"==> $file <==\"; cat \"$file\"; done; ls -A \"$TMPDIR\"",
    );
    plan.skills = Some(Skills { packages, ..Skills::default() });
    plan.search_path = format!("{}:{SEARCH_PATH}", programs(bench).display());
    plan.sandbox.private.push(bench.data.clone());
    plan
}

fn programs(bench: &Bench) -> PathBuf {
    let programs = tempfile::Builder::new().prefix("npx").tempdir().unwrap().keep();
    let secret = bench.data.join("store");
    std::fs::write(&secret, "secret").unwrap();
    write_script(&programs.join("npx"), &STAND_IN.replace("PRIVATE", secret.to_str().unwrap()));
    programs
}

#[tokio::test]
async fn packages_become_a_plugin_by_the_call_that_upstream_makes() {
    let bench = Bench::new();
    let packages = vec![package("acme/review", None), package("acme/tests", Some("unit tests"))];
    let outcome = bench.outcome(plan(&bench, "a", packages)).await;
    let log = bench.log("a").await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {log}", outcome.message);
    assert!(log.contains("npx -y skills add acme/review -a universal -y -g\n"), "{log}");
    assert!(log.contains("npx -y skills add acme/tests -a universal -y -g -s unit tests\n"), "{log}");
    let (before, after) = log.split_once("AGENT\n").expect("the agent was started");
    assert!(!before.contains("GITHUB_TOKEN") && before.contains("DISABLE_TELEMETRY=1"), "{before}");
    for name in ["review", "tests"] {
        assert!(
            after.contains(&format!("plugins/skills-sh/skills/{name}/SKILL.md <==\n# {name}\n")),
            "{after}"
        );
    }
    assert!(!after.contains("npm"), "nothing of the installer is left: {after}");
}

#[tokio::test]
async fn what_is_not_installed_fails_the_run_before_its_agent() {
    let bench = Bench::new();
    let cases = [
        (
            "a",
            package("broken/package", None),
            "the skills package broken/package was not installed: npx ended with exit status: 1",
        ),
        ("b", package("silent/package", Some("x")), "the skills package silent/package brings no skill x"),
        ("c", package("--help", None), "cannot be the source of a skills package"),
        ("d", package("acme/a", Some("-g")), "cannot be the source of a skills package"),
    ];
    for (run, package, expected) in cases {
        let outcome = bench.outcome(plan(&bench, run, vec![package])).await;
        assert_eq!(outcome.exit, Exit::PrepareFailed, "{}", outcome.message);
        assert!(outcome.message.contains(expected), "{}", outcome.message);
        assert!(!bench.log(run).await.contains("AGENT"));
    }
    let twice = vec![package("acme/a", None), package("other/a", None)];
    let outcome = bench.outcome(plan(&bench, "e", twice)).await;
    assert!(
        outcome.message.contains("two skills packages bring a skill of the name \"a\""),
        "{}",
        outcome.message
    );
    let without =
        Plan { search_path: "/nonexistent".to_owned(), ..plan(&bench, "f", vec![package("acme/a", None)]) };
    let agent = kelos::api::run::Agent { program: Some("/bin/sh".into()), ..without.agent.clone() };
    let outcome = bench.outcome(Plan { agent, ..without }).await;
    assert!(outcome.message.contains("npx, which is not in /nonexistent"), "{}", outcome.message);
}

#[tokio::test]
async fn the_installer_is_kept_in_the_sandbox_of_the_run() {
    let bench = Bench::new();
    let mut plan = plan(&bench, "a", vec![package("curious/package", None)]);
    plan.sandbox.minimum = SandboxLevel::Files;
    let outcome = bench.outcome(plan).await;
    if outcome.exit == Exit::SandboxUnavailable {
        return crate::support::say("SKIPPED: this kernel has no sandbox of files");
    }
    let log = bench.log("a").await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {log}", outcome.message);
    assert!(!log.contains("READ"), "{log}");
}

#[tokio::test]
async fn the_real_installer_is_understood() {
    #[expect(clippy::disallowed_methods, reason = "the test reads here whether it may ask the npm registry")]
    let may_ask = std::env::var("KELOS_REAL_SKILLS").is_ok_and(|value| value == "1");
    let npx = kelos::process::find("npx", SEARCH_PATH.as_ref());
    if !may_ask || npx.is_none() {
        let hint = "set KELOS_REAL_SKILLS=1 on a machine with Node.js that reaches the npm registry";
        return crate::support::say(&format!("SKIPPED: the real installer of skills is not asked; {hint}"));
    }
    let bench = Bench::new();
    // A package of this machine; the sandbox lets it be read.
    let package_folder = tempfile::Builder::new().prefix("skills").tempdir().unwrap();
    for name in ["one", "two"] {
        let folder = package_folder.path().join("skills").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("---\nname: {name}\ndescription: Skill {name} of a test.\n---\nDo {name}.\n");
        std::fs::write(folder.join("SKILL.md"), text).unwrap();
    }
    let source = package_folder.path().to_str().unwrap();
    let mut plan = plan(&bench, "a", vec![package(source, Some("two"))]);
    plan.search_path = SEARCH_PATH.to_owned();
    plan.sandbox.readable.push(package_folder.path().to_path_buf());
    let outcome = bench.outcome(plan).await;
    let log = bench.log("a").await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {log}", outcome.message);
    let (_, after) = log.split_once("AGENT\n").expect("the agent was started");
    assert!(after.contains("skills-sh/skills/two/SKILL.md") && after.contains("Do two."), "{after}");
    assert!(!after.contains("skills/one"), "{after}");
    assert!(Path::new(source).exists());
}
