//! A real Kubernetes API server on this machine: etcd, kube-apiserver and, for garbage collection and the end of
//! namespaces, kube-controller-manager. `tests/envtest/` builds them.
//!
//! Everything listens on loopback with free ports and a generated certificate, and keeps its data in a temporary
//! folder. The processes end with the value that started them, and also when this process dies.

#![expect(clippy::disallowed_methods, reason = "the tests read here where the servers' programs are")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::server_programs::{
    ADMIN_TOKEN, Process, api_server, etcd, free_ports, write_credentials,
};

/// How long a start may take. Three seconds are usual on two idle cores.
const START_LIMIT: Duration = Duration::from_mins(2);

/// The release that `tests/envtest/go.mod` names, so that the tests find its cache.
const ENVTEST_MODULE: &str = include_str!("../../envtest/go.mod");

/// Where a running server is and how to be let in.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    pub(crate) token: &'static str,
    /// The certificate that the server shows, in DER form. It is its own authority.
    pub(crate) certificate: Vec<u8>,
}

/// A running server; dropping it ends the processes and removes the data.
#[derive(Debug)]
pub(crate) struct RealApiServer {
    pub(crate) endpoint: Endpoint,
    /// The file with which kubectl finds the server.
    pub(crate) kubeconfig: PathBuf,
    // Order matters: fields drop from the top, and the folder must outlive the processes.
    _processes: Vec<Process>,
    _folder: TempDir,
}

/// Returns the folder of the servers' programs, or says on standard error how to have them.
///
/// With `KELOS_REQUIRE_ORACLE=1` their absence is a failure.
pub(crate) fn assets_or_skip(test: &str) -> Option<PathBuf> {
    let found = assets();
    if found.is_none() {
        let hint = "no real API server is there; build one with tests/envtest/build.sh (needs Go)";
        let required = std::env::var("KELOS_REQUIRE_ORACLE").is_ok_and(|value| value == "1");
        assert!(!required, "{test}: {hint}");
        crate::support::say(&format!("{test}: SKIPPED: {hint}"));
    }
    found
}

/// Returns the path of the real kubectl, or says on standard error how to have it.
pub(crate) fn kubectl() -> Option<PathBuf> {
    let path = found(&["kubectl"]).map(|folder| folder.join("kubectl"));
    if path.is_none() {
        let hint = "no real kubectl is there; build one with tests/envtest/build.sh (needs Go)";
        let required = std::env::var("KELOS_REQUIRE_ORACLE").is_ok_and(|value| value == "1");
        assert!(!required, "{hint}");
        crate::support::say(&format!("SKIPPED: {hint}"));
    }
    path
}

fn assets() -> Option<PathBuf> {
    found(&["etcd", "kube-apiserver", "kube-controller-manager"])
}

/// Returns the folder that holds all these programs.
fn found(programs: &[&str]) -> Option<PathBuf> {
    let complete = |folder: &PathBuf| programs.iter().all(|program| folder.join(program).is_file());
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS") {
        return Some(PathBuf::from(folder)).filter(complete);
    }
    let cache = match std::env::var_os("KELOS_ENVTEST_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache/kelos-envtest"),
    };
    let version = ENVTEST_MODULE.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))?;
    Some(cache.join(version)).filter(complete)
}

impl RealApiServer {
    /// Starts the servers from `assets` and returns once they are ready.
    pub(crate) async fn start(assets: &Path) -> Self {
        Self::start_with(assets, &[]).await
    }

    /// Does the same with further arguments for kube-apiserver.
    pub(crate) async fn start_with(assets: &Path, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("kelos-oracle").tempdir().expect("a temporary folder");
        let ports = free_ports();
        let certificate = write_credentials(folder.path(), ports.api_server);
        // The data is thrown away, so a lost write harms nobody.
        let mut processes = vec![etcd(assets, folder.path(), &ports, &["--unsafe-no-fsync"])];
        processes.push(api_server(assets, folder.path(), &ports, arguments));
        let endpoint = Endpoint { port: ports.api_server, token: ADMIN_TOKEN, certificate };
        let peer = crate::conformance::peer::Peer::real(&endpoint);
        let started = Instant::now();
        while !peer.is_ready().await {
            if started.elapsed() > START_LIMIT {
                let log =
                    std::fs::read_to_string(folder.path().join("kube-apiserver.log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                panic!(
                    "the real API server did not become ready; the end of its log, last line first: {tail:#?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        processes.push(controller_manager(assets, folder.path()));
        let kubeconfig = folder.path().join("kubeconfig");
        Self { endpoint, kubeconfig, _processes: processes, _folder: folder }
    }
}

fn controller_manager(assets: &Path, folder: &Path) -> Process {
    Process::start(
        assets,
        folder,
        "kube-controller-manager",
        &[
            format!("--kubeconfig={}", folder.join("kubeconfig").display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            // Only what the embedded server also does: it makes no accounts and no certificates in new namespaces.
            "--controllers=garbage-collector-controller,namespace-controller".to_owned(),
        ],
    )
}
