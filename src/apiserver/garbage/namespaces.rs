//! Empties a namespace that was deleted, says in its status what remains, and lets it go.
//!
//! No object can appear meanwhile: creates look at the namespace inside of the store's decision, so all that there is
//! to remove was visible when the deletion was.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::apiserver::delete;
use crate::apiserver::garbage::MANAGER;
use crate::apiserver::garbage::graph::Head;
use crate::apiserver::metadata;
use crate::apiserver::options::{DeleteOptions, Propagation};
use crate::apiserver::resource::Resource;
use crate::apiserver::server::State;
use crate::apiserver::status::ApiError;
use crate::apiserver::write::{self, Place};

/// How many deletions may wait for the disk together.
const AT_ONCE: usize = 64;

/// The finalizer that stands for this module.
const FINALIZER: &str = "kubernetes";

/// What a sweep left behind.
#[derive(Debug, Default)]
struct Remains {
    /// Objects by resource, in the form `plural.group`.
    objects: BTreeMap<String, usize>,
    /// Objects by the finalizer that holds them.
    finalizers: BTreeMap<String, usize>,
    failures: Vec<String>,
}

/// Deletes what is in the namespace `name`, and the namespace itself once nothing is left.
///
/// Does nothing when the namespace is gone or is not being deleted. What is held by finalizers stays; the caller
/// comes back when something of the namespace has gone.
pub(super) async fn sweep(state: &State, resources: &[Arc<Resource>], name: &str) -> Result<(), ApiError> {
    let Some(namespaces) = state.registry.find("", "v1", "namespaces") else { return Ok(()) };
    let Some(entry) = state.store.get(&namespaces.key("", name)) else { return Ok(()) };
    let namespace = write::load(namespaces, &entry.value)?;
    let is_ours =
        namespace["spec"]["finalizers"].as_array().is_some_and(|list| list.contains(&json!(FINALIZER)));
    if !metadata::is_terminating(&namespace) || !is_ours {
        return Ok(());
    }
    let uid = metadata::text(&namespace, "uid");
    let mut remains = Remains::default();
    for resource in resources.iter().filter(|resource| resource.namespaced && !resource.is_read_only()) {
        empty(state, resource, name, &mut remains).await;
    }
    let place = |subresource| Place {
        resource: namespaces,
        namespace: "",
        name,
        subresource,
        manager: MANAGER,
        uid_is_precondition: false,
    };
    let status = place("status");
    write::update(state, &status, false, false, |old, now| {
        let old = same(&status, old, uid)?;
        let mut new = old.clone();
        set_conditions(&mut new, &remains, now);
        Ok(if new == *old { new } else { status.own(Some(old), new, now) })
    })
    .await?;
    if let Some(failure) = remains.failures.first() {
        return Err(ApiError::internal(failure));
    }
    if !remains.objects.is_empty() {
        return Ok(());
    }
    let finalize = place("finalize");
    let result = write::update(state, &finalize, false, false, |old, _| {
        let mut new = same(&finalize, old, uid)?.clone();
        if let Some(Value::Array(finalizers)) = new.pointer_mut("/spec/finalizers") {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
            if finalizers.is_empty() {
                new["spec"] = json!({});
            }
        }
        Ok(new)
    })
    .await;
    result.map(drop)
}

/// Returns the live object if it is still the one that the work is meant for.
fn same<'a>(place: &Place<'_>, old: Option<&'a Value>, uid: &str) -> Result<&'a Value, ApiError> {
    old.filter(|old| metadata::text(old, "uid") == uid)
        .ok_or_else(|| ApiError::not_found(place.resource.subject(), place.name))
}

/// Deletes the objects of one resource, and counts what is left.
async fn empty(state: &State, resource: &Resource, namespace: &str, remains: &mut Remains) {
    let collection = resource.collection(Some(namespace));
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    let entries = state.store.list(&collection, None, None).entries;
    let mut deletions = Vec::with_capacity(entries.len());
    for entry in &entries {
        let (namespace, name) = resource.parse_key(&entry.key);
        deletions.push(delete::delete(state, resource, namespace, name, &options));
    }
    let results: Vec<_> = stream::iter(deletions).buffer_unordered(AT_ONCE).collect().await;
    for error in results.into_iter().filter_map(Result::err).filter(|error| error.code != 404) {
        remains.failures.push(error.message);
    }
    let left = state.store.list(&collection, None, None).entries;
    if left.is_empty() {
        return;
    }
    remains.objects.insert(format!("{}.{}", resource.plural, resource.group), left.len());
    for entry in left {
        for finalizer in Head::of(&entry.value).finalizers() {
            *remains.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
}

/// Writes what remains into the status, in the words of the real namespace controller.
fn set_conditions(namespace: &mut Value, remains: &Remains, now: Timestamp) {
    let counted = |counts: &BTreeMap<String, usize>, verb: &str| {
        let parts: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {verb} {count} resource instances")).collect();
        parts.join(", ")
    };
    let failure = (!remains.failures.is_empty()).then(|| {
        let mut failures = remains.failures.clone();
        failures.sort();
        let (count, listed) = (failures.len(), failures.join(", "));
        format!("Failed to delete all resource types, {count} remaining: {listed}")
    });
    let objects = (!remains.objects.is_empty())
        .then(|| format!("Some resources are remaining: {}", counted(&remains.objects, "has")));
    let finalizers = (!remains.finalizers.is_empty()).then(|| {
        format!(
            "Some content in the namespace has finalizers remaining: {}",
            counted(&remains.finalizers, "in")
        )
    });
    let conditions = [
        (
            "NamespaceDeletionDiscoveryFailure",
            ("ResourcesDiscovered", "All resources successfully discovered"),
            None,
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            None,
        ),
        (
            "NamespaceDeletionContentFailure",
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            failure.map(|message| ("ContentDeletionFailed", message)),
        ),
        (
            "NamespaceContentRemaining",
            ("ContentRemoved", "All content successfully removed"),
            objects.map(|message| ("SomeResourcesRemain", message)),
        ),
        (
            "NamespaceFinalizersRemaining",
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            finalizers.map(|message| ("SomeFinalizersRemain", message)),
        ),
    ];
    for (kind, (good_reason, good_message), problem) in conditions {
        let status = if problem.is_some() { "True" } else { "False" };
        let (reason, message) = problem.unwrap_or((good_reason, good_message.to_owned()));
        set_condition(namespace, kind, status, reason, &message, now);
    }
}

/// Sets one condition; its time moves only when its status does.
fn set_condition(
    namespace: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let mut condition = json!({
        "type": kind,
        "status": status,
        "lastTransitionTime": metadata::time(now),
        "reason": reason,
        "message": message,
    });
    if !namespace["status"]["conditions"].is_array() {
        namespace["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = namespace["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(old) => {
            if old["status"] == status {
                condition["lastTransitionTime"] = old["lastTransitionTime"].take();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}
