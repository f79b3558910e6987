//! The runner proper: holds the lock, runs the steps, keeps the time, ends everything, writes the outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};

use crate::api::run::{
    CLAIMS_FILE, Claims, ENDING_FILE, Exit, FORMAT_VERSION, HOME_FOLDER, LOCK_FILE, Outcome, Plan,
    RESULT_FILE, RUN_VARIABLE, SECRETS_FILE, SKILLS_PLUGIN, STARTED_FILE, Secrets, Started, TEMPORARY_FOLDER,
    TOKEN_FILE, TOKEN_FOLDER, WORK_FOLDER,
};
use crate::clock::{self, SharedClock};
use crate::file::{create_private, remove_tree, write_durably};
use crate::process::{self, tree};
use crate::runner::RunnerError;
use crate::runner::agents;
use crate::runner::control_group::ControlGroup;
use crate::runner::enclosure;
use crate::runner::folder::Folder;
use crate::runner::log::Log;
use crate::runner::watch::{Bounds, Excess, Watch};

/// How long what an agent left behind may take to end after it is asked to.
const LEFTOVER_PATIENCE: Duration = Duration::from_millis(500);
/// How often those are asked to end who were started after the others were asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long the rest of the output is read after everything has ended.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// How long is waited, at the most, until the result is written again while the disk refuses it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs the plan in `folder`; see [`crate::runner::run`].
pub(super) fn run(folder: &Folder) -> Result<Outcome, RunnerError> {
    let _lock = lock(folder)?;
    if folder.has(RESULT_FILE) {
        return Ok(folder.read(RESULT_FILE)?);
    }
    if folder.has(STARTED_FILE) {
        return Err(RunnerError::StartedBefore { run: folder.path().display().to_string() });
    }
    // It knows secrets, and what an agent starts may be the same user's.
    process::close_to_others().map_err(RunnerError::system("close this process to others"))?;
    // Refused when we lead a group already, as when a shell started us: then we are as far away as can be.
    rustix::process::setsid().ok();
    tree::become_subreaper().map_err(RunnerError::system("inherit orphans"))?;
    let clock = clock::system();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunnerError::system("start the runtime"))?;
    // Invariant: requests to end are heard before anybody can know whom to ask.
    let signals = runtime.block_on(async { Signals::listen() })?;
    let started = Started {
        version: FORMAT_VERSION,
        process: tree::own_pid(),
        since: clock.now(),
        control_group: None,
    };
    // Invariant: this is on the disk before anything that could cost something.
    folder.write(STARTED_FILE, &started)?;
    let mut outcome = match runtime.block_on(supervise(folder, &clock, &started, signals)) {
        Ok(outcome) => outcome,
        Err(fault) => {
            let message = format!("the runner failed: {}", with_sources(&fault));
            ended(Exit::RunnerFailed, message, started.since, &clock)
        }
    };
    drop(runtime);
    let left = tree::end_all(None);
    if left > 0 {
        outcome.message = format!("{}; {left} processes are held by the kernel", outcome.message);
    }
    outcome.finished_at = clock.now();
    write_result(folder, &outcome)?;
    clean(folder, outcome.exit);
    Ok(outcome)
}

// Whoever starts us may hold the lock already and pass it on as our standard input, so that there is no moment in
// which the folder is prepared and nobody holds it.
fn lock(folder: &Folder) -> Result<File, RunnerError> {
    let refused = RunnerError::system("open the lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(LOCK_FILE))
        .map_err(refused)?;
    let inherited = io::stdin().as_fd().try_clone_to_owned().ok().map(File::from).filter(|inherited| {
        let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        matches!((inherited.metadata(), file.metadata()), (Ok(a), Ok(b)) if same(&a, &b))
    });
    let file = inherited.unwrap_or(file);
    // Somebody who looks at the lock holds it for a moment.
    for _ in 0..20 {
        if file.try_lock().is_ok() {
            return Ok(file);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(RunnerError::Locked { run: folder.path().display().to_string() })
}

async fn supervise(
    folder: &Folder,
    clock: &SharedClock,
    started: &Started,
    signals: Signals,
) -> Result<Outcome, RunnerError> {
    let since = started.since;
    let plan = folder.plan()?;
    let secrets: Secrets =
        if folder.has(SECRETS_FILE) { folder.read(SECRETS_FILE)? } else { Secrets::default() };
    folder.remove(SECRETS_FILE)?;
    folder.reserve()?;
    if let Err(missing) = agents::lookup(&plan.agent, &plan.search_path, plan.workspace.is_some()) {
        return Ok(ended(Exit::AgentProgramMissing, missing.to_string(), since, clock));
    }
    for name in [WORK_FOLDER, HOME_FOLDER, TEMPORARY_FOLDER] {
        folder.make(name)?;
    }
    let mut steps = Steps::begin(folder, &plan, started, signals)?;
    provide_token(folder, &secrets)?;
    let outward = Secrets { proxies: secrets.proxies.clone(), ..Secrets::default() };
    let preparing = Secrets { git: secrets.git.clone(), ssh: secrets.ssh.clone(), ..outward.clone() };
    let mut end = steps.step("prepare", &preparing).await?;
    drop(preparing);
    if end.is_good() && plan.skills.is_some() {
        let installing = Secrets { skill_tokens: secrets.skill_tokens.clone(), ..outward };
        end = steps.step("skills", &installing).await?;
        // The step itself may not remove the folder in which it worked.
        remove_tree(&folder.join(TEMPORARY_FOLDER).join(SKILLS_PLUGIN))
            .map_err(RunnerError::system("remove what the installer left"))?;
    }
    if end.is_good() {
        folder.remove(CLAIMS_FILE)?;
        end = steps.step("exec", &Secrets { git: None, skill_tokens: BTreeMap::new(), ..secrets }).await?;
    } else if end.cause.is_none() {
        let claims: Claims = folder.read(CLAIMS_FILE).unwrap_or_default();
        let message = if claims.message.is_empty() {
            format!("the workspace cannot be made: the step ended {} without saying why", how(end.status))
        } else {
            claims.message
        };
        let exit = claims.exit.unwrap_or(Exit::PrepareFailed);
        return Ok(Outcome { log_bytes: steps.log.total(), ..ended(exit, message, since, clock) });
    }
    let claims = folder.read::<Claims>(CLAIMS_FILE).ok();
    let mut outcome = judge(&end, claims, &plan, since, clock);
    outcome.log_bytes = steps.log.total();
    Ok(outcome)
}

// It lies where the agent may read and not write, because whoever started us replaces it while the run goes on.
fn provide_token(folder: &Folder, secrets: &Secrets) -> Result<(), RunnerError> {
    let Some(token) = secrets.environment.get(TOKEN_FILE) else { return Ok(()) };
    let path = folder.make(TOKEN_FOLDER)?.join(TOKEN_FILE);
    write_durably(&path, token.expose().as_bytes()).map_err(RunnerError::system("write the token"))
}

/// Runs the steps of a run, one after the other.
struct Steps<'a> {
    folder: &'a Folder,
    run: String,
    log: Log,
    deadline: Option<Instant>,
    grace: Duration,
    signals: Signals,
    // What all of it together may use.
    bounds: Bounds,
    // Once set, nothing more is started.
    cause: Option<Cause>,
    // Tells the step the same.
    ending: File,
    // Whom we asked to end.
    asked: BTreeSet<i32>,
}

/// The signals that a runner listens to.
struct Signals {
    cancelled: tokio::signal::unix::Signal,
    interrupted: tokio::signal::unix::Signal,
    hung_up: tokio::signal::unix::Signal,
    child_ended: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, RunnerError> {
        let listen = |kind| signal(kind).map_err(RunnerError::system("listen for signals"));
        Ok(Self {
            cancelled: listen(SignalKind::terminate())?,
            interrupted: listen(SignalKind::interrupt())?,
            hung_up: listen(SignalKind::hangup())?,
            child_ended: listen(SignalKind::child())?,
        })
    }
}

/// Why a step was ended from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    TimedOut,
    Cancelled,
    Exceeded(Excess),
}

/// How a step ended.
#[derive(Debug)]
struct StepEnd {
    // Absent when it was not started.
    status: Option<ExitStatus>,
    cause: Option<Cause>,
}

impl StepEnd {
    fn is_good(&self) -> bool {
        self.cause.is_none() && self.status.is_some_and(|status| status.success())
    }
}

impl<'a> Steps<'a> {
    fn begin(
        folder: &'a Folder,
        plan: &Plan,
        started: &Started,
        signals: Signals,
    ) -> Result<Self, RunnerError> {
        let limits = &plan.limits;
        let ending = create_private(&folder.join(ENDING_FILE))
            .map_err(RunnerError::system("make the file that tells the end"))?;
        let group = ControlGroup::make(&plan.run, limits);
        if let Some(group) = &group {
            // Whoever finds that we were killed removes it.
            let control_group = Some(group.folder().to_path_buf());
            folder.write(STARTED_FILE, &Started { control_group, ..started.clone() })?;
        }
        Ok(Self {
            folder,
            run: plan.run.clone(),
            log: Log::begin(folder.path().to_path_buf(), limits.log_bytes),
            // A deadline beyond what the clock can hold is none.
            deadline: limits
                .active_deadline_seconds
                .and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds))),
            grace: Duration::from_secs(limits.grace_seconds),
            signals,
            bounds: Bounds {
                limits: limits.clone(),
                folders: [WORK_FOLDER, HOME_FOLDER, TEMPORARY_FOLDER].map(|name| folder.join(name)).to_vec(),
                group,
            },
            cause: None,
            ending,
            asked: BTreeSet::new(),
        })
    }

    async fn step(&mut self, name: &str, secrets: &Secrets) -> Result<StepEnd, RunnerError> {
        if self.cause.is_some() {
            return Ok(StepEnd { status: None, cause: self.cause.clone() });
        }
        let refused = || RunnerError::system("start a step");
        let (output, writer) = io::pipe().map_err(refused())?;
        // One pipe for both outputs keeps their order. The program is named by the process that runs it, so that it is
        // the same one even when the file was replaced since.
        let mut command = process::command("/proc/self/exe");
        command
            .arg0("kelos")
            .args(["runner", name])
            .arg(self.folder.path())
            .env(RUN_VARIABLE, &self.run)
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().map_err(refused())?)
            .stderr(writer)
            // A group of its own, which is spared when what it started is asked to end.
            .process_group(0);
        let mut child = tokio::process::Command::from(command).spawn().map_err(refused())?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        if let (Some(group), Some(pid)) = (&self.bounds.group, child.id())
            && group.add(pid).is_err()
        {
            // It can be made and not be used, as where a process may not leave the group that it is in.
            group.remove();
            self.bounds.group = None;
        }
        let mut watch = Watch::begin(self.bounds.clone(), pid);
        let mut is_watched = true;
        let mut output = pipe::Receiver::from_owned_fd(output.into()).map_err(refused())?;
        let text = serde_json::to_vec(secrets).map_err(|fault| refused()(fault.into()))?;
        let input = child.stdin.take();
        let mut feeding = std::pin::pin!(async move {
            // A step that does not read its secrets fails for a reason of its own.
            if let Some(mut input) = input {
                input.write_all(&text).await.ok();
            }
        });
        let (mut is_fed, mut is_open, mut forced_at) = (false, true, None::<Instant>);
        let mut looks = tokio::time::interval(ASK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; 64 * 1024];
        let status = loop {
            let deadline = self.deadline.filter(|_| self.cause.is_none());
            tokio::select! {
                status = child.wait() => break status.map_err(refused())?,
                read = output.read(&mut buffer), if is_open => match read {
                    Ok(count @ 1..) => self.log.write(buffer.get(..count).unwrap_or_default()),
                    _ => is_open = false,
                },
                () = &mut feeding, if !is_fed => is_fed = true,
                exceeded = &mut watch.exceeded, if is_watched => {
                    is_watched = false;
                    if let Ok(excess) = exceeded {
                        forced_at = Some(self.ask_to_end(Cause::Exceeded(excess), pid));
                    }
                }
                () = wait_until(deadline), if deadline.is_some() => forced_at = Some(self.ask_to_end(Cause::TimedOut, pid)),
                _ = self.signals.cancelled.recv() => forced_at = Some(self.ask_to_end(Cause::Cancelled, pid)),
                _ = self.signals.interrupted.recv() => forced_at = Some(self.ask_to_end(Cause::Cancelled, pid)),
                _ = self.signals.hung_up.recv() => {}
                _ = self.signals.child_ended.recv() => tree::reap(pid),
                // Started in the moment in which the others were asked.
                _ = looks.tick(), if forced_at.is_some() => tree::ask_below_to_end(pid, &mut self.asked),
                () = wait_until(forced_at), if forced_at.is_some() => {
                    forced_at = None;
                    tree::end_all(pid);
                }
            }
        };
        drop(watch);
        if let Some(group) = &self.bounds.group {
            group.end_all();
        }
        end_leftovers().await;
        self.drain(&mut output, buffer).await;
        if self.cause.is_none() && !status.success() {
            // What the kernel refused, the agent may have died of before it was looked at.
            self.cause = self.bounds.afterwards().map(Cause::Exceeded);
        }
        Ok(StepEnd { status: Some(status), cause: self.cause.clone() })
    }

    // The step itself is spared: it sees its agent end, captures what there is and says how it went.
    fn ask_to_end(&mut self, cause: Cause, step: Option<i32>) -> Instant {
        if self.cause.is_some() {
            // Whoever asks twice does not want to wait.
            return Instant::now();
        }
        // What uses too much goes on doing so in its grace.
        let grace = if matches!(cause, Cause::Exceeded(_)) { Duration::ZERO } else { self.grace };
        self.cause = Some(cause);
        // Needs no room on the disk. Where it fails all the same, what the step starts is asked soon after.
        self.ending.set_len(1).ok();
        tree::ask_below_to_end(step, &mut self.asked);
        Instant::now() + grace
    }

    async fn drain(&mut self, output: &mut pipe::Receiver, mut buffer: Vec<u8>) {
        let rest = async {
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                self.log.write(buffer.get(..count).unwrap_or_default());
            }
        };
        // Only a process outside the run that was handed the pipe can hold it longer.
        drop(timeout(DRAIN_PATIENCE, rest).await);
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        if let Some(group) = &self.bounds.group {
            group.remove();
        }
    }
}

async fn wait_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn end_leftovers() {
    let any_alive = || tree::below(tree::own_pid()).into_iter().any(tree::Seen::is_alive);
    if any_alive() {
        tree::ask_below_to_end(None, &mut BTreeSet::new());
        let until = Instant::now() + LEFTOVER_PATIENCE;
        while any_alive() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    tree::end_all(None);
}

fn judge(
    end: &StepEnd,
    claims: Option<Claims>,
    plan: &Plan,
    since: Timestamp,
    clock: &SharedClock,
) -> Outcome {
    let status = end.status;
    // When the side is killed, what is left of it is ended by us: the failure that it still notes is not the agent's.
    let was_killed = end.cause.is_none() && status.is_some_and(|status| status.signal().is_some());
    let claims = claims.filter(|claims| match claims.exit {
        None => false,
        Some(Exit::Succeeded) => true,
        Some(_) => !was_killed,
    });
    let mut outcome = match (&end.cause, &claims) {
        (Some(Cause::TimedOut), _) => {
            let seconds = plan.limits.active_deadline_seconds.unwrap_or_default();
            ended(Exit::TimedOut, format!("it was ended after {seconds} seconds"), since, clock)
        }
        (Some(Cause::Cancelled), _) => {
            ended(Exit::Cancelled, "it was ended on request".to_owned(), since, clock)
        }
        (Some(Cause::Exceeded(excess)), _) => ended(excess.exit, excess.message.clone(), since, clock),
        (None, Some(claims)) => {
            let exit = claims.exit.unwrap_or(Exit::IncompleteOutput);
            ended(exit, claims.message.clone(), since, clock)
        }
        (None, None) => {
            let message = format!("the agent's side ended {} without saying how it went", how(status));
            Outcome {
                exit_code: status.and_then(|status| status.code()),
                signal: status.and_then(|status| status.signal()),
                ..ended(Exit::IncompleteOutput, message, since, clock)
            }
        }
    };
    if let Some(claims) = claims {
        outcome.exit_code = claims.exit_code;
        outcome.signal = claims.signal;
        outcome.outputs = claims.outputs;
        outcome.results = claims.results;
        outcome.usage = claims.usage;
        outcome.sandbox = claims.sandbox;
        outcome.agent_version = claims.agent_version;
        outcome.network = claims.network;
    }
    outcome
}

fn how(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("with exit code {code}"),
        Some((None, Some(signal))) => format!("by signal {signal}"),
        _ => "in an unknown way".to_owned(),
    }
}

fn ended(exit: Exit, message: String, since: Timestamp, clock: &SharedClock) -> Outcome {
    Outcome {
        version: FORMAT_VERSION,
        exit,
        exit_code: None,
        signal: None,
        started_at: since,
        finished_at: clock.now(),
        message,
        outputs: Vec::new(),
        results: std::collections::BTreeMap::new(),
        usage: None,
        sandbox: None,
        agent_version: None,
        network: None,
        log_bytes: 0,
    }
}

// A result that was paid for is not given up because the disk is full: first the kept room is used, then we wait, however
// long it takes, and the lock says that the run is not over.
fn write_result(folder: &Folder, outcome: &Outcome) -> Result<(), RunnerError> {
    let mut pause = Duration::ZERO;
    loop {
        match folder.write(RESULT_FILE, outcome) {
            Ok(()) => return Ok(()),
            // Nobody asks any more how a run ended whose folder is gone.
            Err(fault) if !folder.path().exists() => return Err(fault.into()),
            Err(_) => folder.release(),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).clamp(Duration::from_secs(1), LONGEST_PAUSE);
    }
}

// The home goes always, because it may hold secrets; what a failed run left of its work is kept to be looked at.
fn clean(folder: &Folder, exit: Exit) {
    folder.release();
    enclosure::clean(folder.path());
    let work = (exit == Exit::Succeeded).then_some(WORK_FOLDER);
    for name in [HOME_FOLDER, TEMPORARY_FOLDER, TOKEN_FOLDER].into_iter().chain(work) {
        // What cannot be removed now is removed with the folder of the run.
        remove_tree(&folder.join(name)).ok();
    }
}

fn with_sources(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(fault) = source {
        text = format!("{text}: {fault}");
        source = fault.source();
    }
    text
}
