//! `/metrics` on the API's address, and what is looked up for it when somebody asks.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http::header;

use crate::apiserver::ApiServer;
use crate::executor::Executor;
use crate::metrics::{MEDIA_TYPE, Metrics};
use crate::process::usage::{self, Usage};
use crate::store::{Statistics, Store};

/// Returns `router` with the path of the metrics. Like everything but health it is behind the token.
pub(super) fn serve(router: Router, metrics: Metrics) -> Router {
    let answer = move || std::future::ready(([(header::CONTENT_TYPE, MEDIA_TYPE)], metrics.text()));
    router.route("/metrics", get(answer))
}

/// How one number is read from what the system says about a process.
type OfProcess = fn(&Usage) -> Option<f64>;

/// What every Prometheus client library says about its process.
const OF_PROCESS: [(&str, OfProcess); 7] = [
    ("process_cpu_seconds_total", |usage| Some(usage.cpu_seconds)),
    ("process_resident_memory_bytes", |usage| Some(float(usage.resident_bytes))),
    ("process_virtual_memory_bytes", |usage| Some(float(usage.virtual_bytes))),
    ("process_threads", |usage| Some(float(usage.threads))),
    ("process_start_time_seconds", |usage| Some(usage.start_seconds)),
    ("process_open_fds", |usage| usage.open_files.map(float)),
    ("process_max_fds", |usage| usage.most_files.map(float)),
];

/// Has sizes observed: those of this process, of the store, of what it holds, and how many runs go on.
pub(super) fn observe(metrics: &Metrics, store: &Store, server: &ApiServer, executor: &Arc<dyn Executor>) {
    for (name, reading) in OF_PROCESS {
        metrics.observe(name, move || {
            // What the system does not say is left out.
            let value = usage::of_self().ok().and_then(|usage| reading(&usage));
            value.map(|value| (Vec::new(), value)).into_iter().collect()
        });
    }
    type Reading = fn(Statistics) -> u64;
    let sizes: [(&str, Reading); 4] = [
        ("kelos_store_revision", |seen| seen.revision),
        ("kelos_store_file_bytes", |seen| seen.file_bytes),
        ("kelos_store_history_events", |seen| seen.history_events as u64),
        ("kelos_store_watches", |seen| seen.watches as u64),
    ];
    for (name, reading) in sizes {
        let store = store.clone();
        metrics.observe(name, move || vec![(Vec::new(), float(reading(store.statistics())))]);
    }
    let (store, kinds) = (store.clone(), server.kinds());
    metrics.observe("apiserver_resource_objects", move || {
        let count = |prefix: &str| float(store.count(prefix) as u64);
        let of_kind = kinds.iter().map(|kind| {
            let labels = vec![("group", kind.group.clone().into()), ("resource", kind.plural.clone().into())];
            (labels, count(&kind.prefix))
        });
        of_kind.collect()
    });
    for (name, is_total) in [("kelos_runs_slots", true), ("kelos_runs_slots_in_use", false)] {
        let executor = Arc::clone(executor);
        metrics.observe(name, move || {
            let slots = executor.slots();
            vec![(Vec::new(), float(if is_total { slots.total } else { slots.used } as u64))]
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below what a float holds exactly")]
fn float(count: u64) -> f64 {
    count as f64
}
