//! What this process uses, as the system counts it.

use std::fs;
use std::io;

use rustix::process::{Resource, getrlimit};

/// How many ticks the kernel counts to a second of processor time: fixed for all programs on the platforms of Linux
/// that we build for.
const TICKS: f64 = 100.0;

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Processor time of all its threads, in seconds.
    pub cpu_seconds: f64,
    /// Memory in use, in bytes.
    pub resident_bytes: u64,
    /// Addresses in use, in bytes.
    pub virtual_bytes: u64,
    /// Its threads.
    pub threads: u64,
    /// When it began, in seconds since the epoch.
    pub start_seconds: f64,
    /// Open descriptors, where they can be listed.
    pub open_files: Option<u64>,
    /// How many it may have open; nothing without a limit.
    pub most_files: Option<u64>,
}

/// Returns what this process uses.
///
/// # Errors
/// When the system does not say it, as where `/proc` is not mounted.
pub fn of_self() -> io::Result<Usage> {
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not as expected"));
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program stands in brackets and may hold anything.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).ok_or_else(|| odd("/proc/self/stat"))?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |index: usize| -> io::Result<f64> {
        fields.get(index).and_then(|text| text.parse().ok()).ok_or_else(|| odd("/proc/self/stat"))
    };
    let status = fs::read_to_string("/proc/self/status")?;
    let kilobytes = |name: &str| -> io::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let text = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        text.and_then(|text| text.parse().ok()).ok_or_else(|| odd("/proc/self/status"))
    };
    let boot = fs::read_to_string("/proc/stat")?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "));
    let boot: f64 = boot.and_then(|text| text.trim().parse().ok()).ok_or_else(|| odd("/proc/stat"))?;
    Ok(Usage {
        // Fields are counted from the state, which is the third of the manual.
        cpu_seconds: (number(11)? + number(12)?) / TICKS,
        resident_bytes: kilobytes("VmRSS")? << 10,
        virtual_bytes: kilobytes("VmSize")? << 10,
        threads: kilobytes("Threads")?,
        start_seconds: boot + number(19)? / TICKS,
        open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
        most_files: getrlimit(Resource::Nofile).current,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let before = of_self().unwrap();
        let held: Vec<u8> = vec![7; 8 << 20];
        let after = of_self().unwrap();
        assert!(after.resident_bytes >= 8 << 20 && held.len() == 8 << 20);
        assert!(after.virtual_bytes >= after.resident_bytes);
        assert!(after.cpu_seconds >= before.cpu_seconds && after.threads >= 1);
        assert!((before.start_seconds - after.start_seconds).abs() < 0.001);
        assert!(after.open_files.is_some_and(|open| open > 0));
    }
}
