//! How the command line calls kinds, and how their objects are reached.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};

use crate::api::kind::Kind;
use crate::api::names::{NamespaceName, ResourceName};
use crate::cli::server::Server;

/// Returns the short name of a kind, which kubectl knows as well.
const fn short(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Task => None,
        Kind::TaskSpawner => Some("ts"),
        Kind::Workspace => Some("ws"),
        Kind::AgentConfig => Some("ac"),
        Kind::ConfigRepository => Some("cfg"),
        Kind::RunRecord => Some("rr"),
    }
}

/// Returns the name of a kind as commands print it: `task`.
pub(super) fn name(kind: Kind) -> String {
    kind.as_str().to_lowercase()
}

/// Reads the name of a kind: its name, plural or short name in any case.
pub(super) fn parse(text: &str) -> Result<Kind, String> {
    let lower = text.to_lowercase();
    let mut known = Kind::ALL.iter().copied().filter(|kind| {
        lower == name(*kind) || lower == kind.plural() || Some(lower.as_str()) == short(*kind)
    });
    known.next().ok_or_else(|| {
        let all: Vec<String> = Kind::ALL.iter().map(|kind| name(*kind)).collect();
        let all = all.join(", ");
        if UPSTREAM_ONLY.contains(&lower.as_str()) {
            return format!("the kind '{lower}' of upstream is not served here; known are {all}");
        }
        format!("there is no kind '{text}'; known are {all}")
    })
}

/// Kinds of upstream that are not served, by the names that its commands take.
const UPSTREAM_ONLY: [&str; 9] = [
    "workerpool",
    "workerpools",
    "session",
    "sessions",
    "sessionspawner",
    "sessionspawners",
    "taskbudget",
    "taskbudgets",
    "taskrecord",
];

/// Reads the name of an object.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    ResourceName::parse(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

/// Reads the name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    NamespaceName::parse(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

/// Reads the name of the one kind that a command takes.
pub(super) fn parse_only(text: &str, wanted: Kind) -> Result<Kind, String> {
    match parse(text) {
        Ok(kind) if kind == wanted => Ok(kind),
        Ok(_) | Err(_) => Err(format!("this command takes a {}", name(wanted))),
    }
}

/// Returns how objects of a kind are reached.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), crate::api::VERSION, kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

/// Returns the objects of a kind in the namespace that is meant.
pub(super) fn api(server: &Server, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(server.client.clone(), &server.namespace, &resource(kind))
}

/// Returns the objects of a kind in all namespaces.
pub(super) fn api_everywhere(server: &Server, kind: Kind) -> Api<DynamicObject> {
    Api::all_with(server.client.clone(), &resource(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_all_their_names() {
        for name in ["task", "tasks", "Task"] {
            assert_eq!(parse(name), Ok(Kind::Task), "{name}");
        }
        assert_eq!(parse("ts"), Ok(Kind::TaskSpawner));
        assert_eq!(parse("configrepositories"), Ok(Kind::ConfigRepository));
        assert!(parse("pod").is_err());
        assert!(parse("sessions").unwrap_err().contains("not served here"));
        assert_eq!(object_name("a.b-1").as_deref(), Ok("a.b-1"));
        for wrong in ["", "..", "a/b", "../secrets/x", "A", "a?x=1", "a\u{1b}[31m"] {
            assert!(object_name(wrong).is_err() && namespace(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_only("ts", Kind::TaskSpawner), Ok(Kind::TaskSpawner));
        assert!(parse_only("task", Kind::TaskSpawner).is_err());
    }
}
