//! The plan and the outcome of one run: the file format between two versions of our binary.
//!
//! A run lives in a folder of its own. Whoever starts it writes [`Plan`] and [`Secrets`] there, the runner writes
//! everything else, and whoever looks at it later may be another version of this program: every file carries
//! [`FORMAT_VERSION`], unknown fields are ignored, and a field added later has a default.
//!
//! ```text
//! runs/<task uid>/
//!   plan.json       what to do; written before the folder gets its name, never changed
//!   secrets.json    what the run may know; mode 0600, removed by the runner before anything is started
//!   lock            locked from before the runner exists until it has ended
//!   started.json    the runner began: from here on the run may have cost something
//!   ending          made longer when the end is asked for: from there on nothing more is started
//!   log, log.N      what setup and agent printed: the head, then pieces named by the offset of their first byte
//!   claims.json     what the agent's side says about itself
//!   result.json     the outcome: written, synced, renamed
//!   token/          the token of the workspace, which is renewed while the run goes on; the agent may read it
//!   work/ home/ tmp/ the only folders that the agent may write
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::secret::Secret;

/// Seconds that a run has to end in after it was asked to, unless stated; then it is ended by force.
pub const GRACE_SECONDS: u64 = 10;
/// The variable by which what a killed runner left going is found: the identity of its run. Every child of a run has it.
pub const RUN_VARIABLE: &str = "KELOS_RUN";
/// The version of the files of a run; a runner refuses a plan with a greater one.
pub const FORMAT_VERSION: u32 = 1;
/// The file with the [`Plan`].
pub const PLAN_FILE: &str = "plan.json";
/// The file with the [`Secrets`], until the runner has read it.
pub const SECRETS_FILE: &str = "secrets.json";
/// The file whose lock says that the runner lives.
pub const LOCK_FILE: &str = "lock";
/// The file with [`Started`].
pub const STARTED_FILE: &str = "started.json";
/// The file that is empty until the end of the run is asked for; steps hold it open and look at its length.
pub const ENDING_FILE: &str = "ending";
/// The file with [`Claims`].
pub const CLAIMS_FILE: &str = "claims.json";
/// The file with the [`Outcome`].
pub const RESULT_FILE: &str = "result.json";
/// The first piece of the log; the pieces after it are named by [`log_piece`].
pub const LOG_FILE: &str = "log";
/// The folder in which the agent works; a checkout is its folder [`CHECKOUT_FOLDER`].
pub const WORK_FOLDER: &str = "work";
/// The checkout of the workspace, inside [`WORK_FOLDER`].
pub const CHECKOUT_FOLDER: &str = "repo";
/// The agent's own home folder.
pub const HOME_FOLDER: &str = "home";
/// The folder with [`TOKEN_FILE`].
pub const TOKEN_FOLDER: &str = "token";
/// The file, in [`TOKEN_FOLDER`], with the token for the forge of the workspace.
pub const TOKEN_FILE: &str = "GITHUB_TOKEN";
/// The plugin, and its folder, that the packages of [`Plan::skills`] become.
pub const SKILLS_PLUGIN: &str = "skills-sh";
/// The agent's own folder for temporary files.
pub const TEMPORARY_FOLDER: &str = "tmp";

/// Returns the name of the piece of the log that begins at byte `offset` of everything that was printed.
///
/// The names sort in the order of their offsets.
pub fn log_piece(offset: u64) -> String {
    if offset == 0 { LOG_FILE.to_owned() } else { format!("{LOG_FILE}.{offset:020}") }
}

/// Returns the offset at which the piece of the log called `file_name` begins, if it is one.
pub fn log_offset(file_name: &str) -> Option<u64> {
    let rest = file_name.strip_prefix(LOG_FILE)?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('.')?.parse().ok() }
}

/// Everything a runner needs to know, apart from what is secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The version of the format, [`FORMAT_VERSION`].
    pub version: u32,
    /// The identity of the run: the uid of its Task.
    pub run: String,
    /// The namespace of the Task.
    pub namespace: String,
    /// The name of the Task.
    pub task: String,
    /// The TaskSpawner that made the Task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawner: Option<String>,
    /// Which agent works, and how it is asked.
    pub agent: Agent,
    /// The folders in which programs are looked up, in the form of the `PATH` variable; also the agent's `PATH`.
    pub search_path: String,
    /// Variables for setup and agent that are not secret. One of ours with the same name wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The repository to work in; without one the agent begins in an empty folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Workspace>,
    /// The branch to work on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The repository, as `owner/name`, to which pull requests go when it is not the workspace's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_repo: Option<String>,
    /// Standing instructions, written to the file that the agent reads for its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_md: Option<String>,
    /// Plugins, each in a folder of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Plugin>,
    /// Packages of skills.sh to install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skills: Option<Skills>,
    /// Servers of the Model Context Protocol; their secret values are in [`Secrets::mcp_servers`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp_servers: Vec<McpServer>,
    /// The work item behind the Task: for `shell`, whose prompt is never a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Value>,
    /// Bounds of the run.
    #[serde(default)]
    pub limits: Limits,
    /// How the agent is kept from the rest of the machine.
    #[serde(default)]
    pub sandbox: Sandbox,
}

/// The agent of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// The agent type: `shell`, `claude-code`, `codex`, `gemini`, `opencode`, `cursor`, or a name of the
    /// operator's own, which needs `program`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The program to run instead of the one that the agent type names: a name to look up, or a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// The image for which `program` stands; it is called then as the entrypoint of an image, whatever the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The prompt, rendered; for `shell` the text of the script.
    pub prompt: String,
    /// The model, in the agent's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The reasoning effort, in the agent's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
}

/// The repository in which an agent works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// The URL to clone.
    pub repo: String,
    /// A branch, a tag or a full commit id; the remote's default branch when absent.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The folder in which the bare mirror of the repository is kept between runs.
    pub mirror: PathBuf,
    /// Remotes beside `origin`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<Remote>,
    /// Files to write into the checkout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Certificates in PEM form that are believed for the host of the repository, beside those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Variables for git while it clones, and for nothing else: `HOME` and `SSH_AUTH_SOCK` for the user's keys, certificates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub git_environment: BTreeMap<String, String>,
    /// A command that is run before the agent, program first; no shell is involved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup_command: Vec<String>,
}

impl Workspace {
    /// Returns the URLs of the repository and of its other remotes.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.repo.as_str()).chain(self.remotes.iter().map(|remote| remote.url.as_str()))
    }
}

/// A remote of a checkout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    /// The remote's name.
    pub name: String,
    /// The remote's URL.
    pub url: String,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Where, relative to the folder it belongs to, with forward slashes.
    pub path: String,
    /// The whole content.
    pub content: String,
}

/// A plugin: skills and sub-agents under one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// The plugin's name, a single path component.
    pub name: String,
    /// Its files, relative to the plugin's folder, such as `skills/review/SKILL.md`.
    pub files: Vec<File>,
}

/// Packages of skills.sh, which together become the plugin [`SKILLS_PLUGIN`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skills {
    /// The packages.
    pub packages: Vec<SkillPackage>,
    /// Variables for the installer that are not secret: certificates, the registry.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// A package of skills.sh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkillPackage {
    /// Where it is: `owner/repo`, a URL, or a path of this machine.
    pub source: String,
    /// One skill of it; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<String>,
}

/// A server of the Model Context Protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpServer {
    /// The name under which the agent knows it.
    pub name: String,
    /// `stdio`, `http` or `sse`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The program, for `stdio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The address, for `http` and `sse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Headers that are not secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Variables that are not secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// Bounds of a run. Zero or absent means none, unless a field says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Seconds from the start of the runner until everything is ended; time in which the machine sleeps does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<u64>,
    /// Seconds between the request to end and the forced end.
    pub grace_seconds: u64,
    /// Bytes of memory for all processes of the run together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Thousandths of a processor for all processes of the run together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Processes and threads at once. 4,096 unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Bytes of all files of the run together, and so of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Bytes of the log that are kept: a quarter from the beginning, at least half from the end.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            active_deadline_seconds: None,
            grace_seconds: GRACE_SECONDS,
            memory_bytes: None,
            cpu_millis: None,
            processes: Some(4096),
            disk_bytes: None,
            log_bytes: 16 * 1024 * 1024,
        }
    }
}

/// How an agent is kept from the rest of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sandbox {
    /// The least level that the run needs; below it nothing is started.
    pub minimum: SandboxLevel,
    /// The greatest level that is tried.
    pub maximum: SandboxLevel,
    /// What the agent may reach over the network.
    pub network: Network,
    /// Whom the agent may reach through the proxy of [`Network::Guarded`]: `public` for every public address, a name,
    /// `*.` and a name for all below it, an address, or a range such as `10.0.0.0/8`; each with `:` and a port if only that
    /// one is meant. What is named may have a private address. Empty means `public`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<String>,
    /// TCP ports of this machine's loopback that the agent finds on its own, where it has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loopback_ports: Vec<u16>,
    /// TCP ports of this machine that no agent may reach, whatever else is opened: those of our own API.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closed_ports: Vec<u16>,
    /// Files and folders the agent may read beside the system and its programs, also inside what is private.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readable: Vec<PathBuf>,
    /// Files and folders the agent never sees but for what is named inside them: the data folder, the user's home.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<PathBuf>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            minimum: SandboxLevel::default(),
            maximum: SandboxLevel::Enclosed,
            network: Network::default(),
            egress: Vec::new(),
            loopback_ports: Vec::new(),
            closed_ports: Vec::new(),
            readable: Vec::new(),
            private: Vec::new(),
        }
    }
}

/// What an agent may reach over the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Whatever this machine reaches.
    #[default]
    Open,
    /// A loopback of its own, and others through a proxy that knows whom it may reach. Where no such loopback can be
    /// had, as much of that as ports can hold: no plain HTTP, by which clouds give credentials away, and no closed port.
    Guarded,
    /// Nobody; needs [`SandboxLevel::Enclosed`], or a kernel that can refuse UDP as well as TCP.
    Closed,
}

/// What was put between an agent and the machine, weakest first. Each level holds what the one before it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SandboxLevel {
    /// Nothing.
    None,
    /// Own environment and home, resource limits, no new privileges.
    #[default]
    Limited,
    /// Files: the system is read-only, only the run's own folders are writable, everything private is unreadable.
    Files,
    /// Also no signal and no abstract socket reaches beyond the run, and TCP can be closed.
    Isolated,
    /// Also a world of its own: it sees no process, no file and no socket but its own and what it may use, has a loopback
    /// of its own, and all of it ends at once.
    Enclosed,
}

impl SandboxLevel {
    /// The name, as in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Limited => "Limited",
            Self::Files => "Files",
            Self::Isolated => "Isolated",
            Self::Enclosed => "Enclosed",
        }
    }
}

/// What held an agent's network, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NetworkHold {
    /// Nothing: it had the network of this machine.
    Open,
    /// TCP to the closed ports and to port 80 was refused.
    Ports,
    /// It had a loopback of its own, and the rest through a proxy.
    Proxied,
    /// It had none.
    Closed,
}

/// What a run may know. It is never part of the plan and never printed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secrets {
    /// What cloning needs; only the preparing step sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitCredential>,
    /// The key for the ssh server of the workspace: for cloning, and for the agent's git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshKey>,
    /// Tokens for the packages of [`Plan::skills`], by their sources; only the step that installs them sees them.
    #[serde(with = "shown", skip_serializing_if = "BTreeMap::is_empty")]
    pub skill_tokens: BTreeMap<String, Secret>,
    /// The proxies through which this machine reaches others, by the names of the variables that say so. Cloning, the
    /// installer of skills and the proxy of an enclosure use them; the agent's side never sees them.
    #[serde(with = "shown", skip_serializing_if = "BTreeMap::is_empty")]
    pub proxies: BTreeMap<String, Secret>,
    /// Variables for setup and agent: the model provider's key, `GITHUB_TOKEN`.
    #[serde(with = "shown")]
    pub environment: BTreeMap<String, Secret>,
    /// Headers and variables of servers of the Model Context Protocol, by server name. They win over the plan's.
    pub mcp_servers: BTreeMap<String, McpSecrets>,
}

/// A user name and a token for the workspace's host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GitCredential {
    /// The user name; GitHub takes `x-access-token` with any token.
    pub username: String,
    /// The token or password.
    #[serde(with = "shown_one")]
    pub token: Secret,
}

/// A key for ssh, and the servers to which it may be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SshKey {
    /// A private key in OpenSSH format without a passphrase.
    #[serde(with = "shown_one")]
    pub identity: Secret,
    /// The host keys that are believed, as in a file `known_hosts`.
    pub known_hosts: String,
}

/// The secret half of a server of the Model Context Protocol.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct McpSecrets {
    /// Secret headers.
    #[serde(with = "shown")]
    pub headers: BTreeMap<String, Secret>,
    /// Secret variables.
    #[serde(with = "shown")]
    pub env: BTreeMap<String, Secret>,
}

/// What a runner writes before it does anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The version of the format.
    pub version: u32,
    /// The process id of the runner, which means something only while the lock is held.
    pub process: i32,
    /// When the runner began.
    pub since: Timestamp,
    /// The control group of the run, where it has one; its name is that of [`control_group`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_group: Option<PathBuf>,
}

/// Returns the name of the control group of `run`.
pub fn control_group(run: &str) -> String {
    format!("kelos-{run}")
}

/// What the agent's side says about how it went: a claim, which the runner bounds and completes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claims {
    /// The version of the format.
    pub version: u32,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The exit code of the setup command or the agent.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why, in our own words.
    pub message: String,
    /// Lines of results.
    pub outputs: Vec<String>,
    /// The results by key.
    pub results: BTreeMap<String, String>,
    /// What the agent used.
    pub usage: Option<Usage>,
    /// The sandbox that was reached.
    pub sandbox: Option<SandboxLevel>,
    /// The version of the agent's program, as far as it says one.
    pub agent_version: Option<String>,
    /// What held the network.
    pub network: Option<NetworkHold>,
}

/// What an agent used, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// The cost in US dollars, a decimal number as the agent wrote it.
    #[serde(rename = "costUSD", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<String>,
    /// Tokens read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

impl Usage {
    /// Tells whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The version of the format.
    pub version: u32,
    /// Which end it was.
    pub exit: Exit,
    /// The exit code of the process that decided the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended that process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When the runner began.
    pub started_at: Timestamp,
    /// When everything had ended.
    pub finished_at: Timestamp,
    /// Why, in our own words: never a word of the agent's, an item's or a secret's.
    pub message: String,
    /// Lines of results, as the agent and the capture wrote them.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// The results by key.
    #[serde(default)]
    pub results: BTreeMap<String, String>,
    /// What the agent used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The sandbox that was reached; absent when it never came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxLevel>,
    /// The version of the agent's program, as far as it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// What held the agent's network; absent when it never came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkHold>,
    /// The bytes that setup and agent printed, kept or not.
    #[serde(default)]
    pub log_bytes: u64,
}

/// The ends a run can have. Each name is a condition reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Exit {
    /// The agent ended well and its output is complete.
    Succeeded,
    /// The agent ended with a failure.
    AgentFailed,
    /// The agent ended, but its own report says that the work is not done, or is cut off.
    AgentIncomplete,
    /// The deadline passed.
    TimedOut,
    /// It used more memory than it may.
    OutOfMemory,
    /// It had more processes than it may.
    TooManyProcesses,
    /// Its files took more room than they may.
    DiskQuotaExceeded,
    /// Somebody asked for the end.
    Cancelled,
    /// The setup command failed; the agent was not started.
    SetupFailed,
    /// The workspace could not be made; the agent was not started.
    PrepareFailed,
    /// The agent's program, or git, is not on this machine; nothing was started.
    AgentProgramMissing,
    /// The sandbox that the plan asks for cannot be had here; the agent was not started.
    SandboxUnavailable,
    /// The agent's side ended without saying how it went.
    IncompleteOutput,
    /// The plan cannot be carried out by this version, or the runner itself failed.
    RunnerFailed,
}

impl Exit {
    /// The name, as in conditions and in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::AgentFailed => "AgentFailed",
            Self::AgentIncomplete => "AgentIncomplete",
            Self::TimedOut => "TimedOut",
            Self::OutOfMemory => "OutOfMemory",
            Self::TooManyProcesses => "TooManyProcesses",
            Self::DiskQuotaExceeded => "DiskQuotaExceeded",
            Self::Cancelled => "Cancelled",
            Self::SetupFailed => "SetupFailed",
            Self::PrepareFailed => "PrepareFailed",
            Self::AgentProgramMissing => "AgentProgramMissing",
            Self::SandboxUnavailable => "SandboxUnavailable",
            Self::IncompleteOutput => "IncompleteOutput",
            Self::RunnerFailed => "RunnerFailed",
        }
    }

    /// Tells whether it certainly ended before the agent was started, so that nothing was paid for.
    pub fn is_before_agent(self) -> bool {
        matches!(
            self,
            Self::SetupFailed | Self::PrepareFailed | Self::AgentProgramMissing | Self::SandboxUnavailable
        )
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What is known about a run from the outside.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// There is no folder: it was never begun.
    Absent,
    /// The folder is complete, and no runner has ever touched it: it can be started, and has cost nothing.
    Prepared,
    /// Its runner lives.
    Running {
        /// When the runner began; absent in the moment before it has said so.
        since: Option<Timestamp>,
    },
    /// It ended.
    Finished(Box<Outcome>),
    /// Its runner began and is gone without a result. It may have cost something and is never started again by itself.
    Interrupted {
        /// When the runner began.
        since: Option<Timestamp>,
    },
}

mod shown_one {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

mod shown {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(
        secrets: &BTreeMap<String, Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(secrets.iter().map(|(name, secret)| (name, secret.expose())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Secret>, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(texts.into_iter().map(|(name, text)| (name, Secret::new(text))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_an_older_version_is_read_with_defaults() {
        let plan: Plan = serde_json::from_str(
            r#"{"version": 1, "run": "u", "namespace": "default", "task": "t", "searchPath": "/bin",
                "agent": {"type": "shell", "prompt": "true"}, "addedLater": 1}"#,
        )
        .unwrap();
        assert_eq!(plan.limits, Limits::default());
        assert_eq!(plan.sandbox.minimum, SandboxLevel::Limited);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn secrets_are_in_their_file_and_nowhere_else() {
        let mut secrets = Secrets::default();
        secrets.environment.insert("KEY".to_owned(), Secret::new("hunter2"));
        secrets.git =
            Some(GitCredential { username: "x-access-token".to_owned(), token: Secret::new("hunter3") });
        let text = serde_json::to_string(&secrets).unwrap();
        assert_eq!(serde_json::from_str::<Secrets>(&text).unwrap(), secrets);
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn pieces_of_the_log_sort_by_offset() {
        let names: Vec<String> = [0, 9, 10, u64::MAX].map(log_piece).to_vec();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(
            names.iter().map(|name| log_offset(name)).collect::<Vec<_>>(),
            [Some(0), Some(9), Some(10), Some(u64::MAX)]
        );
        assert_eq!(log_offset("lock"), None);
        assert_eq!(log_offset("log.new"), None);
    }

    #[test]
    fn the_name_of_an_end_is_what_is_written() {
        for exit in [Exit::Succeeded, Exit::AgentIncomplete, Exit::PrepareFailed, Exit::RunnerFailed] {
            assert_eq!(serde_json::to_value(exit).unwrap(), exit.as_str());
        }
    }
}
