//! The preparing step: the only one that knows the credential for cloning.

use crate::runner::RunnerError;
use crate::runner::exec::read_secrets;
use crate::runner::folder::Folder;

/// Carries out the step; see [`crate::runner::prepare`].
pub(super) fn prepare(folder: &Folder) -> Result<u8, RunnerError> {
    let _plan = folder.plan()?;
    let _secrets = read_secrets()?;
    Ok(0)
}
