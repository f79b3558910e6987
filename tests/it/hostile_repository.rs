//! A repository that somebody made to do harm: its author is told, and the daemon goes on as before.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use kelos::process;
use serde_json::Value;

use crate::support::api::condition;
use crate::support::env::TestEnv;

const GOOD: &str = "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: app\nspec:\n  repo: https://example.com/app.git\n";

/// Bytes of a file that nobody would write.
const HUGE: u64 = 100_000_000;

fn up() -> TestEnv {
    let env = TestEnv::up_with(&[("app.yaml", GOOD)]);
    env.applied(&env.git("config", &["rev-parse", "HEAD"]));
    env
}

fn codes(repository: &Value) -> Vec<(String, String)> {
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    repository["status"]["findings"]["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|finding| (text(finding, "code"), text(finding, "file")))
        .collect()
}

/// Expects that the revision is refused and that the daemon is as it was.
fn refused(env: &TestEnv, repository: &Value) {
    assert_eq!(condition(repository, "Ready")["reason"], "FindingsPresent", "{:#}", repository["status"]);
    assert_eq!(env.names("workspaces"), ["app"]);
    assert_eq!(env.names("tasks"), Vec::<String>::new());
    // Far more than it needs, far less than what it was meant to take.
    let memory = env.daemon_peak_memory();
    assert!(memory < 1_500_000_000, "the daemon took {memory} bytes");
}

/// Commits a tree that holds `entries` (mode, kind, id, name) beside what is there.
fn commit_tree(env: &TestEnv, entries: &[(&str, &str, String, &[u8])]) -> String {
    let mut listing = env.git("config", &["ls-tree", "HEAD"]).into_bytes();
    for line in listing.iter_mut().filter(|byte| **byte == b'\n') {
        *line = 0;
    }
    listing.push(0);
    for (mode, kind, id, name) in entries {
        listing.extend(format!("{mode} {kind} {id}\t").into_bytes());
        listing.extend(*name);
        listing.push(0);
    }
    let tree = piped(env, &["mktree", "-z", "--missing"], &listing);
    let commit = env.git("config", &["commit-tree", &tree, "-p", "HEAD", "-m", "hostile"]);
    env.git("config", &["update-ref", "refs/heads/main", &commit]);
    commit
}

fn blob(env: &TestEnv, content: &[u8]) -> String {
    piped(env, &["hash-object", "-w", "--stdin"], content)
}

fn piped(env: &TestEnv, arguments: &[&str], input: &[u8]) -> String {
    let mut command = env.in_environment(process::command("git"));
    command.current_dir(env.path("config")).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn links_and_odd_names_are_findings_and_lead_nowhere() {
    let env = up();
    env.write("secret.yaml", "secret: canary-7f3a");
    let link = blob(&env, env.path("secret.yaml").display().to_string().as_bytes());
    let folder = blob(&env, b"/etc");
    let good = blob(&env, GOOD.replace("name: app", "name: odd").as_bytes());
    let inner = piped(&env, &["mktree", "-z"], format!("100644 blob {good}\tconfig.yaml\0").as_bytes());
    let commit = commit_tree(
        &env,
        &[
            ("120000", "blob", link, b"link.yaml"),
            ("120000", "blob", folder, b"folder.yaml"),
            ("040000", "tree", inner.clone(), b".git"),
            ("040000", "tree", inner.clone(), b"git~1"),
            ("040000", "tree", inner, b".."),
            ("100644", "blob", good.clone(), b"back\\slash.yaml"),
            ("100644", "blob", good.clone(), b"bell\x07\x1b[2J.yaml"),
            ("100644", "blob", good.clone(), b"latin-\xff.yaml"),
            ("100644", "blob", good, b"-rf.yaml"),
            ("160000", "commit", "1".repeat(40), b"sub.yaml"),
        ],
    );
    let repository = env.judged(&commit);
    refused(&env, &repository);
    let found = codes(&repository);
    assert!(found.iter().all(|(code, _)| code == "not-a-plain-file"), "{found:?}");
    for file in ["link.yaml", "folder.yaml", "sub.yaml"] {
        assert!(found.iter().any(|(_, path)| path == file), "{file}: {found:?}");
    }
    assert!(found.len() >= 8, "{found:?}");
    let text = repository.to_string() + &env.daemon_log();
    assert!(!text.contains("canary-7f3a") && !text.contains("root:"), "what a link leads to is not read");
    assert!(!text.contains('\u{7}') && !text.contains('\u{1b}'), "control characters reach no terminal");
    env.git("config", &["reset", "--quiet", "--hard", "HEAD~1"]);
    let repository = env.judged(&env.git("config", &["rev-parse", "HEAD"]));
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{:#}", repository["status"]);
}

#[test]
fn bombs_of_yaml_are_findings() {
    let env = up();
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let below = format!("*a{}", level - 1);
        writeln!(aliases, "a{level}: &a{level} [{}]", vec![below; 9].join(", ")).unwrap();
    }
    let deep = format!("a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let mapping = format!("a: {}1{}\n", "{a: ".repeat(50_000), "}".repeat(50_000));
    let wide = format!("a: [{}]\n", "1,".repeat(400_000));
    let long = format!("a: \"{}\"\n", "x".repeat(2_000_000));
    let documents = "---\na: 1\n".repeat(50_000);
    let repository = env.push(&[
        ("aliases.yaml", &aliases),
        ("deep.yaml", &deep),
        ("mapping.yaml", &mapping),
        ("wide.yaml", &wide),
        ("long.yaml", &long),
        ("documents.yaml", &documents),
    ]);
    refused(&env, &repository);
    let found = codes(&repository);
    for file in ["aliases.yaml", "deep.yaml", "mapping.yaml", "wide.yaml", "long.yaml", "documents.yaml"] {
        assert!(found.iter().any(|(_, path)| path == file), "{file}: {found:?}");
    }
}

#[test]
fn templates_without_end_and_without_measure_are_findings() {
    let env = up();
    let endless =
        "[% for a in range(end=1000000) %][% for b in range(end=1000000) %][% endfor %][% endfor %]";
    let hungry = "[% set x = \"xxxxxxxxxxxxxxxx\" %][% for a in range(end=60) %][% set_global x = x ~ x %][% endfor %][= x =]";
    let output = "[% for a in range(end=1000000) %]# [= values.long =]\n[% endfor %]";
    let circle = "[% include \"circle.yaml.tera\" %]";
    let long = "y".repeat(10_000);
    let mut last = None;
    for (file, text) in [
        ("endless.yaml.tera", endless),
        ("hungry.yaml.tera", hungry),
        ("output.yaml.tera", output),
        ("circle.yaml.tera", circle),
    ] {
        let values = format!("values:\n  long: {long}\n");
        let mut files = vec![(file, text), ("kelos.yaml", values.as_str())];
        files.extend(last.map(|last| (last, "")));
        let repository = env.push(&files);
        refused(&env, &repository);
        let found = codes(&repository);
        assert!(
            found.iter().any(|(code, path)| code == "render-failed" && path == file),
            "{file}: {found:?}"
        );
        last = Some(file);
    }
    let repository = env.push(&[("circle.yaml.tera", "")]);
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{:#}", repository["status"]);
}

#[test]
fn a_huge_file_is_a_finding_and_nobody_reads_it() {
    let env = up();
    // It takes no room on the disk, and little on the way.
    std::fs::File::create(env.path("config/huge.yaml")).unwrap().set_len(HUGE).unwrap();
    let repository = env.push(&[]);
    refused(&env, &repository);
    assert_eq!(codes(&repository), [("repository-too-large".to_owned(), "huge.yaml".to_owned())]);
    // The fetch unpacks it once, to check it.
    let memory = env.daemon_peak_memory();
    assert!(memory < HUGE + 250_000_000, "the daemon took {memory} bytes");
    let repository = env.push(&[("huge.yaml", "")]);
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{:#}", repository["status"]);
}

#[test]
fn files_pulled_in_without_measure_are_a_finding() {
    let env = up();
    let line = format!("# {}\n", "0123456789".repeat(100));
    env.write("config/prompts/large.md", &line.repeat(1_000));
    let mut many = String::new();
    for number in 0..900 {
        writeln!(
            many,
            "---\napiVersion: kelos.dev/v1alpha1\nkind: AgentConfig\nmetadata:\n  name: a{number}\nspec:\n  agentsMD:\n    $file: prompts/large.md"
        )
        .unwrap();
    }
    let repository = env.push(&[("many.yaml", &many)]);
    refused(&env, &repository);
    let found = codes(&repository);
    assert!(
        found.iter().any(|(code, path)| code == "invalid-file-reference" && path == "many.yaml"),
        "{found:?}"
    );
    let repository = env.push(&[("many.yaml", "")]);
    assert_eq!(condition(&repository, "Ready")["status"], "True", "{:#}", repository["status"]);
}

#[test]
fn thousands_of_broken_files_are_counted_and_the_first_are_shown() {
    let env = up();
    let files: Vec<(String, String)> = (0..5_000)
        .map(|number| {
            let reference = format!("workspaceRef:\n    name: missing-{number}\n  prompt:\n    $file: prompts/{number}.md");
            (format!("broken/{number:04}.yaml"), format!("apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: t{number}\nspec:\n  type: claude-code\n  credentials:\n    type: none\n  {reference}\n"))
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let repository = env.push(&files);
    refused(&env, &repository);
    let findings = &repository["status"]["findings"];
    assert_eq!(findings["errors"], 10_000, "a missing file and a missing Workspace each");
    assert_eq!(codes(&repository).len(), 20);
    assert!(repository.to_string().len() < 64 * 1024, "the status stays small");
}
