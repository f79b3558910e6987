//! What happens inside a run: one process that supervises, and below it one step that prepares and one that executes.
//!
//! [`run`] is the runner proper. It holds the lock of the run's folder for its life, outlives whoever started it,
//! runs the steps as child processes, ends every descendant, and writes the outcome. [`prepare`] makes the workspace
//! and is the only step that sees the token for cloning. [`install_skills`] restricts itself and runs the
//! installer of skills, a program of others. [`exec`] restricts itself and then runs the setup command and the agent;
//! whatever it says about them is a claim, which [`run`] bounds and completes. Where the host allows it, [`exec`] does so
//! in a world of its own, of which [`enclose`] and [`enter`] are the doors.
//!
//! Nothing here knows a cluster, a daemon or a network address: a plan comes in as a file, an outcome leaves as a
//! file. The files are described in [`crate::api::run`].

pub mod agents;
mod capture;
mod children;
mod control_group;
pub mod egress;
mod enclosure;
mod environment;
mod exec;
pub mod folder;
mod inside;
mod lines;
mod log;
mod outputs;
mod parts;
mod prepare;
mod sandbox;
mod side_channel;
mod skills;
mod ssh;
mod supervise;
mod watch;

use std::io;
use std::path::Path;

use crate::api::run::Outcome;
use crate::runner::folder::{Folder, FolderError};

/// Why a runner or one of its steps could not do its work at all.
///
/// What goes wrong with the run itself is not an error but an outcome.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The folder of the run is not usable.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Another runner holds the lock.
    #[error("another runner holds the lock of {run}")]
    Locked {
        /// The folder of the run.
        run: String,
    },
    /// A runner began before and left no result: starting again could pay twice.
    #[error("{run} was started before and ended without a result; it is not started again")]
    StartedBefore {
        /// The folder of the run.
        run: String,
    },
    /// The system refused something.
    #[error("cannot {attempt}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// Why it was refused.
        #[source]
        source: io::Error,
    },
}

impl RunnerError {
    fn system(attempt: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { attempt, source }
    }
}

/// Runs the plan in `folder` to its end and returns the outcome, which is also written there.
///
/// It must be called outside any async runtime, in a process of its own: it leaves the session, becomes the
/// process that inherits orphans, and at the end kills everything below itself.
pub fn run(folder: &Path) -> Result<Outcome, RunnerError> {
    supervise::run(&Folder::open(folder)?)
}

/// Carries out the preparing step of the plan in `folder`; secrets are read from standard input.
///
/// Returns the exit code of the step. What went wrong is in the claims of the run and on standard error.
pub fn prepare(folder: &Path) -> Result<u8, RunnerError> {
    prepare::prepare(&Folder::open(folder)?)
}

/// Installs the skills of the plan in `folder`; tokens and proxies are read from standard input.
///
/// The calling process is restricted for the rest of its life. Returns the exit code of the step. What went wrong is in
/// the claims of the run and on standard error.
pub fn install_skills(folder: &Path) -> Result<u8, RunnerError> {
    skills::install(&Folder::open(folder)?)
}

/// Carries out the executing step of the plan in `folder`; secrets are read from standard input.
///
/// The calling process is restricted for the rest of its life. Returns the exit code of the step: the agent's, or
/// 1 where the agent ended well and its report says otherwise.
pub fn exec(folder: &Path) -> Result<u8, RunnerError> {
    exec::exec(&Folder::open(folder)?)
}

/// Carries out the part of the executing step that leaves the namespaces of the machine.
///
/// The calling process must have one thread. Only [`exec`] starts it.
pub fn enclose(folder: &Path) -> Result<u8, RunnerError> {
    enclosure::enclose(&Folder::open(folder)?).map_err(RunnerError::system("make an enclosure"))
}

/// Carries out the part of the executing step that is inside an enclosure. Only [`enclose`] starts it.
pub fn enter(folder: &Path) -> Result<u8, RunnerError> {
    exec::enter(&Folder::open(folder)?)
}
