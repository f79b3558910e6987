//! Building commits without moving a reference.

use gix::objs::tree::EntryKind;
use jiff::Timestamp;

use crate::git::error::GitError;
use crate::git::id::CommitId;
use crate::git::repository::read::root_of;
use crate::git::repository::{Repository, chain, commit_id, object_id};
use crate::git::tree::{check_path, printable};

/// Who writes a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name for people.
    pub name: String,
    /// The mail address, which forges link an account by.
    pub email: String,
}

/// What happens to one file: its new content, or `None` to remove it.
pub type Change = (String, Option<Vec<u8>>);

/// What a commit says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// The author's name, with unprintable characters escaped.
    pub author: String,
    /// When the author wrote it, as the author claims.
    pub time: Timestamp,
    /// The whole message, as far as it is UTF-8.
    pub message: String,
    /// The commits it stands on.
    pub parents: Vec<CommitId>,
}

impl Repository {
    /// Builds a commit that is `parent` with `changes`, and returns it, or `None` when the changes change
    /// nothing.
    ///
    /// Without a parent it is the first commit of a history. No reference moves: the commit becomes visible
    /// by a push.
    pub fn build_commit(
        &self,
        parent: Option<CommitId>,
        changes: &[Change],
        author: &Signature,
        time: Timestamp,
        message: &str,
    ) -> Result<Option<CommitId>, GitError> {
        let local = self.local();
        let base = match parent {
            Some(parent) => root_of(&local, parent)?,
            None => local.empty_tree(),
        };
        let base_id = base.id;
        let fail = |error: &gix::Error| self.corrupt(error);
        let mut editor = base.edit().map_err(|error| fail(&error))?;
        for (path, content) in changes {
            if let Err(reason) = check_path(path) {
                return Err(GitError::Path { path: printable(path.as_bytes()), detail: reason.to_string() });
            }
            match content {
                Some(content) => {
                    let blob = local.write_blob(content).map_err(|error| self.storage(&error))?;
                    editor.upsert(path, EntryKind::Blob, blob).map_err(|error| fail(&error))?;
                }
                None => {
                    editor.remove(path).map_err(|error| fail(&error))?;
                }
            }
        }
        let tree = editor.write().map_err(|error| self.storage(&error))?.detach();
        if tree == base_id {
            return Ok(None);
        }
        let seconds = gix::date::Time::new(time.as_second(), 0).to_string();
        let signature = gix::actor::SignatureRef {
            name: author.name.as_str().into(),
            email: author.email.as_str().into(),
            time: &seconds,
        };
        let parents = parent.map(|parent| object_id(parent.as_bytes()));
        let commit = local
            .new_commit_as(signature, signature, message, tree, parents)
            .map_err(|error| self.storage(&error))?;
        Ok(Some(commit_id(commit.id)))
    }

    /// Reads what `commit` says about itself.
    pub fn commit_info(&self, commit: CommitId) -> Result<CommitInfo, GitError> {
        let read = || {
            let local = self.local();
            let found = local.find_commit(object_id(commit.as_bytes()))?;
            let author = found.author()?;
            Ok(CommitInfo {
                author: printable(author.name),
                time: Timestamp::from_second(author.seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
                message: String::from_utf8_lossy(found.message_raw()?).into_owned(),
                parents: found.parent_ids().map(commit_id).collect(),
            })
        };
        read().map_err(|error: gix::Error| GitError::Object { id: commit.to_string(), detail: chain(&error) })
    }

    fn storage(&self, error: &gix::Error) -> GitError {
        GitError::Storage { path: self.path.clone(), detail: chain(error) }
    }
}
