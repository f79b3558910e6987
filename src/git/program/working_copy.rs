//! Finds out what a folder of a user's working copy belongs to.

use std::path::{Path, PathBuf};

use super::{Call, Git, Limits};
use crate::git::error::GitError;
use crate::git::id::CommitId;

/// A folder of a working copy, and a commit of its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingCopy {
    /// The folder of the repository itself, which holds the objects.
    pub git_dir: PathBuf,
    /// The path of the folder from the root of the working copy; empty at the root.
    pub prefix: String,
    /// The commit that the revision names.
    pub commit: CommitId,
}

impl Git {
    /// Finds the repository of `folder` and the commit that `revision` names there, in any form that git reads.
    pub fn working_copy(
        &self,
        folder: &Path,
        revision: &str,
        limits: Limits<'_>,
    ) -> Result<WorkingCopy, GitError> {
        let call = Call { folder: Some(folder), ..Call::new("rev-parse", limits) };
        let places =
            self.run(&call, ["rev-parse", "--path-format=absolute", "--git-common-dir", "--show-prefix"])?;
        let mut places = places.lines();
        let git_dir = PathBuf::from(places.next().unwrap_or_default());
        let prefix = places.next().unwrap_or_default().trim_end_matches('/').to_owned();
        let wanted = format!("{revision}^{{commit}}");
        let missing =
            || GitError::RefMissing { remote: folder.display().to_string(), reference: revision.to_owned() };
        let arguments = ["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted];
        let finished = self.call(&call, arguments)?;
        if !finished.status.success() {
            return Err(missing());
        }
        let commit =
            CommitId::parse(String::from_utf8_lossy(&finished.stdout).trim()).map_err(|_| missing())?;
        Ok(WorkingCopy { git_dir, prefix, commit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testing::{Server, git, limits};

    #[test]
    fn a_folder_knows_its_repository_and_its_revisions() {
        let server = Server::with_files(&[("config/a.yaml", "a: 1\n")]);
        let folder = server.beside("work").join("config");
        let found = git().working_copy(&folder, "HEAD", limits()).unwrap();
        assert_eq!(found.git_dir.canonicalize().unwrap(), server.beside("work/.git").canonicalize().unwrap());
        assert_eq!(found.prefix, "config");
        assert_eq!(found.commit.to_string(), server.work(&["rev-parse", "HEAD"]));
        let missing = git().working_copy(&folder, "nowhere", limits()).unwrap_err();
        assert!(matches!(missing, GitError::RefMissing { .. }), "{missing}");
        let option = git().working_copy(&folder, "--help", limits()).unwrap_err();
        assert!(matches!(option, GitError::RefMissing { .. }), "{option}");
        let outside = tempfile::tempdir().unwrap();
        assert!(git().working_copy(outside.path(), "HEAD", limits()).is_err());
    }
}
