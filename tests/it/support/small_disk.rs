//! A disk that can be full without harm to anybody: a file system of its own in memory, as small as it is asked for.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kelos::process;
use tempfile::TempDir;

use crate::support::say;

/// What takes all room.
const BALLAST: &str = "ballast";

/// A file system of its own; gone when it is dropped.
pub(crate) struct SmallDisk {
    folder: PathBuf,
    // Removed after the disk is gone, where nobody named a folder.
    _own: Option<TempDir>,
}

impl SmallDisk {
    /// Returns one of `size`, such as `4m`; `None`, with a note, where this user may not mount it.
    pub(crate) fn new(size: &str) -> Option<Self> {
        let own = tempfile::tempdir().unwrap();
        let folder = own.path().canonicalize().unwrap();
        mount(&folder, size).then(|| Self { folder, _own: Some(own) })
    }

    /// Returns one that lies at `folder`, which is made.
    pub(crate) fn at(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        mount(folder, size).then(|| Self { folder: folder.to_owned(), _own: None })
    }

    /// Returns where it lies.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.folder.join(BALLAST)).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives the room back.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.folder.join(BALLAST)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon of a failed test may still work in it.
        let unmounted = program("umount").arg("--lazy").arg(&self.folder).output();
        let is_gone = unmounted.is_ok_and(|output| output.status.success());
        assert!(is_gone || std::thread::panicking(), "the disk of the test stays");
    }
}

fn mount(folder: &Path, size: &str) -> bool {
    let options = format!("size={size},mode=0700");
    let mounted =
        program("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output().unwrap();
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr);
        say(&format!("SKIPPED: a disk that is full: no small one can be mounted: {}", why.trim()));
    }
    mounted.status.success()
}

fn program(name: &str) -> std::process::Command {
    let mut command = process::command("/usr/bin/env");
    command.arg(name).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}
