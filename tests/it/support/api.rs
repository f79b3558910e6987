//! The API of the running daemon as any client uses it, for what no command of ours does.

#![expect(clippy::unwrap_in_result, reason = "it is part of tests")]

use http::{Method, Request, header};
use kelos::api::labels;
use serde_json::{Value, json};

use crate::support::env::TestEnv;

/// Where the kinds that git may define lie.
pub(crate) const MANAGED: [&str; 4] = ["workspaces", "agentconfigs", "taskspawners", "tasks"];

impl TestEnv {
    /// Returns the objects of a kind in the namespace `default`, by the plural of the kind.
    pub(crate) fn list(&self, plural: &str) -> Vec<Value> {
        let list = self.ask(Method::GET, &place(plural), None).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// Returns name and resource version of every object that git may define.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let version = |plural: &str, object: &Value| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
            (format!("{plural}/{}", text("name")), text("resourceVersion"))
        };
        let of = |plural| self.list(plural).into_iter().map(move |object| version(plural, &object));
        MANAGED.into_iter().flat_map(of).collect()
    }

    /// Returns the names of the objects of a kind.
    pub(crate) fn names(&self, plural: &str) -> Vec<String> {
        let name = |object: Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        self.list(plural).into_iter().map(name).collect()
    }

    /// Changes an object by a merge patch.
    pub(crate) fn patch(&self, plural: &str, name: &str, change: &Value) -> Value {
        self.ask(Method::PATCH, &format!("{}/{name}", place(plural)), Some(change)).unwrap()
    }

    /// Creates an object.
    pub(crate) fn create(&self, plural: &str, object: &Value) -> Value {
        self.ask(Method::POST, &place(plural), Some(object)).unwrap()
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, plural: &str, name: &str) {
        self.ask(Method::DELETE, &format!("{}/{name}", place(plural)), None).unwrap();
    }

    /// Asks for a pass over the ConfigRepository `default` and waits until it was made.
    pub(crate) fn reconcile(&self, request: &str) -> Value {
        let change = json!({"metadata": {"annotations": {labels::RECONCILE_REQUESTED_AT: request}}});
        self.patch("configrepositories", "default", &change);
        self.until(&format!("the request {request} is handled"), |env| {
            let repository = env.object("configrepository", "default")?;
            (repository["status"]["lastHandledReconcileAt"] == request).then_some(repository)
        })
    }

    /// Commits to the repository `config`, and waits until a pass has judged that; returns the ConfigRepository.
    pub(crate) fn push(&self, files: &[(&str, &str)]) -> Value {
        let commit = self.commit("config", files);
        self.judged(&commit)
    }

    /// Waits until a pass has judged the commit; returns the ConfigRepository.
    pub(crate) fn judged(&self, commit: &str) -> Value {
        let repository = self.reconcile(commit);
        assert_eq!(repository["status"]["lastAttemptedRevision"], *commit, "{repository:#}");
        repository
    }

    /// Puts the file `go` where the run of a Task works, for which its script may wait.
    pub(crate) fn let_go(&self, task: &str) {
        let uid = self.object("task", task).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
        std::fs::write(self.data_dir().join("runs").join(uid).join("work/go"), "").unwrap();
    }

    /// Makes one request.
    pub(crate) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, kube::Error> {
        // The daemon's certificate is checked with the cryptography that the program itself chooses.
        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let kubeconfig = kube::config::Kubeconfig::read_from(self.data_dir().join("kubeconfig")).unwrap();
            let options = kube::config::KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
            let client = kube::Client::try_from(config).unwrap();
            let kind =
                if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
            let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
            let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
            client.request::<Value>(request.body(body).unwrap()).await
        })
    }
}

/// Returns a condition of an object.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.into_iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

fn place(plural: &str) -> String {
    let group = match plural {
        "configrepositories" | "runrecords" => "/apis/gitops.kelos.dev/v1alpha1",
        "events" | "secrets" => "/api/v1",
        _ => "/apis/kelos.dev/v1alpha1",
    };
    format!("{group}/namespaces/default/{plural}")
}
