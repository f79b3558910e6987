//! Where things lie: the data folder, and the note by which commands find a running daemon of the same user.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::file;
use crate::process::tree;

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

    /// Takes the folder as it is, for looking at it.
    pub fn at(root: &Path) -> Self {
        Self { root: root.canonicalize().unwrap_or_else(|_| root.to_owned()) }
    }

    /// Returns the data folder in which a kubeconfig of ours lies.
    pub fn of_kubeconfig(kubeconfig: &Path) -> Option<PathBuf> {
        let kubeconfig = kubeconfig.canonicalize().ok()?;
        let data = Self { root: kubeconfig.parent()?.to_owned() };
        (data.kubeconfig() == kubeconfig && data.store().is_file()).then_some(data.root)
    }

    /// Writes down which process works in this folder; whoever does so holds the lock of the store.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn note_process(&self) -> io::Result<()> {
        let own = tree::look_at(tree::own_pid()).ok_or(io::ErrorKind::NotFound)?;
        file::write_durably(&self.process_note(), format!("{} {}\n", own.pid, own.start).as_bytes())
    }

    /// Takes the note back.
    pub fn forget_process(&self) {
        drop(fs::remove_file(self.process_note()));
    }

    /// Returns the process of the daemon that works in this folder. One that was killed is told apart from a later
    /// process of its number.
    pub fn process(&self) -> Option<tree::Seen> {
        let note = file::read_bounded(&self.process_note(), 100).ok()?;
        let note = String::from_utf8(note).ok()?;
        let (pid, start) = note.trim().split_once(' ')?;
        let seen = tree::look_at(pid.parse().ok()?)?;
        (seen.is_alive() && Some(seen.start) == start.parse().ok()).then_some(seen)
    }

    fn process_note(&self) -> PathBuf {
        self.root.join("process")
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

/// Returns the port in the kubeconfig of the last start.
pub fn last_port(kubeconfig: &Path) -> Option<u16> {
    let text = fs::read_to_string(kubeconfig).ok()?;
    let server = text.lines().find_map(|line| line.trim().strip_prefix("server: "))?;
    server.rsplit_once(':')?.1.parse().ok()
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
    fn the_process_of_a_folder_is_known_and_told_apart_from_a_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        assert_eq!(data.process(), None);
        data.note_process().unwrap();
        assert_eq!(data.process().map(|seen| seen.pid), Some(tree::own_pid()));
        fs::write(data.process_note(), format!("{} 1\n", tree::own_pid())).unwrap();
        assert_eq!(data.process(), None, "a process of that number that began at another time");
        data.forget_process();
        assert_eq!(DataDir::at(folder.path()).process(), None);
    }

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
