//! The log of a run: written as it comes, bounded, with its head and its tail kept.
//!
//! The log is a row of files, each named by the offset of its first byte in everything that was printed
//! ([`log_piece`]). The first holds the head and stays; of the others the oldest is removed when a new one is begun. A
//! reader sees by the offsets how much is missing between two pieces. Files only grow, so they can be followed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use crate::api::run::log_piece;
use crate::file::create_private;

/// The least bound of a log, in bytes.
const SMALLEST: u64 = 4096;
/// Pieces after the head that are kept, the one that is being written among them.
const KEPT_PIECES: usize = 3;

/// A log that is being written.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    piece_bytes: u64,
    // The piece that is being written, and how much it can still take. None: begin one at `total`.
    current: Option<(File, u64)>,
    // Offsets of the pieces after the head, oldest first.
    pieces: VecDeque<u64>,
    total: u64,
}

impl Log {
    /// Begins the log in `folder`; at most about `limit` bytes of it are kept.
    pub(super) fn begin(folder: PathBuf, limit: u64) -> Self {
        let piece_bytes = limit.max(SMALLEST) / (KEPT_PIECES as u64 + 1);
        Self { folder, piece_bytes, current: None, pieces: VecDeque::new(), total: 0 }
    }

    /// Returns how many bytes were printed, kept or not.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Takes `bytes`. On a full disk they are lost and the gap is visible; what prints is never held up.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some((file, room)) = self.piece() else {
                self.total += bytes.len() as u64;
                return;
            };
            let fitting = bytes.len().min(usize::try_from(*room).unwrap_or(usize::MAX));
            let (now, later) = bytes.split_at(fitting);
            let written = file.write_all(now).is_ok();
            *room -= now.len() as u64;
            let is_full = *room == 0;
            self.total += now.len() as u64;
            if is_full || !written {
                self.current = None;
            }
            bytes = later;
        }
    }

    fn piece(&mut self) -> Option<&mut (File, u64)> {
        if self.current.is_none() {
            let file = create_private(&self.folder.join(log_piece(self.total))).ok()?;
            if self.total > 0 {
                self.pieces.push_back(self.total);
            }
            while self.pieces.len() > KEPT_PIECES {
                let oldest = self.pieces.pop_front().unwrap_or_default();
                // A piece that cannot be removed costs room and nothing else.
                drop(fs::remove_file(self.folder.join(log_piece(oldest))));
            }
            self.current = Some((file, self.piece_bytes));
        }
        self.current.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::run::log_offset;

    fn pieces(folder: &std::path::Path) -> Vec<(u64, Vec<u8>)> {
        let mut pieces: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (log_offset(path.file_name().unwrap().to_str().unwrap()).unwrap(), fs::read(&path).unwrap())
            })
            .collect();
        pieces.sort();
        pieces
    }

    #[test]
    fn a_short_log_is_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path().to_path_buf(), 16 * 1024);
        log.write(b"one\n");
        log.write(b"two\n");
        assert_eq!(pieces(folder.path()), [(0, b"one\ntwo\n".to_vec())]);
    }

    #[test]
    fn of_a_long_log_head_and_tail_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path().to_path_buf(), 16 * 1024);
        let mut printed = Vec::new();
        for number in 0..20_000 {
            let line = format!("line {number}\n");
            log.write(line.as_bytes());
            printed.extend_from_slice(line.as_bytes());
        }
        let pieces = pieces(folder.path());
        let kept: usize = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!((8 * 1024..=16 * 1024).contains(&kept), "{kept}");
        assert_eq!(log.total(), printed.len() as u64);
        for (offset, bytes) in &pieces {
            let offset = usize::try_from(*offset).unwrap();
            assert_eq!(bytes, &printed[offset..offset + bytes.len()]);
        }
        assert_eq!(pieces.first().unwrap().0, 0);
        let (last, bytes) = pieces.last().unwrap();
        assert_eq!(last + bytes.len() as u64, log.total());
        assert!(pieces[1].0 > pieces[0].1.len() as u64, "there is a gap after the head");
    }

    #[test]
    fn a_log_that_cannot_be_written_holds_nobody_up() {
        let mut log = Log::begin(PathBuf::from("/nonexistent"), 16 * 1024);
        log.write(&vec![b'x'; 100_000]);
        assert_eq!(log.total(), 100_000);
    }
}
