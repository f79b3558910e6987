//! What the daemon is told: read once, from the command line and the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::api::run::{Limits, Sandbox};
use crate::executor::age::Keep;
use crate::secret::Secret;

/// What `kelos up` runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder that holds everything: the store, runs, copies of repositories, credentials.
    pub data_dir: PathBuf,
    /// Where the API listens; a port of 0 takes the one of the last start if it is free, else any.
    pub listen: SocketAddr,
    /// The config repository that is made if it does not exist.
    pub repository: Option<RepositoryConfig>,
    /// How many runs may go on at once.
    pub slots: usize,
    /// What runs are kept from, what they may use, and how long what they leave is kept.
    pub runs: RunConfig,
    /// Path of our own executable, which runs and templates are started from.
    pub program: PathBuf,
    /// Folders in which agents and git are looked up, in the form of `PATH`.
    pub search_path: String,
    /// The proxies through which this machine reaches others, by the names of the variables that say so. A URL may hold a
    /// password.
    pub proxies: BTreeMap<String, Secret>,
    /// Variables for git: `HOME` and `SSH_AUTH_SOCK` for the user's keys, certificates.
    pub git_environment: BTreeMap<String, String>,
    /// Variables for the installer of skills: certificates, the registry.
    pub install_environment: BTreeMap<String, String>,
    /// Programs that stand for images or take the place of the program of an agent type, by the name of either.
    pub agents: BTreeMap<String, PathBuf>,
    /// The home folder of the user, which no agent sees.
    pub user_home: Option<PathBuf>,
    /// Folder in which this user's running daemon is announced.
    pub announcements: Option<PathBuf>,
}

/// What is the same for all runs.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// Sandboxes. The ports of the daemon are added to those that are closed; the loopback ports are those that Tasks may ask
    /// for.
    pub sandbox: Sandbox,
    /// Whether Tasks may ask for the network of the machine.
    pub host_network: bool,
    /// Limits.
    pub limits: Limits,
    /// Bytes that must be free on the disk for a run to begin.
    pub disk_floor: u64,
    /// How long what runs leave is kept.
    pub keep: Keep,
}

/// The ConfigRepository `default` in the namespace `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryConfig {
    /// URL, or path of a repository on this machine.
    pub url: String,
    /// Branch to follow; the default branch when absent.
    pub branch: Option<String>,
    /// Folder with the definitions, from the root of the repository.
    pub path: Option<String>,
    /// How often the remote is asked.
    pub interval: Option<String>,
    /// Secret with the credential for it.
    pub secret: Option<String>,
    /// The name under which reports are written; made from the object and the data folder when absent.
    pub report_writer: Option<String>,
}
