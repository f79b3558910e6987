//! Objects go when their owners are gone: in the background, before their owner, or not at all.

use std::collections::HashSet;

use bytes::Bytes;
use futures::future::join_all;
use serde_json::Value;

use crate::apiserver::delete;
use crate::apiserver::garbage::graph::{Head, Owner, Stage, Work};
use crate::apiserver::garbage::{AT_ONCE, Collector, MANAGER};
use crate::apiserver::metadata::{self, FOREGROUND, ORPHAN};
use crate::apiserver::options::{DeleteOptions, Propagation};
use crate::apiserver::resource::Resource;
use crate::apiserver::status::ApiError;
use crate::apiserver::write::{self, Place, Written};

/// Where an object is.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    resource: &'a Resource,
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
    /// The revision at which it was looked at.
    revision: u64,
}

/// What an owner reference is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The owner is there.
    Solid,
    /// Nothing with this uid is where the reference says.
    Gone,
    /// The owner is deleted and waits for its dependents.
    Waiting,
    /// Nobody here can tell.
    Unknown,
}

impl Collector<'_> {
    /// Returns where the object with `uid` is, and its bytes, if it is still there.
    fn find<'k>(&'k self, uid: &'k str) -> Option<(Found<'k>, Bytes)> {
        let key = self.graph.key(uid)?;
        self.find_at(key, uid)
    }

    fn find_at<'k>(&'k self, key: &'k str, uid: &'k str) -> Option<(Found<'k>, Bytes)> {
        let (resource, namespace, name) = self.locate(key)?;
        let entry = self.state.store.get(key)?;
        let found = Found { resource, namespace, name, uid, revision: entry.revision };
        (Head::of(&entry.value).metadata.uid == uid).then_some((found, entry.value))
    }

    /// Deletes an object that has no owner left, drops references to owners that are gone or waiting, and lets an
    /// object go that waited for its dependents.
    pub(super) async fn attempt(&self, uid: &str) -> Result<Vec<Work>, ApiError> {
        let Some((found, bytes)) = self.find(uid) else { return Ok(Vec::new()) };
        let head = Head::of(&bytes);
        match head.stage() {
            Stage::Live => {}
            Stage::Foreground => return self.finish_foreground(&found).await,
            Stage::Terminating | Stage::Orphan => return Ok(Vec::new()),
        }
        if head.owners().is_empty() || found.resource.is_read_only() {
            return Ok(Vec::new());
        }
        let (mut solid, mut gone, mut waiting) = (0, Vec::new(), Vec::new());
        for owner in head.owners() {
            match self.classify(&found, owner) {
                Standing::Solid => solid += 1,
                Standing::Gone => gone.push(owner.uid.as_str()),
                Standing::Waiting => waiting.push(owner.uid.as_str()),
                Standing::Unknown => return Ok(Vec::new()),
            }
        }
        if solid > 0 {
            gone.append(&mut waiting);
            if !gone.is_empty() {
                self.release(&found, &gone).await?;
            }
            return Ok(Vec::new());
        }
        let mut judged = found.revision;
        let propagation = if !waiting.is_empty() && self.graph.dependents(uid).next().is_some() {
            if self.graph.has_waiting_dependent(uid) {
                // A circle of owners that wait for each other: this one gives way.
                judged = self.unblock(&found).await?;
            }
            Propagation::Foreground
        } else if head.has_finalizer(ORPHAN) {
            Propagation::Orphan
        } else if head.has_finalizer(FOREGROUND) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        // Whoever changed the object since may have given it a reason to stay: it is judged again then.
        let options = DeleteOptions {
            propagation: Some(propagation),
            uid: Some(found.uid.to_owned()),
            resource_version: Some(judged.to_string()),
            ..DeleteOptions::default()
        };
        delete::delete(self.state, found.resource, found.namespace, found.name, &options).await?;
        Ok(Vec::new())
    }

    /// Lets an object go that waits for its dependents, or sends them on their way.
    async fn finish_foreground(&self, found: &Found<'_>) -> Result<Vec<Work>, ApiError> {
        let blocking = self.graph.blocking(found.uid);
        if blocking.is_empty() {
            self.remove_finalizer(found, FOREGROUND).await?;
            return Ok(Vec::new());
        }
        // A dependent comes back to its owner by being deleted; nothing is queued for one that is already on its way,
        // or the two would call for each other without end.
        let is_untouched =
            |uid: &str| self.find(uid).is_some_and(|(_, bytes)| Head::of(&bytes).stage() == Stage::Live);
        Ok(blocking
            .into_iter()
            .filter(|(uid, is_waiting)| !is_waiting && is_untouched(uid))
            .map(|(uid, _)| Work::Attempt(uid))
            .collect())
    }

    /// Releases the dependents of an object, then the object.
    pub(super) async fn orphan(&self, uid: &str) -> Result<(), ApiError> {
        let Some((found, _)) = self.find(uid) else { return Ok(()) };
        let dependents: Vec<_> =
            self.graph.dependents(uid).filter_map(|(dependent, key)| self.find_at(key, dependent)).collect();
        for chunk in dependents.chunks(AT_ONCE) {
            let mut running = Vec::with_capacity(chunk.len());
            for (dependent, _) in chunk {
                running.push(self.release(dependent, std::slice::from_ref(&uid)));
            }
            for result in join_all(running).await {
                match result {
                    Ok(()) => {}
                    Err(error) if error.code == 404 => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.remove_finalizer(&found, ORPHAN).await
    }

    fn classify(&self, dependent: &Found<'_>, owner: &Owner) -> Standing {
        let served = self.state.registry.all().iter();
        let Some(resource) = served
            .into_iter()
            .find(|resource| resource.kind == owner.kind && resource.api_version() == owner.api_version)
        else {
            return Standing::Unknown;
        };
        if resource.namespaced && dependent.namespace.is_empty() {
            return Standing::Unknown;
        }
        let Some(entry) = self.state.store.get(&resource.key(dependent.namespace, &owner.name)) else {
            return Standing::Gone;
        };
        let head = Head::of(&entry.value);
        if head.metadata.uid != owner.uid {
            Standing::Gone
        } else if head.stage() == Stage::Foreground {
            Standing::Waiting
        } else {
            Standing::Solid
        }
    }

    /// Drops the references to owners with these uids.
    async fn release(&self, found: &Found<'_>, owners: &[&str]) -> Result<(), ApiError> {
        let owners: HashSet<&str> = owners.iter().copied().collect();
        self.change(found, |metadata| {
            let Some(Value::Array(references)) = metadata.get_mut("ownerReferences") else { return };
            references.retain(|reference| !reference["uid"].as_str().is_some_and(|uid| owners.contains(uid)));
            if references.is_empty() {
                metadata.remove("ownerReferences");
            }
        })
        .await
    }

    /// Makes all owner references of an object ones that do not block, if it is still what was looked at. Returns the
    /// revision that it has then.
    async fn unblock(&self, found: &Found<'_>) -> Result<u64, ApiError> {
        let written = self.write(found, |metadata| {
            // Stale as it may be, it is what was judged.
            metadata.insert("resourceVersion".to_owned(), Value::from(found.revision.to_string()));
            let references = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut);
            for reference in references.into_iter().flatten() {
                if reference["blockOwnerDeletion"] == true {
                    reference["blockOwnerDeletion"] = Value::from(false);
                }
            }
        });
        let written: Value = serde_json::from_slice(&written.await?.bytes).unwrap_or_default();
        Ok(metadata::revision(&written).unwrap_or_default())
    }

    async fn remove_finalizer(&self, found: &Found<'_>, finalizer: &str) -> Result<(), ApiError> {
        self.change(found, |metadata| {
            let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") else { return };
            finalizers.retain(|existing| existing != finalizer);
            if finalizers.is_empty() {
                metadata.remove("finalizers");
            }
        })
        .await
    }

    async fn change(
        &self,
        found: &Found<'_>,
        change: impl Fn(&mut serde_json::Map<String, Value>) + Send + Sync,
    ) -> Result<(), ApiError> {
        self.write(found, change).await.map(drop)
    }

    /// Changes the metadata of an object, unless it was replaced by another one of its name.
    async fn write(
        &self,
        found: &Found<'_>,
        change: impl Fn(&mut serde_json::Map<String, Value>) + Send + Sync,
    ) -> Result<Written, ApiError> {
        let place = Place {
            resource: found.resource,
            namespace: found.namespace,
            name: found.name,
            subresource: "",
            manager: MANAGER,
            uid_is_precondition: false,
        };
        write::update(self.state, &place, false, false, |old, now| {
            let old = old
                .filter(|old| metadata::text(old, "uid") == found.uid)
                .ok_or_else(|| ApiError::not_found(found.resource.subject(), found.name))?;
            let mut new = old.clone();
            change(metadata::of(&mut new));
            Ok(place.own(Some(old), new, now))
        })
        .await
    }
}
