//! Runs as processes of this machine.
//!
//! Order of writes: the folder of a run gets its name when all that the runner needs is in it and on the disk; then
//! its lock is taken; then the runner is started, which inherits the lock. So at any moment a look at the folder alone
//! tells how far a run is, and there is none in which a run could be started twice.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::api::run::{
    self, LOCK_FILE, LOG_FILE, Outcome, PLAN_FILE, Plan, RESULT_FILE, RUN_VARIABLE, RunState, SECRETS_FILE,
    STARTED_FILE, Secrets, Started, TOKEN_FILE, TOKEN_FOLDER,
};
use crate::executor::age::{self, Keep};
use crate::executor::log::{LogReader, stream_log};
use crate::executor::{Executor, ExecutorError, LogStream, Slots, StartError};
use crate::file;
use crate::process::{self, control_group, tree};
use crate::secret::Secret;

/// The folder of all runs, in the data folder.
const RUNS_FOLDER: &str = "runs";
/// What the runner itself has to say, which is nothing unless it breaks.
const RUNNER_LOG: &str = "runner.log";
/// How often the ends of runs are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How many ends are remembered for those who watch.
const REMEMBERED_ENDS: usize = 4096;
/// How long a runner may take for its own work after everything below it was ended by force.
const FORCED_END: Duration = Duration::from_secs(45);
/// How much must be free on the disk for a run to begin, in bytes, unless stated.
const DISK_FLOOR: u64 = 512 * 1024 * 1024;
/// The greatest file of a run that is read, in bytes.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// An executor whose runs are processes of this machine. Copies are the same executor.
#[derive(Debug, Clone)]
pub struct Local {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    runs: PathBuf,
    program: PathBuf,
    slots: usize,
    disk_floor: u64,
    keep: Keep,
    // Held for whole operations on a folder: a look at a lock must not fall between the steps of a start.
    // A plain mutex: it is never held across an await.
    state: Mutex<Known>,
    // Told at every start; those who watch for ends sleep on it while nothing runs.
    starts: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    // Runs whose lock was held when last looked at.
    running: BTreeSet<String>,
    // Runners that we started, to collect their ends.
    children: Vec<Child>,
    // Runs that are over and of which nothing goes on and no secret lies about.
    swept: BTreeSet<String>,
    // Nothing is started any more.
    is_closed: bool,
    // The last runs that ended, and how many ever did: a reader that knows a count finds what came after it.
    ended: VecDeque<String>,
    ended_in_all: u64,
}

impl Local {
    /// Returns an executor whose runs lie in `data_dir`, at most `slots` of them running at once.
    ///
    /// `program` is our own binary: it is started as `program runner run FOLDER`. Runs of an earlier process are
    /// adopted; what the starts of one left unfinished is removed.
    pub fn new(data_dir: &Path, program: PathBuf, slots: usize) -> Result<Self, ExecutorError> {
        Self::with_room(data_dir, program, slots, DISK_FLOOR, Keep::default())
    }

    /// Returns the same, with `disk_floor` bytes that must be free for a run to begin, and `keep` for what runs leave.
    pub fn with_room(
        data_dir: &Path,
        program: PathBuf,
        slots: usize,
        disk_floor: u64,
        keep: Keep,
    ) -> Result<Self, ExecutorError> {
        let runs = data_dir.join(RUNS_FOLDER);
        file::make_private_folder(&runs).map_err(ExecutorError::system("make", &runs))?;
        let entries = fs::read_dir(&runs).map_err(ExecutorError::system("list", &runs))?;
        let (state, starts) = (Mutex::default(), watch::Sender::new(()));
        let shared = Shared { runs, program, slots, disk_floor, keep, state, starts };
        let mut state = shared.state();
        for name in entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()) {
            if name.starts_with('.') {
                let unfinished = shared.runs.join(name);
                file::remove_tree(&unfinished).map_err(ExecutorError::system("remove", &unfinished))?;
            } else if let Ok(RunState::Running { .. }) = shared.look(&name) {
                state.running.insert(name);
            }
        }
        drop(state);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Removes what is too old of all runs at the instant `now`, and goes on where something cannot be removed.
    pub async fn clean(&self, now: Timestamp) -> Result<(), ExecutorError> {
        self.blocking(move |shared| shared.clean(now)).await
    }

    /// Returns the folder of the run with the identity `run`, which need not exist.
    pub fn folder(&self, run: &str) -> Result<PathBuf, ExecutorError> {
        self.shared.folder(run)
    }

    // A runner that has not said its number yet is about to: it is waited for, so that it is asked and not only watched.
    async fn ask_to_end(&self, run: &str) -> Result<(), ExecutorError> {
        let until = Instant::now() + FORCED_END;
        loop {
            let name = run.to_owned();
            if self.blocking(move |shared| shared.ask_to_end(&name)).await? || Instant::now() >= until {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    // File work is done where blocking is allowed.
    async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ExecutorError> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let path = shared.runs.clone();
        let ended = tokio::task::spawn_blocking(move || work(&shared)).await;
        ended.unwrap_or_else(|fault| {
            Err(ExecutorError::system("work in", path)(io::Error::other(fault)).into())
        })
    }
}

impl Executor for Local {
    fn start(&self, plan: Plan, secrets: Secrets) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(self.blocking(move |shared| shared.start(&plan, &secrets)))
    }

    fn observe<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<RunState, ExecutorError>> {
        let run = run.to_owned();
        Box::pin(self.blocking(move |shared| shared.observe(&run)))
    }

    fn stop<'a>(&'a self, run: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), ExecutorError>> {
        let run = run.to_owned();
        Box::pin(async move {
            // The first request is passed on to the agent, the second ends it; then only the runner's own work is left.
            for patience in [grace, FORCED_END] {
                self.ask_to_end(&run).await?;
                let until = Instant::now() + patience;
                loop {
                    let name = run.clone();
                    let state = self.blocking(move |shared| shared.observe(&name)).await?;
                    if !matches!(state, RunState::Running { .. }) {
                        return Ok(());
                    }
                    if Instant::now() >= until {
                        break;
                    }
                    tokio::time::sleep(LOOK_EVERY.min(patience)).await;
                }
            }
            Err(ExecutorError::StillRunning { run })
        })
    }

    fn renew_token<'a>(&'a self, run: &'a str, token: Secret) -> BoxFuture<'a, Result<(), ExecutorError>> {
        let run = run.to_owned();
        Box::pin(self.blocking(move |shared| shared.renew_token(&run, &token)))
    }

    fn remove<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<(), ExecutorError>> {
        let run = run.to_owned();
        Box::pin(self.blocking(move |shared| shared.remove(&run)))
    }

    fn runs(&self) -> BoxFuture<'_, Result<Vec<String>, ExecutorError>> {
        Box::pin(self.blocking(Shared::runs))
    }

    fn log<'a>(&'a self, run: &'a str, follow: bool) -> BoxFuture<'a, Result<LogStream, ExecutorError>> {
        let run = run.to_owned();
        Box::pin(async move {
            let folder = self.folder(&run)?;
            let name = run.clone();
            if self.blocking(move |shared| shared.observe(&name)).await? == RunState::Absent {
                return Err(ExecutorError::Absent { run });
            }
            let local = self.clone();
            let is_over = move || {
                let (local, name) = (local.clone(), run.clone());
                async move {
                    let state = local.blocking(move |shared| shared.observe(&name)).await;
                    !matches!(state, Ok(RunState::Running { .. } | RunState::Prepared))
                }
            };
            Ok(stream_log(LogReader::open(folder), follow, is_over))
        })
    }

    fn ends(&self) -> BoxStream<'static, String> {
        let told = self.shared.state().ended_in_all;
        let starts = self.shared.starts.subscribe();
        stream::unfold((self.clone(), told, starts), |(local, told, mut starts)| async move {
            loop {
                // Seen before the look: a start after it wakes us.
                starts.mark_unchanged();
                let next: Result<_, ExecutorError> =
                    local.blocking(move |shared| Ok(shared.end_after(told))).await;
                // A look that failed is repeated.
                if let Ok(Some((told, run))) = next {
                    return Some((run, (local, told, starts)));
                }
                if local.slots().used > 0 {
                    tokio::time::sleep(LOOK_EVERY).await;
                } else {
                    // The sender lives as long as `local`, so this ends only with a start.
                    starts.changed().await.ok();
                }
            }
        })
        .boxed()
    }

    fn slots(&self) -> Slots {
        Slots { total: self.shared.slots, used: self.shared.state().running.len() }
    }

    fn close(&self) {
        self.shared.state().is_closed = true;
    }

    fn missing_room(&self) -> Option<u64> {
        self.shared.missing_room()
    }
}

impl Known {
    fn left(&mut self, run: &str) {
        if self.running.remove(run) {
            self.ended.push_back(run.to_owned());
            self.ended_in_all += 1;
            if self.ended.len() > REMEMBERED_ENDS {
                self.ended.pop_front();
            }
        }
        self.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, run: &str) -> Result<PathBuf, ExecutorError> {
        let is_identity = (1..=64).contains(&run.len())
            && run.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !run.starts_with('-');
        if is_identity {
            Ok(self.runs.join(run))
        } else {
            Err(ExecutorError::Identity { run: run.to_owned() })
        }
    }

    fn observe(&self, run: &str) -> Result<RunState, ExecutorError> {
        let mut state = self.state();
        let seen = self.look(run)?;
        if matches!(seen, RunState::Running { .. }) {
            if state.running.insert(run.to_owned()) {
                self.starts.send_replace(());
            }
        } else {
            state.left(run);
        }
        self.sweep(&mut state, run, &seen)?;
        Ok(seen)
    }

    // What a runner does at its end, for one that was killed before or while it did it.
    fn sweep(&self, known: &mut Known, run: &str, seen: &RunState) -> Result<(), ExecutorError> {
        let is_over = matches!(seen, RunState::Finished(_) | RunState::Interrupted { .. });
        let folder = self.folder(run)?;
        if !is_over || known.swept.contains(run) || is_locked(&folder.join(LOCK_FILE))? {
            return Ok(());
        }
        let mut is_ended = true;
        if matches!(seen, RunState::Interrupted { .. }) {
            let started = read::<Started>(&folder.join(STARTED_FILE))?;
            let group = started.whole().and_then(|started| started.control_group.as_deref());
            is_ended = group.is_none_or(|group| end_group(group, run));
            tree::end_marked(RUN_VARIABLE, run);
        }
        // What still writes while it ends cannot be cleared yet: the next look does it. How the run ended is known all the
        // same.
        if age::remove_private(&folder).is_ok() && is_ended {
            known.swept.insert(run.to_owned());
        }
        Ok(())
    }

    fn runs(&self) -> Result<Vec<String>, ExecutorError> {
        let entries = fs::read_dir(&self.runs).map_err(ExecutorError::system("list", &self.runs))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // Whatever else lies here is not ours to touch, or work of `start` or `remove`.
        Ok(names.filter(|name| self.folder(name).is_ok()).collect())
    }

    fn clean(&self, now: Timestamp) -> Result<(), ExecutorError> {
        let mut result = Ok(());
        for run in self.runs()? {
            let folder = self.folder(&run)?;
            // Held for one run at a time.
            let mut state = self.state();
            let Ok(seen) = self.look(&run) else { continue };
            result = result.and(self.sweep(&mut state, &run, &seen));
            let ended_at = match seen {
                RunState::Finished(outcome) => outcome.finished_at,
                // It is not known when it ended; it may have gone on for long. One that said nothing has no log.
                RunState::Interrupted { .. } => {
                    let last = [LOG_FILE, STARTED_FILE].iter().find_map(|name| modified(&folder.join(name)));
                    let Some(instant) = last else { continue };
                    instant
                }
                _ => continue,
            };
            let cleaned = age::clean(&folder, ended_at, now, self.keep);
            result = result.and(cleaned.map_err(ExecutorError::system("clean", folder)));
        }
        result
    }

    fn missing_room(&self) -> Option<u64> {
        // Where the system does not say how much is free, the write that needs it does.
        let free = process::free_room(&self.runs).ok()?;
        (free < self.disk_floor).then_some(self.disk_floor)
    }

    // Call it with the state held.
    fn look(&self, run: &str) -> Result<RunState, ExecutorError> {
        let folder = self.folder(run)?;
        if folder.symlink_metadata().is_err() {
            return Ok(RunState::Absent);
        }
        // The lock before the files: the runner writes its last file before it lets go.
        let is_running = is_locked(&folder.join(LOCK_FILE))?;
        let result = read::<Outcome>(&folder.join(RESULT_FILE))?;
        if let Contents::Whole(outcome) = result {
            return Ok(RunState::Finished(Box::new(outcome)));
        }
        let started = read::<Started>(&folder.join(STARTED_FILE))?;
        let since = started.whole().map(|started| started.since);
        // A file that cannot be understood, damaged or of a version yet to come, still says that the run was begun.
        let was_begun = !matches!((&result, &started), (Contents::Absent, Contents::Absent));
        Ok(match (is_running, was_begun) {
            (true, _) => RunState::Running { since },
            (false, true) => RunState::Interrupted { since },
            (false, false) => RunState::Prepared,
        })
    }

    fn refresh(&self) {
        let mut state = self.state();
        for run in state.running.clone() {
            // A folder that cannot be read holds its slot until it can.
            if !matches!(self.look(&run), Ok(RunState::Running { .. }) | Err(_)) {
                state.left(&run);
            }
        }
    }

    fn end_after(&self, told: u64) -> Option<(u64, String)> {
        self.refresh();
        let state = self.state();
        let remembered = state.ended.len() as u64;
        let behind = state.ended_in_all.saturating_sub(told).min(remembered);
        let index = usize::try_from(remembered - behind).ok()?;
        let run = state.ended.get(index)?.clone();
        Some((state.ended_in_all - behind + 1, run))
    }

    fn start(&self, plan: &Plan, secrets: &Secrets) -> Result<(), StartError> {
        let run = plan.run.as_str();
        let folder = self.folder(run)?;
        self.refresh();
        let mut state = self.state();
        match self.look(run)? {
            RunState::Absent => {}
            // Nothing has run there: it is made anew, because the secrets may be others by now.
            RunState::Prepared => self.discard(run)?,
            begun => return Err(StartError::Begun { run: run.to_owned(), state: Box::new(begun) }),
        }
        if state.is_closed || state.running.len() >= self.slots {
            return Err(StartError::NoSlot { total: self.slots });
        }
        if let Some(floor) = self.missing_room() {
            return Err(StartError::NoRoom { floor });
        }
        self.prepare(&folder, plan, secrets)?;
        let child = self.launch(&folder)?;
        state.children.push(child);
        state.running.insert(run.to_owned());
        self.starts.send_replace(());
        Ok(())
    }

    fn prepare(&self, folder: &Path, plan: &Plan, secrets: &Secrets) -> Result<(), ExecutorError> {
        let new = self.runs.join(format!(".new-{}", plan.run));
        let refused = ExecutorError::system("make", &new);
        let make = || {
            file::remove_tree(&new)?;
            file::make_private_folder(&new)?;
            write(&new.join(PLAN_FILE), plan)?;
            write(&new.join(SECRETS_FILE), secrets)?;
            file::create_private(&new.join(LOCK_FILE))?;
            file::sync_folder(&new)?;
            fs::rename(&new, folder)?;
            file::sync_folder(&self.runs)
        };
        make().map_err(refused)
    }

    fn launch(&self, folder: &Path) -> Result<Child, ExecutorError> {
        let refused = || ExecutorError::system("start a runner in", folder);
        let lock =
            OpenOptions::new().read(true).write(true).open(folder.join(LOCK_FILE)).map_err(refused())?;
        lock.try_lock().map_err(|fault| refused()(fault.into()))?;
        let own_words = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(folder.join(RUNNER_LOG))
            .map_err(refused())?;
        process::command(&self.program)
            .args(["runner", "run"])
            .arg(folder)
            .current_dir(folder)
            .stdin(lock)
            .stdout(Stdio::null())
            .stderr(own_words)
            .spawn()
            .map_err(refused())
    }

    // Tells whether there is nobody to ask any more, or he was asked.
    fn ask_to_end(&self, run: &str) -> Result<bool, ExecutorError> {
        let folder = self.folder(run)?;
        // Held until the end.
        let _state = self.state();
        if !matches!(self.look(run)?, RunState::Running { .. }) {
            return Ok(true);
        }
        if let Some(started) = read::<Started>(&folder.join(STARTED_FILE))?.whole()
            && let Some(runner) = tree::look_at(started.process)
            // The number is the runner's as long as it holds the lock, so it is looked at once more after the process.
            && is_locked(&folder.join(LOCK_FILE))?
        {
            return Ok(tree::ask_to_end(runner));
        }
        Ok(false)
    }

    // The agent may read the folder and not write it, so no link of its own lies in the way.
    fn renew_token(&self, run: &str, token: &Secret) -> Result<(), ExecutorError> {
        let file = self.folder(run)?.join(TOKEN_FOLDER).join(TOKEN_FILE);
        let state = self.state();
        let is_running = matches!(self.look(run)?, RunState::Running { .. });
        let known = file::read_bounded(&file, LARGEST_FILE);
        if !is_running || known.is_err() || known.is_ok_and(|known| known == token.expose().as_bytes()) {
            return Ok(());
        }
        let written = file::write_durably(&file, token.expose().as_bytes());
        drop(state);
        written.map_err(ExecutorError::system("write", &file))
    }

    fn remove(&self, run: &str) -> Result<(), ExecutorError> {
        self.observe(run)?;
        let mut state = self.state();
        match self.look(run)? {
            RunState::Absent => Ok(()),
            RunState::Running { .. } => Err(ExecutorError::StillRunning { run: run.to_owned() }),
            RunState::Prepared | RunState::Finished(_) | RunState::Interrupted { .. } => {
                state.swept.remove(run);
                self.discard(run)
            }
        }
    }

    // Renamed first: a folder that is half removed would look like another state.
    fn discard(&self, run: &str) -> Result<(), ExecutorError> {
        let folder = self.folder(run)?;
        let old = self.runs.join(format!(".old-{run}"));
        let remove = || {
            file::remove_tree(&old)?;
            fs::rename(&folder, &old)?;
            file::sync_folder(&self.runs)?;
            file::remove_tree(&old)
        };
        remove().map_err(ExecutorError::system("remove", &folder))
    }
}

/// A run that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoingOn {
    /// Its identity.
    pub run: String,
    /// Its Task, as `namespace/name`; nothing when its plan cannot be read.
    pub task: Option<String>,
}

/// Returns the runs in `data_dir` that go on, whoever started them.
pub fn going_on(data_dir: &Path) -> Result<Vec<GoingOn>, ExecutorError> {
    let runs = data_dir.join(RUNS_FOLDER);
    let entries = match fs::read_dir(&runs) {
        Ok(entries) => entries,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(fault) => return Err(ExecutorError::system("list", &runs)(fault)),
    };
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let folder = entry.path();
        let Ok(run) = entry.file_name().into_string() else { continue };
        if is_locked(&folder.join(LOCK_FILE))? {
            let plan = read::<Plan>(&folder.join(PLAN_FILE))?;
            let task = plan.whole().map(|plan| format!("{}/{}", plan.namespace, plan.task));
            found.push(GoingOn { run, task });
        }
    }
    found.sort_by(|left, right| (&left.task, &left.run).cmp(&(&right.task, &right.run)));
    Ok(found)
}

// Ends the control group of a run whose runner was killed, and tells whether it is gone. The path was written by a runner;
// what does not look like one of its groups is left alone.
fn end_group(group: &Path, run: &str) -> bool {
    let is_ours = group.starts_with(control_group::MOUNT)
        && group.ends_with(run::control_group(run))
        && group.components().all(|component| component != Component::ParentDir);
    if !is_ours {
        return true;
    }
    // Where this is refused, what is in it is found by its environment.
    control_group::end_all(group).ok();
    control_group::remove(group).is_ok()
}

fn modified(path: &Path) -> Option<Timestamp> {
    path.metadata().ok()?.modified().ok()?.try_into().ok()
}

fn is_locked(lock: &Path) -> Result<bool, ExecutorError> {
    let refused = || ExecutorError::system("look at the lock", lock);
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(fault) => return Err(refused()(fault)),
    };
    // Shared, so that two who look do not see each other. It is given back with the descriptor.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(fault)) => Err(refused()(fault)),
    }
}

/// What a file of a run holds.
#[derive(Debug)]
enum Contents<T> {
    Absent,
    Damaged,
    Whole(T),
}

impl<T> Contents<T> {
    fn whole(&self) -> Option<&T> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Absent | Self::Damaged => None,
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Contents<T>, ExecutorError> {
    match file::read_bounded(path, LARGEST_FILE) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).map_or(Contents::Damaged, Contents::Whole)),
        Err(fault) => match fault.kind() {
            io::ErrorKind::NotFound => Ok(Contents::Absent),
            io::ErrorKind::FileTooLarge | io::ErrorKind::IsADirectory => Ok(Contents::Damaged),
            _ => Err(ExecutorError::system("read", path)(fault)),
        },
    }
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    file::write_durably(path, &serde_json::to_vec_pretty(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_that_was_left_is_ended_and_removed_and_no_other_folder() {
        let folder = tempfile::tempdir().unwrap();
        let run = format!("test-{}", process::tree::own_pid());
        let other = folder.path().join(run::control_group(&run));
        fs::create_dir(&other).unwrap();
        assert!(end_group(&other, &run) && other.exists());
        // Where this machine lets us make one.
        for mount in ["", "unified"] {
            let group = Path::new(control_group::MOUNT).join(mount).join(run::control_group(&run));
            if fs::create_dir(&group).is_err() {
                continue;
            }
            if !group.join("cgroup.kill").exists() {
                fs::remove_dir(&group).unwrap();
                continue;
            }
            assert!(end_group(&group, "another-run") && group.exists());
            let mut child = process::command("/bin/sh").args(["-c", "exec sleep 600"]).spawn().unwrap();
            fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
            let until = Instant::now() + Duration::from_mins(1);
            while !end_group(&group, &run) {
                assert!(Instant::now() < until, "it is never empty");
            }
            assert!(!group.exists() && !child.wait().unwrap().success());
        }
    }
}
