//! The oldest and the newest kubectl work with `kelos up` as they do with Kubernetes.
//!
//! `tests/clients/kubectl/` holds two lists of commands and, for each kubectl, what they print. The transcripts of
//! `same-as-kubernetes` are recorded from a real API server with our definitions, and `kelos up` must print the same.
//! Those of `kelos` show what only `kelos up` does: Tasks that run, and what it refuses. How the two releases of kubectl
//! differ is the difference of their transcripts.
//!
//! `UPDATE_TRANSCRIPTS=1` records them anew.

#![expect(clippy::disallowed_methods, reason = "the tests read here whether to record")]

use crate::support::clients::{Kubectl, newest_kubectl, oldest_kubectl};
use crate::support::env::TestEnv;
use crate::support::real_api_server::{RealApiServer, assets_or_skip};
use crate::support::transcript::{self, Shell};

/// The list whose answers are those of Kubernetes.
const SAME: &str = "same-as-kubernetes";

/// The list whose answers are our own.
const OWN: &str = "kelos";

fn is_recording() -> bool {
    std::env::var("UPDATE_TRANSCRIPTS").is_ok_and(|value| value == "1")
}

fn on_kelos(list: &str, kubectl: Option<Kubectl>) {
    let Some(kubectl) = kubectl else { return };
    let env = TestEnv::up();
    let kubeconfig = env.data_dir().join("kubeconfig");
    let transcript = Shell { env: &env, kubectl: &kubectl, kubeconfig }.run(list);
    if list == OWN && is_recording() {
        transcript::record(list, &kubectl, &transcript);
    }
    transcript::check(list, &kubectl, &transcript);
}

#[test]
fn the_oldest_kubectl_works_as_with_kubernetes() {
    on_kelos(SAME, oldest_kubectl());
}

#[test]
fn the_newest_kubectl_works_as_with_kubernetes() {
    on_kelos(SAME, newest_kubectl());
}

#[test]
fn the_oldest_kubectl_shows_what_kelos_does() {
    on_kelos(OWN, oldest_kubectl());
}

#[test]
fn the_newest_kubectl_shows_what_kelos_does() {
    on_kelos(OWN, newest_kubectl());
}

#[tokio::test]
async fn the_transcripts_are_those_of_kubernetes() {
    let Some(assets) = assets_or_skip("the transcripts of kubectl") else { return };
    let (Some(oldest), Some(newest)) = (oldest_kubectl(), newest_kubectl()) else { return };
    let server = RealApiServer::start(&assets).await;
    tokio::task::spawn_blocking(move || {
        define_our_kinds(&server, &newest);
        // One after the other: both lists make and delete the same namespace.
        for kubectl in [oldest, newest] {
            let env = TestEnv::new();
            let kubeconfig = server.kubeconfig.clone();
            let transcript = Shell { env: &env, kubectl: &kubectl, kubeconfig }.run(SAME);
            if is_recording() {
                transcript::record(SAME, &kubectl, &transcript);
            }
            transcript::check(SAME, &kubectl, &transcript);
        }
    })
    .await
    .unwrap();
}

fn define_our_kinds(server: &RealApiServer, kubectl: &Kubectl) {
    let env = TestEnv::new();
    let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/crds");
    for arguments in [
        &["apply", "--server-side", "-f", definitions][..],
        &["wait", "--for=condition=established", "--timeout=30s", "-f", definitions],
    ] {
        let mut command = env.program(&kubectl.folder.join("kubectl"), None);
        command.env("KUBECONFIG", &server.kubeconfig);
        env.ran(command.args(arguments)).success();
    }
}
