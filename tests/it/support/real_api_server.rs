//! A real Kubernetes API server on this machine: etcd, kube-apiserver and, for garbage collection and the end of
//! namespaces, kube-controller-manager. `tests/envtest/` builds them.
//!
//! Everything listens on loopback with free ports and a generated certificate, and keeps its data in a temporary
//! folder. The processes end with the value that started them, and also when this process dies.

#![expect(clippy::disallowed_methods, reason = "the tests read here where the servers' programs are")]

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kelos::process;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

/// The token of a user that may do everything.
const ADMIN_TOKEN: &str = "conformance-admin";

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
        let mut processes = vec![etcd(assets, folder.path(), &ports)];
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

struct Ports {
    etcd: u16,
    etcd_peer: u16,
    api_server: u16,
}

fn free_ports() -> Ports {
    // All three are held until all are known, so that they differ.
    let listeners: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports")).collect();
    let port = |index: usize| listeners[index].local_addr().expect("a bound listener has an address").port();
    Ports { etcd: port(0), etcd_peer: port(1), api_server: port(2) }
}

/// Whom the real server lets in without a token: as ours, those who ask for its health.
const AUTHENTICATION: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  conditions: [{path: /healthz}, {path: /livez}, {path: /readyz}]\n";

/// Writes the certificate, the keys, the token list and the kubeconfig. Returns the certificate.
fn write_credentials(folder: &Path, port: u16) -> Vec<u8> {
    let write =
        |name: &str, content: &str| std::fs::write(folder.join(name), content).expect("a writable folder");
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .and_then(|params| params.self_signed(&key))
        .expect("a certificate can be made");
    write("tls.crt", &certificate.pem());
    write("tls.key", &key.serialize_pem());
    let account_key = KeyPair::generate().expect("a key can be made");
    write("accounts.key", &account_key.serialize_pem());
    write("accounts.pub", &account_key.public_key_pem());
    write("tokens.csv", &format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n"));
    write("authentication.yaml", AUTHENTICATION);
    let authority = folder.join("tls.crt");
    write(
        "kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: oracle\n\
             clusters: [{{name: oracle, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: {authority:?}}}}}]\n\
             users: [{{name: admin, user: {{token: {ADMIN_TOKEN}}}}}]\n\
             contexts: [{{name: oracle, context: {{cluster: oracle, user: admin}}}}]\n"
        ),
    );
    certificate.der().to_vec()
}

fn etcd(assets: &Path, folder: &Path, ports: &Ports) -> Process {
    let clients = format!("http://127.0.0.1:{}", ports.etcd);
    let peers = format!("http://127.0.0.1:{}", ports.etcd_peer);
    Process::start(
        assets,
        folder,
        "etcd",
        &[
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            // The data is thrown away, so a lost write harms nobody.
            "--unsafe-no-fsync".to_owned(),
        ],
    )
}

fn api_server(assets: &Path, folder: &Path, ports: &Ports, more: &[&str]) -> Process {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.api_server),
        format!("--tls-cert-file={}", file("tls.crt")),
        format!("--tls-private-key-file={}", file("tls.key")),
        format!("--cert-dir={}", file("certificates")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--authentication-config={}", file("authentication.yaml")),
    ];
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    Process::start(assets, folder, "kube-apiserver", &arguments)
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

/// A running program, ended when dropped.
#[derive(Debug)]
struct Process {
    shell: Child,
}

impl Process {
    /// Starts `program`. A shell stands between: it waits for the end of its input, which this process holds
    /// open, and then kills the program by its id. So nothing is left over even when this process is killed.
    fn start(assets: &Path, folder: &Path, program: &str, arguments: &[String]) -> Self {
        let log = File::create(folder.join(format!("{program}.log"))).expect("a writable folder");
        let shell = process::command("/bin/sh")
            .args(["-c", "\"$@\" </dev/null & child=$!; read -r _; kill -KILL $child; wait $child", "sh"])
            .arg(assets.join(program))
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("an open file can be shared"))
            .stderr(log)
            .spawn()
            .expect("every host has /bin/sh");
        Self { shell }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell ends by itself now; an error can only mean that it has already been waited for.
        drop(self.shell.wait());
    }
}
