//! Names, parsed once where they enter.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Longest name of an object, as Kubernetes allows it (a DNS subdomain).
pub const MAX_NAME_LENGTH: usize = 253;

/// Longest DNS label and longest label value. A Task is named in labels, so its own name must not be longer.
pub const MAX_LABEL_LENGTH: usize = 63;

/// Characters that a cron spawner adds to its own name for a Task: `-YYYYMMDD-HHMM`.
pub const CRON_SUFFIX_LENGTH: usize = 14;

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("the name is empty")]
    Empty,
    /// It is too long.
    #[error("the name is {length} characters long, at most {limit} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A character is not allowed where it stands.
    #[error("the name {name:?} must {expectation}")]
    Malformed {
        /// The name as it was given.
        name: String,
        /// What it must look like.
        expectation: &'static str,
    },
}

const SUBDOMAIN: &str =
    "consist of lower case letters, digits, '-' and '.', and begin and end with a letter or digit";
const LABEL: &str = "consist of lower case letters, digits and '-', and begin and end with a letter or digit";

/// Defines a name that a function parses.
macro_rules! name {
    ($(#[$meta:meta])* $Name:ident, $limit:expr, $dots:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name(String);

        impl $Name {
            /// Checks a name.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check(text, $limit, $dots)?;
                Ok(Self(text.to_owned()))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $Name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl Display for $Name {
            fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Name of an object: a DNS subdomain of at most 253 characters.
    ResourceName, MAX_NAME_LENGTH, true
}

name! {
    /// Name of a namespace, or of a writer of reports: a DNS label of at most 63 characters.
    NamespaceName, MAX_LABEL_LENGTH, false
}

name! {
    /// Name of a Task: a DNS subdomain of at most 63 characters, because labels and a Job carry it.
    TaskName, MAX_LABEL_LENGTH, true
}

/// Longest name of a branch in bytes; file systems allow no longer ref.
pub const MAX_BRANCH_LENGTH: usize = 244;

/// Name of a git branch, as `git check-ref-format --branch` allows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchName(String);

/// Why a branch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a branch that git allows: it {fault}")]
pub struct BranchError {
    /// The branch as it was given, cut to a readable length.
    pub name: String,
    /// What is wrong with it.
    pub fault: &'static str,
}

impl BranchName {
    /// Checks a branch. It never begins with `-`, so that it cannot be taken for an option.
    pub fn parse(name: &str) -> Result<Self, BranchError> {
        match branch_fault(name) {
            None => Ok(Self(name.to_owned())),
            Some(fault) => Err(BranchError { name: name.chars().take(80).collect(), fault }),
        }
    }

    /// Returns the branch as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for BranchName {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&self.0)
    }
}

fn branch_fault(name: &str) -> Option<&'static str> {
    let special = |character: char| character.is_control() || " ~^:?*[\\".contains(character);
    let faults = [
        (name.is_empty(), "is empty"),
        (name.len() > MAX_BRANCH_LENGTH, "is longer than 244 bytes"),
        (name.starts_with('-'), "begins with a dash"),
        (name == "@" || name == "HEAD", "has a meaning of its own"),
        (name.contains(special), "has a space, a control character, or one of ~ ^ : ? * [ \\"),
        (name.contains(".."), "has two dots in a row"),
        (name.contains("@{"), "has @{ in it"),
        (name.ends_with('.'), "ends with a dot"),
        (name.split('/').any(str::is_empty), "has an empty part between slashes"),
        (name.split('/').any(|part| part.starts_with('.')), "has a part that begins with a dot"),
        (
            name.split('/').any(|part| part.to_ascii_lowercase().ends_with(".lock")),
            "has a part that ends with .lock",
        ),
    ];
    faults.into_iter().find_map(|(applies, fault)| applies.then_some(fault))
}

/// An object of a kind that is known from where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl ObjectKey {
    /// Returns the key of a namespaced object.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl Display for ObjectKey {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

fn check(text: &str, limit: usize, dots: bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > limit {
        return Err(NameError::TooLong { length: text.len(), limit });
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().copied().is_some_and(plain)
            && bytes.last().copied().is_some_and(plain)
            && bytes.iter().all(|&byte| plain(byte) || byte == b'-')
    };
    let valid = if dots { text.split('.').all(label) } else { label(text) };
    if valid {
        return Ok(());
    }
    Err(NameError::Malformed { name: text.to_owned(), expectation: if dots { SUBDOMAIN } else { LABEL } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_what_git_allows() {
        for good in ["main", "kelos/7", "fix-42", "a.b", "feature/x@y", "ümlaut"] {
            assert!(BranchName::parse(good).is_ok(), "{good}");
        }
        let long = "b".repeat(245);
        for bad in [
            "", "-x", "--force", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[0", "a\\b", "/a", "a/",
            "a//b", ".a", "a/.b", "a.", "a.lock", "a.lock/b", "@", "HEAD", "a@{1}", "a\nb", "a\u{7f}", &long,
        ] {
            assert!(BranchName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_what_kubernetes_allows() {
        for good in ["a", "a-b", "a.b", "0", "fix-42.v1"] {
            assert!(ResourceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a..b", ".a", "a.", "a b", "ä", "a/b", "a.-b"] {
            assert!(ResourceName::parse(bad).is_err(), "{bad}");
        }
        assert!(NamespaceName::parse("a.b").is_err());
        assert!(ResourceName::parse(&"a".repeat(253)).is_ok());
        assert_eq!(TaskName::parse(&"a".repeat(64)), Err(NameError::TooLong { length: 64, limit: 63 }));
    }
}
