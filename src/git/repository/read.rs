//! Reading commits, trees and blobs.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::git::error::GitError;
use crate::git::id::{BlobId, CommitId, TreeId};
use crate::git::repository::{Repository, blob_id, chain, object_id, tree_id};
use crate::git::tree::{
    EntryKind, Files, Oddity, OddityReason, PATH_LIMIT, Tree, TreeEntry, TreeLimits, check_name, check_path,
    printable,
};

impl Repository {
    /// Returns whether `commit` is here, with its root folder.
    pub fn has_commit(&self, commit: CommitId) -> bool {
        let local = self.local();
        local
            .find_commit(object_id(commit.as_bytes()))
            .is_ok_and(|found| found.tree_id().is_ok_and(|tree| local.has_object(tree)))
    }

    /// Returns the id of the folder at `path` in `commit`; the empty path is the root. `None` when there is
    /// no such folder.
    pub fn tree_id(&self, commit: CommitId, path: &str) -> Result<Option<TreeId>, GitError> {
        let local = self.local();
        let root = root_of(&local, commit)?;
        if path.is_empty() {
            return Ok(Some(tree_id(root.id)));
        }
        Ok(lookup(&root, path)?.filter(|(mode, _)| mode.is_tree()).map(|(_, id)| tree_id(id)))
    }

    /// Reads the list of all files below the folder `path` of `commit`; the empty path is the root.
    ///
    /// Fails with [`GitError::TooLarge`] as soon as a limit is passed. Returns `None` when there is no such
    /// folder.
    pub fn tree(&self, commit: CommitId, path: &str, limits: &TreeLimits) -> Result<Option<Tree>, GitError> {
        let Some(id) = self.tree_id(commit, path)? else {
            return Ok(None);
        };
        Walk {
            repository: &self.local(),
            limits,
            entries: Vec::new(),
            oddities: Vec::new(),
            seen: 0,
            bytes: 0,
        }
        .run(id)
        .map(Some)
    }

    /// Lists the names in the folder `path` of `commit`, without what is below them; the empty path is the
    /// root.
    ///
    /// Odd names are left out. At most `max` names are looked at. A missing folder is an empty one.
    pub fn names(&self, commit: CommitId, path: &str, max: usize) -> Result<Vec<Name>, GitError> {
        let Some(id) = self.tree_id(commit, path)? else {
            return Ok(Vec::new());
        };
        let fail = |error: &gix::Error| GitError::Object { id: id.to_string(), detail: chain(error) };
        let local = self.local();
        let tree = local.find_tree(object_id(id.as_bytes())).map_err(|error| fail(&error))?;
        let mut names = Vec::new();
        for entry in tree.iter().take(max) {
            let entry = entry.map_err(|error| fail(&error))?;
            if let Ok(name) = check_name(entry.filename()) {
                names.push(Name { name: name.to_owned(), is_folder: entry.mode().is_tree() });
            }
        }
        Ok(names)
    }

    /// Reads the content of a blob of at most `max` bytes.
    pub fn blob(&self, id: BlobId, max: u64) -> Result<Bytes, GitError> {
        read_blob(&self.local(), id, max)
    }

    /// Reads the file at `path` of `commit`, of at most `max` bytes. `None` when there is no such file.
    pub fn read_path(&self, commit: CommitId, path: &str, max: u64) -> Result<Option<Bytes>, GitError> {
        let local = self.local();
        match lookup(&root_of(&local, commit)?, path)? {
            Some((mode, id)) if mode.is_blob() => read_blob(&local, blob_id(id), max).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Returns the files below the folder `path` of `commit` as something that gitops can read from.
    pub fn revision(
        &self,
        commit: CommitId,
        path: &str,
        limits: &TreeLimits,
    ) -> Result<Option<Revision>, GitError> {
        let tree = self.tree(commit, path, limits)?;
        Ok(tree.map(|tree| Revision { local: Mutex::new(self.local()), tree }))
    }
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name, without a path.
    pub name: String,
    /// Whether it is a folder in its turn.
    pub is_folder: bool,
}

/// The files of one commit, or of one folder of it.
pub struct Revision {
    // One handle for all files: it remembers what they were packed against. A panic while it is held does it
    // no harm.
    local: Mutex<gix::Repository>,
    tree: Tree,
}

impl std::fmt::Debug for Revision {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Revision").field("tree", &self.tree.id).finish_non_exhaustive()
    }
}

impl Files for Revision {
    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn read(&self, entry: &TreeEntry, max: u64) -> Result<Bytes, GitError> {
        let Some(blob) = entry.blob else {
            return Err(GitError::Object {
                id: printable(entry.path.as_bytes()),
                detail: "a submodule has no content here".to_owned(),
            });
        };
        let local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        // The size was looked up with the list.
        if entry.size > max {
            return Err(GitError::TooLarge {
                what: format!("the file {}", printable(entry.path.as_bytes())),
                limit: max,
            });
        }
        content(&local, blob)
    }
}

pub(super) fn root_of(repository: &gix::Repository, commit: CommitId) -> Result<gix::Tree<'_>, GitError> {
    repository
        .find_commit(object_id(commit.as_bytes()))
        .and_then(|found| found.tree())
        .map_err(|error| GitError::Object { id: commit.to_string(), detail: chain(&error) })
}

type Found = (gix::objs::tree::EntryMode, gix::ObjectId);

fn lookup(root: &gix::Tree<'_>, path: &str) -> Result<Option<Found>, GitError> {
    if check_path(path).is_err() {
        return Ok(None);
    }
    root.lookup_entry(path.split('/'))
        .map(|entry| entry.map(|entry| (entry.mode(), entry.object_id())))
        .map_err(|error| GitError::Object { id: printable(path.as_bytes()), detail: chain(&error) })
}

fn read_blob(repository: &gix::Repository, id: BlobId, max: u64) -> Result<Bytes, GitError> {
    // The size is looked at first: a blob of gigabytes is never taken into memory.
    let header = repository.find_header(object_id(id.as_bytes()));
    let size = header.map_err(|error| GitError::Object { id: id.to_string(), detail: chain(&error) })?.size();
    if size > max {
        return Err(GitError::TooLarge { what: format!("the file {id}"), limit: max });
    }
    content(repository, id)
}

fn content(repository: &gix::Repository, id: BlobId) -> Result<Bytes, GitError> {
    match repository.find_blob(object_id(id.as_bytes())) {
        Ok(mut blob) => Ok(Bytes::from(blob.take_data())),
        Err(error) => Err(GitError::Object { id: id.to_string(), detail: chain(&error) }),
    }
}

/// One walk through a tree, folder by folder.
struct Walk<'a> {
    repository: &'a gix::Repository,
    limits: &'a TreeLimits,
    entries: Vec<TreeEntry>,
    oddities: Vec<Oddity>,
    seen: usize,
    bytes: u64,
}

/// A folder that is still to be read.
struct Folder {
    id: gix::ObjectId,
    prefix: String,
    depth: usize,
}

impl Walk<'_> {
    fn run(mut self, root: TreeId) -> Result<Tree, GitError> {
        let mut waiting = vec![Folder { id: object_id(root.as_bytes()), prefix: String::new(), depth: 0 }];
        while let Some(folder) = waiting.pop() {
            self.read_folder(&folder, &mut waiting)?;
        }
        self.entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        self.oddities.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Tree { id: Some(root), entries: self.entries, oddities: self.oddities })
    }

    fn read_folder(&mut self, folder: &Folder, waiting: &mut Vec<Folder>) -> Result<(), GitError> {
        let fail = |error: &gix::Error| GitError::Object { id: folder.id.to_string(), detail: chain(error) };
        let tree = self.repository.find_tree(folder.id).map_err(|error| fail(&error))?;
        let mut names = std::collections::HashSet::new();
        for entry in tree.iter() {
            let entry = entry.map_err(|error| fail(&error))?;
            self.seen += 1;
            if self.seen > self.limits.entries {
                let limit = u64::try_from(self.limits.entries).unwrap_or(u64::MAX);
                return Err(GitError::TooLarge { what: "the number of files".to_owned(), limit });
            }
            let raw: &[u8] = entry.filename();
            let name = check_name(raw).and_then(|name| {
                if folder.prefix.len() + name.len() > PATH_LIMIT {
                    return Err(OddityReason::TooLong);
                }
                if names.insert(name.to_owned()) { Ok(name) } else { Err(OddityReason::Duplicate) }
            });
            let name = match name {
                Ok(name) => name,
                Err(reason) => {
                    let path = printable(&[folder.prefix.as_bytes(), raw].concat());
                    self.oddities.push(Oddity { path, reason });
                    continue;
                }
            };
            let path = format!("{}{name}", folder.prefix);
            let mode = entry.mode();
            if mode.is_tree() {
                if folder.depth >= self.limits.depth {
                    let limit = u64::try_from(self.limits.depth).unwrap_or(u64::MAX);
                    return Err(GitError::TooLarge { what: "the depth of folders".to_owned(), limit });
                }
                waiting.push(Folder {
                    id: entry.object_id(),
                    prefix: format!("{path}/"),
                    depth: folder.depth + 1,
                });
                continue;
            }
            let entry = self.entry(path, mode, entry.object_id())?;
            self.entries.push(entry);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        path: String,
        mode: gix::objs::tree::EntryMode,
        id: gix::ObjectId,
    ) -> Result<TreeEntry, GitError> {
        if mode.is_commit() {
            return Ok(TreeEntry { path, kind: EntryKind::Submodule, blob: None, size: 0 });
        }
        let kind = if mode.is_link() {
            EntryKind::Link
        } else if mode.is_executable() {
            EntryKind::Executable
        } else {
            EntryKind::File
        };
        let size = self
            .repository
            .find_header(id)
            .map_err(|error| GitError::Object { id: id.to_string(), detail: chain(&error) })?
            .size();
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(GitError::TooLarge {
                what: "the size of all files".to_owned(),
                limit: self.limits.bytes,
            });
        }
        Ok(TreeEntry { path, kind, blob: Some(blob_id(id)), size })
    }
}
