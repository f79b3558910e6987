//! Working copies for runs: a shallow copy of the mirror of a repository, or of the repository itself.

use std::num::NonZeroU32;
use std::path::Path;

use crate::git::error::GitError;
use crate::git::id::CommitId;
use crate::git::program::{Call, Git, Limits};
use crate::git::reference::RefName;
use crate::git::remote::{Remote, RemoteUrl};
use crate::git::tree::printable;

/// What a run's working copy is made from and how it ends up.
#[derive(Debug, Clone, Copy)]
pub struct CloneRequest<'a> {
    /// The repository; it becomes the remote `origin`, without the credential.
    pub remote: &'a Remote,
    /// The bare mirror to copy from, made and updated before; `None` clones straight from the remote.
    pub mirror: Option<&'a Path>,
    /// The working copy; a folder that is empty or does not exist.
    pub destination: &'a Path,
    /// What is checked out first; `None` is the default branch of the remote.
    pub checkout: Option<&'a Checkout>,
    /// How many commits of each branch are copied; `None` is all.
    pub depth: Option<NonZeroU32>,
    /// Other remotes to set up. They are not fetched.
    pub remotes: &'a [NamedRemote],
    /// The branch to work on: it is continued if the remote has it and begun at the checkout otherwise.
    pub branch: Option<&'a RefName>,
}

/// What is checked out: a commit, or a branch or else a tag of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkout {
    /// A branch, or if there is none a tag, of this name.
    Named(RefName),
    /// One commit.
    Commit(CommitId),
}

impl Checkout {
    /// Reads 40 hexadecimal digits as a commit and anything else as a name.
    pub fn parse(text: &str) -> Result<Self, crate::git::reference::RefNameError> {
        match CommitId::parse(text) {
            Ok(id) => Ok(Self::Commit(id)),
            Err(_) => RefName::parse(text).map(Self::Named),
        }
    }
}

/// A further remote of a working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRemote {
    /// Its name, such as `upstream`.
    pub name: RefName,
    /// Where it is.
    pub url: RemoteUrl,
}

/// Where a working copy stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The branch that is checked out; `None` when a commit is.
    pub branch: Option<String>,
    /// The commit that is checked out.
    pub commit: CommitId,
}

impl Git {
    /// Makes the working copy of a run and returns where it stands.
    pub fn clone_for_run(&self, request: &CloneRequest<'_>, limits: Limits<'_>) -> Result<Head, GitError> {
        std::fs::create_dir_all(request.destination)
            .map_err(|error| GitError::storage(request.destination, &error))?;
        self.copy(request, limits)?;
        let local = Call { folder: Some(request.destination), ..Call::new("checkout", limits) };
        self.check_out(request, &local)?;
        for remote in request.remotes {
            self.set_remote(request.destination, remote, limits)?;
        }
        if let Some(branch) = request.branch {
            self.set_up_branch(branch, &local)?;
        }
        self.head(request.destination, limits)
    }

    /// Sets the remote of a working copy, whether it is there or not.
    pub fn set_remote(
        &self,
        folder: &Path,
        remote: &NamedRemote,
        limits: Limits<'_>,
    ) -> Result<(), GitError> {
        self.set_url(folder, remote.name.as_str(), &remote.url, limits)
    }

    /// Returns where the working copy at `folder` stands.
    pub fn head(&self, folder: &Path, limits: Limits<'_>) -> Result<Head, GitError> {
        let call = Call { folder: Some(folder), ..Call::new("rev-parse", limits) };
        let commit = self.run(&call, ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?;
        let commit = CommitId::parse(commit.trim()).map_err(|error| GitError::Program {
            operation: "rev-parse",
            detail: format!("{}: {error}", printable(commit.trim().as_bytes())),
        })?;
        let branch = self.call(&call, ["symbolic-ref", "--quiet", "--short", "HEAD"])?;
        let branch = branch
            .status
            .success()
            .then(|| printable(String::from_utf8_lossy(&branch.stdout).trim().as_bytes()));
        Ok(Head { branch, commit })
    }

    fn set_url(
        &self,
        folder: &Path,
        name: &str,
        url: &RemoteUrl,
        limits: Limits<'_>,
    ) -> Result<(), GitError> {
        let call = Call { folder: Some(folder), ..Call::new("remote", limits) };
        let known = self.call(&call, ["config", "--get", &format!("remote.{name}.url")])?;
        let verb = if known.status.success() { "set-url" } else { "add" };
        let fixed = ["remote", verb, "--", name].map(std::ffi::OsStr::new);
        self.run(&call, fixed.into_iter().chain([url.for_git()])).map(drop)
    }

    /// Copies the objects and remote branches, without files, and makes the real URL the one of `origin`.
    fn copy(&self, request: &CloneRequest<'_>, limits: Limits<'_>) -> Result<(), GitError> {
        let folder = Some(request.destination);
        let local = Call { folder, ..Call::new("init", limits) };
        self.run(&local, ["init", "--quiet"])?;
        self.set_url(request.destination, "origin", request.remote.url(), limits)?;
        // A mirror is read like a remote: nothing of the copy is shared with it, so a run cannot damage it.
        let (source, remote) = match request.mirror {
            Some(mirror) => (mirror.as_os_str(), None),
            None => (request.remote.url().for_git(), Some(request.remote)),
        };
        let call = Call { folder, remote, ..Call::new("fetch", limits) };
        let mut options = vec!["fetch".to_owned(), "--quiet".to_owned(), "--no-tags".to_owned()];
        options.push("--no-write-fetch-head".to_owned());
        options.extend(request.depth.map(|depth| format!("--depth={depth}")));
        options.push("--".to_owned());
        let mut refspecs = vec!["+refs/heads/*:refs/remotes/origin/*".to_owned()];
        match request.checkout {
            // With a depth, only the tag itself is wanted; the others come with the whole history.
            Some(Checkout::Named(name)) if self.has_tag(&call, source, name)? => {
                refspecs.push(format!("+refs/tags/{name}:refs/tags/{name}"));
            }
            Some(Checkout::Commit(id)) => refspecs.push(id.to_string()),
            Some(Checkout::Named(_)) => {}
            None => refspecs.push("+HEAD:refs/remotes/origin/HEAD".to_owned()),
        }
        let options = options.iter().map(std::ffi::OsStr::new);
        let refspecs = refspecs.iter().map(std::ffi::OsStr::new);
        self.run(&call, options.chain([source]).chain(refspecs)).map(drop)
    }

    fn has_tag(&self, call: &Call<'_>, source: &std::ffi::OsStr, name: &RefName) -> Result<bool, GitError> {
        let call = Call { operation: "ls-remote", ..*call };
        let full = format!("refs/tags/{name}");
        let fixed = ["ls-remote", "--quiet", "--refs", "--"].map(std::ffi::OsStr::new);
        let output = self.run(&call, fixed.into_iter().chain([source, full.as_ref()]))?;
        Ok(output.lines().any(|line| line.split_once('\t').is_some_and(|(_, listed)| listed == full)))
    }

    fn check_out(&self, request: &CloneRequest<'_>, call: &Call<'_>) -> Result<(), GitError> {
        let missing =
            |what: String| GitError::RefMissing { remote: request.remote.url().to_string(), reference: what };
        match request.checkout {
            Some(Checkout::Commit(id)) => {
                self.run(call, ["checkout", "--quiet", "--detach", &id.to_string(), "--"])?;
            }
            Some(Checkout::Named(name)) => {
                if self.knows(call, &format!("refs/remotes/origin/{name}"))? {
                    self.begin(call, name, &format!("refs/remotes/origin/{name}"), true)?;
                } else if self.knows(call, &format!("refs/tags/{name}"))? {
                    self.run(call, ["checkout", "--quiet", "--detach", &format!("refs/tags/{name}"), "--"])?;
                } else {
                    return Err(missing(format!("branch or tag {name}")));
                }
            }
            None => {
                let name = self.default_branch(request, call)?;
                let name = name.ok_or_else(|| missing("default branch".to_owned()))?;
                self.begin(call, &name, &format!("refs/remotes/origin/{name}"), true)?;
            }
        }
        Ok(())
    }

    /// Finds the default branch: the one that the source's `HEAD` names.
    fn default_branch(
        &self,
        request: &CloneRequest<'_>,
        call: &Call<'_>,
    ) -> Result<Option<RefName>, GitError> {
        let (source, remote) = match request.mirror {
            Some(mirror) => (mirror.as_os_str(), None),
            None => (request.remote.url().for_git(), Some(request.remote)),
        };
        let call = Call { remote, operation: "ls-remote", ..*call };
        let fixed = ["ls-remote", "--quiet", "--symref", "--"].map(std::ffi::OsStr::new);
        let listed = self.run(&call, fixed.into_iter().chain([source, "HEAD".as_ref()]))?;
        let name =
            listed.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD"));
        Ok(name.and_then(|name| RefName::parse(name).ok()))
    }

    /// Continues `branch` if the remote has it, and begins it at what is checked out otherwise.
    fn set_up_branch(&self, branch: &RefName, call: &Call<'_>) -> Result<(), GitError> {
        let remote_branch = format!("refs/remotes/origin/{branch}");
        if self.knows(call, &remote_branch)? {
            return self.begin(call, branch, &remote_branch, true);
        }
        self.begin(call, branch, "HEAD", false)
    }

    fn begin(&self, call: &Call<'_>, branch: &RefName, start: &str, track: bool) -> Result<(), GitError> {
        let track = if track { "--track" } else { "--no-track" };
        self.run(call, ["checkout", "--quiet", track, "-B", branch.as_str(), start, "--"]).map(drop)
    }

    fn knows(&self, call: &Call<'_>, name: &str) -> Result<bool, GitError> {
        let finished = self.call(call, ["show-ref", "--verify", "--quiet", "--", name])?;
        Ok(finished.status.success())
    }
}
