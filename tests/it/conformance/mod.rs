//! One list of behaviours, shown by the embedded API server and by a real kube-apiserver.
//!
//! A case ([`step`]) is a sequence of plain HTTP requests. It is run on both servers ([`run`]), what every server makes
//! up by itself is masked ([`mask`]), and the answers must then be equal byte for byte, but for the differences that
//! are meant ([`difference`]). [`random`] does the same with sequences that nobody wrote down.

mod authentication;
mod cases;
mod difference;
mod expired;
mod mask;
mod our_kinds;
pub(crate) mod peer;
mod random;
mod run;
mod step;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use kelos::api::kind::Kind;
use kelos::api::schema;
use kelos::apiserver::{ApiServer, Options, Resource, in_process};
use kelos::clock;
use kelos::daemon::rules_of;
use kelos::store::Store;
use serde_json::Value;
use tokio::task::JoinSet;

use self::difference::Report;
use self::peer::Peer;
use self::run::{Answer, Runner};
use self::step::{Case, Step, get, post};
use crate::support::real_api_server::{RealApiServer, assets_or_skip};

/// The kind that most cases use.
const GADGET: &str = include_str!("gadget.json");

/// How many cases run at a time: enough to hide the waits for events and timeouts.
const PARALLEL: usize = 8;

/// The masks hold only if a server agrees with another of its own kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_real_servers_give_the_same_answers() {
    let Some(assets) = assets_or_skip("two_real_servers_give_the_same_answers") else { return };
    let (one, other) = tokio::join!(RealApiServer::start(&assets), RealApiServer::start(&assets));
    let (one, other) = (Peer::real(&one.endpoint), Peer::real(&other.endpoint));
    let definitions = [gadget()];
    tokio::join!(define(&one, &definitions), define(&other, &definitions));
    let cases = cases::all();
    let (expected, given) = tokio::join!(answers(&one, &cases), answers(&other, &cases));
    write_down("two-real-servers", &cases, &expected);
    let report = Report::compare(&cases, &expected, &given);
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_server_answers_as_the_real_one() {
    let Some(assets) = assets_or_skip("the_embedded_server_answers_as_the_real_one") else { return };
    let server = RealApiServer::start(&assets).await;
    let (ours, _housekeeping) = embedded_gadgets();
    let real = Peer::real(&server.endpoint);
    define(&real, &[gadget()]).await;
    let cases = cases::all();
    let (expected, given) = tokio::join!(answers(&real, &cases), answers(&ours, &cases));
    write_down("real", &cases, &expected);
    write_down("embedded", &cases, &given);
    let report = Report::compare_with_real(&cases, &expected, &given);
    std::fs::write(left("report"), report.to_string()).expect("cargo's folder for tests is writable");
    assert!(report.is_clean(), "{report}");
}

/// The rules of our kinds stand twice, as CEL for a cluster and as functions for ours; both must say the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_kinds_are_judged_as_in_a_cluster() {
    let Some(assets) = assets_or_skip("our_kinds_are_judged_as_in_a_cluster") else { return };
    let server = RealApiServer::start(&assets).await;
    let real = Peer::real(&server.endpoint);
    let definitions: Vec<Value> = Kind::ALL.iter().map(|kind| schema::crd(*kind)).collect();
    define(&real, &definitions).await;
    let resources = Kind::ALL
        .iter()
        .map(|kind| Resource::from_crd(&schema::crd(*kind), Some(rules_of(*kind))))
        .collect::<Result<Vec<_>, _>>()
        .expect("our definitions are sound");
    let (ours, _housekeeping) = embedded_server(resources);
    let cases = our_kinds::cases();
    let (expected, given) = tokio::join!(answers(&real, &cases), answers(&ours, &cases));
    write_down("our-kinds-real", &cases, &expected);
    write_down("our-kinds-embedded", &cases, &given);
    let report = Report::compare(&cases, &expected, &given);
    assert!(report.is_clean(), "{report}");
}

/// How many random sequences are run.
const SEQUENCES: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_sequences_end_alike() {
    let Some(assets) = assets_or_skip("random_sequences_end_alike") else { return };
    let server = RealApiServer::start(&assets).await;
    let (ours, _housekeeping) = embedded_gadgets();
    let real = Peer::real(&server.endpoint);
    define(&real, &[gadget()]).await;
    let findings: Vec<String> = futures::stream::iter(0..SEQUENCES)
        .map(|seed| first_difference(seed, &real, &ours))
        .buffered(PARALLEL)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let count = findings.len();
    assert!(
        findings.is_empty(),
        "{count} of {SEQUENCES} sequences differ (- real, + ours)\n{}",
        findings.join("\n")
    );
}

/// Runs one random sequence on both servers, side by side, up to the first answer that differs.
async fn first_difference(seed: u64, real: &Peer, ours: &Peer) -> Option<String> {
    let namespace = format!("random-{seed}");
    let (mut real, mut ours) = tokio::join!(Runner::start(real, &namespace), Runner::start(ours, &namespace));
    let mut history = String::new();
    for call in random::sequence(seed) {
        let step = Step::Send(call);
        let ((title, expected), (_, given)) = tokio::join!(real.take(&step), ours.take(&step));
        let status = expected.lines().next().unwrap_or_default();
        history.extend([&title, " -> ", status, "\n"]);
        if expected != given {
            return Some(format!(
                "## seed {seed}\n{history}{}",
                difference::changed_lines(&expected, &given)
            ));
        }
    }
    None
}

/// Returns our server over an empty store in memory, and the task that does what controllers do in a cluster.
fn embedded_server(resources: Vec<Resource>) -> (Peer, JoinSet<()>) {
    embedded_server_over(Store::memory().expect("memory suffices"), resources)
}

fn embedded_server_over(store: Store, resources: Vec<Resource>) -> (Peer, JoinSet<()>) {
    let server = ApiServer::new(store, resources, Options::new(clock::system(), "1.0.0"));
    let peer = Peer::Embedded(in_process(server.router(), "unknown"));
    let mut housekeeping = JoinSet::new();
    housekeeping.spawn(async move { server.keep_house().await });
    (peer, housekeeping)
}

fn gadget() -> Value {
    serde_json::from_str(GADGET).expect("the definition is JSON")
}

fn embedded_gadgets() -> (Peer, JoinSet<()>) {
    embedded_server(vec![Resource::from_crd(&gadget(), None).expect("the definition is sound")])
}

/// Leaves the masked answers in cargo's folder for tests, for the eyes of whoever mends a difference.
fn write_down(name: &str, cases: &[Case], answers: &[Vec<Answer>]) {
    let mut text = String::new();
    for (case, answers) in cases.iter().zip(answers) {
        text.extend(["# ", &case.name, "\n"]);
        for answer in answers {
            text.extend([&answer.step, "\n", &answer.text, "\n"]);
        }
    }
    std::fs::write(left(name), text).expect("cargo's folder for tests is writable");
}

fn left(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{name}.txt"))
}

/// Runs all cases; their answers are in the order of `cases`.
async fn answers(peer: &Peer, cases: &[Case]) -> Vec<Vec<Answer>> {
    futures::stream::iter(cases.iter().enumerate())
        .map(|(index, case)| async move { run::run(peer, case, &format!("case-{}", index + 1)).await })
        .buffered(PARALLEL)
        .collect()
        .await
}

/// Makes kinds known to a real server, and waits until all of them is.
async fn define(peer: &Peer, definitions: &[Value]) {
    let mut runner = Runner::start(peer, "definition").await;
    for definition in definitions {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let (_, text) = runner.take(&post(path, definition.clone()).into()).await;
        assert!(text.starts_with("201"), "{text}");
        let spec = &definition["spec"];
        let version = spec["versions"][0]["name"].as_str().expect("a definition has a version");
        let group = spec["group"].as_str().expect("a definition has a group");
        let plural = spec["names"]["plural"].as_str().expect("a definition has names");
        let group_version = format!("{group}/{version}");
        for path in [format!("/apis/{group_version}/{plural}"), format!("/openapi/v3/apis/{group_version}")] {
            let (_, text) = runner.take(&Step::Await(get(&path), 200)).await;
            assert_eq!(text, "200\n", "{path}");
        }
    }
    // Lists are served before discovery and openapi have settled on the kinds.
    tokio::time::sleep(Duration::from_secs(1)).await;
}
