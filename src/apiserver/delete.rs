//! DELETE: preconditions, finalizers, propagation, and collections.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::metadata::{self, FOREGROUND, ORPHAN};
use crate::apiserver::options::{DeleteOptions, Propagation};
use crate::apiserver::resource::Resource;
use crate::apiserver::server::State;
use crate::apiserver::status::{ApiError, Details, Subject};
use crate::apiserver::write::{load, refusal, stored_form};
use crate::store::{Change, Entry};

/// What a deletion did.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object is gone.
    Gone(Details),
    /// The object is on its way out; this is what it looks like now.
    Terminating(Bytes),
}

/// Namespaces that cannot be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

/// Deletes one object.
pub(crate) async fn delete(
    state: &State,
    resource: &Resource,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    if is_namespace(resource) && PROTECTED.contains(&name) {
        return Err(ApiError::forbidden(
            resource.subject(),
            name,
            "this namespace may not be deleted",
            Vec::new(),
        ));
    }
    let key = resource.key(namespace, name);
    let now = state.clock.now();
    let prepare = |entry: Option<&Entry>| prepare(resource, name, entry, options, now);
    if options.dry_run {
        return Ok(match prepare(state.store.get(&key).as_ref())? {
            Prepared::Gone { details, .. } => Deleted::Gone(details),
            Prepared::Keep(bytes) => Deleted::Terminating(bytes),
            Prepared::Mark(object) => Deleted::Terminating(stored_form(resource, &object)),
        });
    }
    let committed = state
        .store
        .mutate_prepared(
            &key,
            &key,
            |entry, _| prepare(entry),
            |prepared, _, revision| {
                Ok(match prepared {
                    Prepared::Gone { mut last, details } => {
                        metadata::set_revision(&mut last, revision);
                        let last = Some(stored_form(resource, &last));
                        (Change::Delete { last }, Deleted::Gone(details))
                    }
                    Prepared::Keep(bytes) => (Change::Keep, Deleted::Terminating(bytes)),
                    Prepared::Mark(mut object) => {
                        metadata::set_revision(&mut object, revision);
                        let bytes = stored_form(resource, &object);
                        (Change::Put(bytes.clone()), Deleted::Terminating(bytes))
                    }
                })
            },
        )
        .await
        .map_err(refusal)?;
    Ok(committed.outcome)
}

fn is_namespace(resource: &Resource) -> bool {
    resource.core.is_some_and(|core| core.kind == "Namespace")
}

/// What a deletion comes to, but for the version that it gets.
enum Prepared {
    /// Nothing holds the object.
    Gone {
        /// The object as it is.
        last: Value,
        details: Details,
    },
    /// It is on its way out already.
    Keep(Bytes),
    /// Something holds the object, which is marked now.
    Mark(Value),
}

/// Computes a deletion.
fn prepare(
    resource: &Resource,
    name: &str,
    entry: Option<&Entry>,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Prepared, ApiError> {
    let Some(entry) = entry else { return Err(ApiError::not_found(resource.subject(), name)) };
    let mut object = load(resource, &entry.value)?;
    check_preconditions(resource, name, &object, options)?;
    let finalizers = finalizers_after(&object, options);
    let is_held = !finalizers.is_empty()
        || (is_namespace(resource)
            && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty()));
    if !is_held {
        let details = Details {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.plural.clone(),
            uid: metadata::text(&object, "uid").to_owned(),
            ..Details::default()
        };
        return Ok(Prepared::Gone { last: object, details });
    }
    set_finalizers(&mut object, finalizers);
    mark(resource, &mut object, now);
    let unchanged = stored_form(resource, &object);
    Ok(if unchanged == entry.value { Prepared::Keep(unchanged) } else { Prepared::Mark(object) })
}

fn check_preconditions(
    resource: &Resource,
    name: &str,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    // The real server names the kind here where other conflicts name the resource.
    let subject = Subject { group: &resource.group, plural: &resource.kind };
    let uid = metadata::text(object, "uid");
    if let Some(wanted) = options.uid.as_deref().filter(|&wanted| wanted != uid) {
        return Err(ApiError::conflict(
            subject,
            name,
            &format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            ),
        ));
    }
    let version = metadata::text(object, "resourceVersion");
    if let Some(wanted) = options.resource_version.as_deref().filter(|&wanted| wanted != version) {
        return Err(ApiError::conflict(
            subject,
            name,
            &format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
            ),
        ));
    }
    Ok(())
}

/// Returns the finalizers with those that stand for a propagation policy added and removed.
fn finalizers_after(object: &Value, options: &DeleteOptions) -> Vec<String> {
    let current: Vec<String> = metadata::finalizers(object).into_iter().map(str::to_owned).collect();
    let known: HashSet<&str> = current.iter().map(String::as_str).collect();
    let has = |finalizer: &str| known.contains(finalizer);
    let wanted = match options.propagation {
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
        None if has(ORPHAN) => Some(ORPHAN),
        None if has(FOREGROUND) => Some(FOREGROUND),
        Some(Propagation::Background) | None => None,
    };
    let mut finalizers: Vec<String> = current
        .iter()
        .filter(|finalizer| *finalizer != FOREGROUND && *finalizer != ORPHAN)
        .cloned()
        .collect();
    finalizers.extend(wanted.map(str::to_owned));
    let is_same = finalizers.len() == current.len() && finalizers.iter().all(|finalizer| has(finalizer));
    if is_same { current } else { finalizers }
}

fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    let fields = metadata::of(object);
    if finalizers.is_empty() {
        fields.remove("finalizers");
    } else {
        fields.insert("finalizers".to_owned(), Value::from(finalizers));
    }
}

/// Marks an object as being deleted since `now`, unless it already is.
fn mark(resource: &Resource, object: &mut Value, now: Timestamp) {
    if metadata::is_terminating(object) {
        return;
    }
    let fields = metadata::of(object);
    fields.insert("deletionTimestamp".to_owned(), Value::from(metadata::time(now)));
    if is_namespace(resource) {
        object["status"]["phase"] = Value::from("Terminating");
        return;
    }
    fields.insert("deletionGracePeriodSeconds".to_owned(), Value::from(0));
    if let Some(generation) = fields.get("generation").and_then(Value::as_i64) {
        fields.insert("generation".to_owned(), Value::from(generation + 1));
    }
}

/// Deletes the listed objects of a collection.
pub(crate) async fn delete_all(
    state: &State,
    resource: &Resource,
    items: &[Bytes],
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    for bytes in items {
        let object = load(resource, bytes)?;
        let (namespace, name) = (metadata::text(&object, "namespace"), metadata::text(&object, "name"));
        match delete(state, resource, namespace, name, options).await {
            Ok(_) => {}
            // Somebody else was faster; the object is gone, which is what was asked for.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
