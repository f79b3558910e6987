//! The options of `kelos up` that bound runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::api::run::{Limits, Network, Sandbox, SandboxLevel};
use crate::api::{duration, quantity};
use crate::daemon::config::RunConfig;
use crate::executor::age::Keep;
use crate::runner::egress::rules::Rule;

/// What runs are kept from, and what they may use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options for runs")]
pub(super) struct RunOptions {
    /// What a run may reach over the network unless its Task says otherwise: a loopback of its own and others through a proxy, or no one, or whatever this machine reaches
    #[arg(long, value_enum, default_value = "guarded")]
    network: NetworkWord,
    /// Let Tasks ask for the network of this machine (annotation kelos.dev/network: host)
    #[arg(long)]
    allow_host_network: bool,
    /// Whom runs may reach through the proxy: 'public', a host name, '*.' and a name, an address or a range, each with or without ':PORT'; can be given several times. By default public
    #[arg(long, value_name = "RULE", value_parser = rule)]
    egress: Vec<String>,
    /// Let Tasks ask for this port of this machine's loopback (annotation kelos.dev/loopback-ports); can be given several times
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    loopback_port: Vec<u16>,
    /// Least sandbox without which no run starts; agents with a model need 'files' at least
    #[arg(long, value_enum, default_value = "limited", value_name = "LEVEL")]
    minimum_sandbox: LevelWord,
    /// Greatest sandbox that is tried
    #[arg(long, value_enum, default_value = "enclosed", value_name = "LEVEL")]
    maximum_sandbox: LevelWord,
    /// File or folder that runs may read beside the system and the folders of PATH, also in your home; can be given several times
    #[arg(long, value_name = "PATH")]
    readable: Vec<PathBuf>,
    /// Most memory of a run, as 4Gi; by default all there is
    #[arg(long, value_name = "SIZE", value_parser = size)]
    run_memory: Option<u64>,
    /// Most processors of a run, as 1500m or 2; by default all there are
    #[arg(long, value_name = "AMOUNT", value_parser = processors)]
    run_cpu: Option<u64>,
    /// Most processes and threads of a run
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(16..))]
    run_processes: u64,
    /// Most room on the disk for the files of a run
    #[arg(long, value_name = "SIZE", default_value = "20Gi", value_parser = size)]
    run_disk: u64,
    /// Room on the disk below which no run starts
    #[arg(long, value_name = "SIZE", default_value = "512Mi", value_parser = size)]
    disk_floor: u64,
    /// How long the work of a run that failed is kept
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = time)]
    keep_failed: Duration,
    /// How long the log of a run is kept after its end
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = time)]
    keep_logs: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NetworkWord {
    /// A loopback of its own, and others through a proxy
    Guarded,
    /// No one
    None,
    /// Whatever this machine reaches
    Host,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelWord {
    /// Environment, home and limits of its own, no new privileges
    Limited,
    /// Also files are guarded
    Files,
    /// Also no signal and no abstract socket reaches beyond the run
    Isolated,
    /// Also processes, files, sockets and a network of its own
    Enclosed,
}

impl LevelWord {
    fn level(self) -> SandboxLevel {
        match self {
            Self::Limited => SandboxLevel::Limited,
            Self::Files => SandboxLevel::Files,
            Self::Isolated => SandboxLevel::Isolated,
            Self::Enclosed => SandboxLevel::Enclosed,
        }
    }
}

fn rule(text: &str) -> Result<String, String> {
    text.parse::<Rule>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn size(text: &str) -> Result<u64, String> {
    quantity::ones(text)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size is a number of bytes, or one with Ki, Mi, Gi or Ti".to_owned())
}

fn processors(text: &str) -> Result<u64, String> {
    quantity::thousandths(text)
        .filter(|millis| *millis > 0)
        .ok_or_else(|| "an amount of processors is a number such as 2, 0.5 or 500m".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

impl RunOptions {
    /// Returns what they say to the daemon.
    pub(super) fn config(self) -> RunConfig {
        let network = match self.network {
            NetworkWord::Guarded => Network::Guarded,
            NetworkWord::None => Network::Closed,
            NetworkWord::Host => Network::Open,
        };
        let sandbox = Sandbox {
            minimum: self.minimum_sandbox.level(),
            maximum: self.maximum_sandbox.level(),
            network,
            egress: self.egress,
            loopback_ports: self.loopback_port,
            readable: self.readable,
            ..Sandbox::default()
        };
        let limits = Limits {
            memory_bytes: self.run_memory,
            cpu_millis: self.run_cpu,
            processes: Some(self.run_processes),
            disk_bytes: Some(self.run_disk),
            ..Limits::default()
        };
        RunConfig {
            sandbox,
            host_network: self.allow_host_network,
            limits,
            disk_floor: self.disk_floor,
            keep: Keep { failed_work: self.keep_failed, logs: self.keep_logs },
        }
    }
}
