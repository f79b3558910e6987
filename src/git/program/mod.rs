//! The git program: what the library cannot do (push), and what agents expect to be done as they would do it
//! (clone).
//!
//! The program gets a stated environment: no prompt, no hook, no settings of the user or the system, English
//! messages, only the protocols that we use. A credential travels in the environment and is answered to its own
//! host alone, wherever a server redirects; it never stands in an argument, a URL or a file. Every call has a time
//! limit and ends with all that it started.

mod clone;
mod mirror;
mod push;
#[cfg(test)]
mod tests;
mod working_copy;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::git::error::GitError;
use crate::git::private_file::PrivateFile;
use crate::git::remote::Remote;
use crate::git::repository::Repository;
use crate::git::ssh;
use crate::git::tree::printable;
use crate::process::{self, FinishError, Finished};

pub use crate::git::program::clone::{Checkout, CloneRequest, Head, NamedRemote};
pub use crate::git::program::mirror::{Mirror, remove_unused as remove_unused_mirrors};
pub use crate::git::program::push::PushError;
pub use crate::git::program::working_copy::WorkingCopy;

/// The oldest git whose settings we can pin by environment variables.
pub const MINIMUM_VERSION: (u32, u32) = (2, 32);

const MINIMUM_TEXT: &str = "2.32";

/// How much of the output of a call is kept.
const OUTPUT_LIMIT: usize = 1 << 20;

/// Settings of every call, which win over those of the repository.
const SETTINGS: [(&str, &str); 18] = [
    // An agent or a config repository may have written hooks and settings that run programs.
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("credential.helper", ""),
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("protocol.git.allow", "always"),
    // The folders are ours: who owns the files on a mounted volume says nothing.
    ("safe.directory", "*"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("advice.detachedHead", "false"),
    ("init.defaultBranch", "main"),
    // A server that sends less than 1000 bytes a second for a minute is given up.
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
];

/// The variables in which a credential travels to [`HELPER`].
const USER: &str = "KELOS_GIT_USER";
const PASSWORD: &str = "KELOS_GIT_PASSWORD";

/// Answers git when it asks for a credential. Git asks by the host that it talks to, after redirects too, and finds this
/// helper for the one host only that the credential is for.
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$KELOS_GIT_USER\" \"$KELOS_GIT_PASSWORD\"; }; f";

/// The git executable and what it may see of our environment.
#[derive(Debug, Clone)]
pub struct Git {
    executable: PathBuf,
    search_path: OsString,
    inherited: Vec<(OsString, OsString)>,
    version: (u32, u32),
}

/// How long a call may take and who may stop it.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// After this time the program and its children are killed.
    pub time: Duration,
    /// When this is set, the same happens.
    pub interrupt: &'a AtomicBool,
}

impl Git {
    /// Finds git in `search_path`, a list in the form of the `PATH` variable, and checks its version.
    pub fn locate(search_path: &OsStr) -> Result<Self, GitError> {
        let executable = process::find("git", search_path).ok_or_else(|| GitError::NoProgram {
            minimum: MINIMUM_TEXT,
            detail: "no `git` in the search path".to_owned(),
        })?;
        let mut git =
            Self { executable, search_path: search_path.to_owned(), inherited: Vec::new(), version: (0, 0) };
        let limits = Limits { time: Duration::from_secs(10), interrupt: &AtomicBool::new(false) };
        let output = git.run(&Call::new("version", limits), ["version"])?;
        git.version = parse_version(&output).ok_or_else(|| GitError::NoProgram {
            minimum: MINIMUM_TEXT,
            detail: format!("`git version` answers {}", printable(output.trim().as_bytes())),
        })?;
        if git.version < MINIMUM_VERSION {
            return Err(GitError::NoProgram {
                minimum: MINIMUM_TEXT,
                detail: format!("{} is {}.{}", git.executable.display(), git.version.0, git.version.1),
            });
        }
        Ok(git)
    }

    /// Hands variables on to the program: `HOME` and `SSH_AUTH_SOCK` for the keys of the user, proxies,
    /// certificates.
    #[must_use]
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.inherited.extend(variables);
        self
    }

    /// Returns the first two numbers of the version.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Returns the path of the executable.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// Joins the packs of `repository` and drops what nothing refers to. Call it while nobody builds a commit
    /// in it.
    pub fn collect_garbage(&self, repository: &Repository, limits: Limits<'_>) -> Result<(), GitError> {
        let call = Call { git_dir: Some(repository.path()), ..Call::new("gc", limits) };
        self.run(&call, ["gc", "--quiet", "--prune=now"]).map(drop)
    }

    /// Runs git and returns its standard output, or the failure by its class.
    fn run<S: AsRef<OsStr>>(
        &self,
        call: &Call<'_>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String, GitError> {
        let finished = self.call(call, arguments)?;
        if finished.status.success() {
            return Ok(String::from_utf8_lossy(&finished.stdout).into_owned());
        }
        Err(call.explain(&finished))
    }

    /// Runs git and returns how it ended.
    fn call<S: AsRef<OsStr>>(
        &self,
        call: &Call<'_>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Finished, GitError> {
        // Invariant: who was stopped before, because a lease was lost or the program ends, starts nothing.
        if call.limits.interrupt.load(Ordering::Relaxed) {
            return Err(GitError::Interrupted { remote: call.place() });
        }
        // Invariant: the key files of the ssh command live until the program has ended.
        let ssh = match (call.remote, call.key_folder()) {
            (Some(remote), Some(folder)) => ssh::command(remote, folder)?,
            (Some(_) | None, _) => None,
        };
        let authority = match (call.remote.and_then(Remote::authority), call.key_folder()) {
            (Some(certificates), Some(folder)) => {
                Some(PrivateFile::create(folder, "authority", certificates)?)
            }
            (Some(_) | None, _) => None,
        };
        let mut command = process::command(&self.executable);
        if let Some(lock) = call.lock {
            // Git holds the lock as we do: when we are killed, nobody else takes it before git has ended.
            let lock = lock.try_clone().map_err(|error| GitError::storage(&self.executable, &error))?;
            command.stdin(Stdio::from(lock));
        }
        self.state_environment(&mut command, call, authority.as_ref().map(PrivateFile::path));
        if let Some(ssh) = &ssh {
            command.env("GIT_SSH_COMMAND", ssh.text()).env("GIT_SSH_VARIANT", "ssh");
        }
        if let Some(git_dir) = call.git_dir {
            command.arg("--git-dir").arg(git_dir);
        }
        if let Some(folder) = call.folder {
            command.current_dir(folder);
        }
        command.args(arguments);
        process::finish(&mut command, call.limits.time, OUTPUT_LIMIT, call.limits.interrupt).map_err(
            |error| {
                let place = call.place();
                match error {
                    FinishError::TimedOut(time) => {
                        GitError::Timeout { remote: place, seconds: time.as_secs() }
                    }
                    FinishError::Interrupted => GitError::Interrupted { remote: place },
                    FinishError::Start(error) => GitError::storage(&self.executable, &error),
                }
            },
        )
    }

    fn state_environment(&self, command: &mut Command, call: &Call<'_>, authority: Option<&Path>) {
        command
            .envs(self.inherited.iter().map(|(name, value)| (name, value)))
            .env("PATH", &self.search_path)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_OPTIONAL_LOCKS", "0");
        let mut settings: Vec<(String, OsString)> =
            SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        if let Some(remote) = call.remote
            && let Some(origin) = remote.url().place().origin()
        {
            if let Some((user, password)) = remote.user_and_password() {
                command.env(USER, user).env(PASSWORD, password.expose());
                let host = origin.trim_end_matches('/');
                settings.push((format!("credential.{host}.helper"), HELPER.into()));
            }
            settings.extend(
                authority.map(|path| (format!("http.{origin}.sslCAInfo"), path.as_os_str().to_owned())),
            );
        }
        for (count, (name, value)) in settings.iter().enumerate() {
            command
                .env(format!("GIT_CONFIG_KEY_{count}"), name)
                .env(format!("GIT_CONFIG_VALUE_{count}"), value);
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    }
}

/// One call of the program.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    /// What is done, for messages.
    operation: &'static str,
    /// The repository, when it is not the one of `folder`.
    git_dir: Option<&'a Path>,
    /// The working folder.
    folder: Option<&'a Path>,
    /// Whom the program talks to, and with whose credential.
    remote: Option<&'a Remote>,
    /// A lock that nobody else may take before the program has ended.
    lock: Option<&'a File>,
    limits: Limits<'a>,
}

impl<'a> Call<'a> {
    fn new(operation: &'static str, limits: Limits<'a>) -> Self {
        Self { operation, git_dir: None, folder: None, remote: None, lock: None, limits }
    }

    fn key_folder(&self) -> Option<&'a Path> {
        self.git_dir.or(self.folder)
    }

    fn place(&self) -> String {
        self.remote.map_or_else(|| format!("git {}", self.operation), |remote| remote.url().to_string())
    }

    /// Turns a failure into its class, by the English messages of git and ssh.
    fn explain(&self, finished: &Finished) -> GitError {
        let detail = self.detail(&finished.stderr);
        let lower = detail.to_ascii_lowercase();
        let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
        if says(&["no space left on device", "disk quota exceeded", "file too large"]) {
            let path = self.git_dir.or(self.folder).unwrap_or(Path::new("/")).to_path_buf();
            return GitError::Storage { path, detail };
        }
        let Some(remote) = self.remote.map(|remote| remote.url().to_string()) else {
            return GitError::Program { operation: self.operation, detail };
        };
        if says(&["host key verification failed", "certificate"]) {
            return GitError::Untrusted { remote, detail };
        }
        if says(&[
            "authentication failed",
            "could not read username",
            "could not read password",
            "permission denied",
            "returned error: 401",
            "returned error: 403",
            "terminal prompts disabled",
        ]) {
            return GitError::Unauthenticated { remote, detail };
        }
        if says(&[
            "does not appear to be a git repository",
            "repository not found",
            "returned error: 404",
            "does not exist",
            "' not found",
        ]) {
            return GitError::NotFound { remote };
        }
        if says(&[
            "protocol error",
            "bad line length",
            "expected flush",
            "unexpected flush",
            "invalid index-pack output",
            "bad pack header",
            "expected service",
            "info/refs not valid",
            "invalid server response",
        ]) {
            return GitError::Unsupported { remote, detail };
        }
        if says(&["timed out", "too slow"]) {
            return GitError::Timeout { remote, seconds: self.limits.time.as_secs() };
        }
        if says(&[
            "could not resolve",
            "connection refused",
            "connection reset",
            "connection closed",
            "failed to connect",
            "couldn't connect",
            "unable to access",
            "the remote end hung up",
            "early eof",
            "network is unreachable",
            "returned error: 5",
            "returned error: 429",
        ]) {
            return GitError::Unreachable { remote, detail };
        }
        GitError::Program { operation: self.operation, detail }
    }

    /// Returns the last lines of an output, fit to be shown: bounded, printable, without credentials.
    fn detail(&self, output: &[u8]) -> String {
        let text = String::from_utf8_lossy(output);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(6)..).unwrap_or_default().join("; ");
        let blotted = self.remote.map_or_else(|| last.clone(), |remote| remote.blot(&last));
        printable(blotted.as_bytes()).chars().take(600).collect()
    }
}

fn parse_version(output: &str) -> Option<(u32, u32)> {
    let mut numbers = output.trim().strip_prefix("git version ")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}
