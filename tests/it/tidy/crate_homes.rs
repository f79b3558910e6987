//! One home for each outside crate: what a crate is used for can be read in one place, and it can be replaced there.

use std::collections::BTreeSet;

use crate::tidy::source::{Source, library, paths, text};

/// Crates, and the files or folders of `src` that alone name them.
const HOMES: [(&str, &[&str]); 33] = [
    ("anyhow", &["cli", "controllers", "daemon"]),
    ("axum", &["apiserver", "daemon"]),
    ("chrono", &["lang/cron"]),
    ("chrono_tz", &["lang/cron"]),
    ("clap", &["cli"]),
    ("close_fds", &["process"]),
    ("cron", &["lang/cron"]),
    ("gix", &["git/repository"]),
    ("granit_parser", &["yaml"]),
    ("gtmpl_ng", &["lang/gotemplate"]),
    ("http_body", &["apiserver"]),
    ("http_body_util", &["apiserver"]),
    ("hyper", &["apiserver"]),
    ("hyper_util", &["apiserver"]),
    ("jsonschema", &["validate"]),
    ("landlock", &["runner"]),
    ("lz4_flex", &["pack.rs"]),
    ("prometheus_client", &["metrics"]),
    ("rcgen", &["apiserver"]),
    ("regex", &["apiserver", "validate"]),
    ("reqwest", &["forge", "git/repository"]),
    ("rusqlite", &["store"]),
    ("rustix", &["git/folder.rs", "process", "runner"]),
    ("rustls", &["apiserver", "cli/mod.rs", "forge"]),
    ("schemars", &["api"]),
    ("sha2", &["digest.rs"]),
    ("tera", &["lang/tera.rs"]),
    ("tikv_jemalloc_ctl", &["daemon"]),
    ("tikv_jemallocator", &["lib.rs"]),
    ("tokio_rustls", &["apiserver"]),
    ("tower", &["apiserver"]),
    ("tracing_subscriber", &["daemon"]),
    ("uuid", &["apiserver", "cli"]),
];

/// Crates of no particular place: what they are for is the same everywhere.
const EVERYWHERE: [&str; 16] = [
    "base64",
    "bytes",
    "futures",
    "hex",
    "http",
    "jiff",
    "k8s_openapi",
    "kube",
    "serde",
    "serde_json",
    "strsim",
    "thiserror",
    "tokio",
    "tokio_util",
    "tracing",
    "kelos",
];

/// Where the cluster is reached; everybody else knows no more of kube than its types.
const CLIENT_HOMES: [&str; 6] = ["cli", "controllers", "daemon", "executor", "gitops", "ledger"];

/// The parts of kube that reach a cluster.
const CLIENT_PARTS: [&str; 5] = ["Api", "Client", "Config", "client", "runtime"];

#[test]
fn outside_crates_are_named_in_their_homes_alone() {
    let mut wrong = BTreeSet::new();
    let sources = library();
    for (name, homes) in HOMES {
        for source in sources.iter().filter(|source| !lies_in(&source.path, homes)) {
            if !paths(&source.code, name).is_empty() && !has_own(source, name) {
                wrong.insert(format!("src/{} names {name}, whose home is {homes:?}", source.path));
            }
        }
        let is_used = sources.iter().any(|source| source.code.contains(name));
        assert!(is_used, "{name} is used nowhere");
    }
    assert!(wrong.is_empty(), "{}", Vec::from_iter(wrong).join("\n"));
}

#[test]
fn the_cluster_is_reached_in_few_places() {
    let mut wrong = BTreeSet::new();
    for source in library().iter().filter(|source| !lies_in(&source.path, &CLIENT_HOMES)) {
        for path in paths(&source.code, "kube") {
            if path.iter().skip(1).any(|part| CLIENT_PARTS.contains(&part.as_str())) {
                wrong.insert(format!("src/{} names {}", source.path, path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", Vec::from_iter(wrong).join("\n"));
}

#[test]
fn every_dependency_has_a_place_in_these_tables() {
    let manifest = text("Cargo.toml");
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let dependencies = dependencies.lines().filter_map(|line| line.split_once(" = "));
    let declared: BTreeSet<String> = dependencies.map(|(name, _)| name.replace('-', "_")).collect();
    let known: Vec<&str> = HOMES.iter().map(|(name, _)| *name).chain(EVERYWHERE).collect();
    let homeless: Vec<&String> = declared.iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(homeless.is_empty(), "give each a home: {homeless:?}");
    let gone: Vec<&&str> =
        known.iter().filter(|name| **name != "kelos" && !declared.contains(**name)).collect();
    assert!(gone.is_empty(), "no longer dependencies: {gone:?}");
}

/// Returns whether `name` means a module of ours in this file, such as `crate::lang::cron`.
fn has_own(source: &Source, name: &str) -> bool {
    let own = paths(&source.code, "crate").into_iter().chain(paths(&source.code, "self"));
    own.into_iter().any(|path| path.last().is_some_and(|last| last == name))
        || source.code.contains(&format!("mod {name};"))
}

fn lies_in(path: &str, homes: &[&str]) -> bool {
    homes
        .iter()
        .any(|home| path.strip_prefix(home).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        || homes.iter().any(|home| path.strip_suffix(".rs") == Some(home))
}
