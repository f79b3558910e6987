//! Answers: stored bytes become responses in the form that the client asked for.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::core_kinds::shape::Ordered;
use crate::apiserver::encode;
use crate::apiserver::list::{ListMeta, Listed};
use crate::apiserver::metadata;
use crate::apiserver::negotiate::{Form, MetaVersion};
use crate::apiserver::options::Query;
use crate::apiserver::resource::Resource;
use crate::apiserver::status::ApiError;
use crate::apiserver::table::{self, Include};
use crate::apiserver::write::load;

/// Returns a JSON response.
pub(crate) fn json(code: StatusCode, body: impl Into<Body>) -> Response<Body> {
    with_type(code, HeaderValue::from_static("application/json"), body)
}

/// Returns a response of any content type.
pub(crate) fn with_type(
    code: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Returns a plain text response.
pub(crate) fn text(code: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = with_type(code, HeaderValue::from_static("text/plain; charset=utf-8"), body);
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Returns the answer for paths that nothing is served under.
pub(crate) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Returns an object's stored bytes as they are served alone: with their type, where the stored form leaves it out.
pub(crate) fn typed(resource: &Resource, bytes: &[u8]) -> Vec<u8> {
    let mut object = Vec::with_capacity(bytes.len() + 64);
    write_typed(resource, bytes, &mut object);
    object
}

/// Appends what [`typed`] returns.
pub(crate) fn write_typed(resource: &Resource, bytes: &[u8], out: &mut Vec<u8>) {
    let Some(core) = resource.core else {
        out.extend_from_slice(bytes);
        return;
    };
    let served = served(resource, bytes);
    out.extend_from_slice(b"{\"kind\":\"");
    out.extend_from_slice(core.kind.as_bytes());
    out.extend_from_slice(b"\",\"apiVersion\":\"");
    out.extend_from_slice(resource.api_version().as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(served.get(1..).unwrap_or_default());
}

/// Returns stored bytes as they stand in a list: as they are, unless the kind is another's second face.
fn served<'a>(resource: &Resource, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(core) = resource.core.filter(|core| core.face.is_some()) else { return Cow::Borrowed(bytes) };
    match load(resource, bytes) {
        Ok(object) => Cow::Owned(encode::to_vec(&Ordered { value: &object, shape: core.shape })),
        Err(_) => Cow::Borrowed(bytes),
    }
}

/// Answers with one object.
pub(crate) fn object(
    code: StatusCode,
    resource: &Resource,
    bytes: &Bytes,
    form: Form,
    query: &Query,
    now: Timestamp,
) -> Result<Response<Body>, ApiError> {
    let mut body = match form {
        Form::Object => typed(resource, bytes),
        Form::Partial { version, list: false } => table::partial(&load(resource, bytes)?, version),
        Form::Partial { .. } => {
            return Err(ApiError::not_acceptable_form(
                "you requested PartialObjectMetadataList, but the requested object is not a list",
            ));
        }
        Form::Table(version) => {
            let object = load(resource, bytes)?;
            let version_of_object = metadata::text(&object, "resourceVersion").to_owned();
            let meta = ListMeta { resource_version: version_of_object, ..ListMeta::default() };
            table::render(resource, &[object], &meta, version, Include::parse(query)?, true, now)
        }
    };
    body.push(b'\n');
    Ok(json(code, body))
}

/// Answers with a list.
pub(crate) fn list(
    resource: &Resource,
    listed: &Listed,
    form: Form,
    query: &Query,
    now: Timestamp,
) -> Result<Response<Body>, ApiError> {
    let mut body = match form {
        Form::Object => plain_list(resource, listed),
        Form::Partial { version, list: true } => partial_list(resource, listed, version)?,
        Form::Partial { .. } => {
            return Err(ApiError::not_acceptable_form(
                "you requested PartialObjectMetadata, but the requested object is a list (*unstructured.UnstructuredList)",
            ));
        }
        Form::Table(version) => {
            let include = Include::parse(query)?;
            let objects: Result<Vec<Value>, ApiError> =
                listed.items.iter().map(|bytes| load(resource, bytes)).collect();
            table::render(resource, &objects?, &listed.metadata, version, include, true, now)
        }
    };
    body.push(b'\n');
    Ok(json(StatusCode::OK, body))
}

fn plain_list(resource: &Resource, listed: &Listed) -> Vec<u8> {
    let size: usize = listed.items.iter().map(|item| item.len() + 1).sum();
    let mut body = Vec::with_capacity(size + 256);
    let api_version = resource.api_version();
    let list_kind = &resource.list_kind;
    if resource.core.is_some() {
        let metadata = encode::to_text(&listed.metadata);
        body.extend_from_slice(
            format!("{{\"kind\":\"{list_kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":[")
                .as_bytes(),
        );
        join(&mut body, resource, &listed.items);
        body.extend_from_slice(b"]}");
        return body;
    }
    body.extend_from_slice(format!("{{\"apiVersion\":\"{api_version}\",\"items\":[").as_bytes());
    join(&mut body, resource, &listed.items);
    let metadata = &listed.metadata;
    let remaining = metadata
        .remaining_item_count
        .map(|count| format!("\"remainingItemCount\":{count},"))
        .unwrap_or_default();
    body.extend_from_slice(
        format!(
            "],\"kind\":\"{list_kind}\",\"metadata\":{{\"continue\":\"{}\",{remaining}\"resourceVersion\":\"{}\"}}}}",
            metadata.continuation, metadata.resource_version
        )
        .as_bytes(),
    );
    body
}

fn join(body: &mut Vec<u8>, resource: &Resource, items: &[Bytes]) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&served(resource, item));
    }
}

fn partial_list(resource: &Resource, listed: &Listed, version: MetaVersion) -> Result<Vec<u8>, ApiError> {
    let metadata = encode::to_text(&listed.metadata);
    let mut body = format!(
        "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        version.api_version()
    )
    .into_bytes();
    for (index, bytes) in listed.items.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend(table::partial(&load(resource, bytes)?, version));
    }
    body.extend_from_slice(b"]}");
    Ok(body)
}
