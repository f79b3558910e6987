//! Evaluations of trees that change, with and without what is remembered of the last one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::digest;
use crate::domain::plan::ManagedKind;
use crate::git::error::GitError;
use crate::git::id::BlobId;
use crate::git::tree::{EntryKind, Files, Tree, TreeEntry};
use crate::gitops::cache::EvaluationCache;
use crate::gitops::evaluate::{EvaluateError, Evaluation, evaluate};
use crate::gitops::observed::ObservedCluster;
use crate::gitops::render::{ChildRenderer, Rendered, Renderer, RendererError};
use crate::process::ExchangeError;
use crate::validate::{AllowedSecrets, Context};

/// Files in memory that tell which of them were read.
#[derive(Debug)]
struct Memory {
    tree: Tree,
    texts: BTreeMap<String, String>,
    read: Mutex<Vec<String>>,
    /// A path at which the disk fails.
    broken: Option<&'static str>,
}

impl Memory {
    fn of(files: &[(&str, &str)]) -> Self {
        let texts = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self::with(texts)
    }

    fn with(texts: BTreeMap<String, String>) -> Self {
        let entry = |(path, text): (&String, &String)| TreeEntry {
            path: path.clone(),
            kind: EntryKind::File,
            blob: BlobId::parse(digest::sha256_hex(text).get(..40).unwrap()).ok(),
            size: text.len().try_into().unwrap(),
        };
        let tree = Tree { id: None, entries: texts.iter().map(entry).collect(), oddities: Vec::new() };
        Self { tree, texts, read: Mutex::default(), broken: None }
    }

    /// Returns what was read since the last time.
    fn take_read(&self) -> Vec<String> {
        let mut read = std::mem::take(&mut *self.read.lock().unwrap());
        read.sort();
        read
    }
}

impl Files for Memory {
    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn read(&self, entry: &TreeEntry, _: u64) -> Result<Bytes, GitError> {
        if self.broken == Some(entry.path.as_str()) {
            return Err(GitError::Storage { path: "disk".into(), detail: "it fails".to_owned() });
        }
        self.read.lock().unwrap_or_else(PoisonError::into_inner).push(entry.path.clone());
        Ok(Bytes::from(self.texts[&entry.path].clone()))
    }
}

/// Copies templates, with `@` replaced by the value of that name, and counts how often it was asked.
#[derive(Debug, Default)]
struct Copies(AtomicUsize);

impl Renderer for Copies {
    fn render(
        &self,
        sources: BTreeMap<String, String>,
        names: Vec<String>,
        values: Value,
    ) -> Result<BTreeMap<String, Rendered>, RendererError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let value = values["at"].as_str().unwrap_or("nothing").to_owned();
        Ok(names.into_iter().map(|name| (name.clone(), Ok(sources[&name].replace('@', &value)))).collect())
    }
}

fn evaluated(files: &Memory, cache: &mut EvaluationCache) -> Evaluation {
    evaluate(files, &Copies::default(), cache, None, &Context::default()).unwrap()
}

/// Returns everything that an evaluation says.
fn told(evaluation: &Evaluation) -> String {
    format!("{:#?}\n{:#?}\n{}", evaluation.desired, evaluation.findings, evaluation.inventory_digest())
}

fn spawner(name: &str, prompt: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata: {{name: {name}}}\nspec:\n  \
         when: {{cron: {{schedule: \"0 9 * * *\"}}}}\n  taskTemplate: {{type: shell, promptTemplate: {prompt}}}\n"
    )
}

#[test]
fn a_file_that_did_not_change_is_not_read_again() {
    let mut cache = EvaluationCache::new();
    let (one, two, three) = (spawner("one", "a"), spawner("two", "a"), spawner("two", "b"));
    let files = Memory::of(&[("1.yaml", &one), ("2.yaml", &two)]);
    assert!(evaluated(&files, &mut cache).is_valid());
    assert_eq!(files.take_read(), ["1.yaml", "2.yaml"]);
    let changed = Memory::of(&[("1.yaml", &one), ("2.yaml", &three)]);
    let known = evaluated(&changed, &mut cache);
    assert_eq!(changed.take_read(), ["2.yaml"]);
    assert_eq!(told(&known), told(&evaluated(&changed, &mut EvaluationCache::new())));
    let moved = Memory::of(&[("elsewhere/1.yaml", &one), ("2.yaml", &three)]);
    let known = evaluated(&moved, &mut cache);
    assert!(moved.take_read().is_empty());
    assert_eq!(told(&known), told(&evaluated(&moved, &mut EvaluationCache::new())));
}

#[test]
fn what_cannot_be_read_for_the_moment_is_no_finding() {
    let (one, two) = (spawner("one", "a"), spawner("two", "{$file: prompts/p.md}"));
    let files = [
        ("1.yaml", one.as_str()),
        ("2.yaml", two.as_str()),
        ("3.yaml.tera", "# nothing\n"),
        ("kelos.yaml", "values: {}\n"),
        ("prompts/p.md", "echo\n"),
    ];
    let mut cache = EvaluationCache::new();
    for (path, _) in files {
        let broken = Memory { broken: Some(path), ..Memory::of(&files) };
        let judged = evaluate(&broken, &Copies::default(), &mut cache, None, &Context::default());
        assert!(matches!(judged, Err(EvaluateError::Read(GitError::Storage { .. }))), "{path}: {judged:?}");
        cache = EvaluationCache::new();
    }
    // Nothing of such an attempt is remembered.
    let broken = Memory { broken: Some("prompts/p.md"), ..Memory::of(&files) };
    evaluate(&broken, &Copies::default(), &mut cache, None, &Context::default()).unwrap_err();
    let whole = Memory::of(&files);
    assert_eq!(told(&evaluated(&whole, &mut cache)), told(&evaluated(&whole, &mut EvaluationCache::new())));
    assert!(evaluated(&whole, &mut cache).is_valid());
}

/// Has no processor for a while.
struct Starved;

impl Renderer for Starved {
    fn render(
        &self,
        _: BTreeMap<String, String>,
        _: Vec<String>,
        _: Value,
    ) -> Result<BTreeMap<String, Rendered>, RendererError> {
        Err(RendererError::Process(ExchangeError::TooSlow(Duration::from_secs(10))))
    }
}

#[test]
fn a_renderer_that_fails_says_nothing_about_the_templates() {
    let files = Memory::of(&[("1.yaml.tera", "# nothing\n")]);
    let mut cache = EvaluationCache::new();
    let judged = evaluate(&files, &Starved, &mut cache, None, &Context::default());
    assert!(matches!(judged, Err(EvaluateError::Render(_))), "{judged:?}");
    assert!(evaluated(&files, &mut cache).is_valid());
    let missing = ChildRenderer { program: "/nonexistent/kelos".into() };
    let judged = evaluate(&files, &missing, &mut EvaluationCache::new(), None, &Context::default());
    assert!(matches!(judged, Err(EvaluateError::Render(RendererError::Process(_)))), "{judged:?}");
}

#[test]
fn an_ambiguous_scalar_hides_nothing_else_of_its_file() {
    let text = spawner("one", "a")
        .replace("spec:", "spec:\n  suspend: yes\n  maxConcurency: 1")
        .replace("0 9 *", "0 99 *");
    let evaluation = evaluated(&Memory::of(&[("1.yaml", &text)]), &mut EvaluationCache::new());
    let found: Vec<(usize, &str)> =
        evaluation.findings.iter().map(|finding| (finding.line, finding.code.as_str())).collect();
    // That `suspend` is no string is not said on top.
    assert_eq!(found, [(5, "ambiguous-scalar"), (6, "unknown-field"), (7, "invalid-cron")]);
}

#[test]
fn what_was_judged_with_other_knowledge_is_judged_again() {
    let mut cache = EvaluationCache::new();
    let text = spawner("one", "a").replace("{name: one}", "{name: one, namespace: here}");
    let files = Memory::of(&[("1.yaml", &text)]);
    for (namespace, findings) in [("here", 0), ("there", 1), ("here", 0)] {
        let context = Context { namespace: Some(namespace.to_owned()), ..Context::default() };
        let evaluation = evaluate(&files, &Copies::default(), &mut cache, None, &context).unwrap();
        assert_eq!(evaluation.findings.len(), findings, "{namespace}: {:?}", evaluation.findings);
    }
}

#[test]
fn templates_are_rendered_when_they_see_something_else() {
    let (mut cache, renderer) = (EvaluationCache::new(), Copies::default());
    let template = spawner("templated", "\"@\"");
    let layout = "values: {at: first}\n";
    let steps = [
        (layout, "one", 1),
        (layout, "two", 1),
        ("values: {at: second}\n", "two", 2),
        ("values: {at: second}\n# A comment.\n", "two", 2),
    ];
    for (layout, other, asked) in steps {
        let other = spawner("other", other);
        let files = Memory::of(&[("kelos.yaml", layout), ("a.yaml.tera", &template), ("b.yaml", &other)]);
        let evaluation = evaluate(&files, &renderer, &mut cache, None, &Context::default()).unwrap();
        assert_eq!(renderer.0.load(Ordering::Relaxed), asked, "{layout}{other}");
        let word = if layout.contains("first") { "first" } else { "second" };
        assert!(
            evaluation.desired[0].manifest.to_value().to_string().contains(word),
            "{:?}",
            evaluation.desired
        );
    }
}

#[test]
fn a_status_that_changes_is_nothing_to_a_plan() {
    let cluster = ObservedCluster::new();
    let object = |version: &str, uid: &str, generation: i64, phase: &str| -> DynamicObject {
        let metadata = json!({
            "name": "s", "namespace": "n", "uid": uid, "resourceVersion": version, "generation": generation,
        });
        let spec = json!({"a": generation});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"phase": phase}}))
            .unwrap()
    };
    let stage = |object: DynamicObject| {
        cluster.applied(ManagedKind::TaskSpawner, object);
        cluster.namespace("n").stage()
    };
    let first = stage(object("5", "u", 1, "Running"));
    assert_eq!(stage(object("6", "u", 1, "Failed")), first);
    assert_eq!(stage(object("4", "u", 0, "Failed")), first, "what is older says nothing");
    let second = stage(object("7", "u", 2, "Failed"));
    assert_ne!(second, first);
    assert_ne!(stage(object("8", "v", 2, "Failed")), second, "another of the same name");
    assert_eq!(cluster.namespace("elsewhere").stage(), ObservedCluster::new().namespace("elsewhere").stage());
}

#[test]
fn an_include_that_selects_nothing_is_told_where_it_stands() {
    let layout = "values: {}\ninclude:\n  - spawners\n  - nowhere/\n";
    let one = spawner("one", "a");
    let files = Memory::of(&[("kelos.yaml", layout), ("spawners/1.yaml", &one)]);
    let findings = evaluated(&files, &mut EvaluationCache::new()).findings;
    let places: Vec<String> =
        findings.iter().map(|finding| format!("{} {}", finding.place(), finding.path)).collect();
    assert_eq!(places, ["kelos.yaml:4:5 $.include[1]"]);
    assert_eq!(findings[0].excerpt.as_deref(), Some("  - nowhere/"));
}

#[test]
fn what_is_remembered_changes_no_answer() {
    let mut random = fastrand::Rng::with_seed(7);
    let contents = [
        spawner("a", "x"),
        spawner("a", "y"),
        spawner("b", "{$file: prompts/p.md}"),
        spawner("b", "{$file: ./prompts/q.md}"),
        spawner("c", "\"{{.Nothing}}\""),
        spawner("d", "x").replace("shell", "shel"),
        format!("{}---\n{}", spawner("e", "x"), spawner("f", "x, workspaceRef: {name: w}")),
        "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w}\nspec: {repo: 'https://example.com/x'}\n"
            .to_owned(),
        "not: [yaml".to_owned(),
        "# nothing\n".to_owned(),
    ];
    let paths = ["1.yaml", "2.yaml", "folder/3.yaml", "folder/4.yaml.tera", "5.yaml"];
    let prompts = ["prompts/p.md", "prompts/q.md"];
    let (mut cache, mut files) = (EvaluationCache::new(), BTreeMap::new());
    for step in 0..200 {
        let choice = random.usize(..10);
        let path = paths[random.usize(..paths.len())].to_owned();
        match choice {
            0 => drop(files.remove(&path)),
            1 => drop(files.remove(prompts[random.usize(..2)])),
            2 | 3 => {
                let text = format!("echo {}\n", random.usize(..3));
                files.insert(prompts[random.usize(..2)].to_owned(), text);
            }
            4 => {
                let values = format!("values: {{at: v{}}}\n", random.usize(..2));
                files.insert("kelos.yaml".to_owned(), values);
            }
            _ => drop(files.insert(path, contents[random.usize(..contents.len())].clone())),
        }
        let context = if random.usize(..20) == 0 {
            Context { allowed_secrets: AllowedSecrets::Named(["x".to_owned()].into()), ..Context::default() }
        } else {
            Context::default()
        };
        let tree = Memory::with(files.clone());
        let known = evaluate(&tree, &Copies::default(), &mut cache, None, &context).unwrap();
        let fresh = evaluate(&tree, &Copies::default(), &mut EvaluationCache::new(), None, &context).unwrap();
        assert_eq!(told(&known), told(&fresh), "step {step}: {files:#?}");
    }
}
