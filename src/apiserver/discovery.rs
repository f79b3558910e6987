//! Discovery: which groups, versions and resources there are; version and health.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::apiserver::answer;
use crate::apiserver::encode;
use crate::apiserver::negotiate;
use crate::apiserver::resource::{Registry, Resource};
use crate::apiserver::status::ApiError;
use crate::digest;
use crate::store::Store;

/// The version of the Kubernetes API whose answers these are.
const MAJOR: &str = "1";
const MINOR: &str = "37";

/// The verbs of a custom kind, in the order of the real server.
const CUSTOM_VERBS: [&str; 8] =
    ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

const CORE_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

const NAMESPACE_VERBS: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];

const READ_VERBS: [&str; 3] = ["get", "list", "watch"];

const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource<'a> {
    name: String,
    singular_name: &'a str,
    namespaced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    kind: &'a str,
    verbs: &'a [&'a str],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    short_names: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    categories: &'a [String],
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_version_hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResourceList<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    group_version: String,
    resources: Vec<ApiResource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: String,
    version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: &'a str,
    versions: Vec<GroupVersion>,
    preferred_version: GroupVersion,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupList<'a> {
    kind: &'static str,
    api_version: &'static str,
    groups: Vec<Group<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CoreVersions {
    kind: &'static str,
    versions: [&'static str; 1],
    #[serde(rename = "serverAddressByClientCIDRs")]
    server_addresses: [Value; 0],
}

#[derive(Serialize)]
struct ResponseKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoveredSubresource<'a> {
    subresource: &'a str,
    response_kind: ResponseKind<'a>,
    verbs: &'a [&'a str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoveredResource<'a> {
    resource: &'a str,
    response_kind: ResponseKind<'a>,
    scope: &'static str,
    singular_resource: &'a str,
    verbs: &'a [&'a str],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    short_names: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    categories: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<DiscoveredSubresource<'a>>,
}

#[derive(Serialize)]
struct DiscoveredVersion<'a> {
    version: &'a str,
    resources: Vec<DiscoveredResource<'a>>,
    freshness: &'static str,
}

#[derive(Serialize)]
struct DiscoveredGroup<'a> {
    metadata: Value,
    versions: Vec<DiscoveredVersion<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscoveryList<'a> {
    kind: &'static str,
    api_version: String,
    metadata: Value,
    items: Vec<DiscoveredGroup<'a>>,
}

/// Returns what can be done with a resource.
pub(crate) fn verbs(resource: &Resource) -> &'static [&'static str] {
    match resource.core {
        None => &CUSTOM_VERBS,
        Some(core) if core.read_only => &READ_VERBS,
        Some(core) if core.kind == "Namespace" => &NAMESPACE_VERBS,
        Some(_) => &CORE_VERBS,
    }
}

fn subresources(resource: &Resource) -> Vec<(&str, &'static [&'static str])> {
    let mut found: Vec<(&str, &'static [&'static str])> =
        resource.subresources.keys().map(|name| (name.as_str(), &["get"] as &[&str])).collect();
    if resource.core.is_some_and(|core| core.kind == "Namespace") {
        found.push(("finalize", &["update"]));
    }
    if resource.has_status {
        let read_only = resource.is_read_only();
        found.push(("status", if read_only { &["get"] } else { &STATUS_VERBS }));
    }
    found.sort_unstable();
    found
}

fn body(value: &impl Serialize) -> Response<Body> {
    answer::json(StatusCode::OK, encode::to_line(value))
}

/// Answers `/api`.
pub(crate) fn core_versions(registry: &Registry, headers: &HeaderMap) -> Response<Body> {
    match aggregated(headers) {
        Ok(Some(version)) => return aggregated_list(registry, version, str::is_empty),
        Ok(None) => {}
        Err(refusal) => return refusal.into_response(),
    }
    body(&CoreVersions { kind: "APIVersions", versions: ["v1"], server_addresses: [] })
}

/// Answers `/apis`.
pub(crate) fn groups(registry: &Registry, headers: &HeaderMap) -> Response<Body> {
    match aggregated(headers) {
        Ok(Some(version)) => return aggregated_list(registry, version, |group| !group.is_empty()),
        Ok(None) => {}
        Err(refusal) => return refusal.into_response(),
    }
    let groups = registry
        .groups()
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, versions)| group_of(name, versions.keys().copied(), false))
        .collect();
    body(&GroupList { kind: "APIGroupList", api_version: "v1", groups })
}

/// Answers `/apis/GROUP`.
pub(crate) fn group(registry: &Registry, name: &str) -> Response<Body> {
    match registry.groups().get(name) {
        Some(versions) if !name.is_empty() => body(&group_of(name, versions.keys().copied(), true)),
        _ => answer::not_found(),
    }
}

fn group_of<'a>(name: &'a str, versions: impl Iterator<Item = &'a str>, is_alone: bool) -> Group<'a> {
    let named = |version: &str| GroupVersion {
        group_version: format!("{name}/{version}"),
        version: version.to_owned(),
    };
    let mut names: Vec<&str> = versions.collect();
    names.reverse();
    Group {
        kind: is_alone.then_some("APIGroup"),
        api_version: is_alone.then_some("v1"),
        name,
        preferred_version: named(names.first().copied().unwrap_or_default()),
        versions: names.into_iter().map(named).collect(),
    }
}

/// Answers `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(registry: &Registry, group: &str, version: &str) -> Response<Body> {
    let groups = registry.groups();
    let Some(found) = groups.get(group).and_then(|versions| versions.get(version)) else {
        // The core group says in an object what it does not know.
        return if group.is_empty() {
            ApiError::unknown_resource().into_response()
        } else {
            answer::not_found()
        };
    };
    let mut resources = Vec::new();
    for resource in found {
        resources.push(ApiResource {
            name: resource.plural.clone(),
            singular_name: &resource.singular,
            namespaced: resource.namespaced,
            group: None,
            version: None,
            kind: &resource.kind,
            verbs: verbs(resource),
            short_names: &resource.short_names,
            categories: &resource.categories,
            storage_version_hash: storage_version_hash(resource),
        });
        for (name, verbs) in subresources(resource) {
            resources.push(ApiResource {
                name: format!("{}/{name}", resource.plural),
                singular_name: "",
                namespaced: resource.namespaced,
                group: None,
                version: None,
                kind: &resource.kind,
                verbs,
                short_names: &[],
                categories: &[],
                storage_version_hash: String::new(),
            });
        }
    }
    let is_core = group.is_empty();
    body(&ApiResourceList {
        kind: "APIResourceList",
        api_version: (!is_core).then_some("v1"),
        group_version: if is_core { version.to_owned() } else { format!("{group}/{version}") },
        resources,
    })
}

/// Returns the fingerprint of the stored kind, as clients compare it: the first eight bytes of a SHA-256.
fn storage_version_hash(resource: &Resource) -> String {
    let (group, version) = match resource.core {
        Some(core) => core.hash_group.split_once('/').unwrap_or((core.hash_group, core.version)),
        None => (resource.group.as_str(), resource.version.as_str()),
    };
    let text = format!("{group}/{version}/{}", resource.kind);
    let bytes = hex::decode(digest::short_hex(text, 16)).unwrap_or_default();
    STANDARD.encode(bytes)
}

/// Returns the version of aggregated discovery that a client asks for.
fn aggregated(headers: &HeaderMap) -> Result<Option<&'static str>, ApiError> {
    let clauses = negotiate::accept(headers);
    for clause in &clauses {
        let is_list = clause.media_type == "application/json"
            && clause.parameter("g") == "apidiscovery.k8s.io"
            && clause.parameter("as") == "APIGroupDiscoveryList";
        match (is_list, clause.parameter("v")) {
            (true, "v2") => return Ok(Some("v2")),
            (true, "v2beta1") => return Ok(Some("v2beta1")),
            (false, _) if clause.parameter("as").is_empty() && clause.is_readable() => return Ok(None),
            _ => {}
        }
    }
    if clauses.is_empty() { Ok(None) } else { Err(negotiate::refusal()) }
}

fn aggregated_list(
    registry: &Registry,
    version: &'static str,
    is_wanted: impl Fn(&str) -> bool,
) -> Response<Body> {
    let items = registry
        .groups()
        .into_iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, versions)| DiscoveredGroup {
            metadata: if name.is_empty() { json!({}) } else { json!({"name": name}) },
            versions: versions
                .into_iter()
                .rev()
                .map(|(version, resources)| DiscoveredVersion {
                    version,
                    resources: resources.into_iter().map(|resource| discovered(resource)).collect(),
                    freshness: "Current",
                })
                .collect(),
        })
        .collect();
    let list = DiscoveryList {
        kind: "APIGroupDiscoveryList",
        api_version: format!("apidiscovery.k8s.io/{version}"),
        metadata: json!({}),
        items,
    };
    let bytes = encode::to_line(&list);
    let tag = format!("\"{}\"", digest::sha256_hex(&bytes).to_uppercase());
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let mut response = answer::with_type(StatusCode::OK, HeaderValue::from_static(content_type), bytes);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn discovered(resource: &Resource) -> DiscoveredResource<'_> {
    // A kind of Kubernetes itself answers in the group and version of its list.
    let (group, version) = match resource.core {
        Some(_) => ("", ""),
        None => (resource.group.as_str(), resource.version.as_str()),
    };
    let kind = || ResponseKind { group, version, kind: &resource.kind };
    DiscoveredResource {
        resource: &resource.plural,
        response_kind: kind(),
        scope: if resource.namespaced { "Namespaced" } else { "Cluster" },
        singular_resource: &resource.singular,
        verbs: verbs(resource),
        short_names: &resource.short_names,
        categories: &resource.categories,
        subresources: subresources(resource)
            .into_iter()
            .map(|(subresource, verbs)| DiscoveredSubresource { subresource, response_kind: kind(), verbs })
            .collect(),
    }
}

fn indented(value: &Value) -> Response<Body> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    answer::json(StatusCode::OK, text)
}

/// Answers `/`: the paths that there are.
pub(crate) fn root(registry: &Registry) -> Response<Body> {
    let mut paths = vec!["/api".to_owned(), "/apis".to_owned(), "/apis/".to_owned()];
    for (group, versions) in registry.groups() {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
        }
        for version in versions.keys() {
            paths.push(if group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{group}/{version}")
            });
        }
    }
    paths.extend(["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    paths.sort();
    indented(&json!({ "paths": paths }))
}

/// Answers `/version`: the version of the API, with that of this program behind the plus sign.
pub(crate) fn version(program: &str) -> Response<Body> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a> {
        major: &'a str,
        minor: &'a str,
        git_version: String,
        git_commit: &'a str,
        git_tree_state: &'a str,
        build_date: &'a str,
        go_version: &'a str,
        compiler: &'a str,
        platform: String,
    }
    let version = Answer {
        major: MAJOR,
        minor: MINOR,
        git_version: format!("v{MAJOR}.{MINOR}.0+kelos.{program}"),
        git_commit: "",
        git_tree_state: "",
        build_date: "1970-01-01T00:00:00Z",
        go_version: "",
        compiler: "rustc",
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    };
    let text = serde_json::to_string_pretty(&version).unwrap_or_default();
    answer::json(StatusCode::OK, text)
}

/// The check that a server passes by answering.
const PING: &str = "ping";

/// The check that the last write was stored.
const STORE: &str = "store";

/// Answers `/healthz`, `/livez` and `/readyz`, or one check of theirs.
///
/// A server that cannot write is not ready and goes on living: another start would not make room on its disk.
pub(crate) fn health(store: &Store, endpoint: &str, check: Option<&str>, is_verbose: bool) -> Response<Body> {
    let is_stored = if endpoint == "livez" { store.is_open() } else { store.is_writable() };
    let checks = [(PING, true), (STORE, is_stored)];
    if let Some(asked) = check {
        return match checks.into_iter().find(|(name, _)| *name == asked) {
            Some((_, true)) => answer::text(StatusCode::OK, "ok"),
            Some((_, false)) => {
                answer::text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: reason withheld\n")
            }
            None => answer::not_found(),
        };
    }
    let is_healthy = checks.iter().all(|(_, is_passed)| *is_passed);
    if is_healthy && !is_verbose {
        return answer::text(StatusCode::OK, "ok");
    }
    // Who has no token learns that something is wrong, and not what.
    let line = |(name, is_passed)| {
        if is_passed { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: reason withheld\n") }
    };
    let (code, verdict) =
        if is_healthy { (StatusCode::OK, "passed") } else { (StatusCode::INTERNAL_SERVER_ERROR, "failed") };
    let lines: String = checks.into_iter().map(line).collect();
    answer::text(code, format!("{lines}{endpoint} check {verdict}\n"))
}
