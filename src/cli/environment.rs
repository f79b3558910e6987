//! The environment of the user, read once.

#![expect(clippy::disallowed_methods, reason = "this module is where the environment is read")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::daemon::LOG_VARIABLE;
use crate::secret::Secret;

/// Variables that are read, and what they are for.
pub(super) const VARIABLES: &[(&str, &str)] = &[
    ("KUBECONFIG", "kubeconfigs of the server that commands mean, unless `--kubeconfig` names one"),
    (LOG_VARIABLE, "what `kelos up` logs, as `info` or `kelos::gitops=debug`; by default `info`"),
    ("PATH", "where git and the programs of agents are looked for"),
    (
        "HOME",
        "folder of the user: `.kube/config` in it, and the defaults of `XDG_DATA_HOME` and `XDG_RUNTIME_DIR`; no agent sees it",
    ),
    (
        "CLAUDE_CONFIG_DIR, CODEX_HOME",
        "folders in which `kelos init` looks for the logins of Claude Code and Codex; by default `~/.claude` and `~/.codex`",
    ),
    ("ANTHROPIC_API_KEY and the like", "keys of agents, of which `kelos init` writes down the name"),
    ("NO_COLOR", "when it is not empty, nothing is written in color"),
    (
        "SSH_AUTH_SOCK",
        "the agent with the user's ssh keys, for git over ssh without a Secret; no agent of a run sees it",
    ),
    (
        "HTTPS_PROXY",
        "proxy for git over https, tokens of GitHub Apps, the installer of skills, and runs in an enclosure; so do `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` and their lowercase forms",
    ),
    (
        "SSL_CERT_FILE",
        "file with the certificates that are believed in place of the system's, in PEM form; for git itself `GIT_SSL_CAINFO` wins",
    ),
    (
        "XDG_DATA_HOME",
        "folder below which `kelos up` keeps its data unless `--data-dir` says where; by default `~/.local/share`",
    ),
    (
        "XDG_RUNTIME_DIR",
        "folder below which a running `kelos up` leaves the note by which commands find it; by default `~/.local/state`",
    ),
];

/// What commands take from the environment.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// `PATH`.
    pub(crate) search_path: String,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `KUBECONFIG`, without empty parts.
    pub(crate) kubeconfig: Option<OsString>,
    /// Folder of the note by which a running daemon is found: `XDG_RUNTIME_DIR`, else under the home folder.
    pub(crate) announcements: Option<PathBuf>,
    /// The proxies through which this machine reaches others, by the names of the variables that say so.
    pub(crate) proxies: BTreeMap<String, Secret>,
    /// What git gets: the keys of the user, certificates.
    pub(crate) for_git: BTreeMap<String, String>,
    /// What the installer of skills gets: certificates, the registry.
    pub(crate) for_installers: BTreeMap<String, String>,
    /// Folder for the data of `kelos up` when none is named: under `XDG_DATA_HOME`, else under the home folder.
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file when none is named.
    pub(crate) configuration: Option<PathBuf>,
    /// Folder of Claude Code.
    pub(crate) claude_folder: Option<PathBuf>,
    /// Folder of Codex.
    pub(crate) codex_folder: Option<PathBuf>,
}

impl Environment {
    /// Reads the environment of the process.
    pub(crate) fn read() -> Self {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = folder("HOME");
        let under_home = |path: &str| home.as_ref().map(|home| home.join(path));
        Self {
            search_path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned()),
            kubeconfig: std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()),
            announcements: folder("XDG_RUNTIME_DIR")
                .or_else(|| under_home(".local/state"))
                .map(|path| path.join("kelos")),
            data_dir: folder("XDG_DATA_HOME")
                .or_else(|| under_home(".local/share"))
                .map(|path| path.join("kelos")),
            configuration: under_home(".kelos/config.yaml"),
            claude_folder: folder("CLAUDE_CONFIG_DIR").or_else(|| under_home(".claude")),
            codex_folder: folder("CODEX_HOME").or_else(|| under_home(".codex")),
            proxies: variables(&PROXIES)
                .into_iter()
                .map(|(name, value)| (name, Secret::new(value)))
                .collect(),
            for_git: for_git(),
            for_installers: for_installers(),
            home,
        }
    }

    /// Returns what a variable holds that may be a secret; an empty one is as none.
    #[expect(clippy::unused_self, reason = "whoever reads the environment was handed it")]
    pub(crate) fn variable(&self, name: &str) -> Option<Secret> {
        std::env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new)
    }
}

/// Proxies, as curl, reqwest and npm read them.
const PROXIES: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

fn variables(names: &[&str]) -> BTreeMap<String, String> {
    let value = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
    names.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
}

fn for_git() -> BTreeMap<String, String> {
    let mut found = variables(&["HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"]);
    name_certificates(&mut found, "GIT_SSL_CAINFO");
    found
}

fn for_installers() -> BTreeMap<String, String> {
    let mut found =
        variables(&["npm_config_registry", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "GIT_SSL_CAINFO"]);
    name_certificates(&mut found, "GIT_SSL_CAINFO");
    name_certificates(&mut found, "NODE_EXTRA_CA_CERTS");
    found
}

// The curl of git, and Node, know only their own names for it.
fn name_certificates(variables: &mut BTreeMap<String, String>, name: &str) {
    if let Some(file) = variables.get("SSL_CERT_FILE").cloned() {
        variables.entry(name.to_owned()).or_insert(file);
    }
}
