//! Names of branches and tags, and what a config repository is read at.
//!
//! The rules are those of `git check-ref-format`, plus two of ours: no name begins with `-`, because names
//! reach the command line of programs, and none is longer than 250 bytes, because they become file names.

use std::fmt;

use crate::git::id::{CommitId, ParseIdError};

/// The longest branch or tag name, in bytes.
pub const NAME_LIMIT: usize = 250;

/// What a remote is read at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The tip of the branch that the remote calls its default.
    DefaultBranch,
    /// The tip of a branch.
    Branch(RefName),
    /// What a tag points to in the end.
    Tag(RefName),
    /// One commit, whatever refers to it.
    Commit(CommitId),
}

impl Reference {
    /// Reads a branch name such as `main`.
    pub fn branch(name: &str) -> Result<Self, RefNameError> {
        RefName::parse(name).map(Self::Branch)
    }

    /// Reads a tag name such as `v1.2`.
    pub fn tag(name: &str) -> Result<Self, RefNameError> {
        RefName::parse(name).map(Self::Tag)
    }

    /// Reads a full commit id.
    pub fn commit(id: &str) -> Result<Self, ParseIdError> {
        CommitId::parse(id).map(Self::Commit)
    }

    /// Returns what a server is asked for: the full name of a reference, or the id of a commit.
    pub(crate) fn source(&self) -> String {
        match self {
            Self::DefaultBranch => "HEAD".to_owned(),
            Self::Branch(name) => format!("refs/heads/{name}"),
            Self::Tag(name) => format!("refs/tags/{name}"),
            Self::Commit(id) => id.to_string(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultBranch => formatter.write_str("default branch"),
            Self::Branch(name) => write!(formatter, "branch {name}"),
            Self::Tag(name) => write!(formatter, "tag {name}"),
            Self::Commit(id) => write!(formatter, "commit {id}"),
        }
    }
}

/// The name of a branch or tag without its `refs/…/` prefix, checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName(String);

/// A text cannot be the name of a branch or tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot name a branch or tag: {reason}")]
pub struct RefNameError {
    /// The text, cut to a readable length.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl RefName {
    /// Checks `name` by git's rules and ours.
    pub fn parse(name: &str) -> Result<Self, RefNameError> {
        match fault(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(RefNameError { name: name.chars().take(80).collect(), reason }),
        }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > NAME_LIMIT {
        return Some("it is longer than 250 bytes");
    }
    if name.starts_with('-') {
        return Some("it begins with a dash");
    }
    if name == "@" || name == "HEAD" {
        return Some("git gives this name its own meaning");
    }
    if name.chars().any(|character| character.is_control() || " ~^:?*[\\".contains(character)) {
        return Some("it holds a space, a control character or one of ~ ^ : ? * [ \\");
    }
    if name.contains("..") || name.contains("@{") {
        return Some("it holds `..` or `@{`");
    }
    if name.ends_with('.') {
        return Some("it ends with a dot");
    }
    for component in name.split('/') {
        if component.is_empty() {
            return Some("it begins or ends with a slash, or holds two in a row");
        }
        if component.starts_with('.') || component.strip_suffix(".lock").is_some() {
            return Some("a part begins with a dot or ends with `.lock`");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_takes_are_taken() {
        for name in ["main", "feature/a-b_c", "v1.2.3", "fix#12", "a@b", "größe", "release/2026.11"] {
            assert_eq!(RefName::parse(name).map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn names_that_git_refuses_are_refused() {
        let long = "a".repeat(NAME_LIMIT + 1);
        for name in [
            "",
            "-main",
            "--upload-pack=x",
            "a b",
            "a..b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[b",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "a.",
            "@",
            "HEAD",
            "a@{1}",
            "a\nb",
            "a\0",
            "a\u{7f}",
            "a\u{85}b",
            &long,
        ] {
            assert!(RefName::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn references_have_full_names() {
        assert_eq!(Reference::DefaultBranch.source(), "HEAD");
        assert_eq!(Reference::branch("main").unwrap().source(), "refs/heads/main");
        assert_eq!(Reference::tag("v1").unwrap().source(), "refs/tags/v1");
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(Reference::commit(commit).unwrap().source(), commit);
    }
}
