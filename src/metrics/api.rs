//! Requests to the API, under the names that kube-apiserver uses, so that what is made for it can be used.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::metrics::register;

/// Upper bounds in seconds: from a read out of memory to a disk that hangs.
const DURATIONS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// What a request asked for, by the names of what is served; all empty when nothing of that is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// Such as `GET`, `LIST`, `WATCH`, `APPLY`.
    pub verb: &'static str,
    /// The group of a kind that is served.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its plural name.
    pub resource: String,
    /// A subresource that is served.
    pub subresource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    #[prometheus(flatten)]
    request: RequestLabels,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mutating {
    request_kind: &'static str,
}

/// Counts requests; clones share the counters.
#[derive(Debug, Clone)]
pub struct Requests {
    answered: Family<Answered, Counter>,
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
    in_flight: Family<Mutating, Gauge>,
    long_running: Family<RequestLabels, Gauge>,
    unauthenticated: Counter,
    connections: Gauge,
    refused_connections: Counter,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            in_flight: Family::default(),
            long_running: Family::default(),
            unauthenticated: Counter::default(),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
        }
    }
}

impl Requests {
    pub(super) fn register(&self, registry: &mut Registry) {
        register(registry, "apiserver_request_total", self.answered.clone());
        register(registry, "apiserver_request_duration_seconds", self.durations.clone());
        register(registry, "apiserver_current_inflight_requests", self.in_flight.clone());
        register(registry, "apiserver_longrunning_requests", self.long_running.clone());
        register(registry, "kelos_api_unauthenticated_requests_total", self.unauthenticated.clone());
        register(registry, "kelos_api_connections", self.connections.clone());
        register(registry, "kelos_api_refused_connections_total", self.refused_connections.clone());
    }

    /// Counts a request that was answered after `took`. How long a watch stays open says nothing about the server, so
    /// its duration does not count.
    pub fn answered(&self, request: &RequestLabels, code: u16, took: Duration) {
        self.answered.get_or_create(&Answered { request: request.clone(), code }).inc();
        if request.verb != "WATCH" {
            self.durations.get_or_create(request).observe(took.as_secs_f64());
        }
    }

    /// Counts a request as being worked on until the returned value is dropped.
    pub fn begin(&self, is_mutating: bool) -> InFlight {
        let request_kind = if is_mutating { "mutating" } else { "readOnly" };
        InFlight::new(self.in_flight.get_or_create_owned(&Mutating { request_kind }))
    }

    /// Counts a watch, or a log that is followed, as open until the returned value is dropped.
    pub fn begin_long_running(&self, request: &RequestLabels) -> LongRunning {
        InFlight::new(self.long_running.get_or_create_owned(request))
    }

    /// Counts a connection as open until the returned value is dropped.
    pub fn begin_connection(&self) -> InFlight {
        InFlight::new(self.connections.clone())
    }

    /// Counts a connection that was closed because too many were open.
    pub fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    /// Counts a request that did not bear the token.
    pub fn unauthenticated(&self) {
        self.unauthenticated.inc();
    }
}

/// Something that goes on; dropping it ends the counting.
#[derive(Debug)]
pub struct InFlight(Gauge);

/// A request that stays open for long.
pub type LongRunning = InFlight;

impl InFlight {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
