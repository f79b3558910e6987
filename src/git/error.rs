//! What can go wrong with a repository or a remote, in the classes that callers decide by.

use std::path::PathBuf;

/// What a caller can do about a [`GitError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GitErrorClass {
    /// The credential is missing, wrong or not allowed to do this, or the server cannot prove who it is: a person has
    /// to act.
    Unauthenticated,
    /// There is no such repository: a person has to act.
    NotFound,
    /// The repository has no such branch, tag or commit: a person has to act, by a push or by a change of the
    /// reference.
    RefMissing,
    /// The server could not be reached or broke off: try again later.
    Unreachable,
    /// The server did not answer in time: try again later.
    Timeout,
    /// The caller stopped the work.
    Interrupted,
    /// A limit of ours was passed: a person has to act.
    TooLarge,
    /// Our own copy is damaged: throw it away and fetch again.
    Corrupt,
    /// The local disk failed: try again later.
    Storage,
    /// The server speaks or asks for something that we do not, or the git program is missing.
    Unsupported,
    /// The git program failed for a reason that we do not know: try again later.
    Program,
}

impl GitErrorClass {
    /// Returns whether the same call can succeed later without anybody's doing.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Unreachable | Self::Timeout | Self::Storage | Self::Corrupt | Self::Program => true,
            Self::Unauthenticated
            | Self::NotFound
            | Self::RefMissing
            | Self::Interrupted
            | Self::TooLarge
            | Self::Unsupported => false,
        }
    }

    /// Returns the name that stands in conditions and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "Unauthenticated",
            Self::NotFound => "RepositoryNotFound",
            Self::RefMissing => "ReferenceMissing",
            Self::Unreachable => "Unreachable",
            Self::Timeout => "Timeout",
            Self::Interrupted => "Interrupted",
            Self::TooLarge => "TooLarge",
            Self::Corrupt => "Corrupt",
            Self::Storage => "Storage",
            Self::Unsupported => "Unsupported",
            Self::Program => "GitFailed",
        }
    }
}

/// A failed call on a repository or a remote.
///
/// Remotes are named by their URL, which cannot hold a credential. `detail` is the text of the library or
/// program below, with credentials blotted out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// The server asked for a credential that we lack, or refused the one we sent.
    #[error("{remote} refused our credentials: {detail}")]
    Unauthenticated { remote: String, detail: String },
    /// We do not believe that the server is the one that it should be; nothing was sent to it.
    #[error("the identity of the server of {remote} cannot be verified: {detail}")]
    Untrusted { remote: String, detail: String },
    /// No repository answers at the URL.
    #[error("there is no git repository at {remote}")]
    NotFound { remote: String },
    /// The repository lacks what was asked for.
    #[error("{remote} has no {reference}")]
    RefMissing { remote: String, reference: String },
    /// The connection failed.
    #[error("{remote} could not be reached: {detail}")]
    Unreachable { remote: String, detail: String },
    /// The time for the call ran out.
    #[error("{remote} did not answer within {seconds} s")]
    Timeout { remote: String, seconds: u64 },
    /// The caller stopped the call.
    #[error("the work with {remote} was stopped")]
    Interrupted { remote: String },
    /// The remote cannot be used as it is.
    #[error("{remote} cannot be used: {detail}")]
    Unsupported { remote: String, detail: String },
    /// Something is larger than we read.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge { what: String, limit: u64 },
    /// An object is not in the repository, or is not what its name promised.
    #[error("the object {id} cannot be read: {detail}")]
    Object { id: String, detail: String },
    /// A path is not what the caller asked it to be.
    #[error("{path:?} cannot be written: {detail}")]
    Path { path: String, detail: String },
    /// Our own copy cannot be used.
    #[error("the repository in {path} is damaged: {detail}")]
    Corrupt { path: PathBuf, detail: String },
    /// The git program is not there or too old.
    #[error("git {minimum} or later is needed: {detail}")]
    NoProgram { minimum: &'static str, detail: String },
    /// The git program failed for a reason that we do not know.
    #[error("git {operation} failed: {detail}")]
    Program { operation: &'static str, detail: String },
    /// A file or folder of ours cannot be read or written.
    #[error("{path}: {detail}")]
    Storage { path: PathBuf, detail: String },
}

impl GitError {
    /// Returns what the caller can do.
    pub fn class(&self) -> GitErrorClass {
        match self {
            Self::Unauthenticated { .. } | Self::Untrusted { .. } => GitErrorClass::Unauthenticated,
            Self::NotFound { .. } => GitErrorClass::NotFound,
            Self::RefMissing { .. } => GitErrorClass::RefMissing,
            Self::Unreachable { .. } => GitErrorClass::Unreachable,
            Self::Timeout { .. } => GitErrorClass::Timeout,
            Self::Interrupted { .. } => GitErrorClass::Interrupted,
            Self::Unsupported { .. } | Self::Path { .. } | Self::NoProgram { .. } => {
                GitErrorClass::Unsupported
            }
            Self::Program { .. } => GitErrorClass::Program,
            Self::TooLarge { .. } => GitErrorClass::TooLarge,
            Self::Object { .. } | Self::Corrupt { .. } => GitErrorClass::Corrupt,
            Self::Storage { .. } => GitErrorClass::Storage,
        }
    }

    pub(crate) fn storage(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::Storage { path: path.into(), detail: error.to_string() }
    }
}
