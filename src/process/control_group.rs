//! The end of a control group of version 2, for the run that is in it and for those who find what it left.

use std::fs;
use std::io;
use std::path::Path;

/// Where control groups are, as all of today's systems have it.
pub const MOUNT: &str = "/sys/fs/cgroup";

/// Ends whatever is left in `group` at once; kernels before Linux 5.14 refuse.
///
/// # Errors
/// When it cannot be done, as when there is no such group.
pub fn end_all(group: &Path) -> io::Result<()> {
    // Never made: what is no group has no such file.
    fs::OpenOptions::new()
        .write(true)
        .open(group.join("cgroup.kill"))
        .and_then(|mut file| io::Write::write_all(&mut file, b"1"))
}

/// Removes `group`, in which nobody may be left. One that is gone is no fault.
///
/// # Errors
/// When somebody is left, or when it is not ours.
pub fn remove(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}
