//! The preparing step: working copy, branch, remotes, files, plugins. It alone knows the credential for cloning.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::api::run::{self, CLAIMS_FILE, Claims, Exit, FORMAT_VERSION, Plan, Secrets, Workspace};
use crate::file;
use crate::git::error::GitError;
use crate::git::program::{Checkout, CloneRequest, Git, Limits, NamedRemote};
use crate::git::reference::{RefName, RefNameError};
use crate::git::remote::{Credential, CredentialError, Remote, RemoteUrl, RemoteUrlError};
use crate::runner::RunnerError;
use crate::runner::environment::{Layout, plugins_folder};
use crate::runner::exec::{read_secrets, say};
use crate::runner::folder::Folder;
use crate::runner::inside::{self, InsideError};

/// How long one call of git may take; the deadline of the run may be shorter.
const PATIENCE: Duration = Duration::from_hours(1);
/// How many commits of each branch a working copy has, as upstream.
const DEPTH: NonZeroU32 = NonZeroU32::MIN;

/// Why a workspace could not be made.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("the repository of the workspace cannot be used: {0}")]
    Url(#[from] RemoteUrlError),
    #[error("the credential of the workspace cannot be used: {0}")]
    Credential(#[from] CredentialError),
    #[error("{0}")]
    Name(#[from] RefNameError),
    #[error("the workspace cannot be cloned: {0}")]
    Git(#[from] GitError),
    #[error("a file of the workspace: {0}")]
    WorkspaceFile(#[source] InsideError),
    #[error("a file of plugin {plugin:?}: {source}")]
    PluginFile { plugin: String, source: InsideError },
    #[error("{0:?} cannot be the name of a plugin")]
    PluginName(String),
    #[error("the folder of the plugins cannot be made: {0}")]
    PluginFolder(#[source] std::io::Error),
}

/// Carries out the step; see [`crate::runner::prepare`].
pub(super) fn prepare(folder: &Folder) -> Result<u8, RunnerError> {
    let plan = folder.plan()?;
    let secrets = read_secrets()?;
    let layout = Layout::of(&plan, folder);
    let Err(fault) = carry_out(&plan, &secrets, &layout) else { return Ok(0) };
    let message = fault.to_string();
    say(&message);
    let claims =
        Claims { version: FORMAT_VERSION, exit: Some(Exit::PrepareFailed), message, ..Claims::default() };
    folder.write(CLAIMS_FILE, &claims)?;
    Ok(1)
}

fn carry_out(plan: &Plan, secrets: &Secrets, layout: &Layout) -> Result<(), PrepareError> {
    if let Some(workspace) = &plan.workspace {
        clone(plan, workspace, secrets, &layout.start)?;
        for file in &workspace.files {
            inside::write(&layout.start, &file.path, &file.content).map_err(PrepareError::WorkspaceFile)?;
        }
    }
    if !plan.plugins.is_empty() {
        write_plugins(&plan.plugins, &plugins_folder(&layout.home))?;
    }
    Ok(())
}

fn clone(plan: &Plan, workspace: &Workspace, secrets: &Secrets, checkout: &Path) -> Result<(), PrepareError> {
    let credential = secrets.git.as_ref().map(|credential| Credential::Basic {
        user: credential.username.clone(),
        password: credential.token.clone(),
    });
    let remote = Remote::new(RemoteUrl::parse(&workspace.repo)?, credential)?;
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
    let git = Git::locate(plan.search_path.as_ref())?.with_environment(variables);
    let never = AtomicBool::new(false);
    let limits = Limits { time: PATIENCE, interrupt: &never };
    if let Some(parent) = workspace.mirror.parent() {
        file::make_private_folder(parent)
            .map_err(|fault| GitError::Storage { path: parent.to_path_buf(), detail: fault.to_string() })?;
    }
    git.update_mirror(&workspace.mirror, &remote, limits)?;
    let request = CloneRequest {
        remote: &remote,
        mirror: Some(&workspace.mirror),
        destination: checkout,
        checkout: start.as_ref(),
        // A push from a shallow copy writes a file beside the settings of a repository, which the sandbox forbids for
        // one of this machine; there, a whole copy costs little.
        depth: Some(DEPTH).filter(|_| remote.url().local_path().is_none()),
        remotes: &remotes,
        branch: branch.as_ref(),
    };
    git.clone_for_run(&request, limits)?;
    Ok(())
}

fn write_plugins(plugins: &[run::Plugin], folder: &Path) -> Result<(), PrepareError> {
    for plugin in plugins {
        if !inside::is_component(&plugin.name) {
            return Err(PrepareError::PluginName(plugin.name.clone()));
        }
        let own = folder.join(&plugin.name);
        file::make_private_folder(&own).map_err(PrepareError::PluginFolder)?;
        for file in &plugin.files {
            inside::write(&own, &file.path, &file.content)
                .map_err(|source| PrepareError::PluginFile { plugin: plugin.name.clone(), source })?;
        }
    }
    Ok(())
}
