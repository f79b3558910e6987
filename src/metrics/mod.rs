//! What the daemon counts and measures, in the text format of Prometheus.
//!
//! One registry is made by the composition root; each layer is handed the part that it counts with and knows nothing of
//! the others. A part that was made by itself, as in tests, counts for nobody. What is cheaper to look up than to keep,
//! such as sizes, is read when somebody asks: see [`Metrics::observe`].
//!
//! Labels are words of ours from closed sets, so that neither the text of a user nor the number of objects gets in.

mod api;
mod storage;
mod table;
mod work;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::prometheus_text::{self, CONTENT_TYPE};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Metric, Registry};

pub use crate::metrics::api::{InFlight, LongRunning, RequestLabels, Requests};
pub use crate::metrics::storage::Storage;
pub use crate::metrics::table::{Description, Kind, TABLE, reference};
pub use crate::metrics::work::Work;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = CONTENT_TYPE;

/// Labels of one reading, by name, in the order of the description.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// Everything that is counted; clones share it.
#[derive(Debug, Clone)]
pub struct Metrics {
    // Written while the daemon is put together, read by each scrape.
    registry: Arc<RwLock<Registry>>,
    /// For the API server.
    pub requests: Requests,
    /// For the store.
    pub storage: Storage,
    /// For the controllers.
    pub work: Work,
}

impl Metrics {
    /// Returns a registry in which nothing was counted yet; `version` is that of this program.
    pub fn new(version: &'static str) -> Self {
        let metrics = Self {
            registry: Arc::default(),
            requests: Requests::default(),
            storage: Storage::default(),
            work: Work::default(),
        };
        {
            let mut registry = metrics.registry.write().unwrap_or_else(PoisonError::into_inner);
            metrics.requests.register(&mut registry);
            metrics.storage.register(&mut registry);
            metrics.work.register(&mut registry);
        }
        metrics.observe("kelos_build_info", move || vec![(vec![("version", version.into())], 1.0)]);
        metrics
    }

    /// Reads the metric `name` of the table when somebody asks for the metrics. `read` is called in that request and
    /// should take microseconds.
    ///
    /// # Panics
    /// When the table has no such counter or gauge: names are ours.
    pub fn observe(&self, name: &str, read: impl Fn() -> Vec<(Labels, f64)> + Send + Sync + 'static) {
        let description = table::find(name);
        let observed = Observed { description, read: Box::new(read) };
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(observed));
    }

    /// Returns all metrics as text.
    pub fn text(&self) -> String {
        let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::with_capacity(16 << 10);
        prometheus_text::encode(&mut text, &registry).expect("because writing to a string does not fail");
        text
    }
}

/// Registers `metric` under a name of the table, with what the table says about it.
fn register(registry: &mut Registry, name: &str, metric: impl Metric) {
    let description = table::find(name);
    registry.register(description.stem(), description.help, metric);
}

/// A metric that is read when somebody asks.
struct Observed {
    description: &'static Description,
    read: Box<dyn Fn() -> Vec<(Labels, f64)> + Send + Sync>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Observed({})", self.description.name)
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Description { kind, help, .. } = self.description;
        let metric_type = if *kind == Kind::Counter { MetricType::Counter } else { MetricType::Gauge };
        // The registry ends the help of what it owns with a full stop; this is the same for what it does not.
        let help = format!("{help}.");
        let mut metric = encoder.encode_descriptor(self.description.stem(), &help, None, metric_type)?;
        for (labels, value) in (self.read)() {
            let one = metric.encode_family(&labels)?;
            match kind {
                Kind::Counter => ConstCounter::new(value).encode(one)?,
                Kind::Gauge | Kind::Histogram => ConstGauge::new(value).encode(one)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_counted_is_shown_and_stands_in_the_table() {
        let metrics = Metrics::new("1.2.3");
        let labels = RequestLabels {
            verb: "LIST",
            group: "kelos.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            resource: "tasks".to_owned(),
            subresource: String::new(),
        };
        metrics.requests.answered(&labels, 200, std::time::Duration::from_millis(3));
        metrics.storage.committed(8, std::time::Duration::from_millis(1));
        metrics.work.report_ended(true);
        metrics.observe("kelos_runs_slots", || vec![(Vec::new(), 4.0)]);
        let text = metrics.text();
        for line in [
            "kelos_build_info{version=\"1.2.3\"} 1.0",
            "apiserver_request_total{verb=\"LIST\",group=\"kelos.dev\",version=\"v1alpha1\",resource=\"tasks\",subresource=\"\",code=\"200\"} 1",
            "kelos_store_commit_writes_sum 8.0",
            "kelos_reports_total{result=\"pushed\"} 1",
            "kelos_runs_slots 4.0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
        }
        let known: BTreeSet<&str> = TABLE.iter().map(|description| description.name).collect();
        assert_eq!(known.len(), TABLE.len(), "each name stands once in the table");
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert_eq!(table::find(name).kind.as_str(), kind, "{name}");
        }
    }
}
