//! A user of the program in a world of their own: home folder, git settings, data folder, and a running `kelos up`.
//!
//! Nothing of the machine's user gets in: the environment of every child is stated here. What a command prints is
//! compared as one text with [`Ran`]'s `Display`, in which everything that differs between two runs of a test is
//! replaced by a word in brackets.

#![expect(clippy::unwrap_in_result, reason = "it is part of tests")]

use std::fmt::{self, Display};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kelos::process::{self, tree};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::run_bench::{SEARCH_PATH, marked};
use crate::support::filter;
use crate::support::real_api_server::kubectl;

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);

/// A user with an own home folder, and the daemon that the user started.
pub(crate) struct TestEnv {
    folder: TempDir,
    root: PathBuf,
    daemon: Option<Child>,
    starts: usize,
    // Found before the programs of the machine.
    programs: Option<PathBuf>,
    variables: Vec<(String, String)>,
}

impl TestEnv {
    /// Returns a user for whom nothing runs yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("kelos-it").tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("home")).unwrap();
        Self { folder, root, daemon: None, starts: 0, programs: None, variables: Vec::new() }
    }

    /// Gives the user one more variable, for what is started from now on.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Returns a user whose `kelos up` is ready.
    pub(crate) fn up() -> Self {
        let mut env = Self::new();
        env.start(&[]);
        env
    }

    /// Returns a user whose `kelos up` follows the repository `config`, which has one commit with `files`.
    pub(crate) fn up_with(files: &[(&str, &str)]) -> Self {
        let mut env = Self::new();
        env.commit("config", files);
        let repository = env.path("config").display().to_string();
        env.start(&["--repo", &repository, "--interval", "1s"]);
        env
    }

    /// Returns a path in the user's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns the data folder of the daemon.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file, with the folders that it lies in.
    pub(crate) fn write(&self, name: &str, contents: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    /// Has programs looked up in the folder `name` before all others.
    pub(crate) fn look_first_in(&mut self, name: &str) {
        self.programs = Some(self.path(name));
    }

    /// Writes a script that can be run.
    pub(crate) fn write_program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, script);
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts `kelos up` with more arguments, and waits until it says that it is ready.
    pub(crate) fn start(&mut self, arguments: &[&str]) {
        if let Err(code) = self.try_start(arguments) {
            panic!("the daemon ended with {code:?} instead of being ready; it said:\n{}", self.daemon_log());
        }
    }

    /// Starts `kelos up` with more arguments, and waits until it says that it is ready; its exit status when it ends
    /// instead.
    pub(crate) fn try_start(&mut self, arguments: &[&str]) -> Result<(), Option<i32>> {
        self.try_start_as(self.command(), arguments)
    }

    /// Does the same with `command` in the place of the program, which has to become the program.
    pub(crate) fn try_start_as(&mut self, command: Command, arguments: &[&str]) -> Result<(), Option<i32>> {
        self.spawn(command, arguments);
        let begun = Instant::now();
        while !self.daemon_log().contains("kelos is ready") {
            let daemon = self.daemon.as_mut().expect("it was started");
            if let Some(status) = daemon.try_wait().unwrap() {
                self.daemon = None;
                return Err(status.code());
            }
            let is_late = begun.elapsed() > PATIENCE;
            assert!(!is_late, "the daemon is never ready; it says:\n{}", self.daemon_log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts `kelos up` and kills it so soon, whatever it does then.
    pub(crate) fn start_and_kill(&mut self, arguments: &[&str], after: Duration) {
        self.spawn(self.command(), arguments);
        std::thread::sleep(after);
        self.kill();
    }

    fn spawn(&mut self, mut command: Command, arguments: &[&str]) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        self.starts += 1;
        command.args(["up", "--data-dir"]).arg(self.data_dir()).args(arguments);
        command.stdout(Stdio::null()).stderr(File::create(self.log_path(self.starts)).unwrap());
        self.daemon = Some(command.spawn().unwrap());
    }

    /// Asks the daemon to end as Ctrl-C does, and returns its exit status.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.end(Signal::TERM)
    }

    /// Kills the daemon, which cannot prepare for it.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Waits for the end of the daemon, which somebody else asked for, and returns its exit status.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.daemon.take().expect("the daemon was started").wait().unwrap().code()
    }

    fn end(&mut self, signal: Signal) -> Option<i32> {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        let seen = tree::look_at(i32::try_from(daemon.id()).unwrap()).expect("the daemon is there");
        assert!(tree::signal(seen, signal), "the daemon is ours");
        daemon.wait().unwrap().code()
    }

    /// Returns what the daemon wrote to standard error since its last start.
    pub(crate) fn daemon_log(&self) -> String {
        std::fs::read_to_string(self.log_path(self.starts)).unwrap_or_default()
    }

    /// Returns what the daemon wrote to standard error, start by start.
    pub(crate) fn daemon_logs(&self) -> Vec<String> {
        (1..=self.starts)
            .map(|start| std::fs::read_to_string(self.log_path(start)).unwrap_or_default())
            .collect()
    }

    fn log_path(&self, start: usize) -> PathBuf {
        self.path(&format!("daemon-{start}.log"))
    }

    /// Runs `kelos` with the arguments in the user's folder.
    pub(crate) fn kelos(&self, arguments: &[&str]) -> Ran {
        self.ran(self.command().args(arguments))
    }

    /// Runs `kelos` with `input` on its standard input.
    pub(crate) fn kelos_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        self.write("standard-input", input);
        let input = File::open(self.path("standard-input")).unwrap();
        self.ran(self.command().args(arguments).stdin(input))
    }

    /// Returns the command `kelos` in the user's environment and folder, for what the other functions cannot do.
    pub(crate) fn command(&self) -> Command {
        self.in_environment(process::command(env!("CARGO_BIN_EXE_kelos")))
    }

    /// Runs the real kubectl against the daemon; `None`, with a note, when there is no kubectl on this machine.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Option<Ran> {
        let mut command = self.in_environment(process::command(kubectl()?));
        command.env("KUBECONFIG", self.data_dir().join("kubeconfig")).args(arguments);
        Some(self.ran(&mut command))
    }

    /// Returns another program's command in the user's environment and folder; programs of `first` are found before
    /// all others.
    pub(crate) fn program(&self, program: &Path, first: Option<&Path>) -> Command {
        let mut command = self.in_environment(process::command(program));
        if let Some(first) = first {
            command.env("PATH", format!("{}:{SEARCH_PATH}", first.display()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs git in `folder`, which must succeed, and returns what it prints.
    pub(crate) fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let mut command = self.in_environment(process::command("git"));
        let output = command.current_dir(self.path(folder)).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes files into the repository `name` and commits them on the branch `main`; an empty text removes a file.
    ///
    /// The repository is made on first use. Returns the id of the commit.
    pub(crate) fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        if !self.path(name).join(".git").exists() {
            std::fs::create_dir_all(self.path(name)).unwrap();
            self.git(name, &["init", "--quiet"]);
        }
        for (path, contents) in files {
            if contents.is_empty() {
                std::fs::remove_file(self.path(name).join(path)).unwrap();
            } else {
                self.write(&format!("{name}/{path}"), contents);
            }
        }
        self.git(name, &["add", "--all"]);
        self.git(name, &["commit", "--quiet", "--allow-empty", "-m", "a change"]);
        self.git(name, &["rev-parse", "HEAD"])
    }

    /// Returns one object as the server has it; `None` when it is not there.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let ran = self.kelos(&["get", kind, name, "-o", "json"]);
        (ran.code == Some(0)).then(|| serde_json::from_str(&ran.stdout).unwrap())
    }

    /// Waits until the Task has ended, and returns it.
    pub(crate) fn task_ended(&self, name: &str) -> Value {
        self.until(&format!("the Task {name} has ended"), |env| {
            let task = env.object("task", name)?;
            let phase = task.pointer("/status/phase").and_then(Value::as_str);
            matches!(phase, Some("Succeeded" | "Failed")).then_some(task)
        })
    }

    /// Waits until the ConfigRepository `default` has applied `commit`.
    pub(crate) fn applied(&self, commit: &str) -> Value {
        self.until(&format!("{commit} is applied"), |env| {
            let repository = env.object("configrepository", "default")?;
            (repository.pointer("/status/lastAppliedRevision")? == commit).then_some(repository)
        })
    }

    /// Asks again and again until there is an answer, which has to come within a minute.
    pub(crate) fn until<T>(&self, what: &str, ask: impl Fn(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "never: {what}; the daemon says:\n{}", self.daemon_log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the most memory that the running daemon ever had, in bytes.
    pub(crate) fn daemon_peak_memory(&self) -> u64 {
        let daemon = self.daemon.as_ref().expect("the daemon runs").id();
        let status = std::fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Gives a child the user's environment and folder.
    pub(crate) fn in_environment(&self, mut command: Command) -> Command {
        command
            .current_dir(&self.root)
            .env("PATH", self.search_path())
            .env("HOME", self.path("home"))
            .env("LC_ALL", "C")
            .env("COLUMNS", "100")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "init.defaultBranch")
            .env("GIT_CONFIG_VALUE_0", "main");
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "Tester")
                .env(format!("GIT_{who}_EMAIL"), "tester@example.com")
                .env(format!("GIT_{who}_DATE"), "2026-03-01T09:00:00Z");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn search_path(&self) -> String {
        let first = self.programs.iter().map(|folder| format!("{}:", folder.display()));
        first.chain([SEARCH_PATH.to_owned()]).collect()
    }

    /// Runs a command to its end.
    pub(crate) fn ran(&self, command: &mut Command) -> Ran {
        let child = command.spawn().unwrap();
        Ran::of(finish(child), &self.root)
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.kill();
        }
        // Runs outlive the daemon by design; asked to end, a runner ends everything below it first.
        let begun = Instant::now();
        loop {
            let left = marked(&self.data_dir().display().to_string());
            if left.is_empty() || begun.elapsed() > Duration::from_secs(20) {
                break;
            }
            for seen in left.into_iter().filter_map(tree::look_at) {
                tree::signal(seen, Signal::TERM);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if std::thread::panicking() {
            eprintln!(
                "the daemon of the failed test in {} said:\n{}",
                self.folder.path().display(),
                self.daemon_log()
            );
        }
    }
}

/// Waits for a child, no longer than any test has patience.
fn finish(child: Child) -> Output {
    let pid = i32::try_from(child.id()).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(sender.send(child.wait_with_output())));
    if let Ok(output) = receiver.recv_timeout(PATIENCE) {
        return output.unwrap();
    }
    if let Some(seen) = tree::look_at(pid) {
        tree::signal(seen, Signal::KILL);
    }
    let output = receiver.recv().unwrap().unwrap();
    panic!("the command does not end; it said:\n{}", Ran::of(output, Path::new("/nonexistent")));
}

/// What a command did.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// What it wrote to standard output, as it is.
    pub(crate) stdout: String,
    /// What it wrote to standard error, as it is.
    pub(crate) stderr: String,
    /// Its exit status; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    root: PathBuf,
}

impl Ran {
    fn of(output: Output, root: &Path) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
            root: root.to_owned(),
        }
    }

    /// Returns what it did, which must have succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }
}

impl Display for Ran {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("signal".to_owned(), |code| code.to_string());
        writeln!(formatter, "exit: {code}")?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                writeln!(formatter, "--- {name}")?;
                formatter.write_str(&filter::stable(text, &self.root))?;
                if !text.ends_with('\n') {
                    formatter.write_str("[no newline]\n")?;
                }
            }
        }
        Ok(())
    }
}
