//! The one place where child processes come from.
//!
//! A child sees the environment that its caller states and nothing else, reads nothing from our standard
//! input, and runs a program whose path was looked up before anything was spent on the run.

#![expect(clippy::disallowed_methods, reason = "this module is the home of child processes")]

pub mod control_group;
mod exchange;
pub mod tree;
pub mod usage;

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub use exchange::{ExchangeError, exchange, limit_self};

/// The first descriptor that is none of standard input, output and error.
const FIRST_AFTER_STANDARD: i32 = 3;

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

/// Returns the bytes that this user may still write to the disk that holds `path`.
pub fn free_room(path: &Path) -> std::io::Result<u64> {
    let room = rustix::fs::statvfs(path)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// Closes the memory, the environment and the descriptors of this process to other processes of the same user.
pub fn close_to_others() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Keeps the descriptors that whoever started us left open from whatever we start, but standard input and outputs.
///
/// What we open ourselves is closed in a child anyway; what we inherited would be handed on, as far as to agents. Call it
/// first of all.
pub fn pass_no_descriptor_on() {
    close_fds::set_fds_cloexec_threadsafe(FIRST_AFTER_STANDARD, &[]);
}

/// What a child left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// The head of its standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// The head of its standard error, up to the limit.
    pub stderr: Vec<u8>,
}

/// Why a child has no result.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The program could not be started or watched.
    #[error("the program cannot be run")]
    Start(#[source] std::io::Error),
    /// The time was up; the child and its descendants of the same process group were killed.
    #[error("the program was stopped after {0:?}")]
    TimedOut(Duration),
    /// The caller set the flag; the child and its descendants of the same process group were killed.
    #[error("the program was stopped")]
    Interrupted,
}

/// How often a waiting caller looks at its flag.
const LOOK: Duration = Duration::from_millis(50);

/// Runs `command` in a process group of its own until it ends, `time` is up or `interrupt` is set.
///
/// At most `cap` bytes of each output are kept; the rest is read and dropped, so that the child never blocks.
pub fn finish(
    command: &mut Command,
    time: Duration,
    cap: usize,
    interrupt: &AtomicBool,
) -> Result<Finished, FinishError> {
    use std::os::unix::process::CommandExt as _;
    let deadline = Instant::now() + time;
    let mut child = command.process_group(0).spawn().map_err(FinishError::Start)?;
    let stdout = child.stdout.take().map(|stream| head(stream, cap));
    let stderr = child.stderr.take().map(|stream| head(stream, cap));
    let result = wait(&mut child, deadline, time, interrupt);
    if result.is_err() {
        kill_group(&mut child);
    }
    let status = result?;
    // A descendant may hold the streams open; what it still writes is not waited for.
    let collect = |stream: Option<Receiver<Vec<u8>>>| {
        stream.and_then(|stream| stream.recv_timeout(Duration::from_secs(1)).ok()).unwrap_or_default()
    };
    Ok(Finished { status, stdout: collect(stdout), stderr: collect(stderr) })
}

fn wait(
    child: &mut Child,
    deadline: Instant,
    time: Duration,
    interrupt: &AtomicBool,
) -> Result<ExitStatus, FinishError> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(FinishError::Start)? {
            return Ok(status);
        }
        if interrupt.load(Ordering::Relaxed) {
            return Err(FinishError::Interrupted);
        }
        if Instant::now() >= deadline {
            return Err(FinishError::TimedOut(time));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LOOK);
    }
}

fn kill_group(child: &mut Child) {
    let group = rustix::process::Pid::from_child(child);
    // The group is gone when all have ended in the meantime; the child itself is still to be collected.
    let _killed = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _collected = child.wait();
}

/// Reads `stream` to its end on a thread of its own and sends the first `cap` bytes once.
fn head(mut stream: impl Read + Send + 'static, cap: usize) -> Receiver<Vec<u8>> {
    // The sender lives in the thread below, the receiver with the caller of `finish`.
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let limit = u64::try_from(cap).unwrap_or(u64::MAX);
        let read = stream.by_ref().take(limit).read_to_end(&mut kept);
        if read.is_ok() {
            let _dropped = std::io::copy(&mut stream, &mut std::io::sink());
        }
        // The caller may have stopped waiting.
        let _sent = sender.send(kept);
    });
    receiver
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
        let mut shell = command("/bin/sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn outputs_are_collected_up_to_the_limit() {
        let mut talker =
            shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; echo no >&2; exit 3");
        let finished = finish(&mut talker, Duration::from_mins(1), 100, &AtomicBool::new(false)).unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.stdout.len(), 100);
        assert_eq!(finished.stderr, b"no\n");
    }

    #[test]
    fn a_child_that_takes_too_long_is_killed_with_its_descendants() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 1; touch '{}') & sleep 60", mark.display());
        let started = Instant::now();
        let result = finish(&mut shell(&script), Duration::from_millis(100), 100, &AtomicBool::new(false));
        assert!(matches!(result, Err(FinishError::TimedOut(_))));
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!mark.exists(), "the descendant went on");
    }

    #[test]
    fn a_child_is_stopped_by_the_flag() {
        let flag = AtomicBool::new(true);
        let result = finish(&mut shell("sleep 60"), Duration::from_mins(1), 100, &flag);
        assert!(matches!(result, Err(FinishError::Interrupted)));
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
