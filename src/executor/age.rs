//! What of a run is too old to be kept.
//!
//! Its outcome stays as long as its Task does. Its work, when it failed, and its log are kept for as long as somebody may
//! want to look at them, because they take room.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::run::{
    HOME_FOLDER, LOG_FILE, SECRETS_FILE, TEMPORARY_FOLDER, TOKEN_FOLDER, WORK_FOLDER, log_offset,
};
use crate::file;

/// How long things are kept after the end of a run.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// What a run that failed left of its work.
    pub failed_work: Duration,
    /// What it printed.
    pub logs: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { failed_work: Duration::from_hours(24), logs: Duration::from_hours(30 * 24) }
    }
}

/// Removes what is too old of the run in `folder`, which ended at `ended_at`.
pub(super) fn clean(folder: &Path, ended_at: Timestamp, now: Timestamp, keep: Keep) -> io::Result<()> {
    // A clock that was set back makes nothing old.
    let age = Duration::try_from(now.duration_since(ended_at)).unwrap_or_default();
    if age >= keep.failed_work {
        file::remove_tree(&folder.join(WORK_FOLDER))?;
    }
    if age >= keep.logs {
        remove_log(folder, keep.logs)?;
    }
    Ok(())
}

/// Removes where secrets of a run that is over may lie, and keeps its work.
pub(super) fn remove_private(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(SECRETS_FILE)) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    [TOKEN_FOLDER, HOME_FOLDER, TEMPORARY_FOLDER]
        .iter()
        .try_for_each(|name| file::remove_tree(&folder.join(name)))
}

// Whoever asks for the log is told that there was one.
fn remove_log(folder: &Path, kept: Duration) -> io::Result<()> {
    let note = format!("[the log was removed {} hours after the end of the run]\n", kept.as_secs() / 3600);
    let head = folder.join(LOG_FILE);
    if fs::read(&head).is_ok_and(|text| text == note.as_bytes()) {
        return Ok(());
    }
    for entry in fs::read_dir(folder)?.filter_map(Result::ok) {
        if entry.file_name().to_str().and_then(log_offset).is_some() {
            fs::remove_file(entry.path())?;
        }
    }
    file::write_durably(&head, note.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::run::log_piece;

    #[test]
    fn work_and_logs_go_by_age_and_the_outcome_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("work/repo")).unwrap();
        for name in ["result.json", "log", &log_piece(4096), "work/repo/file"] {
            fs::write(path(name), "text").unwrap();
        }
        let ended_at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let after = |hours: i64| {
            clean(
                folder.path(),
                ended_at,
                ended_at + jiff::SignedDuration::from_hours(hours),
                Keep::default(),
            )
            .unwrap();
        };
        after(-5);
        after(23);
        assert!(path("work/repo/file").exists());
        after(25);
        assert!(!path("work").exists() && path("log").exists());
        for _ in 0..2 {
            after(721);
            let note = fs::read_to_string(path("log")).unwrap();
            assert_eq!(note, "[the log was removed 720 hours after the end of the run]\n");
            assert!(!path(&log_piece(4096)).exists() && path("result.json").exists());
        }
    }
}
