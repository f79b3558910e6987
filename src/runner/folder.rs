//! The folder of a run, as the runner and its steps use it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::run::{FORMAT_VERSION, PLAN_FILE, Plan};
use crate::file;

/// The greatest file of ours that is read, in bytes. The API refuses objects far below it.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;
/// Room that is kept for the result on a full disk, in bytes.
const RESERVE: usize = 256 * 1024;
const RESERVE_FILE: &str = "reserve";

/// What can be wrong with the folder of a run.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be. Where exactly is not said, because it could quote a secret.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The plan is of a later version of this program.
    #[error("the plan has format version {found}, this program knows {known}")]
    Newer {
        /// The version of the plan.
        found: u32,
        /// The greatest known version.
        known: u32,
    },
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Returns the folder at `path`, with every link on the way to it resolved.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let resolved =
            path.canonicalize().map_err(|source| FolderError::Read { path: path.to_path_buf(), source })?;
        Ok(Self { path: resolved })
    }

    /// Returns the path of `name` in this folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Returns where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the plan.
    pub fn plan(&self) -> Result<Plan, FolderError> {
        let plan: Plan = self.read(PLAN_FILE)?;
        if plan.version > FORMAT_VERSION {
            return Err(FolderError::Newer { found: plan.version, known: FORMAT_VERSION });
        }
        Ok(plan)
    }

    /// Returns what is in the file called `name`.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T, FolderError> {
        let path = self.join(name);
        let bytes = file::read_bounded(&path, LARGEST_FILE)
            .map_err(|source| FolderError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&bytes).map_err(|_| FolderError::Damaged { path })
    }

    /// Tells whether there is a file called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.join(name).symlink_metadata().is_ok()
    }

    /// Writes `value` to the file called `name`: after this returns it is on the disk, under its name.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), FolderError> {
        let path = self.join(name);
        let written = serde_json::to_vec_pretty(value)
            .map_err(io::Error::from)
            .and_then(|bytes| file::write_durably(&path, &bytes));
        written.map_err(|source| FolderError::Write { path, source })
    }

    /// Removes the file called `name` for good; one that is not there is no fault.
    pub fn remove(&self, name: &str) -> Result<(), FolderError> {
        let path = self.join(name);
        match std::fs::remove_file(&path).and_then(|()| file::sync_folder(&self.path)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FolderError::Write { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Makes the folder called `name`, which only we may enter.
    pub fn make(&self, name: impl AsRef<Path>) -> Result<PathBuf, FolderError> {
        let path = self.join(name);
        match file::make_private_folder(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(FolderError::Write { path, source }),
        }
    }

    /// Keeps room on the disk, which [`Folder::release`] gives back when the result must be written.
    pub fn reserve(&self) -> Result<(), FolderError> {
        let path = self.join(RESERVE_FILE);
        file::create_private(&path)
            .and_then(|mut file| file.write_all(&vec![0; RESERVE]))
            .map_err(|source| FolderError::Write { path, source })
    }

    /// Gives the kept room back.
    pub fn release(&self) {
        // Only a full disk makes this matter, and then the write that follows reports it.
        std::fs::remove_file(self.join(RESERVE_FILE)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_told_without_a_word_of_the_content() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        folder.write("value.json", &vec![1, 2]).unwrap();
        assert_eq!(folder.read::<Vec<i32>>("value.json").unwrap(), [1, 2]);
        assert!(matches!(folder.read::<Vec<i32>>("absent.json"), Err(FolderError::Read { .. })));
        std::fs::write(folder.join("value.json"), "\"hunter2\"").unwrap();
        let fault = folder.read::<Vec<i32>>("value.json").unwrap_err();
        assert!(matches!(fault, FolderError::Damaged { .. }) && !format!("{fault:?}").contains("hunter2"));
        folder.remove("value.json").unwrap();
        folder.remove("value.json").unwrap();
        assert!(!folder.has("value.json"));
    }

    #[test]
    fn a_plan_of_a_later_version_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let plan = serde_json::json!({
            "version": FORMAT_VERSION + 1, "run": "u", "namespace": "n", "task": "t", "searchPath": "",
            "agent": {"type": "shell", "prompt": ""}
        });
        folder.write(PLAN_FILE, &plan).unwrap();
        assert!(matches!(folder.plan(), Err(FolderError::Newer { .. })));
    }
}
