//! Where a report must not go: the branch that is read for definitions.

use std::path::Path;

use crate::api::config_repository::ConfigRepositorySpec;
use crate::git::error::{GitError, GitErrorClass};
use crate::git::remote::{Remote, RemoteUrl};
use crate::git::repository::Repository;

/// Which branch of the repository that a report goes to is read for definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Followed {
    /// None: it is another repository.
    Nothing,
    /// The one of this name.
    Branch(String),
    /// The one that the remote calls its default. It is closed to reports also where a tag or a commit is followed,
    /// because people have their work on it.
    Default,
}

impl Followed {
    /// Returns what is followed of the repository at `url`, where the report goes.
    pub(super) fn by(spec: &ConfigRepositorySpec, url: &RemoteUrl) -> Self {
        if RemoteUrl::parse(&spec.url).map(|read| read.identity()) != Ok(url.identity()) {
            return Self::Nothing;
        }
        match spec.reference.as_ref().and_then(|reference| reference.branch.clone()) {
            Some(branch) => Self::Branch(branch),
            None => Self::Default,
        }
    }

    /// Returns the name of the branch; the remote may have to be asked for it.
    pub(super) fn branch(self, remote: &Remote, copy: &Path) -> Result<Option<String>, GitError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Branch(name) => Ok(Some(name)),
            Self::Default => {
                let copy = match Repository::open_or_create(copy) {
                    Err(error) if error.class() == GitErrorClass::Corrupt => Repository::recreate(copy)?,
                    opened => opened?,
                };
                copy.default_branch(remote)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_followed_is_known_by_whatever_url() {
        let spec = |url: &str, reference: Value| -> ConfigRepositorySpec {
            serde_json::from_value(json!({"url": url, "ref": reference})).unwrap()
        };
        let followed = |url: &str, reference: Value, report: &str| {
            Followed::by(&spec(url, reference), &RemoteUrl::parse(report).unwrap())
        };
        let branch = || json!({"branch": "main"});
        let tag = || json!({"tag": "v1"});
        let main = Followed::Branch("main".to_owned());
        for url in [
            "https://git.example.com/a/b",
            "https://GIT.example.com:443/a/b.git",
            "ssh://git@git.example.com/a/b",
        ] {
            assert_eq!(followed("https://git.example.com/a/b.git", branch(), url), main, "{url}");
            assert_eq!(followed("https://git.example.com/a/b.git", tag(), url), Followed::Default, "{url}");
            assert_eq!(followed("https://git.example.com/a/b.git", Value::Null, url), Followed::Default);
        }
        for url in ["https://git.example.com/a/c", "https://other.example.com/a/b", "/a/b"] {
            assert_eq!(
                followed("https://git.example.com/a/b.git", branch(), url),
                Followed::Nothing,
                "{url}"
            );
        }
    }
}
