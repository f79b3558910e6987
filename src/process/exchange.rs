//! Asks a child one question and takes one answer, within limits of time and size.

use std::io::{Read as _, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::process::{command, find};

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
}
