//! What the embedded API costs, over TLS and in process: `cargo bench --bench api -- 5000`.
//!
//! The number is how many objects are created. With `KUBEBUILDER_ASSETS` the same requests go to a real kube-apiserver.
//! Wall times depend on what else the machine does; the processor time and the commits of a request do not.

mod shared;

use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use kelos::api::kind::Kind;
use kelos::api::schema;
use kelos::apiserver::{self, ApiServer, Credentials, Options, Resource};
use kelos::clock;
use kelos::daemon::rules_of;
use kelos::metrics::Metrics;
use kelos::store::{self, Store};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use shared::daemon::{Daemon, Usage};
use shared::real_api_server::{self, RealApiServer};
use shared::{head, mebibytes, numbers, row, say};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SPAWNERS: &str = "/apis/kelos.dev/v1alpha1/namespaces/default/taskspawners";

/// How many requests are measured one after another.
const SEQUENTIAL: usize = 1_000;

/// How many changes of one object stand for a long history.
const HISTORY: usize = 20_000;

#[tokio::main(worker_threads = 2)]
async fn main() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let count = numbers(&[5_000])[0];
    in_process(count).await;
    alone(count).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let daemon = Daemon::start(folder.path(), &[]).await;
    daemon.settle().await;
    let peer = Peer { name: "kelos up, over TLS", client: daemon.client(), usage: Some(&|| daemon.usage()) };
    peer.measure(count).await;
    history(&peer).await;
    drop(peer);
    daemon.stop();
    if let Some(assets) = real_api_server::assets() {
        let server = RealApiServer::start(&assets).await;
        let peer = Peer { name: "kube-apiserver, over TLS", client: server.client.clone(), usage: None };
        peer.measure(count).await;
    } else {
        say(
            "\nkube-apiserver was not measured: KUBEBUILDER_ASSETS names no folder with it (tests/envtest/build.sh)",
        );
    }
}

/// A server that is measured.
struct Peer<'a> {
    name: &'static str,
    client: kube::Client,
    /// What its process has used so far, where that can be told.
    usage: Option<&'a dyn Fn() -> Usage>,
}

impl Peer<'_> {
    async fn measure(&self, count: usize) {
        self.measure_creates(count).await;
        let each = |request: fn(usize) -> Request<Body>| async move {
            for number in 0..SEQUENTIAL {
                self.ask(request(number)).await;
            }
        };
        let get = |number| of("c1", number, Method::GET, "", &Value::Null);
        self.step("get", SEQUENTIAL, "", each(get)).await;
        let apply = |number| applied("c1", number, 1);
        self.step("apply, new manager", SEQUENTIAL, "", each(apply)).await;
        self.step("apply, nothing changes", SEQUENTIAL, "", each(apply)).await;
        self.step("apply, a field changes", SEQUENTIAL, "", each(|number| applied("c1", number, 2))).await;
        let status = |number| {
            let body = json!({"status": {"totalDiscovered": number, "message": "a sentence"}});
            of("c1", number, Method::PATCH, "/status", &body)
        };
        self.step("merge patch of the status", SEQUENTIAL, "", each(status)).await;
        self.latency().await;
        let lists = async {
            for _ in 0..5 {
                self.ask(request(Method::GET, SPAWNERS, "", &Value::Null)).await;
            }
        };
        self.step(&format!("list of {}", 2 * count + 200 + SEQUENTIAL), 5, "", lists).await;
        if let Some(usage) = self.usage {
            row("resident memory", &mebibytes(usage().resident), "");
        }
    }

    async fn measure_creates(&self, count: usize) {
        head(&format!("{}, spawners of {} bytes", self.name, spawner("x", 0).to_string().len()));
        // The first requests of a process meet cold caches.
        self.creates("warm", 200, 8).await;
        for (clients, budget) in [(1, "2,500 per s"), (8, "6,000 per s")] {
            let name = format!("c{clients}");
            self.step(
                &format!("create, {clients} clients"),
                count,
                budget,
                self.creates(&name, count, clients),
            )
            .await;
            self.step(
                &format!("create of a ConfigMap, {clients} clients"),
                count,
                "",
                self.creates_of(CONFIG_MAPS, clients, (0..count).map(|number| config_map(&name, number))),
            )
            .await;
        }
    }

    async fn creates(&self, name: &str, count: usize, clients: usize) {
        self.creates_of(SPAWNERS, clients, (0..count).map(|number| spawner(name, number))).await;
    }

    async fn creates_of(&self, path: &str, clients: usize, objects: impl Iterator<Item = Value>) {
        let create = |object| self.ask(request(Method::POST, path, "", &object));
        stream::iter(objects).map(create).buffer_unordered(clients).collect::<()>().await;
    }

    async fn step(&self, what: &str, count: usize, budget: &str, work: impl Future<Output = ()>) {
        let (before, begun) = (self.usage.map(|usage| usage()), Instant::now());
        work.await;
        let (took, after) = (begun.elapsed(), self.usage.map(|usage| usage()));
        let count = u32::try_from(count).expect("a small number");
        let mut measured = format!("{:.0} per s", f64::from(count) / took.as_secs_f64());
        if let (Some(before), Some(after)) = (before, after) {
            measured.push_str(&format!(
                ", {} processor time each",
                micros(after.cpu.saturating_sub(before.cpu) / count)
            ));
        }
        row(what, &measured, budget);
    }

    async fn ask(&self, request: Request<Body>) {
        let response = self.client.send(request).await.expect("the server answers");
        assert!(response.status().is_success(), "{}", response.status());
        // Read to the end, and not looked at: what the client makes of it is not the server's cost.
        response.into_body().collect().await.expect("the whole answer");
    }

    async fn latency(&self) {
        let watch =
            request(Method::GET, &format!("{SPAWNERS}?watch=true&labelSelector=latency"), "", &Value::Null);
        let answer = self.client.send(watch).await.expect("the server answers");
        let mut lines =
            answer.into_body().into_data_stream().map_err(std::io::Error::other).into_async_read().lines();
        let mut times = Vec::with_capacity(SEQUENTIAL);
        for number in 0..SEQUENTIAL {
            let mut object = spawner("latency", number);
            object["metadata"]["labels"]["latency"] = json!("yes");
            let begun = Instant::now();
            let create = self.ask(request(Method::POST, SPAWNERS, "", &object));
            // The controller writes to every spawner as well, and its changes are events of their own.
            let name = format!("\"name\":\"latency-{number}\"");
            let seen = async {
                loop {
                    let line = lines.next().await.expect("the watch goes on").expect("a line");
                    if line.starts_with("{\"type\":\"ADDED\"") && line.contains(&name) {
                        break begun.elapsed();
                    }
                }
            };
            times.push(tokio::join!(create, seen).1);
        }
        times.sort_unstable();
        let part = |share: usize| micros(times[times.len() * share / 100]);
        row(
            "create sent to watch event, p50 / p99",
            &format!("{} / {}", part(50), part(99)),
            "600 / 3000 µs",
        );
    }
}

/// One object is changed many times: neither memory nor file may grow with that.
async fn history(peer: &Peer<'_>) {
    let change = |number| {
        let body = json!({"status": {"totalDiscovered": number, "message": "x".repeat(500)}});
        peer.ask(of("c1", 0, Method::PATCH, "/status", &body))
    };
    for half in ["first", "second"] {
        stream::iter(0..HISTORY / 2).map(change).buffer_unordered(8).collect::<()>().await;
        let resident = peer.usage.map(|usage| mebibytes(usage().resident)).unwrap_or_default();
        row(&format!("resident memory after the {half} {} changes", HISTORY / 2), &resident, "no growth");
    }
    let text = peer.client.request_text(Request::get("/metrics").body(Vec::new()).expect("a request")).await;
    for name in ["kelos_store_file_bytes", "kelos_store_commit_writes_sum", "kelos_store_commit_writes_count"]
    {
        let text = text.as_ref().expect("the daemon serves metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        row(name, value.trim(), "");
    }
}

/// The same through a client without a socket, as the controllers go.
async fn in_process(count: usize) {
    head("in process");
    for in_memory in [true, false] {
        let place = if in_memory { "in memory" } else { "on disk" };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let metrics = Metrics::new("0");
        let options = store::Options {
            metrics: metrics.storage.clone(),
            secret_prefixes: apiserver::secret_prefixes(),
            ..store::Options::default()
        };
        let store = if in_memory {
            Store::memory_with(&options)
        } else {
            Store::open(&folder.path().join("store.db"), options).expect("a writable folder")
        };
        let server = server_over(store).await;
        let service = apiserver::in_process(server.router(), "bench");
        let client = kube::Client::new(service, "default");
        let usage = || Usage::of(std::process::id()).expect("this process runs");
        let peer = Peer { name: "", client, usage: Some(&usage) };
        for (what, version) in
            [("apply, new", 1), ("apply, nothing changes", 1), ("apply, a field changes", 2)]
        {
            let apply = |number| peer.ask(applied("p", number, version));
            let work = stream::iter(0..count).map(apply).buffer_unordered(1_000).collect::<()>();
            peer.step(&format!("{what}, 1,000 at once, {place}"), count, "300 µs", work).await;
        }
        let text = metrics.text();
        let value = text.lines().find_map(|line| line.strip_prefix("kelos_store_commit_writes_count "));
        row(&format!("commits, {place}"), value.unwrap_or_default(), "");
    }
}

/// The server without the controllers of the daemon, which write a status to every spawner and take as much of the
/// processors as its creation.
async fn alone(count: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&folder.path().join("store.db"), store::Options::default());
    let server = server_over(store.expect("a writable folder")).await;
    let credentials =
        Credentials::load_or_create(folder.path(), clock::system().now(), &[]).expect("credentials");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let kubeconfig = Kubeconfig::from_yaml(credentials.kubeconfig(&url).expose()).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
    let usage = || Usage::of(std::process::id()).expect("this process runs");
    let name = "the API alone, over TLS, with its clients in one process";
    let peer = Peer { name, client, usage: Some(&usage) };
    let requests = Metrics::new("0").requests;
    tokio::select! {
        served = apiserver::serve(listener, server.router(), &credentials, requests, std::future::pending()) => {
            served.expect("a server");
        }
        () = peer.measure_creates(count) => {}
    }
}

/// Returns a server of our kinds over `store`.
async fn server_over(store: Store) -> ApiServer {
    let resources = Kind::ALL.iter().map(|kind| {
        Resource::from_crd(&schema::crd(*kind), Some(rules_of(*kind))).expect("our kinds are sound")
    });
    let server = ApiServer::new(store, resources.collect(), Options::new(clock::system(), "0"));
    server.prepare().await.expect("a writable store");
    server
}

fn request(method: Method, path: &str, content_type: &str, body: &Value) -> Request<Body> {
    let content_type = if content_type.is_empty() { "application/json" } else { content_type };
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string().into_bytes()) };
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
    request.body(body).expect("a well-formed request")
}

fn of(name: &str, number: usize, method: Method, subresource: &str, body: &Value) -> Request<Body> {
    let path = format!("{SPAWNERS}/{name}-{number}{subresource}");
    request(method, &path, "application/merge-patch+json", body)
}

fn applied(name: &str, number: usize, version: usize) -> Request<Body> {
    let mut object = spawner(name, number);
    object["spec"]["taskTemplate"]["promptTemplate"] = json!(format!("echo {version}: {}", "x".repeat(350)));
    let path = format!("{SPAWNERS}/{name}-{number}?fieldManager=bench&force=true");
    request(Method::PATCH, &path, "application/apply-patch+yaml", &object)
}

/// Returns a ConfigMap of about the same size.
fn config_map(name: &str, number: usize) -> Value {
    let text = "a line of text that says nothing\n".repeat(18);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-{number}")},
        "data": {"text": text},
    })
}

/// Returns a spawner of about 700 bytes that never fires while it is measured.
fn spawner(name: &str, number: usize) -> Value {
    json!({
        "apiVersion": "kelos.dev/v1alpha1",
        "kind": "TaskSpawner",
        "metadata": {
            "name": format!("{name}-{number}"),
            "labels": {"team": "platform", "purpose": "dependency-updates"},
        },
        "spec": {
            "when": {"cron": {"schedule": "0 3 1 1 *", "timeZone": "Europe/Berlin"}},
            "maxConcurrency": 1,
            "suspend": true,
            "taskTemplate": {
                "type": "shell",
                "ttlSecondsAfterFinished": 3600,
                "promptTemplate": format!("echo 1: {}", "x".repeat(350)),
            },
        },
    })
}

fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}
