//! What an agent writes beside its output: a named pipe in its home, read while it works.
//!
//! A pipe takes no room on the disk, whatever is written into it. It is held open for both ways here, so that neither
//! side ever waits for the other to come or takes its going for an end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::runner::agents::report::Reader;
use crate::runner::lines::Lines;

/// How long the rest is read after the agent has ended.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often an empty pipe is looked at then.
const LOOK: Duration = Duration::from_millis(5);

/// A pipe that is being read.
pub(super) struct SideChannel {
    pipe: File,
    // Told that the agent has ended; answered by the end of the thread.
    ended: Sender<()>,
    finished: mpsc::Receiver<()>,
}

impl SideChannel {
    /// Makes the pipe at `path` and shows its lines to `reader`.
    pub(super) fn open(path: &Path, reader: &Arc<Mutex<Box<dyn Reader>>>) -> io::Result<Self> {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let pipe = OpenOptions::new().read(true).write(true).open(path)?;
        let mut input = pipe.try_clone()?;
        let reader = Arc::clone(reader);
        let (ended, is_ended) = mpsc::channel::<()>();
        let (sender, finished) = mpsc::channel::<()>();
        thread::spawn(move || {
            let mut lines = Lines::default();
            let mut buffer = vec![0; 64 * 1024];
            while let Some(bytes) = next(&mut input, &mut buffer, &is_ended) {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                lines.take(bytes, |line| reader.aside(line));
            }
            drop(sender);
        });
        Ok(Self { pipe, ended, finished })
    }

    /// Waits until everything that was written before was read.
    pub(super) fn finish(self) {
        let Self { pipe, ended, finished } = self;
        drop(ended);
        let until = Instant::now() + PATIENCE;
        while finished.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) && Instant::now() < until {}
        drop(pipe);
    }
}

// A read of an empty pipe never ends while we hold it open ourselves, so it is looked at first.
fn next<'a>(input: &mut File, buffer: &'a mut [u8], is_ended: &mpsc::Receiver<()>) -> Option<&'a [u8]> {
    loop {
        // Asked before the look: what was written before the end is seen by it.
        let is_over = is_ended.try_recv() == Err(TryRecvError::Disconnected);
        if rustix::io::ioctl_fionread(&*input).ok()? > 0 {
            let count = input.read(buffer).ok()?;
            return buffer.get(..count);
        }
        if is_over {
            return None;
        }
        // Either way it is looked at again.
        is_ended.recv_timeout(LOOK).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::runner::agents::report::Report;

    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Reader for Heard {
        fn line(&mut self, _: &str) {}

        fn aside(&mut self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }

        fn report(&self) -> Report {
            unreachable!("nobody asks")
        }
    }

    #[test]
    fn what_was_written_before_the_end_is_read_and_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let reader: Arc<Mutex<Box<dyn Reader>>> = Arc::new(Mutex::new(Box::new(Heard(Arc::clone(&heard)))));
        let channel = SideChannel::open(&path, &reader).unwrap();
        // More than a pipe holds, by two writers one after the other, as programs that start themselves anew do.
        for writer in 0..2 {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            for line in 0..20_000 {
                writeln!(file, "{writer} {line}").unwrap();
            }
        }
        channel.finish();
        assert_eq!(heard.lock().unwrap().len(), 40_000);
        SideChannel::open(&folder.path().join("unused"), &reader).unwrap().finish();
    }
}
