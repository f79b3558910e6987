//! What lies between objects: duplicates, references, circles of dependencies.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::api::kind::Kind;
use crate::domain::graph;
use crate::validate::finding::{Finding, FindingCode};
use crate::validate::suggestion::did_you_mean;
use crate::validate::{Context, pointer};
use crate::yaml::Side;

/// What a check between objects has to know of one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Kind and name, if the object is of a kind of ours and has a name.
    key: Option<(Kind, String)>,
    /// What it refers to.
    targets: Vec<Target>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    kind: Kind,
    name: String,
    /// Where the name stands.
    pointer: String,
}

/// One object of a config repository, in place of which its facts stand.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// File, from the root of the repository.
    pub file: &'a str,
    /// Which of the documents of the file that are not empty, from 0.
    pub document: usize,
    /// What is known of it.
    pub facts: &'a Facts,
}

impl Placed<'_> {
    fn finding(&self, code: FindingCode, pointer: &str, message: String) -> Finding {
        Finding::new(code, self.file, self.document, pointer, Side::Value, message)
    }
}

/// The objects of the repository, by kind and name; of duplicates the first.
type Index<'a> = HashMap<(Kind, &'a str), Placed<'a>>;

/// Returns what is wrong between the objects.
pub(super) fn check(objects: &[Placed<'_>], context: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut index = Index::with_capacity(objects.len());
    let mut tasks = Vec::new();
    for object in objects {
        let Some((kind, name)) = &object.facts.key else { continue };
        if let Some(first) = index.get(&(*kind, name.as_str())) {
            let message = format!("there is another {kind} {name:?} in {}", place(first));
            let mut finding = object.finding(FindingCode::DuplicateObject, "/metadata/name", message);
            finding.hint("rename or remove one");
            findings.push(finding);
        } else {
            index.insert((*kind, name.as_str()), *object);
            if *kind == Kind::Task {
                tasks.push((name.as_str(), *object));
            }
        }
    }
    let mut comparisons = 0;
    for object in objects {
        references(&mut findings, object, &index, context, &mut comparisons);
    }
    findings.extend(cycles(&tasks));
    findings
}

/// Returns the facts of an object.
pub(super) fn facts(object: &Value) -> Facts {
    let key = key_of(object);
    let targets = key.map_or_else(Vec::new, |(kind, _)| targets(object, kind));
    Facts { key: key.map(|(kind, name)| (kind, name.to_owned())), targets }
}

fn key_of(object: &Value) -> Option<(Kind, &str)> {
    let kind: Kind = object["kind"].as_str()?.parse().ok()?;
    let name = object["metadata"]["name"].as_str()?;
    let group = object["apiVersion"].as_str()?.rsplit_once('/')?.0;
    (group == kind.group()).then_some((kind, name))
}

fn place(object: &Placed<'_>) -> String {
    if object.document == 0 {
        return object.file.to_owned();
    }
    format!("{} (document {})", object.file, object.document + 1)
}

fn targets(object: &Value, kind: Kind) -> Vec<Target> {
    let base = match kind {
        Kind::Task => "/spec",
        Kind::TaskSpawner => "/spec/taskTemplate",
        Kind::Workspace | Kind::AgentConfig | Kind::ConfigRepository | Kind::RunRecord => return Vec::new(),
    };
    let mut targets = Vec::new();
    let mut add = |kind: Kind, pointer: String| {
        let name = pointer::lookup(object, &pointer).and_then(Value::as_str);
        targets.extend(name.map(|name| Target { kind, name: name.to_owned(), pointer }));
    };
    let length =
        |pointer: &str| pointer::lookup(object, pointer).and_then(Value::as_array).map_or(0, Vec::len);
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

fn references(
    findings: &mut Vec<Finding>,
    object: &Placed<'_>,
    index: &Index<'_>,
    context: &Context,
    comparisons: &mut usize,
) {
    for Target { kind, name, pointer } in &object.facts.targets {
        if index.contains_key(&(*kind, name.as_str())) || context.live.contains(&(*kind, name.clone())) {
            continue;
        }
        let message = format!("there is no {kind} {name:?}, neither in the repository nor in the namespace");
        let mut finding = object.finding(FindingCode::MissingReference, pointer, message);
        // Of very many missing names only the first are compared with all there are.
        let all = index.len() + context.live.len();
        let hint = (*comparisons + all <= MAX_COMPARISONS).then(|| {
            *comparisons += all;
            let known: BTreeSet<&str> =
                index.keys().filter(|(other, _)| other == kind).map(|(_, name)| *name).collect();
            let live = context.live.iter().filter(|(other, _)| other == kind).map(|(_, name)| name.as_str());
            did_you_mean(name, known.into_iter().chain(live))
        });
        finding.hint(hint.flatten().unwrap_or_else(|| format!("add the {kind}, or correct the name")));
        findings.push(finding);
    }
}

fn cycles(tasks: &[(&str, Placed<'_>)]) -> Vec<Finding> {
    let by_name: BTreeMap<&str, Placed<'_>> = tasks.iter().copied().collect();
    let dependencies: graph::Dependencies<'_> = tasks
        .iter()
        .map(|(name, object)| {
            (*name, object.facts.dependencies().map(|target| target.name.as_str()).collect())
        })
        .collect();
    let mut findings = Vec::new();
    for cycle in graph::cycles(&dependencies) {
        let Some((&first, object)) = cycle.first().and_then(|first| by_name.get_key_value(*first)) else {
            continue;
        };
        let next = cycle.get(1).copied().unwrap_or(first);
        let at = object.facts.dependencies().find(|target| target.name == next);
        let at = at.map_or("/spec/dependsOn", |target| target.pointer.as_str());
        let mut way: Vec<&str> = cycle.iter().take(MAX_SHOWN).copied().collect();
        if cycle.len() > MAX_SHOWN {
            way.push("…");
        }
        way.push(first);
        let message = format!("these Tasks wait for each other: {}", way.join(" -> "));
        let mut finding = object.finding(FindingCode::DependencyCycle, at, message);
        finding.hint("take one of the dependencies out");
        findings.push(finding);
    }
    findings
}

impl Facts {
    /// Returns the Tasks that it waits for.
    fn dependencies(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.kind == Kind::Task)
    }
}

/// Most names that missing ones are compared with, in all.
const MAX_COMPARISONS: usize = 200_000;

/// Most names of a circle that a message lists.
const MAX_SHOWN: usize = 10;
