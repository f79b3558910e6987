//! A pass against a real kube-apiserver, beside a bare client that sends the same patches:
//! `KUBEBUILDER_ASSETS=DIR cargo bench --bench cluster -- 1000`.

mod shared;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kelos::api::config_repository::ConfigRepository;
use kelos::domain::plan::{Cluster as _, Desired, PruneGuard};
use kelos::git::folder::Folder;
use kelos::git::tree::TreeLimits;
use kelos::gitops::apply::Target;
use kelos::gitops::cache::EvaluationCache;
use kelos::gitops::evaluate::{Evaluation, evaluate};
use kelos::gitops::observed::ObservedCluster;
use kelos::gitops::pass::{PassOutcome, carry_out};
use kelos::gitops::render::ChildRenderer;
use kelos::validate;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::json;

use shared::real_api_server::{RealApiServer, assets};
use shared::repository::definition;
use shared::{head, numbers, row, say, seconds};

/// How many objects a pass tries on the server first when more than these change, as by default.
const DRY_RUN_LIMIT: usize = 100;

/// How many requests the bare client has under way.
const CONCURRENCY: usize = 16;

#[tokio::main]
async fn main() {
    let Some(assets) = assets() else {
        say(
            "skipped: KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver; tests/envtest/build.sh makes one",
        );
        return;
    };
    for count in numbers(&[1_000]) {
        let server = RealApiServer::start(&assets).await;
        measure(&server, count).await;
    }
}

async fn measure(server: &RealApiServer, count: usize) {
    head(&format!("{count} definitions, a real API server"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (counted, requests) = counting(server);
    let owner = repository(server).await;
    let cluster = Arc::new(ObservedCluster::new());
    let (listed, mut observed) = tokio::sync::watch::channel(false);
    let mut follower = tokio::task::JoinSet::new();
    follower.spawn(Arc::clone(&cluster).follow(server.client.clone(), listed));
    observed.wait_for(|listed| *listed).await.expect("the follower lives");

    let write = |number: usize, word: &str| {
        let path = folder.path().join(format!("{number:05}.yaml"));
        std::fs::write(path, definition(number, word)).expect("a writable folder");
    };
    for word in ["one", "two"] {
        let what = if word == "one" { "all new" } else { "all changed" };
        let bare = bare_client(server, count, word).await;
        (0..count).for_each(|number| write(number, word));
        let ours = pass(&counted, &cluster, &owner, folder.path(), count).await;
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        row(&format!("{what}: a bare client"), &seconds(bare), "");
        row(&format!("{what}: a pass"), &format!("{}, {ratio:.2} times that", seconds(ours)), "1.35 times");
    }
    write(count / 2, "three");
    requests.store(0, Ordering::Relaxed);
    let time = pass(&counted, &cluster, &owner, folder.path(), 1).await;
    row("one changed: a pass", &seconds(time), "0.3 s");
    row("one changed: requests", &requests.swap(0, Ordering::Relaxed).to_string(), "2");
    let time = pass(&counted, &cluster, &owner, folder.path(), 0).await;
    row("unchanged: a pass", &seconds(time), "20 ms");
    row("unchanged: requests", &requests.load(Ordering::Relaxed).to_string(), "0");
}

/// Makes the ConfigRepository whose passes these are, and returns its uid: what nobody owns is always applied.
async fn repository(server: &RealApiServer) -> String {
    let api: Api<ConfigRepository> = Api::namespaced(server.client.clone(), "default");
    let spec = json!({"url": "file:///nowhere", "suspend": true});
    let manifest = json!({
        "apiVersion": "gitops.kelos.dev/v1alpha1", "kind": "ConfigRepository",
        "metadata": {"name": "bench"}, "spec": spec,
    });
    let made =
        api.create(&PostParams::default(), &serde_json::from_value(manifest).expect("a manifest")).await;
    made.expect("it is made").metadata.uid.expect("what is made has a uid")
}

/// Returns a client that counts its requests.
fn counting(server: &RealApiServer) -> (kube::Client, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let (inner, counter) = (server.client.clone(), Arc::clone(&requests));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        counter.fetch_add(1, Ordering::Relaxed);
        let client = inner.clone();
        async move { client.send(request).await }
    });
    (kube::Client::new(service, "default"), requests)
}

/// Reads, judges and applies the folder, and returns how long that took.
async fn pass(
    client: &kube::Client,
    cluster: &Arc<ObservedCluster>,
    owner: &str,
    folder: &std::path::Path,
    expected: usize,
) -> Duration {
    let target = Target {
        client: client.clone(),
        namespace: "default".to_owned(),
        repository: "bench".to_owned(),
        owner: owner.to_owned(),
        revision: "0000000000000000000000000000000000000001".to_owned(),
    };
    let evaluation = judged(folder);
    let guard = PruneGuard { enabled: true, limit_percent: 50, confirmed: false, held_of: None };
    let begun = Instant::now();
    let pass = carry_out(&target, cluster, &evaluation, guard, DRY_RUN_LIMIT, true).await;
    let time = begun.elapsed();
    let PassOutcome::Done(applied) = &pass.outcome else {
        unreachable!("the pass is carried out: {:?}", pass.outcome)
    };
    assert!(
        applied.failures.is_empty() && applied.written.len() == expected,
        "{} written for {expected}, at first {:?}",
        applied.written.len(),
        pass.plan.actions.first()
    );
    let known = |desired: &Desired| cluster.namespace("default").get(&desired.key).is_some();
    assert!(evaluation.desired.iter().all(|desired| known(desired)), "what was written is known");
    time
}

fn judged(folder: &std::path::Path) -> Evaluation {
    let folder = Folder::open(folder, &TreeLimits::default()).expect("a folder of ours");
    let renderer = ChildRenderer { program: env!("CARGO_BIN_EXE_kelos").into() };
    let context = validate::Context { live: BTreeSet::new(), ..validate::Context::default() };
    let evaluation = evaluate(&folder, &renderer, &mut EvaluationCache::new(), None, &context)
        .expect("the folder can be read");
    assert!(evaluation.is_valid(), "{:?}", evaluation.findings.first());
    evaluation
}

/// Sends what a pass would, to objects of other names, and does nothing else.
async fn bare_client(server: &RealApiServer, count: usize, word: &str) -> Duration {
    let gvk = GroupVersionKind::gvk("kelos.dev", "v1alpha1", "TaskSpawner");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "taskspawners");
    let api: Api<DynamicObject> = Api::namespaced_with(server.client.clone(), "default", &resource);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for number in 0..count {
        let path = folder.path().join(format!("{number:05}.yaml"));
        std::fs::write(path, definition(number, word).replace("nightly-", "bare-"))
            .expect("a writable folder");
    }
    let evaluation = judged(folder.path());
    let parameters = PatchParams::apply("bench-bare").force().validation_strict();
    let sent = stream::iter(&evaluation.desired).map(|desired| {
        let mut object = desired.manifest.to_value();
        object["metadata"]["annotations"] = json!({"bench": desired.digest});
        let (api, parameters) = (&api, &parameters);
        async move { api.patch(&desired.key.name, parameters, &Patch::Apply(&object)).await.map(drop) }
    });
    let begun = Instant::now();
    let answers: Vec<Result<(), kube::Error>> = sent.buffer_unordered(CONCURRENCY).collect().await;
    let time = begun.elapsed();
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    time
}
