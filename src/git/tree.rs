//! The files of one commit, as a flat list.
//!
//! A tree can hold names that no honest tool writes: `..`, `.git`, names with control characters. Nothing
//! here ever becomes a file, but names reach messages and patterns, so such an entry is set apart as an
//! [`Oddity`].

use std::fmt;

use bytes::Bytes;

use crate::git::error::GitError;
use crate::git::id::{BlobId, TreeId};

/// The longest path of an entry, in bytes.
pub const PATH_LIMIT: usize = 4_096;

/// How much of a tree is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Files and folders together, odd ones included.
    pub entries: usize,
    /// Folders within folders.
    pub depth: usize,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { entries: 200_000, depth: 64, bytes: 1 << 30 }
    }
}

/// All files below one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The id of the folder; `None` for a folder of the file system, which has none.
    pub id: Option<TreeId>,
    /// The files, in the byte order of their paths.
    pub entries: Vec<TreeEntry>,
    /// What was left out, in the byte order of the paths.
    pub oddities: Vec<Oddity>,
}

impl Tree {
    /// Returns the entry at `path`.
    pub fn entry(&self, path: &str) -> Option<&TreeEntry> {
        self.entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path))
            .ok()
            .and_then(|index| self.entries.get(index))
    }
}

/// Files that can be listed and read, wherever they are.
pub trait Files: fmt::Debug + Send + Sync {
    /// Returns the list of all files.
    fn tree(&self) -> &Tree;

    /// Reads the content of `entry` of this tree, of at most `max` bytes; of a link, its target.
    fn read(&self, entry: &TreeEntry, max: u64) -> Result<Bytes, GitError>;
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The path below the folder that was asked for, with `/` between its parts.
    pub path: String,
    /// What kind of file it is.
    pub kind: EntryKind,
    /// The id of the content; `None` for a submodule and for a file of the file system.
    pub blob: Option<BlobId>,
    /// The size of the content in bytes; 0 for a submodule.
    pub size: u64,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// A file that may be run.
    Executable,
    /// A symbolic link; its content is the target, which is never followed.
    Link,
    /// A commit of another repository.
    Submodule,
}

/// An entry that is not used because of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// The path, with everything unprintable escaped.
    pub path: String,
    /// Why it is left out.
    pub reason: OddityReason,
}

/// What is odd about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OddityReason {
    /// The name is not UTF-8.
    NotUtf8,
    /// The name is empty, `.` or `..`, or holds a slash.
    NotAName,
    /// The name is a spelling of `.git`.
    GitFolder,
    /// The name holds a backslash, which separates folders elsewhere.
    Backslash,
    /// The name holds a control character or one that turns the reading direction.
    ControlCharacter,
    /// The path is longer than [`PATH_LIMIT`].
    TooLong,
    /// The tree holds the name twice.
    Duplicate,
    /// The file is neither a file nor a folder nor a link, such as a socket.
    Special,
}

impl OddityReason {
    /// Returns a phrase that completes "it is left out because …".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "its name is not UTF-8",
            Self::NotAName => "its name is empty, `.` or `..`, or holds a slash",
            Self::GitFolder => "its name is a spelling of `.git`",
            Self::Backslash => "its name holds a backslash",
            Self::ControlCharacter => "its name holds a control character",
            Self::TooLong => "its path is longer than 4096 bytes",
            Self::Duplicate => "the tree holds its name twice",
            Self::Special => "it is neither a file nor a folder nor a link",
        }
    }
}

impl fmt::Display for OddityReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Checks one name of a path.
pub(crate) fn check_name(name: &[u8]) -> Result<&str, OddityReason> {
    let name = std::str::from_utf8(name).map_err(|_| OddityReason::NotUtf8)?;
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(OddityReason::NotAName);
    }
    if is_git_folder(name) {
        return Err(OddityReason::GitFolder);
    }
    if name.contains('\\') {
        return Err(OddityReason::Backslash);
    }
    if name.chars().any(|character| character.is_control() || is_invisible(character)) {
        return Err(OddityReason::ControlCharacter);
    }
    Ok(name)
}

/// Checks a path that we are about to look up or write.
pub(crate) fn check_path(path: &str) -> Result<(), OddityReason> {
    if path.len() > PATH_LIMIT {
        return Err(OddityReason::TooLong);
    }
    path.split('/').try_for_each(|name| check_name(name.as_bytes()).map(|_| ()))
}

/// Returns `path` with everything that could mislead a reader escaped.
pub(crate) fn printable(path: &[u8]) -> String {
    String::from_utf8_lossy(path)
        .chars()
        .take(PATH_LIMIT)
        .flat_map(|character| {
            let escaped: Vec<char> = if character.is_control() || is_invisible(character) {
                character.escape_unicode().collect()
            } else {
                vec![character]
            };
            escaped
        })
        .collect()
}

/// Characters that HFS+ ignores, and those that turn the reading direction.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Knows the spellings that HFS+ and NTFS take for `.git`.
fn is_git_folder(name: &str) -> bool {
    let visible: String = name.chars().filter(|&character| !is_invisible(character)).collect();
    // NTFS drops trailing dots and blanks, and what follows a colon names a stream of the same file.
    let base = visible.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    base.eq_ignore_ascii_case(".git") || base.eq_ignore_ascii_case("git~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_names_pass() {
        for name in ["a.yaml", ".github", ".gitignore", "größe.md", "a b", "-x", "git", "...", "aux.yaml"] {
            assert_eq!(check_name(name.as_bytes()), Ok(name));
        }
    }

    #[test]
    fn odd_names_are_told_apart() {
        let cases: [(&[u8], OddityReason); 18] = [
            (b"\xff", OddityReason::NotUtf8),
            (b"", OddityReason::NotAName),
            (b".", OddityReason::NotAName),
            (b"..", OddityReason::NotAName),
            (b"a/b", OddityReason::NotAName),
            (b"a\0b", OddityReason::NotAName),
            (b".git", OddityReason::GitFolder),
            (b".GiT", OddityReason::GitFolder),
            (b".git. .", OddityReason::GitFolder),
            (b".git::$INDEX_ALLOCATION", OddityReason::GitFolder),
            (b"GIT~1", OddityReason::GitFolder),
            (".g\u{200c}it".as_bytes(), OddityReason::GitFolder),
            (b"a\\b", OddityReason::Backslash),
            (b"a\r", OddityReason::ControlCharacter),
            (b"a\x1b[2K", OddityReason::ControlCharacter),
            (b"a\x7f", OddityReason::ControlCharacter),
            ("a\u{202e}lmay".as_bytes(), OddityReason::ControlCharacter),
            ("a\u{85}".as_bytes(), OddityReason::ControlCharacter),
        ];
        for (name, reason) in cases {
            assert_eq!(check_name(name), Err(reason), "{}", printable(name));
        }
    }

    #[test]
    fn paths_are_checked_part_by_part() {
        assert_eq!(check_path("a/b/c.yaml"), Ok(()));
        assert_eq!(check_path("a/../c"), Err(OddityReason::NotAName));
        assert_eq!(check_path("/a"), Err(OddityReason::NotAName));
        assert_eq!(check_path(&"a/".repeat(3_000)), Err(OddityReason::TooLong));
    }

    #[test]
    fn printed_names_hold_no_control_characters() {
        assert_eq!(printable(b"a\x1b\xff/b"), "a\\u{1b}\u{fffd}/b");
    }
}
