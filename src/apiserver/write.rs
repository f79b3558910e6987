//! The pipeline of every write: what an object becomes before it is stored, and the one place where it is stored.
//!
//! ```text
//! body -> decode, prune, default -> (patch) -> ownership of fields -> what the server decides -> rules -> store
//! ```
//!
//! A change is computed on the latest state, and once more inside the store's decision if that changed meanwhile: a
//! patch never loses against another writer. A dry run computes the same on the published state and stores nothing.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::apiserver::cause::Cause;
use crate::apiserver::core_kinds::shape::Ordered;
use crate::apiserver::encode;
use crate::apiserver::judging::violations;
use crate::apiserver::managed_fields::{self, RESET_BY_MAIN, RESET_BY_STATUS, Writer};
use crate::apiserver::metadata;
use crate::apiserver::options::WriteOptions;
use crate::apiserver::resource::Resource;
use crate::apiserver::server::State;
use crate::apiserver::status::{ApiError, Subject};
use crate::store::{Change, Entry, MutateError, StoreError, View};

/// The object that a write concerns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// The subresource that is written; empty for the object itself.
    pub(crate) subresource: &'a str,
    /// The manager that the changed fields belong to.
    pub(crate) manager: &'a str,
    /// Whether a uid in the new object names the object that is meant, as in a PUT.
    pub(crate) uid_is_precondition: bool,
}

/// What a write did.
#[derive(Debug)]
pub(crate) struct Written {
    /// The object as it is stored, in its stored form.
    pub(crate) bytes: Bytes,
    pub(crate) created: bool,
}

/// How often a create with a generated name is tried again.
const NAME_ATTEMPTS: usize = 8;

const NAMESPACES: Subject<'static> = Subject { group: "", plural: "namespaces" };

impl Place<'_> {
    fn writer<'a>(&'a self, api_version: &'a str, now: Timestamp) -> Writer<'a> {
        let reset: &[&[&str]] = match (self.resource.has_status, self.subresource) {
            (false, _) => &[],
            (true, "status") => RESET_BY_STATUS,
            (true, _) => RESET_BY_MAIN,
        };
        Writer { manager: self.manager, api_version, subresource: self.subresource, reset, now }
    }

    /// Returns `new` with its fields' owners recorded.
    pub(crate) fn own(&self, live: Option<&Value>, new: Value, now: Timestamp) -> Value {
        let api_version = self.resource.api_version();
        managed_fields::update(&self.resource.merge_shape, live, new, &self.writer(&api_version, now))
    }

    /// Merges an applied configuration into the live object.
    pub(crate) fn apply(
        &self,
        live: Option<&Value>,
        applied: &Value,
        force: bool,
        now: Timestamp,
    ) -> Result<Value, managed_fields::ApplyError> {
        let api_version = self.resource.api_version();
        let writer = self.writer(&api_version, now);
        managed_fields::apply(&self.resource.merge_shape, live, applied, &writer, force)
    }
}

/// Returns stored bytes as the object that handlers work on, with its type.
pub(crate) fn load(resource: &Resource, bytes: &[u8]) -> Result<Value, ApiError> {
    let mut object: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::internal(&format!("a stored object cannot be read: {error}")))?;
    if let Some(core) = resource.core {
        if let Some(face) = &core.face {
            object = (face.from_stored)(object);
        }
        core.shape.thin(&mut object);
        object["apiVersion"] = Value::from(resource.api_version());
        object["kind"] = Value::from(resource.kind.as_str());
    }
    Ok(object)
}

/// Returns an object in its stored form.
pub(crate) fn stored_form(resource: &Resource, object: &Value) -> Bytes {
    let bytes = match resource.core {
        None => encode::to_vec(object),
        Some(core) => match &core.face {
            Some(face) => {
                let stored = (face.to_stored)(object.clone());
                encode::to_vec(&Ordered { value: &stored, shape: face.stored_shape })
            }
            None => encode::to_vec(&Ordered { value: object, shape: core.shape }),
        },
    };
    // The bytes stay for long, and what was reserved for their growth would stay with them.
    bytes.into_boxed_slice().into()
}

/// What of a namespace tells whether it is on its way out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ending {
    metadata: EndingMetadata,
    status: EndingStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EndingMetadata {
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EndingStatus {
    phase: Option<String>,
}

/// Checks that objects may be made in a namespace.
fn check_namespace(
    resource: &Resource,
    entry: Option<&Entry>,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    let Some(entry) = entry else { return Err(ApiError::not_found(NAMESPACES, namespace)) };
    // This is read for every object that is made, so only what is needed.
    let ending: Ending = serde_json::from_slice(&entry.value).unwrap_or_default();
    if ending.metadata.deletion_timestamp.is_none() && ending.status.phase.as_deref() != Some("Terminating") {
        return Ok(());
    }
    let message =
        format!("unable to create new content in namespace {namespace} because it is being terminated");
    let cause = Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    Err(ApiError::forbidden(resource.subject(), name, &message, vec![cause]))
}

fn namespace_key(namespace: &str) -> String {
    format!("core/namespaces/{namespace}")
}

/// Creates `object`, which was decoded and normalized.
pub(crate) async fn create(
    state: &State,
    place: &Place<'_>,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Written, ApiError> {
    let resource = place.resource;
    metadata::wipe(&mut object);
    set_namespace(place, &mut object)?;
    let now = state.clock.now();
    let object = place.own(None, object, now);
    let given_name = metadata::text(&object, "name").to_owned();
    if resource.namespaced {
        let entry = state.store.get(&namespace_key(place.namespace));
        check_namespace(resource, entry.as_ref(), place.namespace, &given_name)?;
    }
    let stem = metadata::text(&object, "generateName").to_owned();
    let is_generated = given_name.is_empty() && !stem.is_empty();
    if !is_generated {
        let object = begin(place, object, now)?;
        let name = metadata::text(&object, "name").to_owned();
        return store_new(state, place, &name, object, options.dry_run).await;
    }
    for attempt in 1..=NAME_ATTEMPTS {
        let mut candidate = object.clone();
        let name = Value::from(metadata::generate_name(&stem));
        metadata::of(&mut candidate).insert("name".to_owned(), name);
        let candidate = begin(place, candidate, now)?;
        let name = metadata::text(&candidate, "name").to_owned();
        let outcome = store_new(state, place, &name, candidate, options.dry_run).await;
        match outcome {
            Err(error) if error.reason == "AlreadyExists" => {
                if attempt == NAME_ATTEMPTS {
                    return Err(ApiError::generated_name_taken(resource.subject(), &name));
                }
            }
            other => return other,
        }
    }
    Err(ApiError::internal("no name could be generated"))
}

/// Turns a decoded object into one that may be stored: system metadata, what the kind decides, rules.
fn begin(place: &Place<'_>, mut object: Value, now: Timestamp) -> Result<Value, ApiError> {
    let resource = place.resource;
    if metadata::revision(&object).is_some_and(|revision| revision != 0) {
        return Err(ApiError::plain("resourceVersion should not be set on objects to be created"));
    }
    let fields = metadata::of(&mut object);
    fields.remove("resourceVersion");
    fields.insert("uid".to_owned(), Value::from(uuid::Uuid::new_v4().to_string()));
    fields.insert("creationTimestamp".to_owned(), Value::from(metadata::time(now)));
    if resource.core.is_none_or(|core| core.has_generation) {
        fields.insert("generation".to_owned(), Value::from(1));
    } else {
        fields.remove("generation");
    }
    if let Some(core) = resource.core {
        (core.prepare)(&mut object, None, None);
        (core.default)(&mut object);
    } else if resource.has_status {
        set_or_remove(&mut object, "status", None);
    }
    let causes = violations(resource, &object, None, "");
    if causes.is_empty() { Ok(object) } else { Err(invalid(resource, &object, causes)) }
}

async fn store_new(
    state: &State,
    place: &Place<'_>,
    name: &str,
    object: Value,
    dry_run: bool,
) -> Result<Written, ApiError> {
    let resource = place.resource;
    let key = resource.key(place.namespace, name);
    if dry_run {
        if let Some(entry) = state.store.get(&key) {
            return Err(already_exists(resource, name, &entry));
        }
        return Ok(Written { bytes: stored_form(resource, &object), created: true });
    }
    let namespace = namespace_key(place.namespace);
    let committed = state
        .store
        .mutate_seeing(&key, |view: &View<'_>, entry, revision| {
            if let Some(entry) = entry {
                return Err(already_exists(resource, name, entry));
            }
            if resource.namespaced {
                check_namespace(resource, view.get(&namespace).as_ref(), place.namespace, name)?;
            }
            let mut object = object;
            metadata::set_revision(&mut object, revision);
            let bytes = stored_form(resource, &object);
            Ok((Change::Put(bytes.clone()), bytes))
        })
        .await
        .map_err(refusal)?;
    Ok(Written { bytes: committed.outcome, created: true })
}

fn already_exists(resource: &Resource, name: &str, entry: &Entry) -> ApiError {
    let mut error = ApiError::already_exists(resource.subject(), name);
    let existing: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    if metadata::is_terminating(&existing) {
        error.message = format!("object is being deleted: {}", error.message);
    }
    error
}

/// Changes the object at `place` to what `transform` makes of it.
///
/// `transform` gets the current object, nothing when there is none, and returns the new one with its owners. It runs
/// a second time when somebody else changed the object meanwhile. `may_create` says whether an absent object is made.
pub(crate) async fn update<F>(
    state: &State,
    place: &Place<'_>,
    dry_run: bool,
    may_create: bool,
    mut transform: F,
) -> Result<Written, ApiError>
where
    F: FnMut(Option<&Value>, Timestamp) -> Result<Value, ApiError> + Send,
{
    let resource = place.resource;
    let key = resource.key(place.namespace, place.name);
    let now = state.clock.now();
    let namespace = namespace_key(place.namespace);
    let mut prepare = |entry: Option<&Entry>, namespace: Option<&Entry>| {
        if resource.namespaced && entry.is_none() && may_create {
            check_namespace(resource, namespace, place.namespace, place.name)?;
        }
        prepare(place, entry, now, may_create, &mut transform)
    };
    if dry_run {
        let (entry, namespace) = (state.store.get(&key), state.store.get(&namespace));
        let (object, created) = match prepare(entry.as_ref(), namespace.as_ref())? {
            Prepared::Keep(bytes) | Prepared::Finish { bytes, .. } => {
                return Ok(Written { bytes, created: false });
            }
            Prepared::Create(object) => (object, true),
            Prepared::Replace(object) => (object, false),
        };
        return Ok(Written { bytes: stored_form(resource, &object), created });
    }
    let committed = state
        .store
        .mutate_prepared(&key, &namespace, prepare, |prepared, _, revision| {
            let (mut object, created) = match prepared {
                Prepared::Keep(bytes) => return Ok((Change::Keep, Written { bytes, created: false })),
                Prepared::Create(object) => (object, true),
                Prepared::Replace(object) => (object, false),
                Prepared::Finish { bytes, mut last } => {
                    metadata::set_revision(&mut last, revision);
                    let last = Some(stored_form(resource, &last));
                    return Ok((Change::Delete { last }, Written { bytes, created: false }));
                }
            };
            metadata::set_revision(&mut object, revision);
            let bytes = stored_form(resource, &object);
            Ok((Change::Put(bytes.clone()), Written { bytes, created }))
        })
        .await
        .map_err(refusal)?;
    Ok(committed.outcome)
}

/// What a change comes to, but for the version that it gets.
enum Prepared {
    /// The object stays as it is stored.
    Keep(Bytes),
    /// There was none.
    Create(Value),
    /// It takes the place of the stored one.
    Replace(Value),
    /// The last finalizer of an object on its way out went.
    Finish {
        /// What the writer sees of it.
        bytes: Bytes,
        /// The object as it is stored: what watchers see of it.
        last: Value,
    },
}

/// Computes a change.
fn prepare<F>(
    place: &Place<'_>,
    entry: Option<&Entry>,
    now: Timestamp,
    may_create: bool,
    transform: &mut F,
) -> Result<Prepared, ApiError>
where
    F: FnMut(Option<&Value>, Timestamp) -> Result<Value, ApiError>,
{
    let resource = place.resource;
    let Some(entry) = entry else {
        if !may_create {
            return Err(ApiError::not_found(resource.subject(), place.name));
        }
        let mut new = transform(None, now)?;
        set_namespace(place, &mut new)?;
        check_name(place, &new)?;
        // A version that nothing has yet is no precondition here.
        metadata::of(&mut new).remove("resourceVersion");
        let mut new = begin(place, new, now)?;
        resource.read_back(&mut new, place.subresource);
        return Ok(Prepared::Create(new));
    };
    let old = load(resource, &entry.value)?;
    let mut new = transform(Some(&old), now)?;
    if resource.core.is_none() && new == old && !metadata::is_terminating(&old) {
        // What is stored was judged when it was stored.
        return Ok(Prepared::Keep(entry.value.clone()));
    }
    set_namespace(place, &mut new)?;
    check_name(place, &new)?;
    if place.uid_is_precondition {
        check_uid(place, &old, &new)?;
    }
    check_revision(place, &old, &mut new)?;
    settle(place, &old, &mut new)?;
    let is_finished = metadata::is_terminating(&new)
        && metadata::finalizers(&new).is_empty()
        && new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && resource.core.is_none_or(|core| core.kind != "Namespace" || new["spec"]["finalizers"].is_null());
    if is_finished {
        return Ok(Prepared::Finish { bytes: stored_form(resource, &new), last: old });
    }
    resource.read_back(&mut new, place.subresource);
    managed_fields::keep_times_of_unchanged(&old, &mut new);
    // Kinds of Kubernetes itself have values that are stored as if they were absent.
    let is_unchanged = match resource.core {
        None => new == old,
        Some(_) => stored_form(resource, &new) == entry.value,
    };
    Ok(if is_unchanged { Prepared::Keep(entry.value.clone()) } else { Prepared::Replace(new) })
}

/// Returns stored bytes with another resource version.
pub(crate) fn with_revision(resource: &Resource, bytes: &[u8], revision: u64) -> Result<Bytes, ApiError> {
    let mut object = load(resource, bytes)?;
    metadata::set_revision(&mut object, revision);
    Ok(stored_form(resource, &object))
}

/// Puts the namespace of the request into the object, or refuses another one.
pub(crate) fn set_namespace(place: &Place<'_>, object: &mut Value) -> Result<(), ApiError> {
    let expected = if place.resource.namespaced { place.namespace } else { "" };
    let given = metadata::text(object, "namespace");
    if given.is_empty() && !expected.is_empty() {
        metadata::of(object).insert("namespace".to_owned(), Value::from(expected));
    } else if given != expected {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Refuses an object whose name is not that of the path.
pub(crate) fn check_name(place: &Place<'_>, object: &Value) -> Result<(), ApiError> {
    let name = metadata::text(object, "name");
    if name.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            place.name
        )));
    }
    if name == place.name {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({})",
        place.name
    )))
}

fn check_revision(place: &Place<'_>, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let resource = place.resource;
    let given = metadata::text(new, "resourceVersion").to_owned();
    let current = metadata::text(old, "resourceVersion");
    if given.is_empty() || given == "0" {
        if resource.core.is_some_and(|core| core.updates_unconditionally) {
            metadata::of(new).insert("resourceVersion".to_owned(), Value::from(current));
            return Ok(());
        }
        let cause =
            Cause::invalid("metadata.resourceVersion", &Value::from(0), "must be specified for an update");
        return Err(ApiError::invalid(&resource.group, &resource.plural, place.name, vec![cause]));
    }
    if given.parse::<u64>().is_err() {
        return Err(ApiError::plain(format!("strconv.ParseUint: parsing {given:?}: invalid syntax")));
    }
    if given == current { Ok(()) } else { Err(ApiError::stale(resource.subject(), place.name)) }
}

fn check_uid(place: &Place<'_>, old: &Value, new: &Value) -> Result<(), ApiError> {
    let (given, current) = (metadata::text(new, "uid"), metadata::text(old, "uid"));
    if given.is_empty() || given == current {
        return Ok(());
    }
    let resource = place.resource;
    let message = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {given}, UID in object meta: {current}",
        registry_path(resource, place.namespace, place.name)
    );
    Err(ApiError::conflict(resource.subject(), place.name, &message))
}

/// Returns the path under which the real server would keep the object; one of its messages shows it.
fn registry_path(resource: &Resource, namespace: &str, name: &str) -> String {
    let group = if resource.core.is_some() { String::new() } else { format!("{}/", resource.group) };
    let namespace = if resource.namespaced { format!("{namespace}/") } else { String::new() };
    format!("/registry/{group}{}/{namespace}{name}", resource.plural)
}

/// Takes back what this write may not change, counts the generation, and applies the rules.
fn settle(place: &Place<'_>, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let resource = place.resource;
    let generation = old["metadata"]["generation"].clone();
    match resource.core {
        Some(core) => {
            let subresource = (!place.subresource.is_empty()).then_some(place.subresource);
            (core.prepare)(new, Some(old), subresource);
            set_generation(new, generation);
        }
        None if place.subresource == "status" => {
            let managed = new["metadata"]["managedFields"].take();
            let status = new.get_mut("status").map(Value::take);
            *new = without_owners_and_status(old);
            set_or_remove(new, "status", status);
            if !managed.is_null() {
                metadata::of(new).insert("managedFields".to_owned(), managed);
            }
        }
        None => {
            if resource.has_status {
                set_or_remove(new, "status", old.get("status").cloned());
            }
            set_generation(new, generation.clone());
            if metadata::differs_in_content(new, old, resource.has_status) {
                set_generation(new, Value::from(generation.as_i64().unwrap_or(0) + 1));
            }
        }
    }
    metadata::carry_over(new, old);
    let causes = violations(resource, new, Some(old), place.subresource);
    if causes.is_empty() { Ok(()) } else { Err(invalid(resource, new, causes)) }
}

/// Returns a copy of an object without the two parts that are most of it.
fn without_owners_and_status(object: &Value) -> Value {
    let copy = |name: &String, value: &Value| (name.clone(), value.clone());
    let fields = object.as_object().into_iter().flatten().filter(|(name, _)| *name != "status");
    let copied = fields.map(|(name, value)| match value {
        Value::Object(metadata) if name == "metadata" => {
            let kept = metadata.iter().filter(|(name, _)| *name != "managedFields");
            (name.clone(), Value::Object(kept.map(|(name, value)| copy(name, value)).collect()))
        }
        _ => copy(name, value),
    });
    Value::Object(copied.collect())
}

fn set_generation(object: &mut Value, generation: Value) {
    let fields = metadata::of(object);
    if generation.is_null() {
        fields.remove("generation");
    } else {
        fields.insert("generation".to_owned(), generation);
    }
}

fn set_or_remove(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    match value {
        Some(value) => map.insert(field.to_owned(), value),
        None => map.remove(field),
    };
}

fn invalid(resource: &Resource, object: &Value, causes: Vec<Cause>) -> ApiError {
    let kind = object["kind"].as_str().unwrap_or(&resource.kind);
    // Of a kind with two faces the stored one is judged.
    let group = resource.core.map_or(resource.group.as_str(), |core| core.storage_group);
    ApiError::invalid(group, kind, metadata::text(object, "name"), causes)
}

/// Returns the answer to a write that was not stored.
pub(crate) fn refusal(error: MutateError<ApiError>) -> ApiError {
    match error {
        MutateError::Refused(error) => error,
        MutateError::Storage(StoreError::TooLarge { bytes, limit, .. }) => {
            ApiError::too_large(&format!("the object has {bytes} bytes, the limit is {limit}"))
        }
        MutateError::Storage(error @ StoreError::Closed) => ApiError::unavailable(error.to_string()),
        MutateError::Storage(error) => ApiError::internal(&error.to_string()),
    }
}
