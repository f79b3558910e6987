//! Every definition that we ship is one that we would accept.

use std::collections::BTreeMap;
use std::path::Path;

use kelos::git::folder::Folder;
use kelos::git::tree::TreeLimits;
use kelos::gitops::cache::EvaluationCache;
use kelos::gitops::evaluate::evaluate;
use kelos::gitops::render::ChildRenderer;
use kelos::validate::{Context, Facts, Manifest, Placed, check_object, check_tree, facts};
use kelos::yaml::{self, Limits};
use serde_json::Value;

use crate::tidy::source::{files, root, text};

#[test]
fn the_template_of_a_config_repository_has_no_findings() {
    let folder = Folder::open(&root().join("repo-template"), &TreeLimits::default()).unwrap();
    let renderer = ChildRenderer { program: Path::new(env!("CARGO_BIN_EXE_kelos")).to_path_buf() };
    let evaluation =
        evaluate(&folder, &renderer, &mut EvaluationCache::new(), None, &Context::default()).unwrap();
    let findings: Vec<String> = evaluation.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for desired in &evaluation.desired {
        *kinds.entry(desired.key.kind.as_str()).or_default() += 1;
    }
    let expected = [("AgentConfig", 1), ("Task", 3), ("TaskSpawner", 2), ("Workspace", 1)];
    assert_eq!(kinds, BTreeMap::from(expected), "what the README of the template promises");
}

#[test]
fn examples_have_no_findings_and_hold_no_secrets() {
    let mut folders: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for path in files("examples", ".yaml") {
        let documents = yaml::parse(&text(&path), &Limits::default());
        let documents = documents.unwrap_or_else(|faults| panic!("{path}: {faults:?}"));
        let folder = path.rsplit_once('/').unwrap().0.to_owned();
        let documents = documents.into_iter().map(|document| (path.clone(), document.value));
        folders.entry(folder).or_default().extend(documents);
    }
    assert!(folders.len() >= 11, "{:?}", folders.keys());
    // Some examples build on the Workspace of another one, as their README says.
    let live = folders.values().flatten().filter_map(|(_, value)| {
        let name = value["metadata"]["name"].as_str()?.to_owned();
        Some((value["kind"].as_str()?.parse().ok()?, name))
    });
    let context = Context { live: live.collect(), ..Context::default() };
    let mut wrong = Vec::new();
    for documents in folders.values() {
        let (secrets, ours): (Vec<_>, Vec<_>) =
            documents.iter().partition(|(_, value)| value["kind"] == "Secret");
        let manifests: Vec<Manifest<'_>> = ours
            .iter()
            .enumerate()
            .map(|(document, (file, value))| Manifest { file, document, value })
            .collect();
        assert!(!manifests.is_empty(), "{documents:?}");
        let facts: Vec<Facts> = manifests.iter().map(|manifest| facts(manifest.value)).collect();
        let placed: Vec<Placed<'_>> = manifests
            .iter()
            .zip(&facts)
            .map(|(manifest, facts)| Placed { file: manifest.file, document: manifest.document, facts })
            .collect();
        let mut findings = check_tree(&placed, &context);
        findings.extend(manifests.iter().flat_map(|manifest| check_object(manifest, &context)));
        wrong.extend(findings.iter().map(|finding| format!("{}: {}", finding.file, finding.message)));
        for (file, secret) in secrets {
            let values = secret["stringData"].as_object().unwrap().values();
            let is_placeholder = |value: &Value| value.as_str().unwrap().starts_with("replace-with-");
            if !values.clone().all(is_placeholder) || secret.get("data").is_some() {
                wrong.push(format!("{file}: the values of a Secret begin with 'replace-with-'"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
