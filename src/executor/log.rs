//! Reading the log of a run while it is written.
//!
//! The log is a row of files named by the offset of their first byte (see [`crate::api::run`]). What is missing between
//! two of them is told as a line of our own.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};

use crate::api::run::{log_offset, log_piece};
use crate::executor::LogStream;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The most that is read at once, in bytes.
const LARGEST_READ: usize = 64 * 1024;

/// Reads a log from its beginning.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    // Of the next byte.
    offset: u64,
    // The piece that is being read, and where it begins. It is held open, so that its removal does not cut it.
    piece: Option<(u64, File)>,
}

impl LogReader {
    /// Returns a reader of the log in the folder of a run.
    pub fn open(folder: PathBuf) -> Self {
        Self { folder, offset: 0, piece: None }
    }

    /// Returns what comes next, and nothing when there is nothing yet.
    pub fn read_on(&mut self) -> io::Result<Bytes> {
        loop {
            let bytes = self.read()?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            if self.next_piece()?.is_none() {
                return Ok(Bytes::new());
            }
            // A folder is not listed at one moment: what was made while it was listed may be missing. Pieces are made
            // in order, so a second list holds all that come before one of the first.
            let Some(next) = self.next_piece()? else { continue };
            // The piece before it is complete only now: it may have grown since it was read.
            let bytes = self.read()?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            match File::open(self.folder.join(log_piece(next))) {
                Ok(piece) => self.piece = Some((next, piece)),
                // It was removed since the folder was listed.
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
                Err(fault) => return Err(fault),
            }
            let gap = next - self.offset;
            self.offset = next;
            if gap > 0 {
                return Ok(format!("\n[{gap} bytes are left out here]\n").into());
            }
        }
    }

    fn read(&mut self) -> io::Result<Bytes> {
        let Some((_, piece)) = &mut self.piece else { return Ok(Bytes::new()) };
        let mut buffer = vec![0; LARGEST_READ];
        let count = piece.read(&mut buffer)?;
        buffer.truncate(count);
        self.offset += count as u64;
        Ok(buffer.into())
    }

    // The first piece after the one that is being read.
    fn next_piece(&self) -> io::Result<Option<u64>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let current = self.piece.as_ref().map(|(start, _)| *start);
        Ok(entries
            .filter_map(Result::ok)
            .filter_map(|entry| log_offset(entry.file_name().to_str()?))
            .filter(|start| *start >= self.offset && Some(*start) != current)
            .min())
    }
}

/// Returns the log as a stream. With `follow` it ends when `is_over` has said so and everything was read.
pub fn stream_log<F, Over>(reader: LogReader, follow: bool, is_over: F) -> LogStream
where
    F: Fn() -> Over + Send + Sync + 'static,
    Over: Future<Output = bool> + Send,
{
    stream::try_unfold((reader, is_over), move |(mut reader, is_over)| async move {
        loop {
            // Asked before the read: what is not there after the end never comes.
            let is_last = !follow || is_over().await;
            let read = tokio::task::spawn_blocking(move || {
                let bytes = reader.read_on();
                (reader, bytes)
            });
            let bytes;
            (reader, bytes) = read.await.map_err(io::Error::other)?;
            let bytes = bytes?;
            if !bytes.is_empty() {
                return Ok(Some((bytes, (reader, is_over))));
            }
            if is_last {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything(reader: &mut LogReader) -> String {
        let mut all = Vec::new();
        loop {
            let bytes = reader.read_on().unwrap();
            if bytes.is_empty() {
                return String::from_utf8(all).unwrap();
            }
            all.extend_from_slice(&bytes);
        }
    }

    #[test]
    fn pieces_are_joined_and_a_gap_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |offset, text: &str| fs::write(folder.path().join(log_piece(offset)), text).unwrap();
        let mut reader = LogReader::open(folder.path().to_path_buf());
        assert_eq!(everything(&mut reader), "");
        write(0, "head\n");
        assert_eq!(everything(&mut reader), "head\n");
        write(5, "next\n");
        write(110, "tail\n");
        assert_eq!(everything(&mut reader), "next\n\n[100 bytes are left out here]\ntail\n");
        write(110, "tail\nmore\n");
        assert_eq!(everything(&mut reader), "more\n");
        let mut again = LogReader::open(folder.path().to_path_buf());
        assert_eq!(everything(&mut again), "head\nnext\n\n[100 bytes are left out here]\ntail\nmore\n");
    }
}
