//! Where a run happens.
//!
//! [`Executor`] is all that a controller knows about it; [`local::Local`] runs each run as a process of this machine
//! that outlives whoever started it. What is known about a run is read from its folder each time, so that a
//! restarted daemon knows as much as the one before.

pub mod age;
pub mod local;
pub mod log;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::api::run::{Plan, RunState, Secrets};
use crate::secret::Secret;

/// Starts runs, and tells what became of them.
pub trait Executor: fmt::Debug + Send + Sync {
    /// Starts `plan`. After it returned well the run is never started again, whatever happens to us.
    ///
    /// A run is started at most once: for one that was begun before, [`StartError::Begun`] says how far it is.
    fn start(&self, plan: Plan, secrets: Secrets) -> BoxFuture<'_, Result<(), StartError>>;

    /// Returns what is known about the run with the identity `run`.
    fn observe<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<RunState, ExecutorError>>;

    /// Asks the run to end, and ends it by force after `grace`; returns when it has ended. One that does not run is no fault.
    fn stop<'a>(&'a self, run: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Replaces the token for the forge that a run uses; for one that does not run, or has none, nothing happens.
    fn renew_token<'a>(&'a self, run: &'a str, token: Secret) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Forgets the run and removes its files. One that still runs is not removed.
    fn remove<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<(), ExecutorError>>;

    /// Returns the identities of all runs of which something is left, in no order.
    fn runs(&self) -> BoxFuture<'_, Result<Vec<String>, ExecutorError>>;

    /// Returns the log of the run from its beginning; with `follow` it stays open until the run has ended.
    fn log<'a>(&'a self, run: &'a str, follow: bool) -> BoxFuture<'a, Result<LogStream, ExecutorError>>;

    /// Returns the identities of runs as they end, those that were started by an earlier process as well. An end that
    /// happened before the call is not told; the stream has no end, and dropping it stops the watching.
    fn ends(&self) -> BoxStream<'static, String>;

    /// Returns how many runs there may be at once, and how many there are.
    fn slots(&self) -> Slots;

    /// Starts no run from now on: each is told that there is no slot.
    fn close(&self);

    /// Returns how many bytes must be free for a run to begin, when fewer are.
    fn missing_room(&self) -> Option<u64>;
}

/// A log, in pieces of any size.
pub type LogStream = BoxStream<'static, io::Result<Bytes>>;

/// How many runs there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// How many there may be at once.
    pub total: usize,
    /// How many there are.
    pub used: usize,
}

/// Why a run was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// As many runs as may be are running. Nothing was written.
    #[error("all {total} slots are taken")]
    NoSlot {
        /// How many runs there may be.
        total: usize,
    },
    /// The disk has less room than a run needs to begin. Nothing was written.
    #[error("the disk has fewer than {floor} free bytes")]
    NoRoom {
        /// Bytes that must be free.
        floor: u64,
    },
    /// It was begun before, by us or by an earlier process.
    #[error("run {run} was begun before")]
    Begun {
        /// The run.
        run: String,
        /// How far it is.
        state: Box<RunState>,
    },
    /// Its folder or its process could not be made. Nothing was paid for, and it can be tried again.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
}

/// What an executor could not do.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The identity is not one that we give.
    #[error("{run:?} is no identity of a run")]
    Identity {
        /// The identity.
        run: String,
    },
    /// There is no such run.
    #[error("there is no run {run}")]
    Absent {
        /// The run.
        run: String,
    },
    /// It still runs.
    #[error("run {run} has not ended")]
    StillRunning {
        /// The run.
        run: String,
    },
    /// The system refused something.
    #[error("cannot {attempt} {path}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it was refused.
        #[source]
        source: io::Error,
    },
}

impl ExecutorError {
    fn system(attempt: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { attempt, path: path.into(), source }
    }
}
