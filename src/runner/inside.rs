//! Writing files into a folder whose content is somebody else's.
//!
//! A path is taken apart and walked component by component, and no component may be a link: what is written lies inside
//! the folder whatever a repository or an agent has put there.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

/// The longest path, in bytes.
const LONGEST_PATH: usize = 4096;

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum InsideError {
    /// The path leads elsewhere, or could.
    #[error("{path:?} is not a path inside the folder: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The system refused it.
    #[error("cannot write {path:?}: {source}")]
    System {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Writes `content` to `path`, which is relative to `folder` and has forward slashes. Folders on the way are made.
pub(super) fn write(folder: &Path, path: &str, content: impl AsRef<[u8]>) -> Result<(), InsideError> {
    let components =
        components(path).map_err(|reason| InsideError::Path { path: path.to_owned(), reason })?;
    write_components(folder, &components, content.as_ref()).map_err(|source| {
        if source.raw_os_error() == Some(Errno::LOOP.raw_os_error())
            || source.raw_os_error() == Some(Errno::NOTDIR.raw_os_error())
        {
            InsideError::Path { path: path.to_owned(), reason: "a link or a file lies in the way" }
        } else {
            InsideError::System { path: path.to_owned(), source }
        }
    })
}

/// Tells whether `name` is a single component that stays where it is put.
pub(super) fn is_component(name: &str) -> bool {
    components(name).is_ok_and(|components| components.len() == 1)
}

fn components(path: &str) -> Result<Vec<&str>, &'static str> {
    if path.is_empty() || path.len() > LONGEST_PATH {
        return Err("it has no length between 1 and 4096 bytes");
    }
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    if path.contains(['\\', '\0']) {
        return Err("it holds a backslash or a NUL");
    }
    let components: Vec<&str> = path.split('/').collect();
    for component in &components {
        match *component {
            "" | "." | ".." => return Err("it has an empty component, . or .."),
            // What lies there is run by git.
            git if git.eq_ignore_ascii_case(".git") => return Err("it leads into .git"),
            _ => {}
        }
    }
    Ok(components)
}

fn write_components(folder: &Path, components: &[&str], bytes: &[u8]) -> io::Result<()> {
    let Some((name, parents)) = components.split_last() else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let is_folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut current: OwnedFd = openat(CWD, folder, is_folder, Mode::empty())?;
    for parent in parents {
        match mkdirat(&current, *parent, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(fault) => return Err(fault.into()),
        }
        current = openat(&current, *parent, is_folder | OFlags::NOFOLLOW, Mode::empty())?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&current, *name, flags | OFlags::NONBLOCK, Mode::from_raw_mode(0o644))?;
    File::from(file).write_all(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_written_and_replaced_inside() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/b/c.md", "one and more").unwrap();
        write(folder.path(), "a/b/c.md", "two").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("a/b/c.md")).unwrap(), "two");
    }

    #[test]
    fn no_path_and_no_link_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "kept").unwrap();
        symlink(outside.path(), folder.path().join("folder")).unwrap();
        symlink(outside.path().join("file"), folder.path().join("file")).unwrap();
        for path in [
            "",
            "/etc/x",
            "../x",
            "a/../../x",
            "a//b",
            "./a",
            "a/",
            "a\\b",
            "a\0b",
            ".git/hooks/x",
            "a/.GIT/config",
            "folder/x",
            "file",
            "folder",
        ] {
            let refused = write(folder.path(), path, "x");
            assert!(matches!(refused, Err(InsideError::Path { .. })), "{path:?}: {refused:?}");
        }
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "kept");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert!(is_component("name") && !is_component("a/b") && !is_component(".."));
    }
}
