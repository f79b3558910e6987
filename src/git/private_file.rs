//! Files that live as long as one call of a program: keys, host keys, certificates, collected messages.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::git::error::GitError;

/// How the names of these files begin.
const PREFIX: &str = "private-";

/// A file that only this user can read and that goes away with its owner.
#[derive(Debug)]
pub(crate) struct PrivateFile {
    path: PathBuf,
}

impl PrivateFile {
    /// Writes `content` into a new file of `folder`, which is ours; `purpose` stands in its name.
    pub(crate) fn create(folder: &Path, purpose: &str, content: &str) -> Result<Self, GitError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::path::absolute(folder).map_err(|error| GitError::storage(folder, &error))?;
        let path = folder.join(format!("{PREFIX}{purpose}-{}-{number}", std::process::id()));
        // A process of the same id that was killed may have left one; nobody else can write here.
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(GitError::storage(&path, &error));
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file: File = opened.map_err(|error| GitError::storage(&path, &error))?;
        let created = Self { path };
        file.write_all(content.as_bytes()).map_err(|error| GitError::storage(&created.path, &error))?;
        Ok(created)
    }

    /// Tells whether a file is called as these are.
    pub(crate) fn is_name(name: &str) -> bool {
        name.starts_with(PREFIX)
    }

    /// Returns where it lies, as an absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        // Nothing can be done about a file that cannot be removed; the folder is private all the same.
        let _removed = std::fs::remove_file(&self.path);
    }
}
