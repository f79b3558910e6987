//! What can go wrong with a store.

use std::path::PathBuf;
use std::sync::Arc;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the files could not be made private, created or opened.
    #[error("cannot prepare {path} for the store")]
    Prepare {
        /// The folder or file that was touched.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the store open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The file was written by a newer version of this program.
    #[error("{path} has schema version {found}, this program knows versions up to {known}")]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// The version that the file states.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The file is an `SQLite` database of somebody else.
    #[error("{path} is a database, but not one of this program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The content contradicts itself.
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What contradicts what.
        detail: String,
    },
    /// The disk is full, and a start has to write a little.
    #[error("no space is left on the disk for {path}; make room there and start again")]
    Full {
        /// The store's file.
        path: PathBuf,
    },
    /// The database refused a step.
    #[error("cannot {attempted} {path}")]
    Database {
        /// What was attempted, as a verb.
        attempted: &'static str,
        /// The store's file.
        path: PathBuf,
        /// What the database said.
        source: rusqlite::Error,
    },
}

/// Why a write was not stored. Nothing of it is visible, and the store goes on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the size that the file may have, is exhausted.
    #[error("the store is full: no space left for {path}")]
    Full {
        /// The store's file.
        path: PathBuf,
    },
    /// The database refused the write for another reason.
    #[error("cannot write to {path}")]
    Write {
        /// The store's file.
        path: PathBuf,
        /// What the database said.
        source: Arc<rusqlite::Error>,
    },
    /// One value is larger than a store takes.
    #[error("the value of {key} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// The key that was written.
        key: String,
        /// The size of the value.
        bytes: usize,
        /// The largest size that is taken.
        limit: usize,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a mutation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MutateError<E> {
    /// The caller's decision was not to write.
    #[error("refused")]
    Refused(E),
    /// The write could not be stored.
    #[error(transparent)]
    Storage(StoreError),
}

/// Why the past of a revision is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The history that is kept begins later.
    #[error("the history before revision {floor} is gone")]
    Compacted {
        /// The oldest revision that can be asked for.
        floor: u64,
    },
    /// The revision has not happened yet.
    #[error("the current revision is {current}")]
    Future {
        /// The latest revision.
        current: u64,
    },
}
