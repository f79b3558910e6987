//! Counts what the demo brought about, from the API and from git and not from the script.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::cli::command_error::CommandError;
use crate::process;

/// What is there at the end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// RunRecords in the API.
    records: usize,
    /// Different Tasks among them.
    tasks: usize,
    /// Lines of the ledger in git.
    lines: usize,
    /// Different Tasks among them.
    lines_tasks: usize,
    /// Commits of the report.
    commits: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} runs of {} Tasks in the API, {} lines for {} Tasks in git, {} commits of the report",
            self.records, self.tasks, self.lines, self.lines_tasks, self.commits
        )
    }
}

/// Counts in the demo's folder, with programs of `search_path`.
pub(super) fn count(folder: &Path, search_path: &str) -> Result<Count, CommandError> {
    let output = |command: &str| output(folder, search_path, command);
    let records = output("bin/kelos get runrecords --output json")?;
    let records: Value = serde_json::from_str(&records).map_err(CommandError::internal)?;
    let items = records["items"].as_array().cloned().unwrap_or_default();
    let uids: BTreeSet<&str> = items.iter().filter_map(|item| item["spec"]["taskUid"].as_str()).collect();
    let ledger = output(
        "git -C config.git ls-tree -r --name-only kelos-status | grep 'jsonl$' | \
         while read -r file; do git -C config.git show \"kelos-status:$file\"; done",
    )?;
    let lines: Vec<Value> = ledger.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let written: BTreeSet<&str> = lines.iter().filter_map(|line| line["taskUid"].as_str()).collect();
    let commits = output("git -C config.git rev-list --count kelos-status")?;
    let count = Count {
        records: items.len(),
        tasks: uids.len(),
        lines: lines.len(),
        lines_tasks: written.len(),
        commits: commits.trim().parse().unwrap_or_default(),
    };
    if count.records != count.tasks || count.lines != count.lines_tasks || count.records < count.lines {
        return Err(CommandError::internal(anyhow::anyhow!("a run is there twice: {count}")));
    }
    Ok(count)
}

fn output(folder: &Path, search_path: &str, command: &str) -> Result<String, CommandError> {
    let mut shell = process::command("/bin/sh");
    shell.args(["-c", command]).current_dir(folder).envs(super::variables(folder));
    shell.env("PATH", search_path);
    let output = shell.output()?;
    if !output.status.success() {
        return Err(CommandError::user_message(format!("the command '{command}' failed")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
