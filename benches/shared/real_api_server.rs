//! A real kube-apiserver over etcd, with our CRDs; `tests/envtest/build.sh` builds the programs.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kelos::api::kind::Kind;
use kelos::api::schema;
use kelos::process;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::shared::daemon::client;

/// A running server; its processes end when this is dropped, and with this program.
pub(crate) struct RealApiServer {
    pub(crate) client: kube::Client,
    // Order matters: fields drop from the top, and the folder must outlive the processes.
    processes: Vec<Child>,
    _folder: TempDir,
}

impl RealApiServer {
    /// Starts etcd and kube-apiserver and returns once our kinds are served.
    pub(crate) async fn start(assets: &Path) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::Builder::new().prefix("kelos-bench").tempdir().expect("a temporary folder");
        let [etcd, peer, port] = free_ports();
        write_credentials(folder.path(), port);
        let file = |name: &str| folder.path().join(name).display().to_string();
        let clients = format!("http://127.0.0.1:{etcd}");
        let peers = format!("http://127.0.0.1:{peer}");
        let processes = vec![
            start(
                assets,
                folder.path(),
                "etcd",
                &[
                    format!("--data-dir={}", file("etcd")),
                    format!("--listen-client-urls={clients}"),
                    format!("--advertise-client-urls={clients}"),
                    format!("--listen-peer-urls={peers}"),
                    format!("--initial-advertise-peer-urls={peers}"),
                    format!("--initial-cluster=default={peers}"),
                ],
            ),
            start(
                assets,
                folder.path(),
                "kube-apiserver",
                &[
                    format!("--etcd-servers={clients}"),
                    "--bind-address=127.0.0.1".to_owned(),
                    format!("--secure-port={port}"),
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
                ],
            ),
        ];
        let client = client(&folder.path().join("kubeconfig")).await;
        let server = Self { client, processes, _folder: folder };
        server.until("it is ready", "/readyz").await;
        for kind in Kind::ALL {
            server.define(*kind).await;
        }
        server
    }

    async fn define(&self, kind: Kind) {
        let gvk = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &ApiResource::from_gvk(&gvk));
        let definition = serde_json::from_value(schema::crd(kind)).expect("a CRD is an object");
        api.create(&PostParams::default(), &definition).await.expect("a real server takes our CRDs");
        let path = format!("/apis/{}/v1alpha1/namespaces/default/{}", kind.group(), kind.plural());
        self.until("our kinds are served", &path).await;
    }

    async fn until(&self, what: &str, path: &str) {
        let begun = Instant::now();
        loop {
            let request = http::Request::get(path).body(Vec::new()).expect("a well-formed request");
            if self.client.request_text(request).await.is_ok() {
                return;
            }
            assert!(begun.elapsed() < Duration::from_mins(2), "never: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for RealApiServer {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // The shell ends its program when its input does.
            drop(process.stdin.take());
            drop(process.wait());
        }
    }
}

/// Returns the folder of the servers' programs, if `KUBEBUILDER_ASSETS` names one.
pub(crate) fn assets() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS")?);
    ["etcd", "kube-apiserver"].iter().all(|program| folder.join(program).is_file()).then_some(folder)
}

fn free_ports() -> [u16; 3] {
    // All three are held until all are known, so that they differ.
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports"));
    listeners.map(|listener| listener.local_addr().expect("a bound listener has an address").port())
}

fn write_credentials(folder: &Path, port: u16) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a writable folder");
    let key = KeyPair::generate().expect("a key can be made");
    let parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address is a name");
    write("tls.crt", &parameters.self_signed(&key).expect("a certificate can be made").pem());
    write("tls.key", &key.serialize_pem());
    let account_key = KeyPair::generate().expect("a key can be made");
    write("accounts.key", &account_key.serialize_pem());
    write("accounts.pub", &account_key.public_key_pem());
    write("tokens.csv", "bench,admin,admin,\"system:masters\"\n");
    let authority = folder.join("tls.crt");
    write(
        "kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: real\n\
             clusters: [{{name: real, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: admin, user: {{token: bench}}}}]\n\
             contexts: [{{name: real, context: {{cluster: real, user: admin}}}}]\n",
            authority.display()
        ),
    );
}

/// Starts `program` behind a shell that waits for the end of its input, which this process holds open, and then kills
/// the program by its id: nothing is left over even when this process is killed.
fn start(assets: &Path, folder: &Path, program: &str, arguments: &[String]) -> Child {
    let log = File::create(folder.join(format!("{program}.log"))).expect("a writable folder");
    process::command("/bin/sh")
        .args(["-c", "\"$@\" </dev/null & child=$!; read -r _; kill -KILL $child; wait $child", "sh"])
        .arg(assets.join(program))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("an open file can be shared"))
        .stderr(log)
        .spawn()
        .expect("every host has /bin/sh")
}
