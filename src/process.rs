//! The one place where child processes come from.
//!
//! A child sees the environment that its caller states and nothing else, reads nothing from our standard
//! input, and runs a program whose path was looked up before anything was spent on the run.

#![expect(clippy::disallowed_methods, reason = "this module is the home of child processes")]

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

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

/// Why a child gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The program could not be started.
    #[error("cannot start the child process")]
    Start(#[source] std::io::Error),
    /// The child ran longer than it may.
    #[error("the child process ran longer than {} s and was ended", .0.as_secs())]
    TooSlow(Duration),
    /// The child wrote more than it may.
    #[error("the child process wrote more than {0} bytes and was ended")]
    TooMuch(usize),
    /// The child ended without success; a limit on its memory or processor time may have been reached.
    #[error("the child process failed: {0}")]
    Failed(ExitStatus),
    /// The pipes to the child broke.
    #[error("cannot talk to the child process")]
    Pipe(#[source] std::io::Error),
}

/// Runs `command`, hands it `input` and returns what it writes to standard output, at most `most` bytes of it.
///
/// Blocks the calling thread. A child that is too slow or writes too much is killed.
///
/// # Errors
/// See [`ExchangeError`].
pub fn exchange(
    mut command: Command,
    input: Vec<u8>,
    longest: Duration,
    most: usize,
) -> Result<Vec<u8>, ExchangeError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(ExchangeError::Start)?;
    let mut to_child = child.stdin.take().expect("standard input is piped, as set above");
    let from_child = child.stdout.take().expect("standard output is piped, as set above");
    // A child that ends early closes its side; that is seen in its answer, not here.
    let writer = thread::spawn(move || drop(to_child.write_all(&input)));
    // The reader sends once and ends; the receiver lives until then or until the child is killed.
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut output = Vec::new();
        let result = from_child.take(most as u64 + 1).read_to_end(&mut output).map(|_| output);
        drop(sender.send(result));
    });
    let received = receiver.recv_timeout(longest);
    let too_much = matches!(&received, Ok(Ok(output)) if output.len() > most);
    if received.is_err() || too_much {
        child.kill().map_err(ExchangeError::Pipe)?;
    }
    let status = child.wait().map_err(ExchangeError::Pipe)?;
    drop((writer.join(), reader.join()));
    match received {
        Err(_) => Err(ExchangeError::TooSlow(longest)),
        Ok(Err(error)) => Err(ExchangeError::Pipe(error)),
        Ok(Ok(_)) if too_much => Err(ExchangeError::TooMuch(most)),
        Ok(Ok(_)) if !status.success() => Err(ExchangeError::Failed(status)),
        Ok(Ok(output)) => Ok(output),
    }
}

/// Limits this process: seconds of processor time and bytes of address space. It cannot raise them again.
///
/// # Errors
/// When the system refuses, as it does for limits above those already in force.
pub fn limit_self(processor_seconds: u64, memory_bytes: u64) -> std::io::Result<()> {
    let fixed = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::Cpu, fixed(processor_seconds))?;
    setrlimit(Resource::As, fixed(memory_bytes))?;
    setrlimit(Resource::Core, fixed(0))?;
    Ok(())
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

    fn shell(script: &str) -> Command {
        let mut command = command(find("sh", OsStr::new("/usr/bin:/bin")).expect("every host has sh"));
        command.args(["-c", script]).env("PATH", "/usr/bin:/bin");
        command
    }

    #[test]
    fn a_child_answers_within_its_limits() {
        let second = Duration::from_secs(20);
        assert_eq!(exchange(shell("cat; echo !"), b"hello".to_vec(), second, 100).unwrap(), b"hello!\n");
        let much = exchange(shell("yes"), Vec::new(), second, 100);
        assert!(matches!(much, Err(ExchangeError::TooMuch(100))), "{much:?}");
        let slow = exchange(shell("exec sleep 100"), Vec::new(), Duration::from_millis(50), 100);
        assert!(matches!(slow, Err(ExchangeError::TooSlow(_))), "{slow:?}");
        let failed = exchange(shell("exit 3"), Vec::new(), second, 100);
        assert!(
            matches!(failed, Err(ExchangeError::Failed(status)) if status.code() == Some(3)),
            "{failed:?}"
        );
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
