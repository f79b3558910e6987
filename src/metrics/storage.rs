//! Commits of the store.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::metrics::register;

/// Upper bounds in seconds: a commit waits for the disk.
const DURATIONS: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Upper bounds of how many writes share a commit.
const WRITES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 512.0, 2_048.0];

/// Counts commits; clones share the counters.
#[derive(Debug, Clone)]
pub struct Storage {
    durations: Histogram,
    writes: Histogram,
    failures: Counter,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            durations: Histogram::new(DURATIONS),
            writes: Histogram::new(WRITES),
            failures: Counter::default(),
        }
    }
}

impl Storage {
    pub(super) fn register(&self, registry: &mut Registry) {
        register(registry, "kelos_store_commit_duration_seconds", self.durations.clone());
        register(registry, "kelos_store_commit_writes", self.writes.clone());
        register(registry, "kelos_store_commit_failures_total", self.failures.clone());
    }

    /// Counts a commit of so many writes that is durable.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a commit has far fewer writes than a float counts exactly"
    )]
    pub fn committed(&self, writes: usize, took: Duration) {
        self.durations.observe(took.as_secs_f64());
        self.writes.observe(writes as f64);
    }

    /// Counts a commit that failed; its writes did not happen.
    pub fn failed(&self) {
        self.failures.inc();
    }
}
