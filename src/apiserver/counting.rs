//! What is counted about a request: what it asks for, in words of ours.

use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};

use crate::apiserver::options::Query;
use crate::apiserver::path::Target;
use crate::apiserver::resource::{Registry, Resource};
use crate::metrics::RequestLabels;

/// Returns the labels of a request. What is not served has no name: names in URLs are text of clients.
pub(crate) fn labels(registry: &Registry, target: &Target, query: &Query, parts: &Parts) -> RequestLabels {
    let Target::Objects(path) = target else {
        return RequestLabels { verb: verb(parts, true, false), ..RequestLabels::default() };
    };
    let is_watch = path.watch || (path.name.is_none() && query.flag("watch").unwrap_or(false));
    let verb = verb(parts, path.name.is_some(), is_watch);
    let Some(resource) = registry.find(&path.group, &path.version, &path.plural) else {
        return RequestLabels { verb, ..RequestLabels::default() };
    };
    let subresource = path.subresource.as_deref().unwrap_or_default();
    let is_served =
        matches!(subresource, "status" | "finalize") || resource.subresources.contains_key(subresource);
    let subresource = if is_served { subresource } else { "" };
    RequestLabels { subresource: subresource.to_owned(), ..of_resource(verb, resource) }
}

/// Returns the labels of a request for a kind.
pub(crate) fn of_resource(verb: &'static str, resource: &Resource) -> RequestLabels {
    RequestLabels {
        verb,
        group: resource.group.clone(),
        version: resource.version.clone(),
        resource: resource.plural.clone(),
        subresource: String::new(),
    }
}

fn verb(parts: &Parts, has_name: bool, is_watch: bool) -> &'static str {
    let is_apply = || {
        let content_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        content_type.is_some_and(|value| value.starts_with(b"application/apply-patch"))
    };
    match (&parts.method, has_name) {
        (&Method::GET | &Method::HEAD, _) if is_watch => "WATCH",
        (&Method::GET | &Method::HEAD, true) => "GET",
        (&Method::GET | &Method::HEAD, false) => "LIST",
        (&Method::POST, _) => "POST",
        (&Method::PUT, _) => "PUT",
        (&Method::PATCH, _) if is_apply() => "APPLY",
        (&Method::PATCH, _) => "PATCH",
        (&Method::DELETE, true) => "DELETE",
        (&Method::DELETE, false) => "DELETECOLLECTION",
        _ => "OTHER",
    }
}

/// Whether requests of this verb may change something.
pub(crate) fn is_mutating(verb: &str) -> bool {
    !matches!(verb, "GET" | "LIST" | "WATCH")
}
