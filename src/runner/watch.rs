//! Watches what a run uses, and says when it is more than it may.
//!
//! The kernel holds what it can by itself: a control group where one can be had, and limits of each process. A run that is
//! held by those fails in some way of its own and does not know why. So what its processes use together is looked at as well,
//! and a run that uses too much is ended with the reason and the numbers. Room on the disk has no other guard at all.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::api::run::{Exit, Limits};
use crate::process::tree;
use crate::runner::control_group::ControlGroup;

/// How often processes are looked at.
const PROCESSES_EVERY: Duration = Duration::from_millis(200);
/// How often files are looked at, at the most.
const FILES_EVERY: Duration = Duration::from_secs(3);
/// Files are looked at no more than this part of the time.
const FILES_SHARE: u32 = 20;

/// A limit that was exceeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excess {
    /// What that makes of the run.
    pub(super) exit: Exit,
    /// What was used and what was allowed.
    pub(super) message: String,
}

/// What a run may use, and where that is looked at.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// The limits.
    pub(super) limits: Limits,
    /// The folders that the run may fill.
    pub(super) folders: Vec<PathBuf>,
    /// Whether a control group counts memory and processes.
    pub(super) group: Option<ControlGroup>,
}

/// A watch that goes on until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    // Closed by dropping it, which ends the thread.
    _going: mpsc::Sender<()>,
    /// Gets the first limit that is exceeded; closed without one when the watch ends.
    pub(super) exceeded: oneshot::Receiver<Excess>,
}

impl Watch {
    /// Begins to watch everything below this process. Its child `step` is also kept going: without an enclosure an agent can
    /// stop it, and nothing would end that run.
    pub(super) fn begin(bounds: Bounds, step: Option<i32>) -> Self {
        let (going, ended) = mpsc::channel();
        let (sender, exceeded) = oneshot::channel();
        std::thread::spawn(move || {
            let mut files_at = Instant::now() + FILES_EVERY;
            while ended.recv_timeout(PROCESSES_EVERY) == Err(RecvTimeoutError::Timeout) {
                step.and_then(tree::look_at).map(tree::let_go_on);
                let mut excess = bounds.processes();
                if excess.is_none() && Instant::now() >= files_at {
                    let begun = Instant::now();
                    excess = bounds.files();
                    files_at = Instant::now() + FILES_EVERY.max(begun.elapsed() * FILES_SHARE);
                }
                if let Some(excess) = excess {
                    // Nobody waits for it any more when the step has ended.
                    drop(sender.send(excess));
                    return;
                }
            }
        });
        Self { _going: going, exceeded }
    }
}

impl Bounds {
    /// Looks once at everything that can still be seen after the end of a run.
    pub(super) fn afterwards(&self) -> Option<Excess> {
        self.group.as_ref().and_then(|group| group.excess(&self.limits)).or_else(|| self.files())
    }

    fn processes(&self) -> Option<Excess> {
        let counts_itself = self.group.is_some();
        let Limits { memory_bytes, processes, .. } = self.limits;
        let memory_bytes = memory_bytes.filter(|_| !counts_itself);
        let processes = processes.filter(|_| !counts_itself);
        if memory_bytes.is_none() && processes.is_none() {
            return self.group.as_ref().and_then(|group| group.excess(&self.limits));
        }
        let alive: Vec<i32> = tree::below(tree::own_pid())
            .into_iter()
            .filter(|process| process.is_alive())
            .map(|process| process.pid)
            .collect();
        let too_many = processes.and_then(|limit| {
            // Each process has at least one thread: most runs need no second look.
            let threads =
                || alive.iter().map(|pid| number_in_status(*pid, "Threads:").unwrap_or(1)).sum::<u64>();
            let count = if (alive.len() as u64) > limit { alive.len() as u64 } else { threads() };
            (count > limit).then(|| Excess {
                exit: Exit::TooManyProcesses,
                message: format!("it had {count} processes and threads, and may have {limit}"),
            })
        });
        too_many.or_else(|| {
            let limit = memory_bytes?;
            let resident =
                |pid: &i32| number_in_status(*pid, "VmRSS:").map_or(0, |kilobytes| kilobytes * 1024);
            if alive.iter().map(resident).sum::<u64>() <= limit {
                return None;
            }
            // What several have in common was counted for each of them.
            let used =
                alive.iter().map(|pid| proportional(*pid).unwrap_or_else(|| resident(pid))).sum::<u64>();
            (used > limit).then(|| Excess {
                exit: Exit::OutOfMemory,
                message: format!("it used {used} bytes of memory, and may use {limit}"),
            })
        })
    }

    fn files(&self) -> Option<Excess> {
        let limit = self.limits.disk_bytes?;
        let used = self.folders.iter().map(|folder| room_taken(folder)).sum::<u64>();
        (used >= limit).then(|| Excess {
            exit: Exit::DiskQuotaExceeded,
            message: format!("its files took {used} bytes, and may take {limit}"),
        })
    }
}

fn number_in_status(pid: i32, name: &str) -> Option<u64> {
    number_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, name)
}

fn proportional(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(number_in(&text, "Pss:")? * 1024)
}

fn number_in(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns the bytes that the files below `folder` take on the disk, each file once however many names it has.
pub(super) fn room_taken(folder: &Path) -> u64 {
    let (mut bytes, mut folders, mut seen) = (0_u64, vec![folder.to_path_buf()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        // What cannot be read, or went away, takes no room that we could tell.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512));
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_once_for_each_file_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("big"), vec![1; 1 << 20]).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/file"), vec![1; 1 << 18]).unwrap();
        fs::hard_link(folder.path().join("a/file"), folder.path().join("name")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        let taken = room_taken(folder.path());
        assert!(((1 << 18)..(1 << 19)).contains(&taken), "{taken}");
        assert_eq!(room_taken(&folder.path().join("nothing")), 0);
    }

    #[test]
    fn numbers_of_the_kernel_are_read() {
        let own = tree::own_pid();
        assert!(number_in_status(own, "Threads:").unwrap() >= 1);
        assert!(number_in_status(own, "VmRSS:").unwrap() > 0);
        assert_eq!(number_in("Pss:  12 kB\n", "Pss:"), Some(12));
        assert_eq!(number_in("Name: x\n", "Pss:"), None);
    }

    #[tokio::test]
    async fn files_that_take_too_much_are_told_with_the_numbers() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), vec![1; 1 << 16]).unwrap();
        let limits = Limits { disk_bytes: Some(1 << 12), ..Limits::default() };
        let bounds = Bounds { limits, folders: vec![folder.path().to_path_buf()], group: None };
        let found = Watch::begin(bounds.clone(), None).exceeded.await.unwrap();
        assert_eq!(found.exit, Exit::DiskQuotaExceeded);
        assert!(found.message.ends_with("and may take 4096"), "{}", found.message);
        assert_eq!(bounds.afterwards(), Some(found));
    }
}
