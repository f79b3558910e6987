//! Where things lie: the data folder, and the notes by which commands find running daemons of the same user.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::digest;
use crate::file;
use crate::process::tree;

/// What the files that name the kubeconfigs of running daemons begin with; a digest of the kubeconfig's path follows.
const NOTE: &str = "kubeconfig-";
/// The longest path that a note may name, in bytes.
const LONGEST_PATH: u64 = 4096;

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
    file::write_durably(&note(folder, kubeconfig), kubeconfig.as_os_str().as_encoded_bytes())
}

// One for each data folder, so that daemons that run beside each other do not write over each other's.
fn note(folder: &Path, kubeconfig: &Path) -> PathBuf {
    folder.join(format!("{NOTE}{}", digest::short_hex(kubeconfig.as_os_str().as_encoded_bytes(), 16)))
}

/// Returns the port in the kubeconfig of the last start.
pub fn last_port(kubeconfig: &Path) -> Option<u16> {
    let text = fs::read_to_string(kubeconfig).ok()?;
    let server = text.lines().find_map(|line| line.trim().strip_prefix("server: "))?;
    server.rsplit_once(':')?.1.parse().ok()
}

/// Takes the note back.
pub fn withdraw(folder: &Path, kubeconfig: &Path) {
    drop(fs::remove_file(note(folder, kubeconfig)));
}

/// Returns the kubeconfig of the daemon that this user started last, of those that run. One that was killed left its note.
pub fn announced(folder: &Path) -> Option<PathBuf> {
    let runs = |kubeconfig: &Path| {
        DataDir::of_kubeconfig(kubeconfig).is_some_and(|data| DataDir::at(&data).process().is_some())
    };
    fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(NOTE))
        .filter_map(|entry| {
            let path = file::read_bounded(&entry.path(), LONGEST_PATH).ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, PathBuf::from(OsString::from_vec(path))))
        })
        .filter(|(_, kubeconfig)| runs(kubeconfig))
        .max()
        .map(|(_, kubeconfig)| kubeconfig)
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
        let notes = folder.path().join("notes");
        assert_eq!(announced(&notes), None);
        let started = |name: &str, minutes: u64| {
            let data = DataDir::open(&folder.path().join(name)).unwrap();
            assert_eq!(fs::metadata(data.root()).unwrap().permissions().mode() & 0o777, 0o700);
            fs::create_dir_all(data.store().parent().unwrap()).unwrap();
            fs::write(data.store(), "").unwrap();
            fs::write(data.kubeconfig(), "x").unwrap();
            data.note_process().unwrap();
            announce(&notes, &data.kubeconfig()).unwrap();
            let note = fs::File::open(note(&notes, &data.kubeconfig())).unwrap();
            let when = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_mins(minutes);
            note.set_modified(when).unwrap();
            data
        };
        let (second, first) = (started("second", 2), started("first", 1));
        assert_eq!(announced(&notes), Some(second.kubeconfig()));
        withdraw(&notes, Path::new("/another"));
        assert_eq!(announced(&notes), Some(second.kubeconfig()));
        withdraw(&notes, &second.kubeconfig());
        assert_eq!(announced(&notes), Some(first.kubeconfig()), "it goes on and is found again");
        let killed = started("killed", 3);
        fs::write(killed.process_note(), format!("{} 1\n", tree::own_pid())).unwrap();
        assert_eq!(announced(&notes), Some(first.kubeconfig()), "one that was killed left its note");
        withdraw(&notes, &first.kubeconfig());
        assert_eq!(announced(&notes), None);
    }
}
