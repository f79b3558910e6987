//! A user with repositories on a server, and what the daemon says about them.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::api::condition;
use crate::support::env::TestEnv;

/// The text that must appear nowhere; every credential of a test holds it.
pub(crate) const CANARY: &str = "canary";

impl TestEnv {
    /// Makes a bare repository `served/PATH` with one commit on `main`, and a working copy of it called `work`.
    pub(crate) fn serve(&self, path: &str, work: &str, files: &[(&str, &str)]) {
        self.commit(work, files);
        let bare = self.path("served").join(path);
        std::fs::create_dir_all(bare.parent().unwrap()).unwrap();
        self.git(work, &["clone", "--quiet", "--bare", ".", &bare.display().to_string()]);
        self.git(work, &["remote", "add", "origin", &bare.display().to_string()]);
    }

    /// Commits to the working copy and pushes that to `main` of its bare repository, by force. Returns the commit.
    pub(crate) fn publish(&self, work: &str, files: &[(&str, &str)]) -> String {
        let commit = self.commit(work, files);
        self.git(work, &["push", "--quiet", "--force", "origin", "HEAD:refs/heads/main"]);
        commit
    }

    /// Makes a Secret.
    pub(crate) fn secret(&self, name: &str, values: &[(&str, &str)]) {
        let values: serde_json::Map<String, Value> =
            values.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values,
        });
        self.create("secrets", &object);
    }

    /// Makes the ConfigRepository `default`, asked each second; `spec` is what else it says.
    pub(crate) fn follow(&self, url: &str, spec: Value) {
        self.follow_as("default", url, spec);
    }

    /// Makes a ConfigRepository.
    pub(crate) fn follow_as(&self, name: &str, url: &str, spec: Value) {
        let mut whole = json!({"url": url, "interval": "1s"});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "gitops.kelos.dev/v1alpha1", "kind": "ConfigRepository",
            "metadata": {"name": name}, "spec": whole,
        });
        self.create("configrepositories", &object);
    }

    /// Waits until the ConfigRepository is not ready for this reason, and returns the message.
    pub(crate) fn refused(&self, name: &str, reason: &str) -> String {
        self.until(&format!("{name} says {reason}"), |env| {
            let repository = env.object("configrepository", name)?;
            let ready = condition(&repository, "Ready");
            let says = ready["status"] == "False" && ready["reason"] == reason;
            says.then(|| ready["message"].as_str().unwrap().to_owned())
        })
    }

    /// Expects that the canary is in no file of the data folder but those of the store, which holds the Secrets, and not
    /// in what the daemon logged.
    pub(crate) fn holds_no_canary(&self) {
        self.holds_nowhere(CANARY);
    }

    /// Expects the same of another text.
    pub(crate) fn holds_nowhere(&self, text: &str) {
        for folder in ["runs", "mirrors", "repositories"] {
            let mut found = Vec::new();
            search(&self.data_dir().join(folder), text, &mut found);
            assert!(found.is_empty(), "{found:?}");
        }
        assert!(!self.daemon_log().contains(text), "{}", self.daemon_log());
        for kind in ["task", "workspace", "configrepository"] {
            let shown = self.kelos(&["get", kind, "-o", "json"]);
            assert!(!shown.stdout.contains(text), "{shown}");
        }
    }
}

fn search(path: &Path, text: &str, found: &mut Vec<String>) {
    let Ok(metadata) = path.symlink_metadata() else { return };
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            search(&entry.path(), text, found);
        }
    } else if metadata.is_file() {
        let bytes = std::fs::read(path).unwrap_or_default();
        if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
}

/// Returns a Workspace and a Task that works in it on the branch `work`.
pub(crate) fn task_in(repository: &str, secret: Option<&str>, script: &str) -> String {
    let secret = secret.map(|name| format!("  secretRef:\n    name: {name}\n")).unwrap_or_default();
    let script: String = script.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: code\nspec:\n  repo: {repository}\n  ref: main\n{secret}\
         ---\napiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: change\nspec:\n  type: shell\n  workspaceRef:\n    name: code\n  \
         branch: work\n  prompt: |\n{script}"
    )
}
