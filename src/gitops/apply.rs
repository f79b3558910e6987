//! Carries the actions of a plan out, and says of each object how that went.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
    Preconditions,
};
use serde_json::{Value, json};

use crate::api::labels;
use crate::digest;
use crate::domain::plan::{Action, Desired, ManagedKind, ObjectKey};
use crate::gitops::observed::ObservedCluster;

/// How many requests are under way at once.
const CONCURRENCY: usize = 32;

/// Where and as whom a pass writes.
#[derive(Clone)]
pub struct Target {
    /// The cluster.
    pub client: kube::Client,
    /// The namespace of the ConfigRepository, and so of everything that it defines.
    pub namespace: String,
    /// The name of the ConfigRepository.
    pub repository: String,
    /// The uid of the ConfigRepository.
    pub owner: String,
    /// The commit that is applied.
    pub revision: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Target")
            .field("namespace", &self.namespace)
            .field("repository", &self.repository)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// An object that the server did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which object.
    pub key: ObjectKey,
    /// Where it is defined; empty for objects that left the repository.
    pub file: String,
    /// Line of its document.
    pub line: usize,
    /// What the server said.
    pub message: String,
    /// Whether the server refused the object itself; otherwise asking again may help.
    pub refused: bool,
}

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Objects created or changed.
    pub written: Vec<ObjectKey>,
    /// Tasks created.
    pub started: Vec<ObjectKey>,
    /// Tasks of older requests that were deleted; the new ones can be created once they are gone.
    pub replaced: Vec<ObjectKey>,
    /// Objects deleted.
    pub pruned: Vec<ObjectKey>,
    /// Objects that failed.
    pub failures: Vec<Failure>,
}

/// What an applied object says of whose it is and where it comes from.
///
/// Every key here is reserved in definitions: what git says under it would be drift for ever.
#[derive(Debug)]
struct Origin<'a> {
    owner: &'a str,
    repository: &'a str,
    revision: &'a str,
}

impl Origin<'_> {
    fn labels(&self) -> BTreeMap<&'static str, String> {
        let name = self.repository.get(..self.repository.len().min(63)).unwrap_or_default();
        BTreeMap::from([(labels::OWNER_UID, self.owner.to_owned()), (labels::OWNER_NAME, name.to_owned())])
    }

    fn annotations(&self, desired: &Desired, prompt: Option<String>) -> BTreeMap<&'static str, String> {
        let mut annotations = BTreeMap::from([
            (labels::MANIFEST_DIGEST, desired.digest.clone()),
            (labels::CONFIG_REVISION, self.revision.to_owned()),
            (labels::CONFIG_FILE, desired.file.to_string()),
            (labels::CONFIG_LINE, desired.line.to_string()),
        ]);
        if desired.key.kind == ManagedKind::Task {
            annotations.insert(labels::SPEC_DIGEST, desired.spec_digest.clone());
            annotations.extend(prompt.map(|prompt| (labels::PROMPT_DIGEST, prompt)));
        }
        annotations
    }
}

impl Target {
    /// Returns the field manager: one for each ConfigRepository, at most 128 bytes as the API demands.
    pub fn manager(&self) -> String {
        labels::config_repository_manager(&self.repository)
    }

    fn api(&self, kind: ManagedKind) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(crate::api::KELOS_GROUP, crate::api::VERSION, kind.as_str());
        Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &ApiResource::from_gvk_with_plural(&gvk, kind.plural()),
        )
    }

    /// Returns the object that is sent for `desired`, with ownership and origin.
    fn object(&self, desired: &Desired, keep_suspended: bool) -> Value {
        let mut object = desired.manifest.to_value();
        if keep_suspended && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("suspend");
        }
        let prompt = object.pointer("/spec/prompt").and_then(Value::as_str).map(digest::sha256_hex);
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(self.namespace);
        let origin = Origin { owner: &self.owner, repository: &self.repository, revision: &self.revision };
        for (key, value) in origin.labels() {
            metadata["labels"][key] = json!(value);
        }
        for (key, value) in origin.annotations(desired, prompt) {
            metadata["annotations"][key] = json!(value);
        }
        object
    }

    async fn apply(
        &self,
        desired: &Desired,
        keep_suspended: bool,
        dry_run: bool,
    ) -> Result<DynamicObject, kube::Error> {
        let parameters =
            PatchParams { dry_run, ..PatchParams::apply(&self.manager()).force() }.validation_strict();
        let object = self.object(desired, keep_suspended);
        self.api(desired.key.kind).patch(&desired.key.name, &parameters, &Patch::Apply(&object)).await
    }

    async fn create(&self, desired: &Desired, dry_run: bool) -> Result<DynamicObject, kube::Error> {
        let parameters = PostParams { dry_run, field_manager: Some(self.manager()) };
        let object: DynamicObject =
            serde_json::from_value(self.object(desired, false)).map_err(kube::Error::SerdeError)?;
        self.api(desired.key.kind).create(&parameters, &object).await
    }

    async fn delete(&self, key: &ObjectKey, uid: &str) -> Result<(), kube::Error> {
        let parameters = DeleteParams::background()
            .preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        match self.api(key.kind).delete(&key.name, &parameters).await {
            Ok(_) => Ok(()),
            // Gone already, or a namesake took its place.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Asks the server whether it would take what the plan writes; at most `most` objects are asked about, each kind among
/// them, and all of which somebody else holds a part: only the server knows what becomes of those.
///
/// Returns the objects that it would not take.
pub async fn dry_run(
    target: &Target,
    cluster: &ObservedCluster,
    desired: &[Arc<Desired>],
    actions: &[Action],
    most: usize,
) -> Vec<Failure> {
    let live = cluster.namespace(&target.namespace);
    let writes =
        actions.iter().filter(|action| !matches!(action, Action::Prune { .. } | Action::RunAgain { .. }));
    let (shared, own): (Vec<&Action>, Vec<&Action>) = writes.partition(|action| match action {
        Action::Apply { desired: index, .. } => live.is_shared(&desired[*index].key),
        Action::Run { .. } | Action::RunAgain { .. } | Action::Prune { .. } => false,
    });
    let asked = shared.into_iter().chain(sample(&own, desired, most));
    let questions: Vec<BoxFuture<'_, Option<Failure>>> =
        asked.map(|action| ask(target, desired, action).boxed()).collect();
    let answers: Vec<Option<Failure>> = stream::iter(questions).buffered(CONCURRENCY).collect().await;
    answers.into_iter().flatten().collect()
}

/// Asks the server what it would make of everything that `actions` write, and changes nothing.
///
/// Returns, by index of the desired object, the object as it would be, or why it is refused. Of a Task that runs again
/// nothing can be asked while the old one is there.
pub async fn preview(
    target: &Target,
    desired: &[Arc<Desired>],
    actions: &[Action],
) -> Vec<(usize, Result<Value, Failure>)> {
    let questions: Vec<BoxFuture<'_, (usize, Result<Value, Failure>)>> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Apply { desired: index, keep_suspended, .. } => {
                let asked = target.apply(&desired[*index], *keep_suspended, true);
                Some(preview_of(&desired[*index], *index, asked).boxed())
            }
            Action::Run { desired: index } => {
                let asked = target.create(&desired[*index], true);
                Some(preview_of(&desired[*index], *index, asked).boxed())
            }
            Action::RunAgain { .. } | Action::Prune { .. } => None,
        })
        .collect();
    stream::iter(questions).buffered(CONCURRENCY).collect().await
}

async fn preview_of(
    desired: &Desired,
    index: usize,
    asked: impl Future<Output = Result<DynamicObject, kube::Error>>,
) -> (usize, Result<Value, Failure>) {
    let failed = |error: kube::Error| Failure {
        key: desired.key.clone(),
        file: desired.file.to_string(),
        line: desired.line,
        refused: is_refusal(&error),
        message: text_of(&error),
    };
    let result = asked.await.and_then(|object| serde_json::to_value(object).map_err(kube::Error::SerdeError));
    (index, result.map_err(failed))
}

async fn ask(target: &Target, desired: &[Arc<Desired>], action: &Action) -> Option<Failure> {
    match action {
        Action::Apply { desired: index, keep_suspended, .. } => {
            failure_of(&desired[*index], target.apply(&desired[*index], *keep_suspended, true).await.err())
        }
        Action::Run { desired: index } => {
            let error = target.create(&desired[*index], true).await.err();
            failure_of(&desired[*index], error.filter(|error| !already_exists(error)))
        }
        Action::RunAgain { .. } | Action::Prune { .. } => None,
    }
}

/// Carries `actions` out in their order: objects of one kind at once, Tasks one by one, deletions last.
///
/// Deletions are left out when anything before them failed, and so is a Task that depends on one that failed: it would
/// go by an older run of that one.
pub async fn apply(
    target: &Target,
    cluster: &Arc<ObservedCluster>,
    desired: &[Arc<Desired>],
    actions: &[Action],
) -> Applied {
    let mut applied = Applied::default();
    for kind in ManagedKind::ALL {
        let of_kind: Vec<&Action> = actions
            .iter()
            .filter(|action| written(action).is_some_and(|index| desired[index].key.kind == kind))
            .collect();
        if kind == ManagedKind::Task {
            apply_tasks(target, cluster, desired, &of_kind, &mut applied).await;
            continue;
        }
        let writes: Vec<BoxFuture<'_, Written>> =
            of_kind.into_iter().map(|action| write(target, desired, action).boxed()).collect();
        let mut outcomes = stream::iter(writes).buffered(CONCURRENCY);
        while let Some((index, outcome)) = outcomes.next().await {
            applied.note(cluster, &desired[index], outcome);
        }
    }
    if !applied.failures.is_empty() {
        return applied;
    }
    for action in actions {
        let Action::Prune { key, uid } = action else { continue };
        match target.delete(key, uid).await {
            Ok(()) => applied.pruned.push(key.clone()),
            Err(error) => applied.failures.push(Failure {
                key: key.clone(),
                file: String::new(),
                line: 0,
                refused: is_refusal(&error),
                message: text_of(&error),
            }),
        }
    }
    applied
}

async fn apply_tasks(
    target: &Target,
    cluster: &Arc<ObservedCluster>,
    desired: &[Arc<Desired>],
    actions: &[&Action],
    applied: &mut Applied,
) {
    let mut failed: HashSet<&str> = HashSet::new();
    for action in actions {
        let Some(task) = written(action).map(|index| &desired[index]) else { continue };
        if task.depends_on.iter().any(|name| failed.contains(name.as_str())) {
            failed.insert(&task.key.name);
            continue;
        }
        let (_, outcome) = write(target, desired, action).await;
        if outcome.is_err() {
            failed.insert(&task.key.name);
        }
        applied.note(cluster, task, outcome);
    }
}

/// Returns the index of the object that an action writes.
fn written(action: &Action) -> Option<usize> {
    match action {
        Action::Apply { desired, .. } | Action::Run { desired } | Action::RunAgain { desired, .. } => {
            Some(*desired)
        }
        Action::Prune { .. } => None,
    }
}

impl Applied {
    /// Takes note of how the write of an object went.
    fn note(&mut self, cluster: &ObservedCluster, desired: &Desired, outcome: Outcome) {
        let key = desired.key.clone();
        match outcome {
            Ok(None) => self.replaced.push(key),
            Ok(Some(object)) => {
                cluster.applied(key.kind, object);
                if key.kind == ManagedKind::Task {
                    self.started.push(key);
                } else {
                    self.written.push(key);
                }
            }
            Err(error) => self.failures.extend(failure_of(desired, Some(error))),
        }
    }
}

/// What the server has now; nothing when an older object was deleted.
type Outcome = Result<Option<DynamicObject>, kube::Error>;

/// Which desired object was written, and how that went.
type Written = (usize, Outcome);

async fn write(target: &Target, desired: &[Arc<Desired>], action: &Action) -> Written {
    match action {
        Action::Apply { desired: index, keep_suspended, .. } => {
            (*index, target.apply(&desired[*index], *keep_suspended, false).await.map(Some))
        }
        Action::Run { desired: index } => (*index, target.create(&desired[*index], false).await.map(Some)),
        // The old Task has a finalizer: it stands until its end is recorded, and so long no other can have its name.
        Action::RunAgain { desired: index, uid } => {
            (*index, target.delete(&desired[*index].key, uid).await.map(|()| None))
        }
        Action::Prune { .. } => unreachable!("because prunes are carried out apart from writes"),
    }
}

/// Chooses which writes are asked about: all up to `most`, above that an equal share of each kind.
fn sample<'a>(writes: &[&'a Action], desired: &[Arc<Desired>], most: usize) -> Vec<&'a Action> {
    if writes.len() <= most {
        return writes.to_vec();
    }
    if most == 0 {
        return Vec::new();
    }
    let mut by_kind: BTreeMap<ManagedKind, Vec<&'a Action>> = BTreeMap::new();
    for action in writes {
        if let Action::Apply { desired: index, .. } | Action::Run { desired: index } = action {
            by_kind.entry(desired[*index].key.kind).or_default().push(action);
        }
    }
    let share = (most / by_kind.len().max(1)).max(1);
    by_kind
        .into_values()
        .flat_map(|actions| {
            let step = actions.len().div_ceil(share).max(1);
            actions.into_iter().step_by(step)
        })
        .collect()
}

fn failure_of(desired: &Desired, error: Option<kube::Error>) -> Option<Failure> {
    error.map(|error| Failure {
        key: desired.key.clone(),
        file: desired.file.to_string(),
        line: desired.line,
        refused: is_refusal(&error),
        message: text_of(&error),
    })
}

fn already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 413 | 422))
}

fn text_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::ObjectText;
    use crate::validate::{self, Manifest};

    #[test]
    fn what_is_noted_on_an_applied_object_may_not_stand_in_git() {
        let desired = Desired {
            key: ObjectKey { kind: ManagedKind::Task, name: "t".to_owned() },
            manifest: ObjectText::of(&Value::Null),
            digest: "d".to_owned(),
            spec_digest: "s".to_owned(),
            file: Arc::from("t.yaml"),
            line: 1,
            depends_on: Vec::new(),
        };
        let origin = Origin { owner: "o", repository: "r", revision: "c" };
        let annotations = origin.annotations(&desired, Some("p".to_owned()));
        assert_eq!((origin.labels().len(), annotations.len()), (2, 6));
        for (place, noted) in [("labels", origin.labels()), ("annotations", annotations)] {
            for key in noted.into_keys() {
                let value = json!({
                    "apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"name": "t", place: {key: "x"}},
                    "spec": {"type": "shell", "prompt": "true"},
                });
                let manifest = Manifest { file: "t.yaml", document: 0, value: &value };
                let findings = validate::check_object(&manifest, &validate::Context::default());
                let codes: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
                assert_eq!(codes, ["reserved-key"], "{key}");
            }
        }
    }
}
