//! Spawners while they wait for their ticks: there may be ten thousand of them, so what is kept of each is small.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::de::{Deserialize, Deserializer, Error as _};

use crate::api::labels;
use crate::api::task_spawner::TaskSpawner;
use crate::pack::{Packed, Packer};

/// A spawner without what only the creation of a Task asks for; that reads the spawner anew.
#[derive(Debug, Clone)]
pub(super) struct WaitingSpawner {
    metadata: ObjectMeta,
    /// The spawner as JSON.
    text: Packed,
}

impl WaitingSpawner {
    /// Takes out what nobody needs once a watch knows its place.
    pub(super) fn settle(&mut self, packer: &Packer) {
        let ObjectMeta { name, namespace, .. } = std::mem::take(&mut self.metadata);
        self.metadata = ObjectMeta { name, namespace, ..ObjectMeta::default() };
        self.text = packer.pack(&self.text.to_bytes());
    }

    /// Returns the spawner, without what is not kept of it.
    pub(super) fn spawner(&self) -> TaskSpawner {
        serde_json::from_slice(&self.text.to_bytes()).expect("because it was written from a spawner")
    }
}

impl<'de> Deserialize<'de> for WaitingSpawner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut spawner = TaskSpawner::deserialize(deserializer)?;
        let metadata = spawner.metadata.clone();
        lighten(&mut spawner);
        let text = serde_json::to_vec(&spawner).map_err(D::Error::custom)?;
        Ok(Self { metadata, text: Packed::whole(text.into()) })
    }
}

impl Resource for WaitingSpawner {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        TaskSpawner::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        TaskSpawner::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        TaskSpawner::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        TaskSpawner::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn lighten(spawner: &mut TaskSpawner) {
    let metadata = &mut spawner.metadata;
    let kept = metadata.annotations.take().and_then(|mut all| all.remove_entry(labels::ON_DELETE));
    metadata.annotations = kept.map(|kept| [kept].into());
    metadata.labels = None;
    metadata.managed_fields = None;
    let template = &mut spawner.spec.task_template;
    template.prompt_template = None;
    template.metadata = None;
}
