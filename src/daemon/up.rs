//! Starts the whole on one machine and keeps it until it is told to end.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::config_repository::ConfigRepository;
use crate::api::kind::Kind;
use crate::apiserver::{self, ApiServer, Credentials};
use crate::clock::{self, SharedClock};
use crate::controllers::config_repository as config_repositories;
use crate::controllers::context::Context;
use crate::controllers::task::bounds::Bounds;
use crate::controllers::task::build::Machine;
use crate::controllers::{report, run_record, task, task_spawner};
use crate::daemon::config::{Config, RepositoryConfig, RunConfig};
use crate::daemon::embedded;
use crate::daemon::home::{self, DataDir};
use crate::daemon::metrics as observability;
use crate::daemon::runs;
use crate::daemon::supervisor::Supervisor;
use crate::executor::Executor;
use crate::executor::local::Local;
use crate::git::leftovers;
use crate::gitops::observed::ObservedCluster;
use crate::gitops::render::ChildRenderer;
use crate::gitops::wanted::WantedRuns;
use crate::metrics::Metrics;
use crate::process;
use crate::store::{self, Store};

/// How often what is too old of runs is removed.
const CLEAN_EVERY: Duration = Duration::from_mins(10);
/// The name of the object that `--repo` makes, and its namespace.
const DEFAULT: &str = "default";

/// What is true once the daemon is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The kubeconfig for this control plane.
    pub kubeconfig: std::path::PathBuf,
    /// Where the API listens.
    pub address: SocketAddr,
}

/// How the daemon is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Runs go on without it, and the next start takes them up.
    LeaveRuns,
    /// Runs are cancelled first, and their Tasks say so.
    StopRuns,
}

/// Runs until `stop` resolves; calls `ready` once everything serves and the kubeconfig is written.
///
/// Runs that go on when it ends are left to themselves, unless it is asked to stop them.
///
/// # Errors
/// When something cannot be started, or ends although nobody asked it to.
pub async fn up(
    config: Config,
    stop: impl Future<Output = Stop>,
    ready: impl FnOnce(&Ready),
) -> anyhow::Result<()> {
    let data = DataDir::open(&config.data_dir)
        .with_context(|| format!("cannot use the data folder {}", config.data_dir.display()))?;
    let clock = clock::system();
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let store = Store::open(&data.store(), store_options(&metrics))?;
    // The store is locked: no other daemon works in this folder.
    data.note_process().context("cannot write into the data folder")?;
    leftovers::remove(&data.repositories()).context("cannot clear the copies of repositories")?;
    // A thread of the allocator's own returns what a pass leaves free also when nothing happens after it. Other commands
    // end soon, and the runner enters namespaces, which only a process of one thread can.
    tikv_jemalloc_ctl::background_thread::write(true).context("the allocator has no thread of its own")?;
    // An agent of a run without a sandbox of files is the same user as we are.
    process::close_to_others().context("cannot close the daemon to other processes")?;
    let RunConfig { disk_floor, keep, .. } = config.runs;
    let local = Local::with_room(data.root(), config.program.clone(), config.slots, disk_floor, keep)?;
    let executor: Arc<dyn Executor> = Arc::new(local.clone());
    let server =
        embedded::api_server(store.clone(), Arc::clone(&clock), &executor, metrics.requests.clone())?;
    observability::observe(&metrics, &store, &server, &executor);
    let listener = bind(&config, &data).await?;
    let address = listener.local_addr().context("the listener has no address")?;
    let host = address.ip().to_string();
    let credentials = Credentials::load_or_create(&data.credentials(), clock.now(), &[host])?;
    credentials.write_kubeconfig(&data.kubeconfig(), &format!("https://{address}"))?;
    server.prepare().await.map_err(|error| anyhow::anyhow!("{}", error.message))?;

    let mut supervisor = Supervisor::new();
    let shutdown = supervisor.shutdown_signal();
    let in_process = apiserver::in_process(server.router(), concat!("kelos/", env!("CARGO_PKG_VERSION")));
    let client = kube::Client::new(in_process.clone(), DEFAULT);
    start_server(&mut supervisor, &server, listener, credentials, &metrics);
    supervisor.start("cleaning of runs", clean_runs(local, Arc::clone(&clock), shutdown.clone()));
    if let Some(repository) = &config.repository {
        make_repository(&client, repository).await?;
    }

    let cluster = Arc::new(ObservedCluster::new());
    let (listed, observed) = tokio::sync::watch::channel(false);
    {
        let (cluster, client, shutdown) = (Arc::clone(&cluster), client.clone(), shutdown.clone());
        supervisor.start("observe", async move {
            tokio::select! {
                () = cluster.follow(client, listed) => {}
                () = shutdown.cancelled() => {}
            }
            Ok(())
        });
    }
    let context = Context::new(client.clone(), clock, metrics);
    let settings =
        task::Settings { executor: Arc::clone(&executor), machine: machine(&config, &data, address) };
    supervisor.start("tasks", task::run(context.clone(), settings, shutdown.clone()));
    supervisor.start("task spawners", task_spawner::run(context.clone(), shutdown.clone()));
    let wanted = Arc::new(WantedRuns::default());
    supervisor.start("run records", run_record::run(context.clone(), Arc::clone(&wanted), shutdown.clone()));
    let settings = config_repositories::Settings {
        repositories: data.repositories(),
        search_path: config.search_path.clone(),
        renderer: Arc::new(ChildRenderer { program: config.program.clone() }),
        cluster: Arc::clone(&cluster),
        wanted,
        all_secrets: true,
    };
    supervisor.start(
        "config repositories",
        config_repositories::run(context.clone(), settings, observed, shutdown.clone()),
    );

    let settings = report::Settings {
        cluster,
        repositories: data.repositories(),
        search_path: config.search_path.clone(),
        git_environment: git_environment(&config),
    };
    supervisor.start("reports", report::run(context, settings, shutdown));

    if let Some(folder) = &config.announcements {
        home::announce(folder, &data.kubeconfig()).context("cannot announce the control plane")?;
    }
    ready(&Ready { kubeconfig: data.kubeconfig(), address });
    // Watches end first: an open one would hold the listener until its grace is over.
    let stop = async {
        if stop.await == Stop::StopRuns {
            runs::stop(&*executor, &client).await;
        }
        server.stop();
    };
    let result = supervisor.run(stop).await;
    server.stop();
    in_process.finish().await;
    // Whatever still holds a handle: without this mark the next start would count as one after a crash.
    tokio::task::block_in_place(|| store.close());
    if let Some(folder) = &config.announcements {
        home::withdraw(folder, &data.kubeconfig());
    }
    data.forget_process();
    result
}

/// Starts what serves the API on its address and keeps it in order.
fn start_server(
    supervisor: &mut Supervisor,
    server: &ApiServer,
    listener: TcpListener,
    credentials: Credentials,
    metrics: &Metrics,
) {
    let shutdown = supervisor.shutdown_signal();
    let router = observability::serve(server.router(), metrics.clone());
    let requests = metrics.requests.clone();
    supervisor.start("api", async move {
        let served =
            apiserver::serve(listener, router, &credentials, requests, shutdown.cancelled_owned()).await;
        served.context("the API cannot listen")
    });
    let (server, shutdown) = (server.clone(), supervisor.shutdown_signal());
    supervisor.start("housekeeping", async move {
        tokio::select! {
            () = server.keep_house() => {}
            () = shutdown.cancelled() => {}
        }
        Ok(())
    });
}

/// Returns the variables for git, with the proxies.
fn git_environment(config: &Config) -> BTreeMap<String, String> {
    let proxies = config.proxies.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    config.git_environment.clone().into_iter().chain(proxies).collect()
}

/// Returns what is the same for all runs. Our own API, at `address`, is closed to them.
fn machine(config: &Config, data: &DataDir, address: SocketAddr) -> Machine {
    let RunConfig { mut sandbox, host_network, limits, disk_floor: _, keep: _ } = config.runs.clone();
    sandbox.closed_ports.push(address.port());
    Machine {
        search_path: config.search_path.clone(),
        mirrors: data.mirrors(),
        proxies: config.proxies.clone(),
        git_environment: config.git_environment.clone(),
        install_environment: config.install_environment.clone(),
        private: [Some(data.root().to_path_buf()), config.user_home.clone()].into_iter().flatten().collect(),
        agents: config.agents.clone(),
        bounds: Bounds { sandbox, host_network, limits },
    }
}

/// Removes what is too old of runs, again and again until `shutdown`.
async fn clean_runs(local: Local, clock: SharedClock, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        if let Err(error) = local.clean(clock.now()).await {
            tracing::warn!(%error, "What is too old of a run could not be removed and is tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(CLEAN_EVERY) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

fn store_options(metrics: &Metrics) -> store::Options {
    store::Options {
        secret_prefixes: apiserver::secret_prefixes(),
        metrics: metrics.storage.clone(),
        ..store::Options::default()
    }
}

/// Listens where the configuration says; without a port, where the last start listened if that is free.
async fn bind(config: &Config, data: &DataDir) -> anyhow::Result<TcpListener> {
    if config.listen.port() == 0
        && let Some(port) = home::last_port(&data.kubeconfig())
        && let Ok(listener) = TcpListener::bind((config.listen.ip(), port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))
}

/// Makes the ConfigRepository that the command line asks for, or changes it to what is asked for.
///
/// What the command line does not say is left as it is: a suspension by hand, for one, outlives a restart.
async fn make_repository(client: &kube::Client, wanted: &RepositoryConfig) -> anyhow::Result<()> {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let report = said([("interval", text(&wanted.interval)), ("writer", text(&wanted.report_writer))]);
    let spec = said([
        ("url", Some(Value::from(wanted.url.as_str()))),
        ("ref", wanted.branch.as_ref().map(|branch| json!({"branch": branch}))),
        ("path", text(&wanted.path)),
        ("secretRef", wanted.secret.as_ref().map(|name| json!({"name": name}))),
        ("interval", text(&wanted.interval)),
        // With nothing in it, it is a report with every default.
        ("report", Some(report)),
    ]);
    let api: Api<ConfigRepository> = Api::namespaced(client.clone(), DEFAULT);
    let object = json!({
        "apiVersion": Kind::ConfigRepository.api_version(), "kind": Kind::ConfigRepository.as_str(),
        "metadata": {"name": DEFAULT, "namespace": DEFAULT}, "spec": spec,
    });
    api.patch(DEFAULT, &PatchParams::apply("kelos-up").force(), &Patch::Apply(&object))
        .await
        .context("cannot make the ConfigRepository 'default'")?;
    Ok(())
}

/// Returns an object with the fields that have a value.
fn said<const COUNT: usize>(fields: [(&str, Option<Value>); COUNT]) -> Value {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
