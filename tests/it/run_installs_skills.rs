//! Packages of skills.sh are installed with the installer that upstream uses, in the sandbox of the run, and become a
//! plugin; what goes wrong with that is told before an agent was started.

use std::path::{Path, PathBuf};

use kelos::api::run::{Exit, Plan, SandboxLevel, Secrets, SkillPackage, Skills};
use kelos::executor::Executor as _;
use kelos::secret::Secret;
use serde_json::json;

use crate::run_bench::{Bench, SEARCH_PATH, shell};
use crate::support::env::TestEnv;
use crate::support::ssh::write_script;
use crate::support::web::{Reply, Repositories, Web};

/// An npx that notes what it is given, and installs as `skills add` 1.7.4 does for no agent in particular: a folder for
/// each skill below `.agents/skills` of the home folder.
const STAND_IN: &str = "#!/bin/sh\n\
    echo \"npx $*\" >>\"$HOME/../calls\"\n\
    cat \"$HOME/../calls\"\n\
    case $4 in\n\
    broken/*) echo 'no such repository' >&2; exit 1;;\n\
    silent/*) exit 0;;\n\
    curious/*) for place in PRIVATE; do if cat \"$place\" >/dev/null 2>&1; then echo \"READ $place\"; fi; done\n\
    home=\"$HOME/../../../home\"; mkdir \"$home/.claude\"; ln -s ../../../work \"$home/.kelos/ssh\"\n\
    for place in \"$home/x\" \"$home/.claude/x\" \"$home/.kelos/x\" \"$home/.kelos/ssh/x\" \"$home/.kelos/plugins/skills-sh/x\" \\\n\
    \"$HOME/../../x\" \"$HOME/../../../work/x\"; do if (echo x >\"$place\"); then echo \"WROTE $place\"; fi; done 2>/dev/null;;\n\
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
    let programs = bench.data.join("npx");
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
    assert!(!log.contains("READ") && !log.contains("WROTE"), "{log}");
}

#[tokio::test]
async fn a_token_is_for_its_package_and_its_host_alone() {
    let bench = Bench::new();
    // One that asks git, as a clone does, and says what it got.
    let npx = "#!/bin/sh\n\
        for host in github.com forge.example; do\n\
        printf 'protocol=https\\nhost=%s\\n\\n' $host | git credential fill >\"$HOME/answer\" 2>/dev/null\n\
        echo \"$4 asks $host: $(grep -c password=t0ken- \"$HOME/answer\")\"; cat \"$HOME/answer\"\n\
        done\n\
        echo \"$4 has ${GITHUB_TOKEN:-none}\"; cat \"$HOME\"/../*/.token 2>/dev/null\n\
        mkdir -p \"$HOME/.agents/skills/${4##*/}\"\n\
        echo x >\"$HOME/.agents/skills/${4##*/}/SKILL.md\"\n";
    let programs = tempfile::Builder::new().prefix("npx").tempdir().unwrap();
    write_script(&programs.path().join("npx"), npx);
    let sources = ["acme/private", "https://forge.example/acme/own.git", "acme/open"];
    let mut plan = plan(&bench, "a", sources.iter().map(|source| package(source, None)).collect());
    plan.search_path = format!("{}:{SEARCH_PATH}", programs.path().display());
    let mut secrets = Secrets::default();
    for (source, token) in sources.iter().zip(["t0ken-github", "t0ken-forge"]) {
        secrets.skill_tokens.insert((*source).to_owned(), Secret::new(token));
    }
    bench.executor.start(plan, secrets).await.unwrap();
    let outcome = bench.end("a").await;
    let log = bench.log("a").await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {log}", outcome.message);
    for (source, github, forge, has) in [
        ("acme/private", 1, 0, "<secret>"),
        ("https://forge.example/acme/own.git", 0, 1, "none"),
        ("acme/open", 0, 0, "none"),
    ] {
        for line in [
            format!("{source} asks github.com: {github}\n"),
            format!("{source} asks forge.example: {forge}\n"),
            format!("{source} has {has}\n"),
        ] {
            assert!(log.contains(&line), "{line}: {log}");
        }
    }
    assert!(!log.contains("t0ken-github") && !log.contains("t0ken-forge"), "{log}");

    let mut plan = self::plan(&bench, "b", vec![package("git@forge.example:acme/private", None)]);
    plan.search_path = format!("{}:{SEARCH_PATH}", programs.path().display());
    let mut secrets = Secrets::default();
    secrets.skill_tokens.insert("git@forge.example:acme/private".to_owned(), Secret::new("t0ken"));
    bench.executor.start(plan, secrets).await.unwrap();
    let outcome = bench.end("b").await;
    assert!(outcome.message.contains("nor an https:// URL"), "{}", outcome.message);
}

/// Says whether the real installer may be fetched from the registry and asked.
fn may_ask_the_real_one() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the test reads here whether it may ask the npm registry")]
    let may_ask = std::env::var("KELOS_REAL_SKILLS").is_ok_and(|value| value == "1");
    let may_ask = may_ask && kelos::process::find("npx", SEARCH_PATH.as_ref()).is_some();
    if !may_ask {
        let hint = "set KELOS_REAL_SKILLS=1 on a machine with Node.js that reaches the npm registry";
        crate::support::say(&format!("SKIPPED: the real installer of skills is not asked; {hint}"));
    }
    may_ask
}

fn write_skill(package: &Path, name: &str) {
    let folder = package.join("skills").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("---\nname: {name}\ndescription: Skill {name} of a test.\n---\nDo {name}.\n");
    std::fs::write(folder.join("SKILL.md"), text).unwrap();
}

#[test]
fn the_real_installer_takes_a_private_package_with_its_token() {
    if !may_ask_the_real_one() {
        return;
    }
    let mut env = TestEnv::new();
    env.commit("package", &[]);
    write_skill(&env.path("package"), "one");
    env.serve("acme/private.git", "package", &[]);
    let repositories = Repositories::below(&env.path("served"));
    let server = Web::start(move |asked| match asked.basic() {
        Some((user, password))
            if (user.as_str(), password.as_str()) == ("x-access-token", "t0ken-canary") =>
        {
            repositories.serve(asked)
        }
        _ => Reply::unauthorized(),
    });
    env.write("authority/ca.crt", server.authority());
    env.set_variable("SSL_CERT_FILE", &env.path("authority/ca.crt").display().to_string());
    env.start(&["--readable", &env.path("authority").display().to_string()]);
    env.secret("skills", &[("GITHUB_TOKEN", "t0ken-canary")]);
    let source = server.url("/acme/private.git");
    for (name, secret) in [("with", json!({"name": "skills"})), ("without", serde_json::Value::Null)] {
        let mut package = json!({"source": source});
        if !secret.is_null() {
            package["secretRef"] = secret;
        }
        let config = json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "AgentConfig", "metadata": {"name": name},
            "spec": {"skills": [package]},
        });
        env.create("agentconfigs", &config);
        let task = json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"name": name},
            "spec": {
                "type": "shell", "agentConfigRef": {"name": name},
                "prompt": "cat \"$KELOS_PLUGIN_DIR\"/skills-sh/skills/one/SKILL.md; env; find ~ -type f | xargs grep -l can[a]ry || :",
            },
        });
        env.create("tasks", &task);
    }
    let with = env.task_ended("with");
    let log = env.kelos(&["logs", "with"]).success().stdout;
    assert_eq!(with["status"]["phase"], "Succeeded", "{log}");
    assert!(log.contains("Do one.") && !log.contains("canary"), "{log}");
    let without = env.task_ended("without");
    let message = without["status"]["message"].as_str().unwrap();
    assert!(message.contains("was not installed"), "{without:#} {}", env.kelos(&["logs", "without"]));
    env.holds_no_canary();
}

#[tokio::test]
async fn the_real_installer_is_understood() {
    if !may_ask_the_real_one() {
        return;
    }
    let bench = Bench::new();
    // A package of this machine; the sandbox lets it be read.
    let package_folder = tempfile::Builder::new().prefix("skills").tempdir().unwrap();
    for name in ["one", "two"] {
        write_skill(package_folder.path(), name);
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
