//! Where things lie: the data folder, and the note by which commands find a running daemon of the same user.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::file;

/// The file that names the kubeconfig of a running daemon.
const NOTE: &str = "kelos-kubeconfig";

/// The parts of the data folder.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Makes the folder private to the user, or takes it as it is when it is already.
    ///
    /// # Errors
    /// When it cannot be made, or when it belongs to somebody else.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let root = root.canonicalize()?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
        Ok(Self { root })
    }

    /// Returns the folder itself, free of links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the file of the store.
    pub fn store(&self) -> PathBuf {
        self.root.join("store").join("kelos.db")
    }

    /// Returns the folder of certificates and the token.
    pub fn credentials(&self) -> PathBuf {
        self.root.join("credentials")
    }

    /// Returns the kubeconfig for this control plane.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// Returns the folder of our copies of config repositories.
    pub fn repositories(&self) -> PathBuf {
        self.root.join("repositories")
    }

    /// Returns the folder of the mirrors from which runs are cloned.
    pub fn mirrors(&self) -> PathBuf {
        self.root.join("mirrors")
    }
}

/// Tells other commands of this user where the kubeconfig of the running daemon is.
///
/// # Errors
/// When the note cannot be written.
pub fn announce(folder: &Path, kubeconfig: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    file::write_durably(&folder.join(NOTE), kubeconfig.as_os_str().as_encoded_bytes())
}

/// Takes the note back, if it is ours.
pub fn withdraw(folder: &Path, kubeconfig: &Path) {
    if announced(folder).as_deref() == Some(kubeconfig) {
        drop(fs::remove_file(folder.join(NOTE)));
    }
}

/// Returns the kubeconfig of the daemon that this user started last and that did not take its note back.
pub fn announced(folder: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = fs::read(folder.join(NOTE)).ok()?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_found_by_its_note_until_it_takes_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        assert_eq!(fs::metadata(data.root()).unwrap().permissions().mode() & 0o777, 0o700);
        let notes = folder.path().join("notes");
        assert_eq!(announced(&notes), None);
        fs::write(data.kubeconfig(), "x").unwrap();
        announce(&notes, &data.kubeconfig()).unwrap();
        assert_eq!(announced(&notes), Some(data.kubeconfig()));
        withdraw(&notes, Path::new("/another"));
        assert_eq!(announced(&notes), Some(data.kubeconfig()));
        withdraw(&notes, &data.kubeconfig());
        assert_eq!(announced(&notes), None);
    }
}
