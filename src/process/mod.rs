//! The one place where child processes come from.
//!
//! A child sees the environment that its caller states and nothing else, reads nothing from our standard
//! input, and runs a program whose path was looked up before anything was spent on the run.

#![expect(clippy::disallowed_methods, reason = "this module is the home of child processes")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub mod tree;

/// Returns a command for `program` with an empty environment, no standard input, and outputs that are captured.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Looks `program` up in `search_path`, a list of folders in the form of the `PATH` variable.
///
/// A name that contains a slash is taken as a path and only checked. Returns `None` when no executable file is there.
pub fn find(program: &str, search_path: &OsStr) -> Option<PathBuf> {
    if program.contains('/') {
        return executable(Path::new(program));
    }
    std::env::split_paths(search_path).find_map(|folder| executable(&folder.join(program)))
}

fn executable(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = path.metadata().ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then(|| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_sees_only_the_stated_environment() {
        let shell = find("sh", OsStr::new("/usr/bin:/bin")).expect("every host has sh");
        let output =
            command(shell).args(["-c", "echo \"$HOME|$STATED\""]).env("STATED", "yes").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "|yes\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        assert_eq!(find("no-such-program", OsStr::new("/usr/bin:/bin")), None);
        assert_eq!(
            find("/etc/passwd", OsStr::new("")),
            None,
            "a file without an executable bit is no program"
        );
    }
}
