//! What happens: commits, kills, a full disk, a remote that refuses, and rest at the end.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, ToSpan as _, Unit};
use kelos::clock::{self, SharedClock};
use kelos::process::tree;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::chaos_converges::definitions::{SPAWNERS, spawner, spawner_name, task, workspace};
use crate::report_reaches_the_remote::keep_history;
use crate::run_bench::marked;
use crate::support::env::TestEnv;
use crate::support::small_disk::SmallDisk;

/// How long everything may take to come to rest.
const PATIENCE: Duration = Duration::from_mins(3);
/// The disk of the daemon: room for all that is done, and little more than the least with which a run begins.
const DISK: &str = "128m";
const FLOOR: &str = "16Mi";
/// In one round of so many the disk is full.
const FULL_EVERY: usize = 8;
/// A minute that begins within this time is waited for: then ticks become Tasks.
const NEAR: SignedDuration = SignedDuration::from_millis(1_500);
/// How much of each log is shown after a failure, from its end, in bytes.
const SHOWN: usize = 32 * 1024;

/// What becomes of pushes of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reports {
    Taken,
    Refused,
    // They are taken, and whoever pushes is likely to be killed before he knows.
    NotAnswered,
}

/// A time in which the disk was full.
pub(super) struct Full {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// What happens to one daemon. When the test fails, it says all that is known.
pub(super) struct Story {
    // Gone before the user's folder, in which it lies.
    disk: Option<SmallDisk>,
    pub(super) env: TestEnv,
    pub(super) seed: u64,
    pub(super) daemons_killed: usize,
    pub(super) runners_killed: usize,
    pub(super) was_full: Vec<Full>,
    random: fastrand::Rng,
    clock: SharedClock,
    timeline: Vec<String>,
    full_since: Option<Timestamp>,
    first_tick: Timestamp,
}

impl Story {
    /// Starts a daemon on a repository with spawners.
    pub(super) fn begin(seed: u64) -> Self {
        println!("the moments follow from the seed {seed}");
        let env = TestEnv::new();
        env.commit("counts", &[("readme.md", "counted here\n")]);
        env.git("", &["clone", "--quiet", "--bare", "counts", "counts.git"]);
        let mut files = vec![("workspace.yaml".to_owned(), workspace(&env.path("counts.git")))];
        files.extend((0..SPAWNERS).map(|number| (format!("spawner-{number}.yaml"), spawner(number))));
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let commit = env.commit("config", &files);
        keep_history(&env);
        let clock = clock::system();
        let mut story = Self {
            disk: SmallDisk::at(&env.data_dir(), DISK),
            env,
            seed,
            daemons_killed: 0,
            runners_killed: 0,
            was_full: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
            timeline: Vec::new(),
            full_since: None,
            first_tick: clock.now(),
            clock,
        };
        story.start();
        story.env.applied(&commit);
        story.first_tick = next_minute(story.clock.now());
        story
    }

    fn note(&mut self, what: impl Display) {
        self.timeline.push(format!("{:.3} {what}", self.clock.now()));
    }

    /// Returns whether the spawners have fired by themselves since they are there.
    pub(super) fn has_seen_a_full_minute(&self) -> bool {
        self.clock.now() > self.first_tick
    }

    /// Commits a Task, and kills the daemon at some moment while its run, and others, go on.
    pub(super) fn round(&mut self, round: usize) {
        let seconds = format!("0.{}", self.random.usize(0..8));
        // Every third works on a branch that it shares, every fourth depends on the one before, which may be gone.
        let mut more = String::new();
        if round.is_multiple_of(3) {
            more.push_str(&format!("  branch: shared-{}\n", round % 2));
        }
        if round % 4 == 3 {
            more.push_str(&format!("  dependsOn: [t{}]\n", round - 1));
        }
        let task = task(&format!("t{round}"), &more, &seconds);
        let note = format!("round {round}\n");
        self.env.commit("config", &[(&format!("t{round}.yaml"), &task), ("note.md", &note)]);
        let reports = match round % 6 {
            0..3 => Reports::Refused,
            3 => Reports::NotAnswered,
            _ => Reports::Taken,
        };
        self.treat_reports(reports);
        self.note(format_args!("round {round}: a commit; reports: {reports:?}"));
        let is_full = round % FULL_EVERY == FULL_EVERY - 1;
        if is_full {
            self.fill_the_disk();
        }
        let pause = Duration::from_millis(self.random.u64(0..1_200));
        let sleeps_over_the_minute = self.wait_for_a_moment(pause);
        if self.random.usize(0..3) == 0 {
            self.kill_a_runner();
        }
        self.env.kill();
        self.daemons_killed += 1;
        self.note("the daemon is killed");
        // Sometimes a runner dies while nobody looks.
        if self.random.usize(0..4) == 0 {
            self.kill_a_runner();
        }
        if sleeps_over_the_minute {
            let left = next_minute(self.clock.now()).duration_since(self.clock.now());
            std::thread::sleep(Duration::try_from(left.min(NEAR)).unwrap());
        }
        if is_full && self.random.bool() {
            self.clear_the_disk();
        }
        if self.random.usize(0..4) == 0 {
            let after = Duration::from_millis(self.random.u64(0..200));
            self.env.start_and_kill(&self.arguments().each_ref().map(String::as_str), after);
            self.daemons_killed += 1;
            self.note(format_args!("a daemon is killed {after:?} after its start"));
        }
        self.start();
        if is_full {
            std::thread::sleep(Duration::from_millis(self.random.u64(0..2_000)));
            self.clear_the_disk();
        }
    }

    // Kills are where they hurt: in the moments after a full minute, in which ticks become Tasks, or before it, so that
    // nobody is there when it passes. Returns whether it is to be the latter.
    fn wait_for_a_moment(&mut self, pause: Duration) -> bool {
        let left = next_minute(self.clock.now()).duration_since(self.clock.now());
        if left > NEAR {
            std::thread::sleep(pause);
            return false;
        }
        if self.random.bool() {
            return true;
        }
        std::thread::sleep(
            Duration::try_from(left).unwrap() + Duration::from_millis(self.random.u64(0..400)),
        );
        false
    }

    fn arguments(&self) -> [String; 8] {
        let repository = self.env.path("config").display().to_string();
        ["--repo", &repository, "--interval", "1s", "--disk-floor", FLOOR, "--slots", "4"].map(str::to_owned)
    }

    fn start(&mut self) {
        let arguments = self.arguments();
        let arguments = arguments.each_ref().map(String::as_str);
        if let Err(code) = self.env.try_start(&arguments) {
            // Without room it may refuse to begin, and says why.
            let said = self.env.daemon_log();
            self.note(format_args!("the daemon ends with {code:?} instead of being ready"));
            assert!(self.full_since.is_some() && says_full(&said), "seed {}: {code:?}: {said}", self.seed);
            self.clear_the_disk();
            self.env.start(&arguments);
        }
        self.note("the daemon is ready");
    }

    fn fill_the_disk(&mut self) {
        let Some(disk) = &self.disk else { return };
        self.full_since = Some(self.clock.now());
        disk.fill();
        self.note("the disk is full");
    }

    fn clear_the_disk(&mut self) {
        let (Some(disk), Some(from)) = (&self.disk, self.full_since.take()) else { return };
        disk.clear();
        self.was_full.push(Full { from, until: self.clock.now() });
        self.note("the disk has room again");
    }

    fn treat_reports(&self, how: Reports) {
        let refuses = (how == Reports::Refused).then_some("#!/bin/sh\necho 'not now' >&2\nexit 1\n");
        let is_silent = (how == Reports::NotAnswered).then_some("#!/bin/sh\nsleep 2\n");
        for (hook, script) in [("pre-receive", refuses), ("post-receive", is_silent)] {
            let hook = format!("config/.git/hooks/{hook}");
            match script {
                Some(script) => self.env.write_program(&hook, script),
                None => drop(std::fs::remove_file(self.env.path(&hook))),
            }
        }
    }

    /// Kills the runner of one run that goes on, if there is one.
    fn kill_a_runner(&mut self) {
        let runs = self.env.data_dir().join("runs");
        let mut runners = marked(&format!("run\0{}", runs.display()));
        // What a runner is about to start is called as the runner is until its program begins.
        let children: Vec<i32> =
            runners.iter().flat_map(|runner| tree::below(*runner)).map(|seen| seen.pid).collect();
        runners.retain(|runner| !children.contains(runner));
        let Some(seen) = self.random.choice(runners).and_then(tree::look_at) else { return };
        let command = std::fs::read(format!("/proc/{}/cmdline", seen.pid)).unwrap_or_default();
        if tree::signal(seen, Signal::KILL) {
            self.runners_killed += 1;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            self.note(format_args!("killed: {command}"));
        }
    }

    /// Waits until every Task of every round ran and is gone, and every run is told.
    pub(super) fn come_to_rest(&mut self, rounds: usize) {
        self.clear_the_disk();
        self.treat_reports(Reports::Taken);
        self.note("everything is as it should be from now on");
        self.env.judged(&self.env.git("config", &["rev-parse", "HEAD"]));
        self.env.until("every spawner has fired", |env| {
            let spawners = env.list("taskspawners");
            spawners.iter().all(|spawner| spawner["status"]["lastScheduleTime"].is_string()).then_some(())
        });
        for number in 0..SPAWNERS {
            self.env.patch("taskspawners", &spawner_name(number), &json!({"spec": {"suspend": true}}));
        }
        self.note("the spawners are suspended");
        let all: BTreeSet<String> = (0..rounds).map(|round| format!("t{round}")).collect();
        let begun = Instant::now();
        loop {
            let tasks = self.env.list("tasks");
            let records = self.env.list("runrecords");
            let ran: BTreeSet<String> = records.iter().map(|record| text(record, "/spec/taskName")).collect();
            let is_told = |record: &Value| record["status"]["reportedCommit"].is_string();
            let (are_gone, have_run) = (tasks.is_empty(), ran.is_superset(&all));
            if are_gone && have_run && records.iter().all(is_told) {
                break;
            }
            if begun.elapsed() > PATIENCE {
                let lost: Vec<&String> = all.difference(&ran).collect();
                let left: Vec<_> = tasks.iter().map(|task| (&task["metadata"], &task["status"])).collect();
                let untold: Vec<_> = records.iter().filter(|record| !is_told(record)).collect();
                panic!("never run are {lost:?}, never gone are {left:#?}, never told are {untold:#?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.note("every Task has run and is gone, and every run is told");
    }

    /// Ends the daemon in good order.
    pub(super) fn end(mut self) {
        assert_eq!(self.env.stop(), Some(0));
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!(
            "the seed is {} (KELOS_CHAOS_SEED); what happened:\n{}",
            self.seed,
            self.timeline.join("\n")
        );
        for (start, log) in self.env.daemon_logs().iter().enumerate() {
            eprintln!("--- what the daemon said after start {}\n{}", start + 1, end_of(log));
        }
        for run in std::fs::read_dir(self.env.data_dir().join("runs")).into_iter().flatten().flatten() {
            eprintln!("--- what is left of the run {}", run.path().display());
            for file in std::fs::read_dir(run.path()).into_iter().flatten().flatten() {
                let contents = std::fs::read(file.path()).unwrap_or_default();
                let contents = String::from_utf8_lossy(&contents);
                eprintln!("{}: {}", file.file_name().display(), end_of(&contents));
            }
        }
    }
}

fn end_of(text: &str) -> &str {
    text.get(text.ceil_char_boundary(text.len().saturating_sub(SHOWN))..).unwrap_or_default()
}

/// Returns whether a text says that the disk is full.
pub(super) fn says_full(text: &str) -> bool {
    ["No space left on device", "no space left", "database or disk is full"]
        .iter()
        .any(|word| text.contains(word))
}

/// Returns the text at a place of an object.
pub(super) fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer}: {object:#}"))
        .to_owned()
}

fn next_minute(now: Timestamp) -> Timestamp {
    let rounded = jiff::TimestampRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Trunc);
    now.round(rounded).unwrap() + 1.minute()
}

/// Returns whether nothing lies in the folder.
pub(super) fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}
