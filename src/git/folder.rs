//! A folder of the file system in the shape of a tree, for checking a working copy before it is committed.
//!
//! Links are listed and never followed, also those that took the place of something after the listing. `.git` is left
//! out.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use crate::git::error::GitError;
use crate::git::tree::{
    EntryKind, Files, Oddity, OddityReason, PATH_LIMIT, Tree, TreeEntry, TreeLimits, check_name, check_path,
    printable,
};

/// The files of a folder, listed once.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// The root itself, wherever its path leads by now.
    handle: Arc<OwnedFd>,
    tree: Tree,
}

impl Folder {
    /// Lists the files below `root`. The root itself may be a link.
    pub fn open(root: &Path, limits: &TreeLimits) -> Result<Self, GitError> {
        let root = root.canonicalize().map_err(|error| GitError::storage(root, &error))?;
        let handle = File::open(&root).map_err(|error| GitError::storage(&root, &error))?.into();
        let mut walk = Walk { limits, entries: Vec::new(), oddities: Vec::new(), seen: 0 };
        let mut waiting = vec![(root.clone(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = waiting.pop() {
            walk.read_folder(&folder, &prefix, depth, &mut waiting)?;
        }
        walk.entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        walk.oddities.sort_by(|left, right| left.path.cmp(&right.path));
        let tree = Tree { id: None, entries: walk.entries, oddities: walk.oddities };
        Ok(Self { root, handle: Arc::new(handle), tree })
    }

    /// Returns the folder, free of links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens what lies at `path`, no part of which may be a link: a folder on the way may have become one since the
    /// listing.
    fn open_plainly(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let open = |folder: Option<&OwnedFd>, name: &str, flags: OFlags| {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fs::openat(folder.unwrap_or(&self.handle), name, flags, Mode::empty())
        };
        let mut folder = None;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            folder = Some(open(folder.as_ref(), part, OFlags::PATH | OFlags::DIRECTORY)?);
        }
        open(folder.as_ref(), name, flags)
    }
}

impl Files for Folder {
    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn read(&self, entry: &TreeEntry, max: u64) -> Result<Bytes, GitError> {
        let refused = |reason: &str| GitError::Object {
            id: printable(entry.path.as_bytes()),
            detail: reason.to_owned(),
        };
        if let Err(reason) = check_path(&entry.path) {
            return Err(refused(reason.as_str()));
        }
        let fail = |error: &std::io::Error| GitError::storage(self.root.join(&entry.path), error);
        let open = |flags| {
            self.open_plainly(&entry.path, flags).map_err(|error| match error {
                Errno::LOOP | Errno::NOTDIR => refused("a part of its path became a link"),
                error => fail(&error.into()),
            })
        };
        if entry.kind == EntryKind::Link {
            let target = fs::readlinkat(open(OFlags::PATH)?, "", Vec::new());
            return Ok(target.map_err(|error| fail(&error.into()))?.into_bytes().into());
        }
        // A pipe that took its place would be waited for otherwise.
        let file = File::from(open(OFlags::RDONLY | OFlags::NONBLOCK)?);
        let opened = file.metadata().map_err(|error| fail(&error))?;
        if !opened.is_file() {
            return Err(refused("it is no longer a plain file"));
        }
        // One more than there is, so that the end is seen without growing.
        let expected = opened.len().min(max).saturating_add(1);
        let mut content = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
        file.take(max.saturating_add(1)).read_to_end(&mut content).map_err(|error| fail(&error))?;
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > max {
            return Err(GitError::TooLarge {
                what: format!("the file {}", printable(entry.path.as_bytes())),
                limit: max,
            });
        }
        Ok(Bytes::from(content))
    }
}

struct Walk<'a> {
    limits: &'a TreeLimits,
    entries: Vec<TreeEntry>,
    oddities: Vec<Oddity>,
    seen: usize,
}

impl Walk<'_> {
    fn read_folder(
        &mut self,
        folder: &Path,
        prefix: &str,
        depth: usize,
        waiting: &mut Vec<(PathBuf, String, usize)>,
    ) -> Result<(), GitError> {
        let fail = |error: &std::io::Error| GitError::storage(folder, error);
        for entry in std::fs::read_dir(folder).map_err(|error| fail(&error))? {
            let entry = entry.map_err(|error| fail(&error))?;
            let name = entry.file_name();
            if name == ".git" {
                continue;
            }
            self.seen += 1;
            if self.seen > self.limits.entries {
                let limit = u64::try_from(self.limits.entries).unwrap_or(u64::MAX);
                return Err(GitError::TooLarge { what: "the number of files".to_owned(), limit });
            }
            let metadata = entry.path().symlink_metadata().map_err(|error| fail(&error))?;
            let judged = check_name(name.as_bytes()).and_then(|name| {
                if prefix.len() + name.len() > PATH_LIMIT {
                    return Err(OddityReason::TooLong);
                }
                Ok((format!("{prefix}{name}"), kind_of(&metadata)?))
            });
            match judged {
                Ok((path, None)) => {
                    if depth >= self.limits.depth {
                        let limit = u64::try_from(self.limits.depth).unwrap_or(u64::MAX);
                        return Err(GitError::TooLarge { what: "the depth of folders".to_owned(), limit });
                    }
                    waiting.push((entry.path(), format!("{path}/"), depth + 1));
                }
                Ok((path, Some(kind))) => {
                    self.entries.push(TreeEntry { path, kind, blob: None, size: metadata.len() });
                }
                Err(reason) => {
                    let path = printable(&[prefix.as_bytes(), name.as_bytes()].concat());
                    self.oddities.push(Oddity { path, reason });
                }
            }
        }
        Ok(())
    }
}

/// Returns the kind of a file, or `None` for a folder.
fn kind_of(metadata: &Metadata) -> Result<Option<EntryKind>, OddityReason> {
    if metadata.is_dir() {
        return Ok(None);
    }
    if metadata.is_symlink() {
        return Ok(Some(EntryKind::Link));
    }
    if !metadata.is_file() {
        return Err(OddityReason::Special);
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(Some(if executable { EntryKind::Executable } else { EntryKind::File }))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_listed_in_order_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join(".git/objects")).unwrap();
        fs::write(root.join(".git/config"), "secret").unwrap();
        fs::write(root.join("a/b/c.yaml"), "c: 1\n").unwrap();
        fs::write(root.join("a.yaml"), "a: 1\n").unwrap();
        let files = Folder::open(root, &TreeLimits::default()).unwrap();
        let paths: Vec<_> = files.tree().entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["a.yaml", "a/b/c.yaml"]);
        let entry = files.tree().entry("a/b/c.yaml").unwrap();
        assert_eq!((entry.kind, entry.size, entry.blob), (EntryKind::File, 5, None));
        assert_eq!(files.read(entry, 5).unwrap(), "c: 1\n");
        let error = files.read(entry, 4).unwrap_err();
        assert!(matches!(error, GitError::TooLarge { limit: 4, .. }), "{error}");
    }

    #[test]
    fn links_are_listed_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.yaml"), "secret: 1\n").unwrap();
        symlink(outside.path(), folder.path().join("out")).unwrap();
        symlink("/etc/passwd", folder.path().join("passwd.yaml")).unwrap();
        symlink(".", folder.path().join("loop")).unwrap();
        let files = Folder::open(folder.path(), &TreeLimits::default()).unwrap();
        let tree = files.tree();
        assert!(tree.entries.iter().all(|entry| entry.kind == EntryKind::Link), "{tree:?}");
        assert_eq!(tree.entries.len(), 3);
        assert_eq!(files.read(tree.entry("passwd.yaml").unwrap(), 1_000).unwrap(), "/etc/passwd");
    }

    #[test]
    fn a_path_that_leaves_the_folder_or_became_a_link_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("a.yaml"), "outside\n").unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        fs::write(folder.path().join("in/a.yaml"), "inside\n").unwrap();
        fs::write(folder.path().join("b.yaml"), "inside\n").unwrap();
        let files = Folder::open(folder.path(), &TreeLimits::default()).unwrap();
        let made_up = |path: String| TreeEntry { path, kind: EntryKind::File, blob: None, size: 1 };
        let up = made_up(format!("../{}/a.yaml", outside.path().file_name().unwrap().to_str().unwrap()));
        assert!(files.read(&up, 100).is_err());
        assert!(
            files.read(&made_up(outside.path().join("a.yaml").to_str().unwrap().to_owned()), 100).is_err()
        );
        fs::remove_dir_all(folder.path().join("in")).unwrap();
        symlink(outside.path(), folder.path().join("in")).unwrap();
        fs::remove_file(folder.path().join("b.yaml")).unwrap();
        symlink(outside.path().join("a.yaml"), folder.path().join("b.yaml")).unwrap();
        for entry in &files.tree().entries {
            assert!(files.read(entry, 100).is_err(), "{entry:?}");
        }
    }

    #[test]
    fn odd_files_are_set_apart_and_limits_hold() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(OsStr::from_bytes(b"\xff.yaml")), "").unwrap();
        fs::write(folder.path().join("a\\b"), "").unwrap();
        fs::create_dir(folder.path().join(".GIT")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let limits = TreeLimits::default();
        let files = Folder::open(folder.path(), &limits).unwrap();
        let mut reasons: Vec<_> = files.tree().oddities.iter().map(|oddity| oddity.reason.as_str()).collect();
        reasons.sort_unstable();
        let mut expected: Vec<_> =
            [OddityReason::NotUtf8, OddityReason::Backslash, OddityReason::GitFolder, OddityReason::Special]
                .map(OddityReason::as_str)
                .into();
        expected.sort_unstable();
        assert_eq!(reasons, expected);
        assert!(files.tree().entries.is_empty());
        let few = TreeLimits { entries: 3, ..limits };
        assert!(matches!(Folder::open(folder.path(), &few), Err(GitError::TooLarge { limit: 3, .. })));
    }
}
