//! The processes below one process: who they are, how to signal them, how to end every one.
//!
//! It works on a process that is a child subreaper: whatever is started below it, and whatever detaches itself
//! there, stays below it. Everything is read from `/proc`, which knows a process by number and start time; a
//! signal goes through a descriptor of the process, checked against its start time, so that a number which was
//! given to another process in between is never hit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, pidfd_open, pidfd_send_signal,
};

/// How long [`end_all`] tries before it gives up on processes that not even a kill ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process, as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Its number.
    pub pid: i32,
    /// When it began, in clock ticks since the machine did: with the number it names one process.
    pub start: u64,
    /// The state letter of the kernel: `Z` for one that has ended and waits for its parent.
    state: char,
    parent: i32,
    group: i32,
    session: i32,
}

impl Seen {
    /// Tells whether it can still do something.
    pub fn is_alive(self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Tells whether a signal stopped it.
    pub fn is_stopped(self) -> bool {
        self.state == 'T'
    }
}

/// Makes this process the one that inherits every orphan below it.
pub fn become_subreaper() -> Result<(), std::io::Error> {
    // The kernel only asks whether the value is zero.
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Returns the number of this process.
pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Returns the process with the number `pid`, if there is one.
pub fn look_at(pid: i32) -> Option<Seen> {
    // The name in the second field may hold blanks and brackets: fields are counted after the last bracket.
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Field 22 of proc(5); four were taken, the first two stand before the bracket.
    let start = fields.nth(15)?.parse().ok()?;
    Some(Seen { pid, start, state, parent, group, session })
}

/// Returns every process of the machine that can be seen.
pub fn all() -> Vec<Seen> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(look_at)
        .collect()
}

/// Returns the processes below `root`, itself not among them, parents before children.
pub fn below(root: i32) -> Vec<Seen> {
    let mut children = BTreeMap::<i32, Vec<Seen>>::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            parents.push(process.pid);
            found.push(process);
        }
    }
    found
}

/// Sends `signal` to `process` if it is still the one that was seen. Returns whether it was sent.
pub fn signal(process: Seen, signal: Signal) -> bool {
    let Some(pid) = Pid::from_raw(process.pid) else { return false };
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    // The descriptor holds the process: when the start time agrees now, it is the one that was seen.
    look_at(process.pid).is_some_and(|now| now.start == process.start)
        && pidfd_send_signal(descriptor, signal).is_ok()
}

/// Asks everything below this process to end, except the process `kept` and what is in its group, and whom it asked
/// before, who is in `asked`.
///
/// It goes by process groups, so that its cost does not grow with what an agent has started.
pub fn ask_below_to_end(kept: Option<i32>, asked: &mut BTreeSet<i32>) {
    let alive: Vec<Seen> = below(own_pid()).into_iter().filter(|process| process.is_alive()).collect();
    let kept_group = alive.iter().find(|process| Some(process.pid) == kept).map(|process| process.group);
    let mut groups = own_groups(&alive);
    groups.retain(|group| Some(*group) != kept_group);
    for group in groups.iter().filter(|group| asked.insert(**group)) {
        signal_group(*group, Signal::TERM);
    }
    let rest = alive.into_iter().filter(|process| {
        Some(process.pid) != kept && Some(process.group) != kept_group && !groups.contains(&process.group)
    });
    for process in rest.filter(|process| asked.insert(process.pid)) {
        signal(process, Signal::TERM);
    }
}

/// Collects children of this process that have ended, except the child `kept`, whose end somebody else waits for.
pub fn reap(kept: Option<i32>) {
    reap_except(|pid| Some(pid) == kept);
}

/// Collects children of this process that have ended, except those for whose end somebody else waits.
pub fn reap_except(is_kept: impl Fn(i32) -> bool) {
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let Ok(Some(_)) = rustix::process::waitid(WaitId::All, options) else { return };
        let ended: Vec<Seen> = below(own_pid())
            .into_iter()
            .filter(|process| process.parent == own_pid() && !process.is_alive() && !is_kept(process.pid))
            .collect();
        if ended.is_empty() {
            return;
        }
        for pid in ended.into_iter().filter_map(|process| Pid::from_raw(process.pid)) {
            // A child that is gone already is what is wanted.
            rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).ok();
        }
    }
}

/// Ends everything below this process, whatever it does to stay. Returns how many are left, which is none unless
/// the kernel itself holds one. The child `kept` is ended too, but not collected.
///
/// Whole process groups are killed first: the kernel does that at once, so that nothing in a group can start anything in
/// between, however fast it is. For what is left, everything is stopped, round after round until a round finds nothing
/// new, because what is stopped can no longer start anything; then it is killed.
pub fn end_all(kept: Option<i32>) -> usize {
    let begun = Instant::now();
    loop {
        reap(kept);
        let alive: Vec<Seen> = below(own_pid()).into_iter().filter(|process| process.is_alive()).collect();
        if alive.is_empty() {
            return 0;
        }
        if begun.elapsed() > PATIENCE {
            return alive.len();
        }
        for group in own_groups(&alive) {
            signal_group(group, Signal::KILL);
        }
        let mut frozen = BTreeSet::new();
        for _ in 0..64 {
            let moving: Vec<Seen> = below(own_pid())
                .into_iter()
                .filter(|process| process.is_alive() && !process.is_stopped())
                .filter(|process| frozen.insert((process.pid, process.start)))
                .collect();
            if moving.is_empty() {
                break;
            }
            for process in moving {
                signal(process, Signal::STOP);
            }
        }
        for process in below(own_pid()) {
            signal(process, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

// Groups other than our own, in sessions that began below us or, when we lead our session, in ours: all that is in them
// is below us.
fn own_groups(processes: &[Seen]) -> BTreeSet<i32> {
    let own = look_at(own_pid());
    let is_foreign = |process: &&Seen| {
        own.is_none_or(|own| {
            process.group == own.group || (process.session == own.session && own.session != own.pid)
        })
    };
    processes.iter().filter(|process| !is_foreign(process)).map(|process| process.group).collect()
}

fn signal_group(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        // One that is empty by now is what is wanted.
        rustix::process::kill_process_group(group, signal).ok();
    }
}

/// Ends every process whose variable `name` was `value` when it began, wherever it is. It finds what a runner left that
/// was killed itself; whoever cleared his environment is not found. Returns how many were ended.
pub fn end_marked(name: &str, value: &str) -> usize {
    let mark = format!("{name}={value}").into_bytes();
    let is_marked = |process: &Seen| {
        fs::read(format!("/proc/{}/environ", process.pid))
            .is_ok_and(|variables| variables.split(|byte| *byte == 0).any(|variable| variable == mark))
    };
    let mut ended = 0;
    for _ in 0..64 {
        let found: Vec<Seen> =
            all().into_iter().filter(|process| process.is_alive()).filter(is_marked).collect();
        if found.is_empty() {
            break;
        }
        for process in &found {
            signal(*process, Signal::STOP);
        }
        ended += found.into_iter().filter(|process| signal(*process, Signal::KILL)).count();
    }
    ended
}

/// Lets `process` go on if a signal stopped it.
pub fn let_go_on(process: Seen) -> bool {
    process.is_stopped() && signal(process, Signal::CONT)
}

/// Asks `process` to end.
pub fn ask_to_end(process: Seen) -> bool {
    signal(process, Signal::TERM)
}

/// Asks `process`, a daemon of ours, to end and to cancel its runs before.
pub fn ask_to_end_with_runs(process: Seen) -> bool {
    signal(process, Signal::USR1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command;

    #[test]
    fn a_child_is_seen_below_us_and_ends_by_signal() {
        let mut child = command("/bin/sh").args(["-c", "sleep 60"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let seen = below(own_pid()).into_iter().find(|process| process.pid == pid).unwrap();
        assert!(seen.is_alive());
        assert_eq!(look_at(pid).map(|again| again.start), Some(seen.start));
        assert!(
            !signal(Seen { start: seen.start + 1, ..seen }, Signal::KILL),
            "another process of that number"
        );
        assert!(signal(seen, Signal::KILL));
        assert!(!child.wait().unwrap().success());
        assert_eq!(look_at(pid), None);
    }

    #[test]
    fn our_own_parent_is_not_below_us() {
        let own = look_at(own_pid()).unwrap();
        assert!(below(own_pid()).iter().all(|process| process.pid != own.parent && process.pid != own.pid));
    }
}
