//! `podOverrides`: what a Task may change about the Pod, or the local process, that its agent runs in.
//!
//! The parts that Kubernetes defines are kept as they are written (the schema preserves unknown fields there), so that the
//! CRDs stay small. Typed accessors read them as Kubernetes does; `validate` reports what they refuse.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most containers, and most init containers, that a Task may add.
pub const MAX_EXTRA_CONTAINERS: usize = 8;

/// Most volumes that a Task may add. Bounds the cost of the rule on volume names.
pub const MAX_VOLUMES: usize = 128;

/// Longest name of a container or volume (a DNS label).
const MAX_LABEL_LENGTH: usize = 63;

/// Changes to the Pod that the agent runs in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodOverrides {
    /// Labels added to the Job and its Pod. Labels that Kelos sets itself win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// Compute resources of the agent container, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub resources: Option<Value>,

    /// Longest time in seconds that the run may take before it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i64>,

    /// Environment variables added to the agent container, as in a Pod. Variables that Kelos sets itself win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub env: Vec<Value>,

    /// Labels that a node must have to run the Pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the Pod tolerates, as in a Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub tolerations: Vec<Value>,

    /// Scheduling affinity, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub affinity: Option<Value>,

    /// Secrets for pulling images from private registries, as in a Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub image_pull_secrets: Vec<Value>,

    /// Service account of the Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,

    /// Volumes added to the Pod, as in a Pod. The name `workspace` and the prefix `kelos-` are reserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "volumes")]
    pub volumes: Vec<Value>,

    /// Volume mounts added to the agent container, as in a Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub volume_mounts: Vec<Value>,

    /// Security context of the Pod. Fields that are set here win over what Kelos sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub pod_security_context: Option<Value>,

    /// Security context of the agent container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub container_security_context: Option<Value>,

    /// Containers that run beside the agent, as in a Pod. The prefix `kelos-` and the names of built-in init containers
    /// are reserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "containers")]
    pub extra_containers: Vec<Value>,

    /// Init containers that run after the built-in ones, as in a Pod. The same names are reserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "containers")]
    pub extra_init_containers: Vec<Value>,
}

/// A part of `podOverrides` that Kubernetes could not read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read podOverrides.{field}")]
pub struct PodPartError {
    /// The field, with an index where it is a list: `env[2]`.
    pub field: String,
    /// What the reader says.
    #[source]
    pub source: serde_json::Error,
}

impl PodOverrides {
    /// Reads the compute resources.
    pub fn resources(&self) -> Result<Option<core::ResourceRequirements>, PodPartError> {
        one("resources", self.resources.as_ref())
    }

    /// Reads the environment variables.
    pub fn env(&self) -> Result<Vec<core::EnvVar>, PodPartError> {
        many("env", &self.env)
    }

    /// Reads the tolerations.
    pub fn tolerations(&self) -> Result<Vec<core::Toleration>, PodPartError> {
        many("tolerations", &self.tolerations)
    }

    /// Reads the affinity.
    pub fn affinity(&self) -> Result<Option<core::Affinity>, PodPartError> {
        one("affinity", self.affinity.as_ref())
    }

    /// Reads the image pull Secrets.
    pub fn image_pull_secrets(&self) -> Result<Vec<core::LocalObjectReference>, PodPartError> {
        many("imagePullSecrets", &self.image_pull_secrets)
    }

    /// Reads the volumes.
    pub fn volumes(&self) -> Result<Vec<core::Volume>, PodPartError> {
        many("volumes", &self.volumes)
    }

    /// Reads the volume mounts.
    pub fn volume_mounts(&self) -> Result<Vec<core::VolumeMount>, PodPartError> {
        many("volumeMounts", &self.volume_mounts)
    }

    /// Reads the security context of the Pod.
    pub fn pod_security_context(&self) -> Result<Option<core::PodSecurityContext>, PodPartError> {
        one("podSecurityContext", self.pod_security_context.as_ref())
    }

    /// Reads the security context of the agent container.
    pub fn container_security_context(&self) -> Result<Option<core::SecurityContext>, PodPartError> {
        one("containerSecurityContext", self.container_security_context.as_ref())
    }

    /// Reads the containers beside the agent.
    pub fn extra_containers(&self) -> Result<Vec<core::Container>, PodPartError> {
        many("extraContainers", &self.extra_containers)
    }

    /// Reads the added init containers.
    pub fn extra_init_containers(&self) -> Result<Vec<core::Container>, PodPartError> {
        many("extraInitContainers", &self.extra_init_containers)
    }
}

fn one<T: DeserializeOwned>(field: &str, value: Option<&Value>) -> Result<Option<T>, PodPartError> {
    value
        .map(|value| T::deserialize(value))
        .transpose()
        .map_err(|source| PodPartError { field: field.to_owned(), source })
}

fn many<T: DeserializeOwned>(field: &str, values: &[Value]) -> Result<Vec<T>, PodPartError> {
    let read = |(index, value)| {
        T::deserialize(value).map_err(|source| PodPartError { field: format!("{field}[{index}]"), source })
    };
    values.iter().enumerate().map(read).collect()
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn any_objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } })
}

/// A list whose items have a name that rules look at.
fn named(max_items: usize) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": max_items,
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": { "name": { "type": "string", "maxLength": MAX_LABEL_LENGTH } },
            "x-kubernetes-preserve-unknown-fields": true,
        },
    })
}

fn volumes(_: &mut SchemaGenerator) -> Schema {
    named(MAX_VOLUMES)
}

fn containers(_: &mut SchemaGenerator) -> Schema {
    named(MAX_EXTRA_CONTAINERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_kubernetes_reads_them_and_kept_as_written() {
        let text = serde_json::json!({
            "activeDeadlineSeconds": 60,
            "env": [{ "name": "A", "value": "b" }],
            "resources": { "limits": { "cpu": 2, "memory": "1Gi" } },
            "volumes": [{ "name": "cache", "emptyDir": {}, "later": true }],
        });
        let overrides: PodOverrides = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(overrides.env().unwrap()[0].value.as_deref(), Some("b"));
        assert_eq!(overrides.resources().unwrap().unwrap().limits.unwrap()["cpu"].0, "2");
        assert_eq!(serde_json::to_value(&overrides).unwrap(), text);
    }

    #[test]
    fn a_part_that_cannot_be_read_is_named() {
        let overrides: PodOverrides =
            serde_json::from_value(serde_json::json!({ "env": [{ "name": "A" }, { "name": 1 }] })).unwrap();
        assert_eq!(overrides.env().unwrap_err().to_string(), "cannot read podOverrides.env[1]");
    }
}
