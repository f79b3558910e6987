//! The children of the agent's side, and those that it inherits.
//!
//! The first process of an enclosure becomes the parent of everything in there that lost its own. What of it has ended is
//! collected, or numbers of processes would run out; the ends of our own children are left to those who wait for them.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::process::tree;

/// How often what has ended is collected.
const COLLECT_EVERY: Duration = Duration::from_millis(200);

/// Starts children, and knows which are ours.
#[derive(Debug, Clone, Default)]
pub(super) struct Children {
    // Held by whoever starts one until it is in here, and by the collector while it collects.
    own: Arc<Mutex<BTreeSet<i32>>>,
}

impl Children {
    /// Returns the children of a process that inherits others, which are collected from now on.
    pub(super) fn with_inherited() -> Self {
        let children = Self::default();
        let collector = children.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(COLLECT_EVERY);
                let own = collector.own();
                tree::reap_except(|pid| own.contains(&pid));
            }
        });
        children
    }

    /// Starts a child.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut own = self.own();
        let child = command.spawn()?;
        own.extend(i32::try_from(child.id()));
        Ok(child)
    }

    /// Waits for a child.
    pub(super) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let status = child.wait();
        if let Ok(pid) = i32::try_from(child.id()) {
            self.own().remove(&pid);
        }
        status
    }

    fn own(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
