//! A real kube-apiserver over etcd, with our CRDs; `tests/envtest/build.sh` builds the programs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kelos::api::kind::Kind;
use kelos::api::schema;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use tempfile::TempDir;

use crate::shared::daemon::client;
use crate::shared::server_programs::{Process, api_server, etcd, free_ports, write_credentials};

/// A running server; its processes end when this is dropped, and with this program.
pub(crate) struct RealApiServer {
    pub(crate) client: kube::Client,
    // Order matters: fields drop from the top, and the folder must outlive the processes.
    _processes: [Process; 2],
    _folder: TempDir,
}

impl RealApiServer {
    /// Starts etcd and kube-apiserver and returns once our kinds are served.
    pub(crate) async fn start(assets: &Path) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::Builder::new().prefix("kelos-bench").tempdir().expect("a temporary folder");
        let ports = free_ports();
        write_credentials(folder.path(), ports.api_server);
        let processes =
            [etcd(assets, folder.path(), &ports, &[]), api_server(assets, folder.path(), &ports, &[])];
        let client = client(&folder.path().join("kubeconfig")).await;
        let server = Self { client, _processes: processes, _folder: folder };
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

/// Returns the folder of the servers' programs, if `KUBEBUILDER_ASSETS` names one.
pub(crate) fn assets() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS")?);
    ["etcd", "kube-apiserver"].iter().all(|program| folder.join(program).is_file()).then_some(folder)
}
