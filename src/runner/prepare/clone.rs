//! The working copy of a run: by way of the mirror of its repository.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::api::run::{Plan, RUN_VARIABLE, Secrets, Workspace};
use crate::clock;
use crate::file;
use crate::git::error::GitError;
use crate::git::program::{self, Checkout, CloneRequest, Git, Limits, NamedRemote};
use crate::git::reference::RefName;
use crate::git::remote::{Credential, Remote, RemoteUrl};
use crate::runner::prepare::PrepareError;

/// How long one call of git may take; the deadline of the run may be shorter.
const PATIENCE: Duration = Duration::from_hours(1);
/// How many commits of each branch a working copy has, as upstream.
const DEPTH: NonZeroU32 = NonZeroU32::MIN;
/// How long a mirror that no run uses is kept.
const MIRROR_AGE: Duration = Duration::from_hours(30 * 24);

/// Makes the working copy of `workspace` in the folder `checkout`.
pub(super) fn clone(
    plan: &Plan,
    workspace: &Workspace,
    secrets: &Secrets,
    checkout: &Path,
) -> Result<(), PrepareError> {
    let remote = remote(workspace, secrets)?;
    let remotes = workspace
        .remotes
        .iter()
        .map(|remote| {
            Ok(NamedRemote { name: RefName::parse(&remote.name)?, url: RemoteUrl::parse(&remote.url)? })
        })
        .collect::<Result<Vec<_>, PrepareError>>()?;
    let reference = workspace.reference.as_deref().filter(|reference| !reference.is_empty());
    let start = reference.map(Checkout::parse).transpose()?;
    let branch =
        plan.branch.as_deref().filter(|branch| !branch.is_empty()).map(RefName::parse).transpose()?;

    let variables =
        workspace.git_environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let proxies =
        secrets.proxies.iter().map(|(name, value)| (OsString::from(name), OsString::from(value.expose())));
    let mark = (OsString::from(RUN_VARIABLE), OsString::from(&plan.run));
    let git =
        Git::locate(plan.search_path.as_ref())?.with_environment(variables.chain(proxies).chain([mark]));
    let never = AtomicBool::new(false);
    let limits = Limits { time: PATIENCE, interrupt: &never };
    let mut mirror = git.update_mirror(&workspace.mirror, &remote, limits)?;
    let copy = |mirror: &Path| {
        let request = CloneRequest {
            remote: &remote,
            mirror: Some(mirror),
            destination: checkout,
            checkout: start.as_ref(),
            // A push from a shallow copy writes a file beside the settings of a repository, which the sandbox forbids
            // for one of this machine; there, a whole copy costs little.
            depth: Some(DEPTH).filter(|_| remote.url().local_path().is_none()),
            remotes: &remotes,
            branch: branch.as_ref(),
        };
        git.clone_for_run(&request, limits)
    };
    match copy(mirror.path()) {
        // The remote has no part in copying, so the mirror is to blame.
        Err(GitError::Program { .. } | GitError::Corrupt { .. }) => {
            file::remove_tree(checkout).map_err(|fault| storage(checkout, &fault))?;
            mirror = git.rebuild_mirror(mirror, &remote, limits)?;
            copy(mirror.path())?;
        }
        copied => drop(copied?),
    }
    drop(mirror);
    if let Some(mirrors) = workspace.mirror.parent() {
        // Housekeeping only: what cannot be removed now is tried again by the next run.
        program::remove_unused_mirrors(mirrors, MIRROR_AGE, clock::system().now()).ok();
    }
    Ok(())
}

fn remote(workspace: &Workspace, secrets: &Secrets) -> Result<Remote, PrepareError> {
    let url = RemoteUrl::parse(&workspace.repo)?;
    // Over ssh without a key those of the user are used, and a repository of this machine needs nothing: the token is for
    // the agent's calls of the forge.
    let credential = match (&secrets.git, &secrets.ssh) {
        (Some(credential), _) if url.takes_password() => {
            Some(Credential::Basic { user: credential.username.clone(), password: credential.token.clone() })
        }
        (_, Some(key)) if url.is_ssh() => {
            Some(Credential::Ssh { identity: key.identity.clone(), known_hosts: key.known_hosts.clone() })
        }
        _ => None,
    };
    let remote = Remote::new(url, credential)?;
    Ok(match &workspace.authority {
        Some(certificates) => remote.with_authority(certificates.clone())?,
        None => remote,
    })
}

fn storage(path: &Path, fault: &std::io::Error) -> GitError {
    GitError::Storage { path: path.to_path_buf(), detail: fault.to_string() }
}
