//! OpenAPI v3: an index, and one document for each group and version.
//!
//! Documents are rendered once, when the server is made. Their URLs carry a digest of their bytes, so a client that
//! has seen one never asks again.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::apiserver::answer;
use crate::apiserver::encode;
use crate::apiserver::options::Query;
use crate::apiserver::resource::{Registry, Resource};
use crate::digest;

/// The rendered documents.
#[derive(Debug)]
pub(crate) struct OpenApi {
    index: Bytes,
    documents: BTreeMap<String, Document>,
}

#[derive(Debug)]
struct Document {
    bytes: Bytes,
    digest: String,
}

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

impl OpenApi {
    /// Renders the documents of all resources.
    pub(crate) fn new(registry: &Registry) -> Self {
        let mut documents = BTreeMap::new();
        for (group, versions) in registry.groups() {
            for (version, resources) in versions {
                let path = path(group, version);
                let bytes: Bytes = encode::to_vec(&render(&path, &resources)).into();
                let digest = digest::sha256_hex(&bytes).to_uppercase();
                documents.insert(path, Document { bytes, digest });
            }
        }
        let paths: Map<String, Value> = documents
            .iter()
            .map(|(path, document)| {
                let url = format!("/openapi/v3/{path}?hash={}", document.digest);
                (path.clone(), json!({ "serverRelativeURL": url }))
            })
            .collect();
        let index = serde_json::to_vec(&json!({ "paths": paths })).unwrap_or_default().into();
        Self { index, documents }
    }

    /// Answers `/openapi/v3`.
    pub(crate) fn index(&self) -> Response<Body> {
        answer::json(StatusCode::OK, self.index.clone())
    }

    /// Answers `/openapi/v3/PATH`.
    pub(crate) fn document(&self, path: &str, parts: &Parts) -> Response<Body> {
        let Some(document) = self.documents.get(path) else {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        let tag = format!("\"{}\"", document.digest);
        let known = parts.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let mut response = if known == Some(tag.as_str()) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            answer::json(StatusCode::OK, document.bytes.clone())
        };
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        let is_pinned =
            Query::parse(parts.uri.query()).get("hash").is_some_and(|hash| hash == document.digest);
        if is_pinned {
            headers.insert(
                header::CACHE_CONTROL,
                HeaderValue::from_static("public, immutable, max-age=31536000"),
            );
        }
        response
    }
}

/// Returns the path, without its first slash, under which a group's version is served.
pub(crate) fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Returns the document of one group and version; `path` is its [`path`].
pub(crate) fn render(path: &str, resources: &[&std::sync::Arc<Resource>]) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for resource in resources {
        let name = schema_name(resource);
        schemas.insert(name.clone(), object_schema(resource));
        schemas.insert(format!("{name}List"), list_schema(resource, &name));
        for (path, item) in path_items(path, resource, &name) {
            paths.insert(path, item);
        }
    }
    schemas.insert(METADATA.to_owned(), crate::apiserver::core_kinds::metadata_schema());
    schemas.insert(
        LIST_METADATA.to_owned(),
        json!({
            "type": "object",
            "properties": {
                "continue": {"type": "string"},
                "remainingItemCount": {"type": "integer", "format": "int64"},
                "resourceVersion": {"type": "string"},
                "selfLink": {"type": "string"},
            },
        }),
    );
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v0.1.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// Returns the name of a schema: the group's parts reversed, the version, the kind.
fn schema_name(resource: &Resource) -> String {
    if resource.core.is_some() {
        let group = match resource.group.as_str() {
            "" => "core",
            group => group.split('.').next().unwrap_or(group),
        };
        return format!("io.k8s.api.{group}.{}.{}", resource.version, resource.kind);
    }
    let mut parts: Vec<&str> = resource.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{}", parts.join("."), resource.version, resource.kind)
}

fn kind_of(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";

const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

fn object_schema(resource: &Resource) -> Value {
    let mut schema = resource.open_api.as_ref().clone();
    let properties = &mut schema["properties"];
    properties["apiVersion"] = json!({"description": API_VERSION, "type": "string"});
    properties["kind"] = json!({"description": KIND, "type": "string"});
    properties["metadata"] = json!({
        "description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        "allOf": [{"$ref": format!("#/components/schemas/{METADATA}")}],
    });
    schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource)]);
    schema
}

fn list_schema(resource: &Resource, name: &str) -> Value {
    json!({
        "description": format!("{} is a list of {}", resource.list_kind, resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": API_VERSION, "type": "string"},
            "kind": {"description": KIND, "type": "string"},
            "items": {"type": "array", "items": {"$ref": format!("#/components/schemas/{name}")}},
            "metadata": {"allOf": [{"$ref": format!("#/components/schemas/{LIST_METADATA}")}]},
        },
        "x-kubernetes-group-version-kind": [
            {"group": resource.group, "version": resource.version, "kind": resource.list_kind},
        ],
    })
}

fn path_items(base: &str, resource: &Resource, name: &str) -> Vec<(String, Value)> {
    let scope = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
    let collection = format!("/{base}/{scope}{}", resource.plural);
    let object = format!("{collection}/{{name}}");
    let mut items = vec![
        (
            collection.clone(),
            json!({
                "get": operation(resource, name, "list", &[]),
                "post": operation(resource, name, "post", &["dryRun", "fieldManager", "fieldValidation"]),
                "parameters": path_parameters(resource, false),
            }),
        ),
        (object.clone(), written_item(resource, name)),
    ];
    if resource.has_status {
        items.push((format!("{object}/status"), written_item(resource, name)));
    }
    items
}

fn written_item(resource: &Resource, name: &str) -> Value {
    let written = ["dryRun", "fieldManager", "fieldValidation"];
    let patched = ["dryRun", "fieldManager", "fieldValidation", "force"];
    json!({
        "get": operation(resource, name, "get", &[]),
        "put": operation(resource, name, "put", &written),
        "patch": operation(resource, name, "patch", &patched),
        "delete": operation(resource, name, "delete", &["dryRun"]),
        "parameters": path_parameters(resource, true),
    })
}

fn path_parameters(resource: &Resource, with_name: bool) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
    let mut parameters = Vec::new();
    if with_name {
        parameters.push(parameter("name"));
    }
    if resource.namespaced {
        parameters.push(parameter("namespace"));
    }
    Value::from(parameters)
}

fn operation(resource: &Resource, name: &str, action: &str, parameters: &[&str]) -> Value {
    let reference = if action == "list" { format!("{name}List") } else { name.to_owned() };
    let schema = json!({"$ref": format!("#/components/schemas/{reference}")});
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|name| {
            let kind = if *name == "force" { "boolean" } else { "string" };
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        })
        .collect();
    json!({
        "description": format!("{action} {}", resource.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind_of(resource),
    })
}
