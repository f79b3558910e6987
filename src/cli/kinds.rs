//! How the command line calls kinds, and how their objects are reached.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};

use crate::api::kind::Kind;
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
        format!("there is no kind '{text}'; known are {}", all.join(", "))
    })
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
        assert_eq!(parse_only("ts", Kind::TaskSpawner), Ok(Kind::TaskSpawner));
        assert!(parse_only("task", Kind::TaskSpawner).is_err());
    }
}
