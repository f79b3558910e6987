//! The programs of a real Kubernetes API server on loopback, as tests and benchmarks start them.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};

use kelos::process;
use rcgen::{CertificateParams, KeyPair};

/// The token of a user that may do everything.
pub(crate) const ADMIN_TOKEN: &str = "conformance-admin";

/// Where the programs listen.
pub(crate) struct Ports {
    etcd: u16,
    etcd_peer: u16,
    /// That of the API.
    pub(crate) api_server: u16,
}

/// Returns ports of loopback that are free.
pub(crate) fn free_ports() -> Ports {
    // All three are held until all are known, so that they differ.
    let listeners: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports")).collect();
    let port = |index: usize| listeners[index].local_addr().expect("a bound listener has an address").port();
    Ports { etcd: port(0), etcd_peer: port(1), api_server: port(2) }
}

/// Whom the real server lets in without a token: as ours, those who ask for its health.
const AUTHENTICATION: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  conditions: [{path: /healthz}, {path: /livez}, {path: /readyz}]\n";

/// Writes the certificate, the keys, the token list and the kubeconfig. Returns the certificate.
pub(crate) fn write_credentials(folder: &Path, port: u16) -> Vec<u8> {
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
             clusters: [{{name: oracle, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: admin, user: {{token: {ADMIN_TOKEN}}}}}]\n\
             contexts: [{{name: oracle, context: {{cluster: oracle, user: admin}}}}]\n",
            authority.display()
        ),
    );
    certificate.der().to_vec()
}

/// Starts etcd with its data in `folder`, with further arguments.
pub(crate) fn etcd(assets: &Path, folder: &Path, ports: &Ports, more: &[&str]) -> Process {
    let clients = format!("http://127.0.0.1:{}", ports.etcd);
    let peers = format!("http://127.0.0.1:{}", ports.etcd_peer);
    let mut arguments = vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
    ];
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    Process::start(assets, folder, "etcd", &arguments)
}

/// Starts kube-apiserver over etcd, with further arguments and with what [`write_credentials`] wrote into `folder`.
pub(crate) fn api_server(assets: &Path, folder: &Path, ports: &Ports, more: &[&str]) -> Process {
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

/// A running program, ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    shell: Child,
}

impl Process {
    /// Starts `program`. A shell stands between: it waits for the end of its input, which this process holds
    /// open, and then kills the program by its id. So nothing is left over even when this process is killed.
    pub(crate) fn start(assets: &Path, folder: &Path, program: &str, arguments: &[String]) -> Self {
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
