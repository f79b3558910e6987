//! Mirrors: a bare copy of each repository that runs work in, brought up to date by each run.
//!
//! A mirror is a cache that many runs share, each in a process of its own that may be killed at any moment. Its lock is
//! a file beside it: whoever changes the mirror holds it alone, whoever copies from it shares it, and git itself holds
//! it too, so that what a killed run left going ends before anybody else begins. What a killed process left behind is
//! then removed, and a mirror that git cannot work with is made anew.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::file;
use crate::git::error::GitError;
use crate::git::leftovers;
use crate::git::program::{Call, Git, Limits};
use crate::git::reference::Reference;
use crate::git::remote::Remote;
use crate::git::repository::is_untidy;

/// How often a lock that somebody else holds is tried.
const LOOK: Duration = Duration::from_millis(50);

/// A mirror that is up to date and stays as it is until this is dropped.
#[derive(Debug)]
pub struct Mirror {
    path: PathBuf,
    // Given back when it is closed.
    _lock: File,
}

impl Mirror {
    /// Returns where the mirror is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Git {
    /// Brings the bare mirror at `mirror` up to date with all branches and tags of `remote`, making it if need be, and
    /// returns it for copying.
    ///
    /// Several runs may call this at once: one fetches, the others wait for it. The name of the default branch is kept
    /// as `HEAD`. A mirror that git cannot work with is thrown away and made anew, once.
    pub fn update_mirror(
        &self,
        mirror: &Path,
        remote: &Remote,
        limits: Limits<'_>,
    ) -> Result<Mirror, GitError> {
        let place = remote.url().to_string();
        let lock = lock(&lock_path(mirror), &place, limits)?;
        // Invariant: the lock is ours alone, so whoever left these is gone.
        leftovers::remove(mirror).map_err(|error| GitError::storage(mirror, &error))?;
        match self.bring_up_to_date(mirror, remote, &lock, limits) {
            // Git names what is wrong with a repository in too many ways to know them; what is wrong with the remote, the
            // way to it or the disk has a class of its own.
            Err(GitError::Program { .. } | GitError::Corrupt { .. }) if mirror.exists() => {
                self.rebuild(mirror, remote, &lock, limits)?;
            }
            result => result?,
        }
        share(&lock, mirror, &place, limits)?;
        Ok(Mirror { path: mirror.to_path_buf(), _lock: lock })
    }

    /// Throws the mirror away, makes it anew and returns it for copying: for one that cannot be copied from.
    pub fn rebuild_mirror(
        &self,
        mirror: Mirror,
        remote: &Remote,
        limits: Limits<'_>,
    ) -> Result<Mirror, GitError> {
        let place = remote.url().to_string();
        let path = mirror.path.clone();
        drop(mirror);
        let lock = lock(&lock_path(&path), &place, limits)?;
        self.rebuild(&path, remote, &lock, limits)?;
        share(&lock, &path, &place, limits)?;
        Ok(Mirror { path, _lock: lock })
    }

    fn rebuild(
        &self,
        mirror: &Path,
        remote: &Remote,
        lock: &File,
        limits: Limits<'_>,
    ) -> Result<(), GitError> {
        file::remove_tree(mirror).map_err(|error| GitError::storage(mirror, &error))?;
        self.bring_up_to_date(mirror, remote, lock, limits)
    }

    fn bring_up_to_date(
        &self,
        mirror: &Path,
        remote: &Remote,
        lock: &File,
        limits: Limits<'_>,
    ) -> Result<(), GitError> {
        let brought = self.bring(mirror, remote, lock, limits);
        if brought.is_err() {
            // Git leaves what it had received; on a full disk that room is needed to tell so.
            leftovers::remove(mirror).ok();
        }
        brought
    }

    fn bring(&self, mirror: &Path, remote: &Remote, lock: &File, limits: Limits<'_>) -> Result<(), GitError> {
        let local =
            |operation| Call { git_dir: Some(mirror), lock: Some(lock), ..Call::new(operation, limits) };
        if !mirror.join("HEAD").exists() {
            let fixed = ["init", "--quiet", "--bare", "--"].map(OsStr::new);
            let call = Call { git_dir: None, ..local("init") };
            self.run(&call, fixed.into_iter().chain([mirror.as_os_str()]))?;
        }
        let call = Call { remote: Some(remote), ..local("fetch") };
        let fixed = ["fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-write-fetch-head", "--"];
        let refspecs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let arguments = fixed.map(OsStr::new).into_iter().chain([remote.url().for_git()]);
        self.run(&call, arguments.chain(refspecs.map(OsStr::new)))?;
        let fixed = ["ls-remote", "--quiet", "--symref", "--"].map(OsStr::new);
        let listed = self.run(
            &Call { operation: "ls-remote", ..call },
            fixed.into_iter().chain([remote.url().for_git(), "HEAD".as_ref()]),
        )?;
        let default = listed.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
        if let Some(default) = default.filter(|name| is_branch(name)) {
            self.run(&local("symbolic-ref"), ["symbolic-ref", "HEAD", default])?;
        }
        if is_untidy(mirror) {
            self.run(&local("gc"), ["gc", "--quiet"])?;
        }
        Ok(())
    }
}

/// Removes the mirrors in `folder` that nobody has used for `age`; one that is in use is left.
///
/// # Errors
/// When the folder cannot be listed, or a mirror not be removed.
pub fn remove_unused(folder: &Path, age: Duration, now: jiff::Timestamp) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let mirror = entry?.path();
        if mirror.extension() != Some(OsStr::new("git")) {
            continue;
        }
        let lock_path = lock_path(&mirror);
        let lock = match File::options().append(true).open(&lock_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            lock => lock?,
        };
        let used = jiff::Timestamp::try_from(lock.metadata()?.modified()?).unwrap_or(now);
        let unused = Duration::try_from(now.duration_since(used)).unwrap_or_default();
        if unused < age || lock.try_lock().is_err() || !is_same(&lock, &lock_path) {
            continue;
        }
        file::remove_tree(&mirror)?;
        // Last, and with the lock held: whoever waits for this very file sees that it is no longer the one.
        fs::remove_file(&lock_path)?;
    }
    Ok(())
}

fn is_branch(name: &str) -> bool {
    name.strip_prefix("refs/heads/").is_some_and(|name| Reference::branch(name).is_ok())
}

fn lock_path(mirror: &Path) -> PathBuf {
    let mut path = mirror.as_os_str().to_owned();
    path.push(".lock");
    PathBuf::from(path)
}

/// Takes a lock alone, waiting for whoever holds it, and marks the time; it is given back when the file is closed.
fn lock(path: &Path, place: &str, limits: Limits<'_>) -> Result<File, GitError> {
    let failed = |error: io::Error| GitError::storage(path, &error);
    if let Some(parent) = path.parent() {
        file::make_private_folder(parent).map_err(failed)?;
    }
    loop {
        let mut lock = File::options().create(true).append(true).open(path).map_err(failed)?;
        wait_for(|| lock.try_lock(), path, place, limits)?;
        // The file may have been removed with an unused mirror while we waited for it.
        if is_same(&lock, path) {
            lock.set_len(0).and_then(|()| lock.write_all(b"\n")).map_err(failed)?;
            return Ok(lock);
        }
    }
}

/// Lets others copy from the mirror as well.
fn share(lock: &File, path: &Path, place: &str, limits: Limits<'_>) -> Result<(), GitError> {
    wait_for(|| lock.try_lock_shared(), path, place, limits)
}

fn wait_for(
    attempt: impl Fn() -> Result<(), TryLockError>,
    path: &Path,
    place: &str,
    limits: Limits<'_>,
) -> Result<(), GitError> {
    let begun = std::time::Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(GitError::storage(path, &error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if limits.interrupt.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(GitError::Interrupted { remote: place.to_owned() });
        }
        if begun.elapsed() >= limits.time {
            return Err(GitError::Timeout { remote: place.to_owned(), seconds: limits.time.as_secs() });
        }
        std::thread::sleep(LOOK);
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(a), Ok(b)) if identity(&a) == identity(&b))
}
