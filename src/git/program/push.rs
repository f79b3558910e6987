//! Pushing one commit to one branch, forward only.

use crate::git::error::GitError;
use crate::git::id::CommitId;
use crate::git::program::{Call, Git, Limits};
use crate::git::reference::RefName;
use crate::git::remote::Remote;
use crate::git::repository::Repository;
use crate::git::tree::printable;

/// Why a push did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The branch is not where it was thought to be: fetch, rebuild, push again.
    #[error("the branch moved in the meantime")]
    Stale,
    /// The server does not want the commit: a hook, a protected branch, a quota.
    #[error("the server refuses the push: {reason}")]
    Refused { reason: String },
    /// The commit does not stand on the expected one, so the push would not be a step forward. Nothing was
    /// sent.
    #[error("the commit does not stand on the expected head of the branch")]
    NotForward,
    /// The push did not come that far.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Git {
    /// Pushes `commit` to `branch` of `remote`, provided that the branch still is at `expected`, or not there
    /// for `None`.
    ///
    /// Invariant: a branch only moves forward. The commit must have `expected` among its parents, or none at
    /// all when a branch is made, and the server compares the branch with `expected` before it moves it.
    pub fn push(
        &self,
        repository: &Repository,
        remote: &Remote,
        commit: CommitId,
        branch: &RefName,
        expected: Option<CommitId>,
        limits: Limits<'_>,
    ) -> Result<(), PushError> {
        let parents = repository.commit_info(commit)?.parents;
        let forward = expected.map_or(parents.is_empty(), |expected| parents.contains(&expected));
        if !forward {
            return Err(PushError::NotForward);
        }
        let call =
            Call { git_dir: Some(repository.path()), remote: Some(remote), ..Call::new("push", limits) };
        let lease = expected.map(|id| id.to_string()).unwrap_or_default();
        let lease = format!("--force-with-lease=refs/heads/{branch}:{lease}");
        let refspec = format!("{commit}:refs/heads/{branch}");
        let fixed =
            ["push", "--porcelain", "--no-verify", "--no-signed", &lease, "--"].map(std::ffi::OsStr::new);
        let arguments = fixed.into_iter().chain([remote.url().for_git(), refspec.as_ref()]);
        let finished = self.call(&call, arguments)?;
        let outcome = read_porcelain(&String::from_utf8_lossy(&finished.stdout));
        match outcome {
            Some(Outcome::Moved) if finished.status.success() => Ok(()),
            Some(Outcome::Stale) => Err(PushError::Stale),
            Some(Outcome::Refused(reason)) => {
                let reason = remote.blot(&reason);
                let said = call.remote_lines(&finished.stderr);
                let reason = if said.is_empty() { reason } else { format!("{reason}: {said}") };
                Err(PushError::Refused { reason })
            }
            Some(Outcome::Moved) | None => Err(PushError::Git(call.explain(&finished))),
        }
    }
}

impl Call<'_> {
    /// Returns what the server said to the user, fit to be shown.
    fn remote_lines(&self, stderr: &[u8]) -> String {
        let text = String::from_utf8_lossy(stderr);
        let lines: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("remote:")).map(str::trim).collect();
        self.detail(lines.join("\n").as_bytes()).chars().take(300).collect()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Moved,
    Stale,
    Refused(String),
}

/// Reads the line about our one reference: a flag, the two names, a summary, divided by tabs.
fn read_porcelain(output: &str) -> Option<Outcome> {
    let line = output.lines().find(|line| line.contains(":refs/heads/"))?;
    let mut parts = line.split('\t');
    let flag = parts.next()?;
    let summary = parts.nth(1).unwrap_or_default();
    if matches!(flag, " " | "*" | "=") {
        return Some(Outcome::Moved);
    }
    let moved = [
        "stale info",
        "fetch first",
        "non-fast-forward",
        "failed to update ref",
        "cannot lock ref",
        "failed to lock",
        "incorrect old value",
        "reference already exists",
        "remote ref updated since checkout",
    ];
    if moved.iter().any(|text| summary.contains(text)) {
        return Some(Outcome::Stale);
    }
    Some(Outcome::Refused(printable(summary.as_bytes()).chars().take(300).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_porcelain_line_is_understood() {
        let check = |line: &str, outcome: Option<Outcome>| {
            assert_eq!(read_porcelain(&format!("To /srv/a\n{line}\nDone\n")), outcome, "{line}");
        };
        let names = "0123:refs/heads/kelos-status";
        check(&format!(" \t{names}\t1..2"), Some(Outcome::Moved));
        check(&format!("*\t{names}\t[new branch]"), Some(Outcome::Moved));
        check(&format!("=\t{names}\t[up to date]"), Some(Outcome::Moved));
        check(&format!("!\t{names}\t[rejected] (stale info)"), Some(Outcome::Stale));
        check(&format!("!\t{names}\t[rejected] (fetch first)"), Some(Outcome::Stale));
        check(
            &format!(
                "!\t{names}\t[remote rejected] (cannot lock ref 'refs/heads/a': is at 1 but expected 2)"
            ),
            Some(Outcome::Stale),
        );
        let declined = "[remote rejected] (pre-receive hook declined)";
        check(&format!("!\t{names}\t{declined}"), Some(Outcome::Refused(declined.to_owned())));
        check("fatal: no such thing", None);
    }
}
