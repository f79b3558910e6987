//! The preparing step: working copy, branch, remotes, files, plugins. It alone knows the token for cloning.

mod clone;

use std::path::Path;

use crate::api::run::{self, CLAIMS_FILE, Claims, Exit, FORMAT_VERSION, Plan, Secrets};
use crate::file;
use crate::git::error::GitError;
use crate::git::reference::RefNameError;
use crate::git::remote::{CredentialError, RemoteUrlError};
use crate::runner::RunnerError;
use crate::runner::environment::{Layout, plugins_folder};
use crate::runner::exec::{end_with_the_runner, read_secrets, say};
use crate::runner::folder::Folder;
use crate::runner::inside::{self, InsideError};

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
    end_with_the_runner()?;
    let plan = folder.plan()?;
    let secrets = read_secrets()?;
    let layout = Layout::of(&plan, folder);
    let Err(fault) = carry_out(&plan, &secrets, &layout) else { return Ok(0) };
    let message = fault.to_string();
    say(&message);
    // A copy that was not finished is of no use, and on a full disk its room is needed to say so.
    file::remove_tree(&layout.start).ok();
    let claims =
        Claims { version: FORMAT_VERSION, exit: Some(Exit::PrepareFailed), message, ..Claims::default() };
    if folder.write(CLAIMS_FILE, &claims).is_err() {
        folder.release();
        folder.write(CLAIMS_FILE, &claims)?;
    }
    Ok(1)
}

fn carry_out(plan: &Plan, secrets: &Secrets, layout: &Layout) -> Result<(), PrepareError> {
    if let Some(workspace) = &plan.workspace {
        clone::clone(plan, workspace, secrets, &layout.start)?;
        for file in &workspace.files {
            inside::write(&layout.start, &file.path, &file.content).map_err(PrepareError::WorkspaceFile)?;
        }
    }
    if !plan.plugins.is_empty() {
        write_plugins(&plan.plugins, &plugins_folder(&layout.home))?;
    }
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
