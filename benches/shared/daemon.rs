//! A running `kelos up`, what it uses, and a client for it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kelos::api::config_repository::ConfigRepository;
use kelos::api::labels;
use kelos::api::task_spawner::TaskSpawner;
use kelos::process;
use kelos::process::tree;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use rustix::process::Signal;
use serde_json::json;

/// How long nothing may be written before the daemon counts as having nothing left to do.
const QUIET: Duration = Duration::from_secs(1);

/// A running daemon; it is killed when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    client: kube::Client,
    /// From the start of the program to its word that it is ready.
    pub(crate) ready: Duration,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time.
    pub(crate) cpu: Duration,
    /// Processor time of children that have ended: git.
    pub(crate) children: Duration,
    /// Resident memory in KiB.
    pub(crate) resident: u64,
    /// The most that was ever resident, in KiB.
    pub(crate) peak: u64,
}

impl Usage {
    /// Returns what the process `id` has used; nothing when it is gone.
    pub(crate) fn of(id: u32) -> Option<Self> {
        // The clock tick of Linux is 10 ms to programs on every architecture.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
        };
        Some(Self {
            cpu: TICK * (ticks(11) + ticks(12)),
            children: TICK * (ticks(13) + ticks(14)),
            resident: kibibytes("VmRSS:"),
            peak: kibibytes("VmHWM:"),
        })
    }
}

impl Daemon {
    /// Starts `kelos up` and returns when it is ready.
    pub(crate) async fn start(data: &Path, arguments: &[&str]) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let begun = Instant::now();
        let mut command = process::command(env!("CARGO_BIN_EXE_kelos"));
        command.args(["up", "--data-dir"]).arg(data).args(arguments);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", data);
        if let Some(filter) = std::env::var_os("KELOS_LOG") {
            command.env("KELOS_LOG", filter);
        }
        let mut child = command.stdout(Stdio::null()).spawn().expect("the program was built");
        let mut log = BufReader::new(child.stderr.take().expect("it is captured"));
        let mut line = String::new();
        while !line.contains("kelos is ready") {
            line.clear();
            assert!(log.read_line(&mut line).expect("a log") > 0, "the daemon ended");
        }
        let ready = begun.elapsed();
        let copy = fs::File::create(data.join("bench.log")).expect("a writable folder");
        std::thread::spawn(move || std::io::copy(&mut log, &mut &copy));
        Self { child, client: client(&data.join("kubeconfig")).await, ready }
    }

    /// Returns a client for it.
    pub(crate) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Returns what it has used so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.child.id()).expect("the daemon runs")
    }

    /// Asks it to end and waits for that.
    pub(crate) fn stop(mut self) {
        let seen = tree::look_at(i32::try_from(self.child.id()).expect("ids are small")).expect("it runs");
        assert!(tree::signal(seen, Signal::TERM), "the daemon is ours");
        self.child.wait().expect("a child of ours");
    }

    fn repositories(&self) -> Api<ConfigRepository> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Asks for an attempt on the ConfigRepository, waits until it is through with `commit`, and returns how long that
    /// took.
    pub(crate) async fn reconcile(&self, commit: &str) -> Duration {
        let repositories = self.repositories();
        let config = watcher::Config::default().fields("metadata.name=default");
        let mut changes = Box::pin(watcher(repositories.clone(), config).default_backoff().touched_objects());
        changes.next().await;
        let begun = Instant::now();
        let word = uuid::Uuid::new_v4().to_string();
        let patch = json!({"metadata": {"annotations": {labels::RECONCILE_REQUESTED_AT: word}}});
        let patched = repositories.patch("default", &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.expect("the ConfigRepository takes it");
        loop {
            let object = changes.next().await.expect("a watch never ends").expect("the API serves");
            let status = object.status.unwrap_or_default();
            if status.last_handled_reconcile_at.as_deref() == Some(&word) {
                assert_eq!(status.last_applied_revision.as_deref(), Some(commit), "{:?}", status.conditions);
                return begun.elapsed();
            }
        }
    }

    /// Returns the revision of the store: each write makes it one larger.
    pub(crate) async fn revision(&self) -> u64 {
        let api: Api<TaskSpawner> = Api::namespaced(self.client.clone(), "no-such-namespace");
        let list = api.list(&ListParams::default()).await.expect("the API serves");
        list.metadata.resource_version.and_then(|version| version.parse().ok()).expect("a number")
    }

    /// Waits until nothing is written any more.
    pub(crate) async fn settle(&self) {
        let (mut known, mut since) = (self.revision().await, Instant::now());
        while since.elapsed() < QUIET {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.revision().await;
            if now != known {
                (known, since) = (now, Instant::now());
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns a client for the server that a kubeconfig names.
pub(crate) async fn client(kubeconfig: &PathBuf) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the daemon wrote it");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    kube::Client::try_from(config.expect("a usable kubeconfig")).expect("a client")
}
