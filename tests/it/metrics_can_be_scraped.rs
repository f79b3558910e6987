//! `/metrics` is what Prometheus reads: behind the token, well formed, named as documented, and free of anybody's text.

use std::collections::{BTreeMap, BTreeSet};

use kelos::metrics::{Kind, TABLE};

use crate::support::env::TestEnv;

/// Stands wherever a user may write something, and may stand in no metric.
const CANARY: &str = "zzcanary";

const TASK: &str = "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: zzcanary-task\n  labels: {zzcanary: zzcanary}\nspec:\n  type: shell\n  prompt: echo zzcanary\n";

const BROKEN: &str = "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: zzcanary-broken\nspec:\n  type: shell\n  zzcanary: 1\n  prompt: echo zzcanary\n";

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Reads the text format strictly: each family is announced before its samples, which stand together.
fn parse(text: &str) -> BTreeMap<String, (String, Vec<Sample>)> {
    let mut families: BTreeMap<String, (String, Vec<Sample>)> = BTreeMap::new();
    let mut current = String::new();
    let mut helped = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && !help.ends_with(".."), "{line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped, "the help comes first");
            current = name.to_owned();
            let before = families.insert(current.clone(), (kind.to_owned(), Vec::new()));
            assert!(before.is_none(), "{name} is announced twice");
        } else {
            let sample = sample(line);
            let (kind, samples) = families.get_mut(&current).unwrap();
            let suffix = sample.name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line}"));
            let allowed: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(allowed.contains(&suffix), "{line} stands under {current}");
            samples.push(sample);
        }
    }
    families
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, rest)) => {
            let inside = rest.strip_suffix('}').unwrap();
            // Our label values are words and never hold a quote or a comma.
            let label = |part: &str| {
                let (name, value) = part.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                (name.to_owned(), value.strip_suffix('"').unwrap().to_owned())
            };
            (name, inside.split(',').map(label).collect())
        }
    };
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
    Sample { name: name.to_owned(), labels, value: value.parse().unwrap_or_else(|_| panic!("{line}")) }
}

fn check_histogram(name: &str, samples: &[Sample]) {
    let mut series: BTreeMap<Vec<(String, String)>, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let mut labels = sample.labels.clone();
        labels.retain(|(name, _)| name != "le");
        series.entry(labels).or_default().push(sample);
    }
    for (labels, samples) in series {
        let of = |suffix: &str| {
            let wanted = format!("{name}{suffix}");
            samples
                .iter()
                .filter(|sample| sample.name == wanted)
                .map(|sample| sample.value)
                .collect::<Vec<_>>()
        };
        let (buckets, counts) = (of("_bucket"), of("_count"));
        assert!(buckets.is_sorted(), "{name} {labels:?}: {buckets:?}");
        assert_eq!(buckets.last(), counts.first(), "{name} {labels:?}");
        assert_eq!((counts.len(), of("_sum").len()), (1, 1), "{name} {labels:?}");
    }
}

#[test]
fn a_scrape_is_well_formed_documented_and_says_what_happened() {
    let mut env = TestEnv::new();
    let first = env.commit("config", &[("task.yaml", TASK)]);
    let folder = env.path("config").display().to_string();
    env.start(&["--repo", &folder, "--interval", "1s"]);
    env.applied(&first);
    env.task_ended("zzcanary-task");
    env.push(&[("broken.yaml", BROKEN)]);
    env.until("the report is pushed", |env| {
        let reply = env.exchange("GET /metrics", "", b"")?;
        reply.text().contains("kelos_reports_total{result=\"pushed\"}").then_some(())
    });
    // Names that clients choose are counted under none.
    env.exchange("GET /apis/zzcanary/v1/zzcanary", "", b"").unwrap();
    env.exchange("ZZCANARY /api/v1/secrets/zzcanary/zzcanary", "User-Agent: zzcanary\r\n", b"").unwrap();

    let stranger = env.exchange_as("", "GET /metrics", "", b"").unwrap();
    assert_eq!(stranger.code, 401, "{}", stranger.text());
    let reply = env.exchange("GET /metrics", "", b"").unwrap();
    assert_eq!(reply.code, 200);
    let head = reply.head.to_ascii_lowercase();
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let text = reply.text();
    assert!(!text.to_ascii_lowercase().contains(CANARY), "{text}");

    let families = parse(&text);
    for (name, (kind, samples)) in &families {
        let description = TABLE.iter().find(|description| description.name == name);
        let description = description.unwrap_or_else(|| panic!("{name} is not documented"));
        assert_eq!(description.kind.as_str(), kind, "{name}");
        let mut seen = BTreeSet::new();
        for sample in samples {
            let labels: Vec<&str> =
                sample.labels.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "le").collect();
            assert_eq!(labels, description.labels, "{name}");
            assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "{sample:?} stands twice");
        }
        if description.kind == Kind::Histogram {
            check_histogram(name, samples);
        }
    }
    let value = |name: &str, wanted: &[(&str, &str)]| {
        let family = name.trim_end_matches("_count").trim_end_matches("_bucket");
        let samples =
            &families.get(family).or_else(|| families.get(name)).unwrap_or_else(|| panic!("no {name}")).1;
        let holds = |sample: &&Sample| {
            let has =
                |(name, value): &(&str, &str)| sample.labels.contains(&((*name).into(), (*value).into()));
            sample.name == name && wanted.iter().all(has)
        };
        samples.iter().filter(holds).map(|sample| sample.value).sum::<f64>()
    };
    assert!((value("kelos_runs_total", &[("agent", "shell"), ("outcome", "Completed")]) - 1.0).abs() < 0.1);
    assert!((value("kelos_findings_total", &[("severity", "error")]) - 1.0).abs() < 0.1, "{text}");
    for (name, labels) in [
        ("apiserver_request_total", &[("verb", "POST"), ("resource", "tasks"), ("code", "201")][..]),
        ("apiserver_request_duration_seconds_count", &[("verb", "PUT"), ("subresource", "status")]),
        ("apiserver_longrunning_requests", &[("verb", "WATCH"), ("resource", "taskspawners")]),
        ("apiserver_resource_objects", &[("resource", "namespaces")]),
        ("kelos_pass_duration_seconds_count", &[("result", "Applied")]),
        ("kelos_pass_duration_seconds_count", &[("result", "FindingsPresent")]),
        ("kelos_tasks", &[("phase", "Succeeded")]),
        ("kelos_run_duration_seconds_count", &[("agent", "shell")]),
        ("kelos_store_commit_duration_seconds_count", &[]),
        ("kelos_store_commit_writes_count", &[]),
        ("kelos_store_revision", &[]),
        ("kelos_store_file_bytes", &[]),
        ("kelos_store_watches", &[]),
        ("kelos_runs_slots", &[]),
        ("kelos_api_unauthenticated_requests_total", &[]),
        ("kelos_build_info", &[("version", env!("CARGO_PKG_VERSION"))]),
        ("process_cpu_seconds_total", &[]),
        ("process_resident_memory_bytes", &[]),
    ] {
        assert!(value(name, labels) > 0.0, "{name} {labels:?} is not there:\n{text}");
    }
    let reply = env.exchange("POST /metrics", "Content-Length: 0\r\n", b"").unwrap();
    assert_eq!(reply.code, 405);
}

#[test]
fn health_is_anybodys_to_ask_and_nothing_else_is() {
    let env = TestEnv::up();
    for path in ["/healthz", "/livez", "/readyz"] {
        let reply = env.exchange_as("", &format!("GET {path}"), "", b"").unwrap();
        assert_eq!((reply.code, reply.text().as_str()), (200, "ok"), "{path}");
    }
    for path in [
        "/",
        "/metrics",
        "/version",
        "/api",
        "/apis",
        "/openapi/v3",
        "/api/v1/secrets",
        "/healthz/ping",
        "//healthz",
    ] {
        let reply = env.exchange_as("", &format!("GET {path}"), "", b"").unwrap();
        assert_eq!(reply.code, 401, "{path}: {}", reply.text());
    }
}
