//! What a run leaves behind, seen from its checkout: branch, pull requests, commit, base branch.
//!
//! The commands run on the agent's side of the sandbox, with the agent's variables: a checkout that an agent has
//! had its hands on can make git start programs.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::runner::children::Children;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most that one command may say, in bytes.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// Answers a command line with what it prints, if it succeeds.
pub(super) trait Ask {
    /// Runs `program` with `arguments` and returns what it printed, trimmed; `None` when it failed or is not there.
    fn ask(&mut self, program: &str, arguments: &[&str]) -> Option<String>;
}

/// Runs commands in a checkout.
#[derive(Debug)]
pub(super) struct Commands<'a> {
    /// Where.
    pub(super) folder: &'a Path,
    /// With which variables.
    pub(super) variables: &'a BTreeMap<String, String>,
    /// Where programs are looked up.
    pub(super) search_path: &'a str,
    /// Who starts them.
    pub(super) children: &'a Children,
}

impl Ask for Commands<'_> {
    fn ask(&mut self, program: &str, arguments: &[&str]) -> Option<String> {
        let program: PathBuf = crate::process::find(program, self.search_path.as_ref())?;
        let mut command = crate::process::command(program);
        command
            .args(arguments)
            .envs(self.variables)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .current_dir(self.folder)
            .stderr(Stdio::null());
        let mut child = self.children.spawn(&mut command).ok()?;
        let mut output = child.stdout.take()?.take(LARGEST_ANSWER);
        // Read beside the wait: a command may say more than a pipe holds, and may leave the pipe to a child.
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let is_read = output.read_to_end(&mut bytes).is_ok();
            // Nobody listens any more when the command took too long.
            drop(sender.send(is_read.then_some(bytes)));
        });
        let until = Instant::now() + PATIENCE;
        let answer = receiver.recv_timeout(PATIENCE).ok().flatten();
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    return status
                        .success()
                        .then_some(answer?)
                        .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
                }
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
                _ => {
                    drop(child.kill());
                    drop(child.wait());
                    return None;
                }
            }
        }
    }
}

/// Returns the results that the checkout itself shows, in the order in which they are written.
pub(super) fn capture(
    ask: &mut impl Ask,
    base_branch: Option<&str>,
    upstream_repo: Option<&str>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if ask.ask("git", &["rev-parse", "--is-inside-work-tree"]).is_none() {
        return found;
    }
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            found.push((key.to_owned(), value));
        }
    };
    let branch = ask.ask("git", &["branch", "--show-current"]).filter(|branch| !branch.is_empty());
    put("branch", branch.clone());
    if let Some(branch) = &branch {
        let list = ["pr", "list", "--head", branch, "--json", "url"];
        let elsewhere = upstream_repo.map(|repo| [list.as_slice(), &["--repo", repo]].concat());
        for arguments in std::iter::once(list.to_vec()).chain(elsewhere) {
            for url in ask.ask("gh", &arguments).map(|text| urls(&text)).unwrap_or_default() {
                put("pr", Some(url));
            }
        }
    }
    put("commit", ask.ask("git", &["rev-parse", "HEAD"]));
    let base = base_branch.filter(|base| !base.is_empty()).map(str::to_owned).or_else(|| {
        let head = ask.ask("git", &["symbolic-ref", "refs/remotes/origin/HEAD"])?;
        head.strip_prefix("refs/remotes/origin/").map(str::to_owned)
    });
    put("base-branch", base);
    found
}

fn urls(text: &str) -> Vec<String> {
    let Ok(Value::Array(entries)) = serde_json::from_str(text) else { return Vec::new() };
    entries.iter().filter_map(|entry| entry["url"].as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("../../tests/testdata/upstream/usage-and-capture.jsonl");

    struct Recorded {
        commands: BTreeMap<String, String>,
        asked: Vec<String>,
    }

    impl Ask for Recorded {
        fn ask(&mut self, program: &str, arguments: &[&str]) -> Option<String> {
            let line = format!("{program} {}", arguments.join(" "));
            self.asked.push(line.clone());
            self.commands.get(&line).cloned()
        }
    }

    #[test]
    fn a_checkout_is_captured_as_upstream_captures_it() {
        let mut checked = 0;
        for line in RECORDED.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            if case["op"] != "capture_run" {
                continue;
            }
            let commands = serde_json::from_value(case["input"]["commands"].clone()).unwrap();
            let environment: BTreeMap<String, String> =
                serde_json::from_value(case["input"]["env"].clone()).unwrap_or_default();
            let variable = |name: &str| environment.get(name).map(String::as_str);
            let mut recorded = Recorded { commands, asked: Vec::new() };
            let found =
                capture(&mut recorded, variable("KELOS_BASE_BRANCH"), variable("KELOS_UPSTREAM_REPO"));
            let expected: Vec<String> =
                serde_json::from_value(case["output"]["commandsRun"].clone()).unwrap();
            assert_eq!(recorded.asked, expected, "{}", case["case"]);
            let from_checkout = ["branch: ", "pr: ", "commit: ", "base-branch: "];
            let expected: Vec<&str> = case["output"]["stdout"]
                .as_str()
                .unwrap()
                .lines()
                .filter(|line| from_checkout.iter().any(|key| line.starts_with(key)))
                .collect();
            let found: Vec<String> = found.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            assert_eq!(found, expected, "{}", case["case"]);
            checked += 1;
        }
        assert_eq!(checked, 11);
    }
}
