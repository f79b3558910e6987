//! What all controllers do with objects alike: read many, write a status, write finalizers, remember by uid.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::labels;

/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// How often is looked for what is kept of objects that are gone.
const FORGET_EVERY: Duration = Duration::from_mins(10);

/// An object of a kind that controllers write.
pub(crate) trait Controllable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> Controllable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

/// Stores the status of an object, unless it is what is stored already, and returns the object as it is then.
///
/// # Errors
/// When the server does not take it, as when the object changed since it was read.
pub(crate) async fn store_status<K>(
    client: &kube::Client,
    object: &K,
    status: &K::Status,
) -> Result<K, kube::Error>
where
    K: Controllable + HasStatus,
    K::Status: Clone + PartialEq,
{
    let mut next = object.clone();
    if object.status() == Some(status) {
        return Ok(next);
    }
    *next.status_mut() = Some(status.clone());
    // Who holds which field is the server's affair; sent back, it would count as ours.
    next.meta_mut().managed_fields = None;
    let parameters =
        PostParams { dry_run: false, field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()) };
    api(client, object).replace_status(&object.name_any(), &parameters, &next).await
}

/// Makes these the finalizers of an object, and returns the object as it is then.
///
/// # Errors
/// When the server does not take it, as when the object changed since it was read.
pub(crate) async fn set_finalizers<K: Controllable>(
    client: &kube::Client,
    object: &K,
    names: &[String],
) -> Result<K, kube::Error> {
    // The resource version makes the write fail when somebody else changed the list meanwhile.
    let patch = json!({"metadata": {
        "resourceVersion": object.resource_version(), "uid": object.uid(), "finalizers": names,
    }});
    let parameters =
        PatchParams { field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()), ..PatchParams::default() };
    api(client, object).patch(&object.name_any(), &parameters, &Patch::Merge(&patch)).await
}

/// Hands every object to `take`, page by page, so that many of them are never in memory at once.
///
/// # Errors
/// When the server does not answer.
pub(crate) async fn for_each<K>(api: &Api<K>, mut take: impl FnMut(K)) -> Result<(), kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&parameters).await?;
        page.items.into_iter().for_each(&mut take);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Calls `forget` now and again with who knows which objects are there, by uid, until `shutdown`.
///
/// Whoever keeps something of an object has to have seen it in `store` before: what is kept and not there is gone.
pub(crate) async fn forget_gone<K>(
    store: Store<K>,
    shutdown: &CancellationToken,
    forget: impl Fn(&dyn Fn(&str) -> bool),
) where
    K: Controllable + 'static,
{
    let forget_for_ever = async {
        // It fails only when the controller ends.
        if store.wait_until_ready().await.is_err() {
            return;
        }
        loop {
            forget(&|uid| store.state().iter().any(|object| object.uid().as_deref() == Some(uid)));
            tokio::time::sleep(FORGET_EVERY).await;
        }
    };
    tokio::select! {
        () = forget_for_ever => {}
        () = shutdown.cancelled() => {}
    }
}

fn api<K: Controllable>(client: &kube::Client, object: &K) -> Api<K> {
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}

/// What is remembered of objects between two looks at them, by uid; all of it can be lost.
///
/// Each memory is locked by the one reconciliation of its object.
#[derive(Debug)]
pub(crate) struct Memories<M>(Mutex<HashMap<String, Arc<tokio::sync::Mutex<M>>>>);

impl<M> Default for Memories<M> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<M: Default> Memories<M> {
    /// Returns the memory of an object.
    pub(crate) fn of(&self, uid: &str) -> Arc<tokio::sync::Mutex<M>> {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(uid.to_owned()).or_default())
    }

    /// Forgets an object that went.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Forgets all objects that are gone.
    pub(crate) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
    }
}
