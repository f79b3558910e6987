//! Which server a command means.
//!
//! In this order: `--kubeconfig`, the `KUBECONFIG` variable, a `kelos up` of this user that is running, and the
//! context of the user's own kubeconfig.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, configuration};
use crate::daemon::home::{self, DataDir};

/// A server that was chosen.
pub(crate) struct Server {
    /// Reaches it.
    pub(crate) client: kube::Client,
    /// The namespace that is meant when a command names none.
    pub(crate) namespace: String,
    /// Its address, for messages.
    pub(crate) address: String,
    /// Why this server: the flag, variable or note that named it.
    pub(crate) source: String,
    /// Where the data of the server lies, when it is a `kelos up` of this machine.
    pub(crate) data_dir: Option<PathBuf>,
}

impl Server {
    /// Tells the user which server is about to be changed.
    pub(crate) fn tell(&self, printer: Printer) {
        printer.message(format_args!("on {} (from {})", self.address, self.source));
    }
}

/// Connects to the server that is meant.
pub(crate) async fn connect(
    global: &GlobalArguments,
    environment: &Environment,
) -> Result<Server, CommandError> {
    let Found { kubeconfig, source, data_dir } = find(global, environment)?;
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| {
        CommandError::user(
            anyhow::Error::new(error).context(format!("the kubeconfig from {source} cannot be used")),
        )
    })?;
    if config.cluster_url.host().is_some_and(is_loopback) {
        // A proxy of the environment is for the world outside.
        config.proxy_url = None;
    }
    let address = config.cluster_url.to_string();
    let configured = match &global.namespace {
        Some(namespace) => Some(namespace.clone()),
        None => configuration::load(global, environment)?.namespace,
    };
    let namespace = configured.unwrap_or_else(|| config.default_namespace.clone());
    let client = kube::Client::try_from(config).map_err(CommandError::from)?;
    let address = address.trim_end_matches('/').to_owned();
    Ok(Server { client, namespace, address, source, data_dir })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

struct Found {
    kubeconfig: Kubeconfig,
    source: String,
    data_dir: Option<PathBuf>,
}

fn find(global: &GlobalArguments, environment: &Environment) -> Result<Found, CommandError> {
    let found = |path: &Path, source: String| {
        Ok(Found { kubeconfig: read(path)?, source, data_dir: DataDir::of_kubeconfig(path) })
    };
    if let Some(path) = &global.kubeconfig {
        return found(path, "--kubeconfig".to_owned());
    }
    if let Some(named) = &environment.kubeconfig {
        let paths: Vec<PathBuf> = std::env::split_paths(named).filter(|path| path.is_file()).collect();
        if paths.is_empty() {
            // What was meant is not known, and another server is certainly not it.
            let named = named.display();
            return Err(CommandError::user_message(format!(
                "KUBECONFIG names no file that is there: {named}"
            ))
            .hint("Correct it, or unset it; --kubeconfig names a file for one command"));
        }
        if let [only] = paths.as_slice() {
            return found(only, "KUBECONFIG".to_owned());
        }
        let mut merged: Option<Kubeconfig> = None;
        for path in &paths {
            let next = read(path)?;
            merged = Some(match merged {
                None => next,
                Some(before) => before.merge(next).map_err(CommandError::user)?,
            });
        }
        if let Some(merged) = merged {
            return Ok(Found { kubeconfig: merged, source: "KUBECONFIG".to_owned(), data_dir: None });
        }
    }
    if let Some(path) = environment.announcements.as_deref().and_then(home::announced) {
        return found(&path, "the running 'kelos up'".to_owned());
    }
    let own: Option<PathBuf> = environment.home.as_ref().map(|home| home.join(".kube").join("config"));
    if let Some(path) = own.filter(|path| path.is_file()) {
        let source = path.display().to_string();
        return found(&path, source);
    }
    Err(CommandError::user_message("no server is known")
        .hint("Start one with 'kelos up', or name a cluster with --kubeconfig"))
}

fn read(path: &Path) -> Result<Kubeconfig, CommandError> {
    Kubeconfig::read_from(path).map_err(|error| {
        CommandError::user(
            anyhow::Error::new(error).context(format!("cannot read the kubeconfig {}", path.display())),
        )
    })
}
