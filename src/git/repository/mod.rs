//! A bare repository of ours, read and written by library code; the home of gix.
//!
//! Config repositories are fetched into it, one commit deep, and read from the object database: nothing of
//! them ever becomes a file, so links and odd names have nothing to act on. Status commits are written into
//! it and leave it by a push. It is a cache: whoever finds it damaged throws it away with
//! [`Repository::recreate`].
//!
//! Settings of the user, the system and the environment are not read. Open a repository for one pass and drop
//! it: a handle that lives through many fetches keeps every pack open.

mod commit;
mod fetch;
mod read;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::git::error::GitError;
use crate::git::id::{BlobId, CommitId, TreeId};

pub use crate::git::repository::commit::{Change, CommitInfo, Signature};
pub use crate::git::repository::read::{Name, Revision};

/// More packs than this are untidy.
const PACK_LIMIT: usize = 40;

/// More loose objects than this in one of the 256 folders are untidy: git's own limit.
const LOOSE_LIMIT: usize = 27;

/// A bare repository of ours. Cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Repository {
    path: PathBuf,
    inner: gix::ThreadSafeRepository,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Repository").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Repository {
    /// Opens the bare repository at `path`, or makes an empty one that only this user may read.
    pub fn open_or_create(path: &Path) -> Result<Self, GitError> {
        if !path.join("HEAD").exists() {
            create(path)?;
        }
        let inner = gix::ThreadSafeRepository::open_opts(path, options([]))
            .map_err(|error| GitError::Corrupt { path: path.to_owned(), detail: chain(&error) })?;
        Ok(Self { path: path.to_owned(), inner })
    }

    /// Throws away what is at `path` and makes an empty repository.
    ///
    /// Everything in it can be fetched again, except commits that were built and not yet pushed, which are
    /// rebuilt.
    pub fn recreate(path: &Path) -> Result<Self, GitError> {
        match std::fs::remove_dir_all(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(GitError::storage(path, &error)),
        }
        Self::open_or_create(path)
    }

    /// Returns the folder of the repository.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps `commit` from the garbage collection under this name of ours, in the place of what it kept before.
    pub fn keep(&self, name: &str, commit: CommitId) -> Result<(), GitError> {
        let any = gix::refs::transaction::PreviousValue::Any;
        self.local()
            .reference(kept(name), object_id(commit.as_bytes()), any, "kept")
            .map(drop)
            .map_err(|error| GitError::Storage { path: self.path.clone(), detail: chain(&error) })
    }

    /// Returns the commit that is kept under this name; `None` when none is.
    pub fn kept(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        let local = self.local();
        let found = local.try_find_reference(&kept(name)).map_err(|error| self.corrupt(&error))?;
        Ok(found.and_then(|reference| reference.try_id().map(commit_id)))
    }

    /// Returns whether so many packs or loose objects have gathered that the git program should join them.
    ///
    /// Every fetch leaves a pack and every status commit some loose objects; the library never tidies up.
    pub fn is_untidy(&self) -> bool {
        is_untidy(&self.path)
    }

    fn local(&self) -> gix::Repository {
        let mut repository = self.inner.to_thread_local();
        repository.object_cache_size_if_unset(4 << 20);
        repository
    }

    fn corrupt(&self, error: &gix::Error) -> GitError {
        GitError::Corrupt { path: self.path.clone(), detail: chain(error) }
    }
}

fn kept(name: &str) -> String {
    format!("refs/kelos/kept/{name}")
}

/// See [`Repository::is_untidy`].
pub(crate) fn is_untidy(path: &Path) -> bool {
    let count = |folder: &str, end: Option<&str>| {
        std::fs::read_dir(path.join("objects").join(folder)).map_or(0, |entries| {
            let ends = |path: &Path| end.is_none() || path.extension().and_then(|end| end.to_str()) == end;
            entries.flatten().filter(|entry| ends(&entry.path())).count()
        })
    };
    // Names are spread evenly over 256 folders: one of them tells how many there are.
    count("pack", Some("pack")) > PACK_LIMIT || count("17", None) > LOOSE_LIMIT
}

// A repository is made beside its place and moved there: what was half made when we were killed never stands in it.
fn create(path: &Path) -> Result<(), GitError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let fault = |error: std::io::Error| GitError::storage(path, &error);
    let beside = path.with_extension("making");
    for half_made in [path, &beside] {
        match std::fs::remove_dir_all(half_made) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
            _ => {}
        }
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&beside).map_err(fault)?;
    gix::ThreadSafeRepository::init_opts(
        &beside,
        gix::create::Kind::Bare,
        gix::create::Options::default(),
        options([]),
    )
    .map_err(|error| GitError::Storage { path: path.to_owned(), detail: chain(&error) })?;
    std::fs::rename(&beside, path).map_err(fault)
}

/// Options under which only the repository's own settings and `overrides` count.
fn options(overrides: impl IntoIterator<Item = String>) -> gix::open::Options {
    let fixed = [
        "user.name=kelos",
        "user.email=kelos@localhost",
        "core.logAllRefUpdates=false",
        // One object, and one base of a delta, must fit into memory together with everything else.
        "gitoxide.objects.allocLimit=256m",
    ];
    gix::open::Options::isolated()
        // The folder is ours: who owns the files on a mounted volume says nothing.
        .with(gix::sec::Trust::Full)
        .open_path_as_is(true)
        .object_store_slots(gix::odb::store::init::Slots::AsNeededByDiskState {
            multiplier: 2.0,
            minimum: 256,
        })
        .config_overrides(fixed.into_iter().map(str::to_owned).chain(overrides))
}

/// Joins the texts of an error and its causes, without repetitions.
fn chain(error: &gix::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in error.iter_errors() {
        let text = cause.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
    }
    let joined = texts.join(": ");
    crate::git::tree::printable(joined.as_bytes()).chars().take(600).collect()
}

fn object_id(bytes: &[u8; 20]) -> gix::ObjectId {
    gix::ObjectId::Sha1(*bytes)
}

fn commit_id(id: impl Into<gix::ObjectId>) -> CommitId {
    CommitId::from_bytes(bytes_of(id.into()))
}

fn tree_id(id: impl Into<gix::ObjectId>) -> TreeId {
    TreeId::from_bytes(bytes_of(id.into()))
}

fn blob_id(id: impl Into<gix::ObjectId>) -> BlobId {
    BlobId::from_bytes(bytes_of(id.into()))
}

fn bytes_of(id: gix::ObjectId) -> [u8; 20] {
    id.as_slice().try_into().expect("because the library is built for 20-byte object names alone")
}
