//! A run with a workspace works in a copy of it, on its branch, and its results say what it left.

use std::path::{Path, PathBuf};

use kelos::api::run::{Exit, File, Plan, Plugin, Remote, SandboxLevel, Workspace};

use crate::run_bench::{Bench, SEARCH_PATH, shell};

/// Runs git as a user would and returns what it prints.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let program = kelos::process::find("git", SEARCH_PATH.as_ref()).expect("git is on this machine");
    let output = kelos::process::command(program)
        .current_dir(folder)
        .args(["-c", "user.name=u", "-c", "user.email=u@h", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .output()
        .expect("git can be started");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes a bare repository with one commit on `main`, in which `readme` is a file and `link` leads out.
fn repository(bench: &Bench) -> PathBuf {
    let bare = bench.data.join("remote.git");
    let work = bench.data.join("remote");
    git(&bench.data, &["init", "--quiet", "--bare", "remote.git"]);
    git(&bench.data, &["init", "--quiet", "remote"]);
    std::fs::write(work.join("readme"), "one\n").expect("the folder is ours");
    std::os::unix::fs::symlink("/tmp", work.join("link")).expect("the folder is ours");
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "one"]);
    git(&work, &["push", "--quiet", "../remote.git", "main"]);
    bare
}

fn plan(bench: &Bench, run: &str, repository: &Path, script: &str) -> Plan {
    let mut plan = shell(run, script);
    plan.workspace = Some(Workspace {
        repo: repository.to_str().expect("it is a text").to_owned(),
        reference: Some("main".to_owned()),
        mirror: bench.data.join("mirrors/one.git"),
        remotes: Vec::new(),
        files: Vec::new(),
        authority: None,
        git_environment: std::collections::BTreeMap::new(),
        setup_command: Vec::new(),
    });
    plan.sandbox.private.push(bench.data.clone());
    plan
}

#[tokio::test]
async fn a_branch_is_begun_pushed_and_continued_by_the_next_run() {
    let bench = Bench::new();
    let remote = repository(&bench);
    let script = "cat readme; echo two >>readme; git commit -qam two; git push -q origin HEAD";
    let mut first = plan(&bench, "a", &remote, script);
    first.branch = Some("kelos/7".to_owned());
    let outcome = bench.outcome(first.clone()).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {}", outcome.message, bench.log("a").await);
    let pushed = git(&remote, &["rev-parse", "kelos/7"]);
    assert_eq!(
        outcome.outputs,
        ["branch: kelos/7".to_owned(), format!("commit: {pushed}"), "base-branch: main".to_owned()]
    );
    let script = "test \"$KELOS_BRANCH\" = kelos/7; test \"$KELOS_BASE_BRANCH\" = main; grep two readme; echo three >>readme; \
                  git commit -qam three; git push -q origin HEAD";
    let second = Plan { run: "b".to_owned(), ..plan(&bench, "b", &remote, script) };
    let outcome = bench.outcome(Plan { branch: first.branch, ..second }).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {}", outcome.message, bench.log("b").await);
    assert_eq!(git(&remote, &["rev-parse", "kelos/7^"]), pushed, "the branch went forward");
    assert_eq!(git(&remote, &["show", "kelos/7:readme"]), "one\ntwo\nthree");
}

#[tokio::test]
async fn a_repository_of_this_machine_can_be_pushed_to_and_not_taken_over() {
    let bench = Bench::new();
    let remote = repository(&bench);
    let script = format!(
        "for file in {remote}/hooks/post-update {remote}/config; do echo x 2>/dev/null >>$file && echo WROTE; done; echo done",
        remote = remote.display()
    );
    let outcome = bench.outcome(plan(&bench, "a", &remote, &script)).await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{}: {}", outcome.message, bench.log("a").await);
    if outcome.sandbox >= Some(SandboxLevel::Files) {
        assert!(!bench.log("a").await.contains("WROTE"));
    }
}

#[tokio::test]
async fn remotes_files_plugins_and_setup_are_there_before_the_agent() {
    let bench = Bench::new();
    let remote = repository(&bench);
    let script = "git remote get-url upstream; cat made notes/a.md; cat $KELOS_PLUGIN_DIR/review/skills/s/SKILL.md; \
                  echo \"$KELOS_UPSTREAM_REPO\"";
    let mut plan = plan(&bench, "a", &remote, script);
    let file = |path: &str, content: &str| File { path: path.to_owned(), content: content.to_owned() };
    if let Some(workspace) = &mut plan.workspace {
        workspace.remotes =
            vec![Remote { name: "upstream".to_owned(), url: "https://example.invalid/o/n.git".to_owned() }];
        workspace.files = vec![file("notes/a.md", "a note\n")];
        workspace.setup_command = ["sh", "-c", "echo made by setup >made"].map(str::to_owned).to_vec();
    }
    plan.plugins =
        vec![Plugin { name: "review".to_owned(), files: vec![file("skills/s/SKILL.md", "a skill\n")] }];
    let outcome = bench.outcome(plan).await;
    let log = bench.log("a").await;
    assert_eq!(outcome.exit, Exit::Succeeded, "{log}");
    assert!(log.contains("https://example.invalid/o/n.git\nmade by setup\na note\na skill\no/n\n"), "{log}");
}

#[tokio::test]
async fn what_fails_before_the_agent_says_which_step_it_was() {
    let bench = Bench::new();
    let remote = repository(&bench);
    let mut failing = plan(&bench, "a", &remote, "echo REACHED");
    if let Some(workspace) = &mut failing.workspace {
        workspace.setup_command = ["sh", "-c", "exit 7"].map(str::to_owned).to_vec();
    }
    let outcome = bench.outcome(failing).await;
    assert_eq!((outcome.exit, outcome.exit_code), (Exit::SetupFailed, Some(7)), "{}", outcome.message);
    assert!(!bench.log("a").await.contains("REACHED"));

    let outcome = bench.outcome(plan(&bench, "b", &bench.data.join("nothing.git"), "echo REACHED")).await;
    assert_eq!(outcome.exit, Exit::PrepareFailed);
    assert!(outcome.message.contains("nothing.git"), "{}", outcome.message);

    for (run, path) in [("c", "link/escaped"), ("d", "../escaped"), ("e", ".git/hooks/post-checkout")] {
        let mut escaping = plan(&bench, run, &remote, "echo REACHED");
        if let Some(workspace) = &mut escaping.workspace {
            workspace.files = vec![File { path: path.to_owned(), content: "x".to_owned() }];
        }
        let outcome = bench.outcome(escaping).await;
        assert_eq!(outcome.exit, Exit::PrepareFailed, "{path}: {}", outcome.message);
    }
    assert!(!Path::new("/tmp/escaped").exists());

    let mut option = plan(&bench, "f", &remote, "echo REACHED");
    option.branch = Some("-f".to_owned());
    assert_eq!(bench.outcome(option).await.exit, Exit::PrepareFailed);
}
