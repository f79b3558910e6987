//! All metrics by name: what each is called, what it counts, and by which labels.

/// Whether a metric only grows, goes up and down, or is a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many observations lie below each of some bounds; with their sum and number.
    Histogram,
}

impl Kind {
    /// Returns the word that the text format has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is said about one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The name as it is shown.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence without a full stop.
    pub help: &'static str,
}

impl Description {
    /// Returns the name without what the registry appends to it.
    pub(super) fn stem(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Description {
    Description { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Description {
    Description { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Description {
    Description { name, kind: Kind::Histogram, labels, help }
}

const REQUEST: &[&str] = &["verb", "group", "version", "resource", "subresource"];

/// Every metric.
pub const TABLE: &[Description] = &[
    counter(
        "apiserver_request_total",
        &["verb", "group", "version", "resource", "subresource", "code"],
        "Requests that were answered, those of the daemon's own controllers too",
    ),
    histogram(
        "apiserver_request_duration_seconds",
        REQUEST,
        "Time to the beginning of the answer, without watches",
    ),
    gauge(
        "apiserver_current_inflight_requests",
        &["request_kind"],
        "Requests that are worked on, mutating or readOnly, without those that are open for long",
    ),
    gauge("apiserver_longrunning_requests", REQUEST, "Watches that are open"),
    gauge("apiserver_resource_objects", &["group", "resource"], "Objects that are stored, by their kind"),
    counter(
        "kelos_api_unauthenticated_requests_total",
        &[],
        "Requests that were refused because they did not bear the token",
    ),
    gauge("kelos_api_connections", &[], "Connections to the API's address that are open"),
    counter(
        "kelos_api_refused_connections_total",
        &[],
        "Connections that were closed because too many were open",
    ),
    histogram("kelos_store_commit_duration_seconds", &[], "Time that a commit took until it was durable"),
    histogram("kelos_store_commit_writes", &[], "Writes that shared a commit"),
    counter("kelos_store_commit_failures_total", &[], "Commits that failed, as on a full disk"),
    gauge("kelos_store_revision", &[], "The latest revision"),
    gauge("kelos_store_file_bytes", &[], "Size of the store's file and of its write-ahead log"),
    gauge("kelos_store_history_events", &[], "Past changes from which a watch can be resumed"),
    gauge("kelos_store_watches", &[], "Watches of the store that are open, those of the daemon itself too"),
    histogram(
        "kelos_pass_duration_seconds",
        &["result"],
        "Attempts to bring the cluster to a config repository, by the reason of the condition Ready",
    ),
    counter("kelos_findings_total", &["code", "severity"], "Findings about revisions that were read"),
    gauge("kelos_tasks", &["phase", "reason"], "Tasks, by the phase and reason in their status"),
    counter("kelos_runs_total", &["agent", "outcome"], "Tasks that ended, by the reason in their status"),
    histogram("kelos_run_duration_seconds", &["agent"], "Time from the start of a run to its end"),
    gauge("kelos_runs_slots", &[], "Runs that may go on at once"),
    gauge("kelos_runs_slots_in_use", &[], "Runs that go on"),
    histogram(
        "kelos_schedule_lateness_seconds",
        &[],
        "Time from a tick of a schedule to its Task; waiting for room counts",
    ),
    counter("kelos_reports_total", &["result"], "Reports that were pushed or refused by their remote"),
    gauge("kelos_build_info", &["version"], "Always 1; the label says which version this is"),
    counter("process_cpu_seconds_total", &[], "Processor time of this process, without its runs"),
    gauge("process_resident_memory_bytes", &[], "Memory in use"),
    gauge("process_virtual_memory_bytes", &[], "Addresses in use"),
    gauge("process_threads", &[], "Threads"),
    gauge("process_start_time_seconds", &[], "When this process began, in seconds since the epoch"),
    gauge("process_open_fds", &[], "Open descriptors"),
    gauge("process_max_fds", &[], "Descriptors that may be open"),
];

/// Returns what the table says about `name`.
pub(super) fn find(name: &str) -> &'static Description {
    let found = TABLE.iter().find(|description| description.name == name);
    found.expect("because whoever counts uses a name of the table")
}

/// Returns path and contents of the page that lists all metrics.
pub fn reference() -> (String, String) {
    let mut page = String::from(
        "<!-- Generated from the program; do not edit. `UPDATE_GENERATED=1 cargo test --test it generated` writes it. -->\n\n\
         # Metrics\n\n\
         `kelos up` serves `/metrics` on the API's address in the text format of Prometheus. As on a cluster it needs the\n\
         token, like everything but `/healthz`, `/livez` and `/readyz`, which anybody may ask on that address:\n\n\
         ```sh\n\
         kubectl get --raw /metrics\n\
         ```\n\n\
         A Prometheus on the same machine reads the token and the authority from the data folder:\n\n\
         ```yaml\n\
         scrape_configs:\n\
         \x20 - job_name: kelos\n\
         \x20   scheme: https\n\
         \x20   authorization:\n\
         \x20     credentials_file: /home/me/.local/share/kelos/credentials/token\n\
         \x20   tls_config:\n\
         \x20     ca_file: /home/me/.local/share/kelos/credentials/ca.crt\n\
         \x20   static_configs:\n\
         \x20     - targets: [\"127.0.0.1:6443\"]\n\
         ```\n\n\
         Without `--listen` the port is a free one; it stands in the kubeconfig, and a later start takes the same one if it\n\
         can. Names that begin with `apiserver_` mean what they mean on kube-apiserver. Labels come from closed sets: no text\n\
         of a user and no name of an object stands in any of them. Counters begin at 0 when the daemon starts.\n\n\
         | name | kind | labels | what it says |\n\
         | --- | --- | --- | --- |\n",
    );
    for Description { name, kind, labels, help } in TABLE {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        page.push_str(&format!("| `{name}` | {} | {} | {help} |\n", kind.as_str(), labels.join(", ")));
    }
    ("docs/reference/metrics.md".to_owned(), page)
}
