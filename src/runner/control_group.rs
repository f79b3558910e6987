//! A control group for one run, where the host lets us make one: memory, processors and processes are then held by the kernel.
//!
//! Only version 2 is used. A group is made below the nearest one above us that we may write and that hands the controllers
//! on: for root that is one of the machine's, for a user one that the system handed over, as a service manager of the user's
//! own does. Where there is none, limits of each process and a watch must do.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::api::run::{self, Exit, Limits};
use crate::process::control_group::{self, MOUNT};

/// Processor time is handed out in slices of this many microseconds.
const PERIOD: u64 = 100_000;

/// The control group of a run.
#[derive(Debug, Clone)]
pub(super) struct ControlGroup {
    folder: PathBuf,
}

impl ControlGroup {
    /// Makes a group for the run with the identity `run`; `None` when this host does not let us.
    pub(super) fn make(run: &str, limits: &Limits) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        Self::make_below(Path::new(MOUNT), own, run, limits)
    }

    fn make_below(mount: &Path, own: &str, run: &str, limits: &Limits) -> Option<Self> {
        let own = mount.join(own.trim().trim_start_matches('/'));
        let mut above = own.ancestors().take_while(|folder| folder.starts_with(mount));
        above.find_map(|parent| {
            if !hands_on(parent) {
                return None;
            }
            let group = Self { folder: parent.join(run::control_group(run)) };
            if group.furnish(limits).is_ok() {
                return Some(group);
            }
            group.remove();
            None
        })
    }

    fn furnish(&self, limits: &Limits) -> io::Result<()> {
        match fs::create_dir(&self.folder) {
            Err(fault) if fault.kind() != io::ErrorKind::AlreadyExists => return Err(fault),
            _ => {}
        }
        if let Some(bytes) = limits.memory_bytes {
            self.set("memory.max", &bytes.to_string())?;
            // Without this, what goes beyond the limit goes to the disk, and everything crawls. Not every host has swap.
            self.set("memory.swap.max", "0").ok();
        }
        if let Some(processes) = limits.processes {
            self.set("pids.max", &processes.to_string())?;
        }
        if let Some(millis) = limits.cpu_millis {
            self.set("cpu.max", &format!("{} {PERIOD}", millis.saturating_mul(PERIOD) / 1000))?;
        }
        Ok(())
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.folder.join(file), value)
    }

    /// Puts a process, and all that it will start, into the group.
    pub(super) fn add(&self, pid: u32) -> io::Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// Returns the limit that the kernel had to enforce, if it had to.
    pub(super) fn excess(&self, limits: &Limits) -> Option<super::watch::Excess> {
        let killed = self.count("memory.events", "oom_kill ").filter(|count| *count > 0);
        if let (Some(count), Some(limit)) = (killed, limits.memory_bytes) {
            let message =
                format!("the kernel ended {count} of its processes: it may use {limit} bytes of memory");
            return Some(super::watch::Excess { exit: Exit::OutOfMemory, message });
        }
        let refused = self.count("pids.events", "max ").filter(|count| *count > 0);
        if let (Some(count), Some(limit)) = (refused, limits.processes) {
            let message = format!(
                "the kernel refused {count} of its processes: it may have {limit} processes and threads"
            );
            return Some(super::watch::Excess { exit: Exit::TooManyProcesses, message });
        }
        None
    }

    fn count(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    }

    /// Ends whatever is left in the group at once.
    pub(super) fn end_all(&self) {
        // Since Linux 5.14; whoever is spared is found by other means.
        control_group::end_all(&self.folder).ok();
    }

    /// Returns where the group is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the group, which must be empty.
    pub(super) fn remove(&self) {
        // One that stays holds nothing and nobody.
        control_group::remove(&self.folder).ok();
    }
}

// Groups below this one have the controllers that we need, or can be given them.
fn hands_on(folder: &Path) -> bool {
    let handed = |needed: &[&str]| {
        let text = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        needed.iter().all(|word| words.contains(word))
    };
    if !handed(&["memory", "pids", "cpu"]) {
        // Refused where processes are in the group itself, and where it is not ours. Nothing is made where there is no group.
        let control = fs::OpenOptions::new().write(true).open(folder.join("cgroup.subtree_control"));
        control.and_then(|mut control| control.write_all(b"+memory +pids +cpu")).ok();
    }
    handed(&["memory", "pids", "cpu"])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a mounted hierarchy, in which nothing is enforced.
    fn hierarchy() -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir_all(mount.path().join("user/app/scope")).unwrap();
        for (group, controllers) in [("", "memory pids"), ("user", "cpu memory pids"), ("user/app/scope", "")]
        {
            fs::write(mount.path().join(group).join("cgroup.subtree_control"), controllers).unwrap();
        }
        mount
    }

    #[test]
    fn a_group_is_made_below_the_nearest_that_hands_its_controllers_on() {
        let mount = hierarchy();
        let limits = Limits {
            memory_bytes: Some(1 << 20),
            cpu_millis: Some(1500),
            processes: Some(7),
            ..Limits::default()
        };
        let group = ControlGroup::make_below(mount.path(), "/user/app/scope\n", "run", &limits).unwrap();
        let folder = mount.path().join("user/kelos-run");
        assert_eq!(group.folder, folder);
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!((read("memory.max").as_str(), read("pids.max").as_str()), ("1048576", "7"));
        assert_eq!(read("cpu.max"), "150000 100000");
        group.add(4711).unwrap();
        assert_eq!(read("cgroup.procs"), "4711");
    }

    #[test]
    fn what_the_kernel_had_to_enforce_is_told() {
        let mount = hierarchy();
        let limits = Limits { memory_bytes: Some(1 << 20), ..Limits::default() };
        let group = ControlGroup::make_below(mount.path(), "/user", "run", &limits).unwrap();
        assert_eq!(group.excess(&limits), None);
        fs::write(group.folder.join("pids.events"), "max 3\n").unwrap();
        assert_eq!(group.excess(&limits).unwrap().exit, Exit::TooManyProcesses);
        fs::write(group.folder.join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
        let excess = group.excess(&limits).unwrap();
        assert_eq!(excess.exit, Exit::OutOfMemory);
        assert_eq!(excess.message, "the kernel ended 2 of its processes: it may use 1048576 bytes of memory");
    }

    #[test]
    fn a_host_without_such_groups_has_none() {
        let mount = tempfile::tempdir().unwrap();
        assert!(
            ControlGroup::make_below(&mount.path().join("absent"), "/", "run", &Limits::default()).is_none()
        );
    }
}
