//! What lies between objects: duplicates, references, circles of dependencies.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::kind::Kind;
use crate::domain::graph;
use crate::validate::finding::{Finding, FindingCode};
use crate::validate::suggestion::did_you_mean;
use crate::validate::{Context, Manifest, Report, pointer};
use crate::yaml::Side;

/// The objects of the repository, by kind and name; of duplicates the first.
type Index<'a> = BTreeMap<(Kind, &'a str), Manifest<'a>>;

/// Returns what is wrong between the objects.
pub(super) fn check(manifests: &[Manifest<'_>], context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut index = Index::new();
    for manifest in manifests {
        let Some(key) = key_of(manifest) else { continue };
        if let Some(first) = index.get(&key) {
            let mut report = Report::new(manifest);
            let message = format!("there is another {} {:?} in {}", key.0, key.1, place(first));
            report
                .add(FindingCode::DuplicateObject, "/metadata/name", Side::Value, message)
                .hint("rename or remove one");
            findings.extend(report.findings);
        } else {
            index.insert(key, *manifest);
        }
    }
    let mut comparisons = 0;
    for manifest in manifests {
        let mut report = Report::new(manifest);
        references(&mut report, &index, context, &mut comparisons);
        findings.extend(report.findings);
    }
    findings.extend(cycles(&index));
    findings
}

fn key_of<'a>(manifest: &Manifest<'a>) -> Option<(Kind, &'a str)> {
    let kind: Kind = manifest.value["kind"].as_str()?.parse().ok()?;
    let name = manifest.value["metadata"]["name"].as_str()?;
    let group = manifest.value["apiVersion"].as_str()?.rsplit_once('/')?.0;
    (group == kind.group()).then_some((kind, name))
}

fn place(manifest: &Manifest<'_>) -> String {
    if manifest.document == 0 {
        return manifest.file.to_owned();
    }
    format!("{} (document {})", manifest.file, manifest.document + 1)
}

/// Returns pointers and names of what an object refers to.
fn targets<'a>(manifest: &Manifest<'a>) -> Vec<(Kind, String, &'a str)> {
    let base = match key_of(manifest) {
        Some((Kind::Task, _)) => "/spec",
        Some((Kind::TaskSpawner, _)) => "/spec/taskTemplate",
        _ => return Vec::new(),
    };
    let mut targets = Vec::new();
    let mut add = |kind: Kind, pointer: String| {
        let name = manifest.value.pointer(&pointer).and_then(|name| name.as_str());
        targets.extend(name.map(|name| (kind, pointer, name)));
    };
    let length =
        |pointer: &str| manifest.value.pointer(pointer).and_then(|list| list.as_array()).map_or(0, Vec::len);
    add(Kind::Workspace, format!("{base}/workspaceRef/name"));
    add(Kind::AgentConfig, format!("{base}/agentConfigRef/name"));
    let configs = format!("{base}/agentConfigRefs");
    for index in 0..length(&configs) {
        add(Kind::AgentConfig, format!("{}/name", pointer::item(&configs, index)));
    }
    let dependencies = format!("{base}/dependsOn");
    for index in 0..length(&dependencies) {
        add(Kind::Task, pointer::item(&dependencies, index));
    }
    targets
}

fn references(report: &mut Report<'_>, index: &Index<'_>, context: &Context, comparisons: &mut usize) {
    for (kind, at, name) in targets(&report.manifest) {
        if index.contains_key(&(kind, name)) || context.live.contains(&(kind, name.to_owned())) {
            continue;
        }
        let message = format!("there is no {kind} {name:?}, neither in the repository nor in the namespace");
        let finding = report.add(FindingCode::MissingReference, at, Side::Value, message);
        // Of very many missing names only the first are compared with all there are.
        let all = index.len() + context.live.len();
        let hint = (*comparisons + all <= MAX_COMPARISONS).then(|| {
            *comparisons += all;
            let known: BTreeSet<&str> =
                index.keys().filter(|(other, _)| *other == kind).map(|(_, name)| *name).collect();
            let live = context.live.iter().filter(|(other, _)| *other == kind).map(|(_, name)| name.as_str());
            did_you_mean(name, known.into_iter().chain(live))
        });
        let hint = hint.flatten();
        finding.hint(hint.unwrap_or_else(|| format!("add the {kind}, or correct the name")));
    }
}

fn cycles(index: &Index<'_>) -> Vec<Finding> {
    let tasks = index.iter().filter(|((kind, _), _)| *kind == Kind::Task);
    let dependencies: graph::Dependencies<'_> = tasks
        .map(|((_, name), manifest)| {
            let needs = manifest.value["spec"]["dependsOn"].as_array();
            (*name, needs.into_iter().flatten().filter_map(|need| need.as_str()).collect())
        })
        .collect();
    let mut findings = Vec::new();
    for cycle in graph::cycles(&dependencies) {
        let (Some(&first), Some(manifest)) =
            (cycle.first(), cycle.first().and_then(|first| index.get(&(Kind::Task, *first))))
        else {
            continue;
        };
        let next = cycle.get(1).copied().unwrap_or(first);
        let position = dependencies.get(first).and_then(|needs| needs.iter().position(|need| *need == next));
        let mut way: Vec<&str> = cycle.iter().take(MAX_SHOWN).copied().collect();
        if cycle.len() > MAX_SHOWN {
            way.push("…");
        }
        way.push(first);
        let mut report = Report::new(manifest);
        let at = pointer::item("/spec/dependsOn", position.unwrap_or(0));
        let message = format!("these Tasks wait for each other: {}", way.join(" -> "));
        report
            .add(FindingCode::DependencyCycle, at, Side::Value, message)
            .hint("take one of the dependencies out");
        findings.extend(report.findings);
    }
    findings
}

/// Most names that missing ones are compared with, in all.
const MAX_COMPARISONS: usize = 200_000;

/// Most names of a circle that a message lists.
const MAX_SHOWN: usize = 10;
