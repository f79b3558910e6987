//! What the controllers do: passes, findings, runs, ticks, reports.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::metrics::register;

/// Upper bounds in seconds: from an unchanged remote to a large first pass.
const PASSES: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// Upper bounds in seconds: from at once to the machine having slept.
const LATENESS: [f64; 11] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0, 3_600.0];

/// Upper bounds in seconds: from a short script to a long session.
const RUNS: [f64; 12] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    code: &'static str,
    severity: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Run {
    agent: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Agent {
    agent: &'static str,
}

/// Counts what controllers do; clones share the counters.
#[derive(Debug, Clone)]
pub struct Work {
    passes: Family<Outcome, Histogram, fn() -> Histogram>,
    findings: Family<Found, Counter>,
    runs: Family<Run, Counter>,
    run_durations: Family<Agent, Histogram, fn() -> Histogram>,
    lateness: Histogram,
    reports: Family<Outcome, Counter>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            passes: Family::new_with_constructor(|| Histogram::new(PASSES)),
            findings: Family::default(),
            runs: Family::default(),
            run_durations: Family::new_with_constructor(|| Histogram::new(RUNS)),
            lateness: Histogram::new(LATENESS),
            reports: Family::default(),
        }
    }
}

impl Work {
    pub(super) fn register(&self, registry: &mut Registry) {
        register(registry, "kelos_pass_duration_seconds", self.passes.clone());
        register(registry, "kelos_findings_total", self.findings.clone());
        register(registry, "kelos_runs_total", self.runs.clone());
        register(registry, "kelos_run_duration_seconds", self.run_durations.clone());
        register(registry, "kelos_schedule_lateness_seconds", self.lateness.clone());
        register(registry, "kelos_reports_total", self.reports.clone());
    }

    /// Counts a pass over a config repository; `result` is the reason of its condition `Ready`.
    pub fn pass_ended(&self, result: &'static str, took: Duration) {
        self.passes.get_or_create(&Outcome { result }).observe(took.as_secs_f64());
    }

    /// Counts a finding about a revision that was read.
    pub fn found(&self, code: &'static str, severity: &'static str) {
        self.findings.get_or_create(&Found { code, severity }).inc();
    }

    /// Counts a Task that ended; `outcome` is the reason of its status. A Task that never had a run has no duration.
    pub fn run_ended(&self, agent: &'static str, outcome: &'static str, took: Option<Duration>) {
        self.runs.get_or_create(&Run { agent, outcome }).inc();
        if let Some(took) = took {
            self.run_durations.get_or_create(&Agent { agent }).observe(took.as_secs_f64());
        }
    }

    /// Counts the Task of a tick, which was created so much later than the tick was due.
    pub fn tick_served(&self, late: Duration) {
        self.lateness.observe(late.as_secs_f64());
    }

    /// Counts an attempt to bring a report to its remote.
    pub fn report_ended(&self, is_pushed: bool) {
        let result = if is_pushed { "pushed" } else { "refused" };
        self.reports.get_or_create(&Outcome { result }).inc();
    }
}
