//! What a run is kept from and what it may use: the daemon's bounds, and what a Task asks for within them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::condition::Reason;
use crate::api::labels;
use crate::api::quantity;
use crate::api::run::{Limits, Network, Sandbox, SandboxLevel};
use crate::api::task::{AgentType, Task, TaskSpec};
use crate::controllers::task::build::{Machine, Obstacle, refused};

/// What the daemon was told about runs.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// What is the same for the sandboxes of all runs. Its `loopback_ports` are those that a Task may ask for.
    pub sandbox: Sandbox,
    /// Whether a Task may ask for the network of the machine.
    pub host_network: bool,
    /// What is the same for the limits of all runs. A Task may ask for less, and for what has no limit here.
    pub limits: Limits,
}

/// Returns the sandbox of the run.
pub(super) fn sandbox(task: &Task, machine: &Machine) -> Result<Sandbox, Obstacle> {
    let bounds = &machine.bounds;
    let annotation = |key: &str| task.metadata.annotations.as_ref().and_then(|all| all.get(key));
    let network = match annotation(labels::NETWORK).map(String::as_str) {
        None => bounds.sandbox.network,
        Some("guarded") => Network::Guarded,
        Some("none") => Network::Closed,
        Some("host") if bounds.host_network || bounds.sandbox.network == Network::Open => Network::Open,
        Some("host") => {
            let message = "it asks for the network of the machine, which a daemon without --allow-host-network does not give";
            return Err(refused(Reason::NetworkNotAllowed, message));
        }
        Some(other) => {
            let message =
                format!("the annotation {} is {other:?} and must be guarded, none or host", labels::NETWORK);
            return Err(refused(Reason::InvalidSpec, message));
        }
    };
    let loopback_ports = loopback_ports(annotation(labels::LOOPBACK_PORTS), bounds)?;
    if network == Network::Closed && !loopback_ports.is_empty() {
        let message = format!(
            "it asks for ports of the machine's loopback ({}) and is to reach nobody; remove one of them",
            labels::LOOPBACK_PORTS
        );
        return Err(refused(Reason::InvalidSpec, message));
    }
    Ok(Sandbox {
        minimum: minimum(&task.spec, bounds),
        network,
        loopback_ports,
        private: machine.private.clone(),
        ..bounds.sandbox.clone()
    })
}

/// Returns the least sandbox of a run: a script is its author's own, a model may be talked into anything and is kept
/// from the files of the host. What stands for an image may be a model.
fn minimum(spec: &TaskSpec, bounds: &Bounds) -> SandboxLevel {
    match spec.agent {
        AgentType::Shell if spec.image.is_none() => bounds.sandbox.minimum,
        AgentType::Shell
        | AgentType::ClaudeCode
        | AgentType::Codex
        | AgentType::Gemini
        | AgentType::OpenCode
        | AgentType::Cursor => bounds.sandbox.minimum.max(SandboxLevel::Files),
    }
}

fn loopback_ports(asked: Option<&String>, bounds: &Bounds) -> Result<Vec<u16>, Obstacle> {
    let words = asked.into_iter().flat_map(|text| text.split(',')).map(str::trim);
    let mut ports = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        let Ok(port) = word.parse::<u16>() else {
            let message = format!("the annotation {} has {word:?}, which is no port", labels::LOOPBACK_PORTS);
            return Err(refused(Reason::InvalidSpec, message));
        };
        if !bounds.sandbox.loopback_ports.contains(&port) || bounds.sandbox.closed_ports.contains(&port) {
            let message = format!(
                "it asks for port {port} of the machine's loopback, which a daemon without --loopback-port {port} does not give"
            );
            return Err(refused(Reason::NetworkNotAllowed, message));
        }
        ports.push(port);
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

/// Returns the limits of the run.
pub(super) fn limits(spec: &TaskSpec, bounds: &Bounds) -> Result<Limits, Obstacle> {
    let overrides = spec.pod_overrides.as_ref();
    let invalid = |message: String| refused(Reason::InvalidSpec, message);
    let resources = overrides
        .map(|overrides| overrides.resources().map_err(|error| invalid(error.to_string())))
        .transpose()?
        .flatten();
    let asked = resources.and_then(|resources| resources.limits).unwrap_or_default();
    let read = |name: &str, read: fn(&str) -> Option<u64>| {
        let Some(Quantity(text)) = asked.get(name) else { return Ok(None) };
        match read(text).filter(|value| *value > 0) {
            Some(value) => Ok(Some(value)),
            None => {
                Err(invalid(format!("podOverrides.resources.limits.{name} is {text:?}, which is no amount")))
            }
        }
    };
    // Of the two, what is less.
    let within = |asked: Option<u64>, bound: Option<u64>| match (asked, bound) {
        (Some(asked), Some(bound)) => Some(asked.min(bound)),
        (asked, bound) => asked.or(bound),
    };
    let deadline = overrides.and_then(|overrides| overrides.active_deadline_seconds);
    Ok(Limits {
        active_deadline_seconds: deadline.and_then(|seconds| u64::try_from(seconds).ok()),
        memory_bytes: within(read("memory", quantity::ones)?, bounds.limits.memory_bytes),
        cpu_millis: within(read("cpu", quantity::thousandths)?, bounds.limits.cpu_millis),
        disk_bytes: within(read("ephemeral-storage", quantity::ones)?, bounds.limits.disk_bytes),
        ..bounds.limits.clone()
    })
}

/// Returns the parts of `podOverrides` that have no effect on this machine, by their names.
pub(super) fn ignored_overrides(spec: &TaskSpec) -> Vec<&'static str> {
    let Some(overrides) = &spec.pod_overrides else { return Vec::new() };
    let resources = overrides.resources().ok().flatten().unwrap_or_default();
    let has_other_limits = |limits: &BTreeMap<String, Quantity>| {
        limits.keys().any(|name| !["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()))
    };
    let parts = [
        ("labels", !overrides.labels.is_empty()),
        ("resources.requests", resources.requests.is_some_and(|requests| !requests.is_empty())),
        ("resources.claims", resources.claims.is_some_and(|claims| !claims.is_empty())),
        (
            "resources.limits other than cpu, memory and ephemeral-storage",
            resources.limits.as_ref().is_some_and(has_other_limits),
        ),
        ("nodeSelector", !overrides.node_selector.is_empty()),
        ("tolerations", !overrides.tolerations.is_empty()),
        ("affinity", overrides.affinity.is_some()),
        ("imagePullSecrets", !overrides.image_pull_secrets.is_empty()),
        ("serviceAccountName", overrides.service_account_name.is_some()),
        ("volumes", !overrides.volumes.is_empty()),
        ("volumeMounts", !overrides.volume_mounts.is_empty()),
        ("podSecurityContext", overrides.pod_security_context.is_some()),
        ("containerSecurityContext", overrides.container_security_context.is_some()),
        ("extraContainers", !overrides.extra_containers.is_empty()),
        ("extraInitContainers", !overrides.extra_init_containers.is_empty()),
    ];
    parts.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::*;

    fn task(agent: &str, annotations: &Value, overrides: &Value) -> Task {
        serde_json::from_value(json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "Task",
            "metadata": {"name": "t", "annotations": annotations},
            "spec": {"type": agent, "prompt": "p", "podOverrides": overrides},
        }))
        .unwrap()
    }

    fn machine(bounds: Bounds) -> Machine {
        Machine {
            search_path: String::new(),
            mirrors: PathBuf::new(),
            proxies: BTreeMap::new(),
            git_environment: BTreeMap::new(),
            install_environment: BTreeMap::new(),
            private: Vec::new(),
            agents: BTreeMap::new(),
            bounds,
        }
    }

    fn guarded() -> Bounds {
        let sandbox = Sandbox {
            network: Network::Guarded,
            loopback_ports: vec![5432, 6379, 7777],
            closed_ports: vec![7777],
            ..Sandbox::default()
        };
        Bounds { sandbox, ..Bounds::default() }
    }

    #[test]
    fn a_task_gets_of_the_network_what_it_asks_for_and_the_daemon_gives() {
        let open = Bounds { host_network: true, ..guarded() };
        for (annotations, bounds, expected) in [
            (json!({}), guarded(), Ok((Network::Guarded, vec![]))),
            (json!({"kelos.dev/network": "none"}), guarded(), Ok((Network::Closed, vec![]))),
            (json!({"kelos.dev/network": "host"}), guarded(), Err(Reason::NetworkNotAllowed)),
            (json!({"kelos.dev/network": "host"}), open, Ok((Network::Open, vec![]))),
            (json!({"kelos.dev/network": "all"}), guarded(), Err(Reason::InvalidSpec)),
            (
                json!({"kelos.dev/loopback-ports": "6379, 5432,"}),
                guarded(),
                Ok((Network::Guarded, vec![5432, 6379])),
            ),
            (json!({"kelos.dev/loopback-ports": "22"}), guarded(), Err(Reason::NetworkNotAllowed)),
            (json!({"kelos.dev/loopback-ports": "7777"}), guarded(), Err(Reason::NetworkNotAllowed)),
            (json!({"kelos.dev/loopback-ports": "x"}), guarded(), Err(Reason::InvalidSpec)),
            (
                json!({"kelos.dev/loopback-ports": "5432", "kelos.dev/network": "none"}),
                guarded(),
                Err(Reason::InvalidSpec),
            ),
        ] {
            let found = sandbox(&task("shell", &annotations, &json!({})), &machine(bounds));
            let found = found.map(|sandbox| (sandbox.network, sandbox.loopback_ports));
            let found = found.map_err(|obstacle| match obstacle {
                Obstacle::Refused(refusal) => refusal.reason,
                Obstacle::Missing(object) => panic!("{object}"),
            });
            assert_eq!(found, expected, "{annotations}");
        }
    }

    #[test]
    fn a_model_needs_guarded_files_and_a_script_what_the_daemon_says() {
        for (agent, minimum, expected) in [
            ("shell", SandboxLevel::Limited, SandboxLevel::Limited),
            ("shell", SandboxLevel::Enclosed, SandboxLevel::Enclosed),
            ("claude-code", SandboxLevel::Limited, SandboxLevel::Files),
            ("claude-code", SandboxLevel::Enclosed, SandboxLevel::Enclosed),
        ] {
            let mut bounds = guarded();
            bounds.sandbox.minimum = minimum;
            let found = sandbox(&task(agent, &json!({}), &json!({})), &machine(bounds)).unwrap();
            assert_eq!(found.minimum, expected, "{agent}");
        }
    }

    #[test]
    fn limits_of_a_pod_are_those_of_a_run_and_the_daemons_are_the_greatest() {
        let bounds = Bounds {
            limits: Limits { disk_bytes: Some(1 << 30), memory_bytes: Some(1 << 30), ..Limits::default() },
            ..Bounds::default()
        };
        let asked =
            json!({"resources": {"limits": {"cpu": 1.5, "memory": "512Mi", "ephemeral-storage": "2Gi"}}});
        let found = limits(&task("shell", &json!({}), &asked).spec, &bounds).unwrap();
        assert_eq!(
            (found.cpu_millis, found.memory_bytes, found.disk_bytes),
            (Some(1500), Some(512 << 20), Some(1 << 30))
        );
        let found =
            limits(&task("shell", &json!({}), &json!({"activeDeadlineSeconds": 7})).spec, &bounds).unwrap();
        assert_eq!((found.active_deadline_seconds, found.memory_bytes), (Some(7), Some(1 << 30)));
        let odd = json!({"resources": {"limits": {"memory": "much"}}});
        assert!(limits(&task("shell", &json!({}), &odd).spec, &bounds).is_err());
    }

    #[test]
    fn what_of_resources_has_no_effect_is_listed() {
        let ignored = |overrides: Value| ignored_overrides(&task("shell", &json!({}), &overrides).spec);
        assert!(ignored(json!({"resources": {"limits": {"cpu": "1"}}})).is_empty());
        let both = ignored(json!({"resources": {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": 1}}}));
        assert_eq!(
            both,
            ["resources.requests", "resources.limits other than cpu, memory and ephemeral-storage"]
        );
    }
}
