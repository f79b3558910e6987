//! OpenAPI v2: one document of all kinds, as JSON and as protobuf.
//!
//! Clients prefer version 3, but kubectl up to 1.28 validates and explains with this one, and every kubectl does so for
//! a `List` in a manifest. It is the version 3 document of each group, with what version 2 cannot say left out.

mod wire;

use std::sync::OnceLock;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::apiserver::answer;
use crate::apiserver::encode;
use crate::apiserver::negotiate;
use crate::apiserver::openapi;
use crate::apiserver::resource::Registry;
use crate::digest;

/// The document, rendered when it is first asked for: most clients never do.
#[derive(Debug, Default)]
pub(crate) struct OpenApiV2 {
    rendered: OnceLock<Rendered>,
}

#[derive(Debug)]
struct Rendered {
    json: Bytes,
    protobuf: Bytes,
    tag: String,
}

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_DEPRECATED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

impl OpenApiV2 {
    /// Answers `/openapi/v2` in the encoding that the client likes best.
    pub(crate) fn answer(&self, registry: &Registry, parts: &Parts) -> Response<Body> {
        let Some(is_protobuf) = wants_protobuf(parts) else {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
            return response;
        };
        let rendered = self.rendered.get_or_init(|| Rendered::new(registry));
        let known = parts.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let mut response = if known == Some(rendered.tag.as_str()) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else if is_protobuf {
            answer::with_type(StatusCode::OK, HeaderValue::from_static(PROTOBUF), rendered.protobuf.clone())
        } else {
            answer::json(StatusCode::OK, rendered.json.clone())
        };
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        if let Ok(tag) = HeaderValue::from_str(&rendered.tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

impl Rendered {
    fn new(registry: &Registry) -> Self {
        let document = document(registry);
        let json: Bytes = encode::to_vec(&document).into();
        let tag = format!("\"{}\"", digest::sha256_hex(&json).to_uppercase());
        Self { json, protobuf: wire::encode(&document).into(), tag }
    }
}

/// Returns whether the client wants protobuf; `None` when it takes neither encoding.
fn wants_protobuf(parts: &Parts) -> Option<bool> {
    let clauses = negotiate::accept(&parts.headers);
    if clauses.is_empty() {
        return Some(false);
    }
    clauses.iter().find_map(|clause| match clause.media_type.as_str() {
        "application/json" | "application/*" | "*/*" => Some(false),
        PROTOBUF | PROTOBUF_DEPRECATED => Some(true),
        _ => None,
    })
}

/// Returns the document of all kinds.
fn document(registry: &Registry) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for (group, versions) in registry.groups() {
        for (version, resources) in versions {
            let newer = openapi::render(&openapi::path(group, version), &resources);
            for (path, item) in newer["paths"].as_object().into_iter().flatten() {
                paths.insert(path.clone(), path_item(item));
            }
            for (name, schema) in newer["components"]["schemas"].as_object().into_iter().flatten() {
                definitions.insert(name.clone(), self::schema(schema));
            }
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v0.1.0"},
        "paths": paths,
        "definitions": definitions,
    })
}

/// Returns the methods of a path. Their parameters carry their type themselves, and a body is a parameter.
fn path_item(newer: &Value) -> Value {
    let mut item = Map::new();
    for (key, value) in newer.as_object().into_iter().flatten() {
        let value = if key == "parameters" { parameters(value) } else { operation(key, value) };
        item.insert(key.clone(), value);
    }
    Value::Object(item)
}

fn operation(method: &str, newer: &Value) -> Value {
    let answered = schema(&newer["responses"]["200"]["content"]["application/json"]["schema"]);
    let mut parameters = parameters(&newer["parameters"]);
    if let ("post" | "put", Value::Array(parameters)) = (method, &mut parameters) {
        parameters
            .insert(0, json!({"name": "body", "in": "body", "required": true, "schema": answered.clone()}));
    }
    let mut older = newer.clone();
    older["parameters"] = parameters;
    older["responses"] = json!({"200": {"description": "OK", "schema": answered}});
    older
}

fn parameters(newer: &Value) -> Value {
    let parameter = |newer: &Value| {
        let mut older = newer.clone();
        if let Some(Value::Object(kind)) = older.as_object_mut().and_then(|older| older.remove("schema")) {
            older.as_object_mut().into_iter().for_each(|older| older.extend(kind.clone()));
        }
        older
    };
    newer.as_array().into_iter().flatten().map(parameter).collect()
}

/// Returns a schema without what version 2 does not have, as the real server leaves it out: alternatives, `nullable`,
/// and the structure below fields whose unknown fields are kept, which kubectl could not read.
fn schema(newer: &Value) -> Value {
    let Value::Object(newer) = newer else { return newer.clone() };
    let mut older = Map::new();
    for (key, value) in newer {
        let value = match (key.as_str(), value) {
            ("$ref", Value::String(target)) => {
                json!(target.replace("#/components/schemas/", "#/definitions/"))
            }
            // In version 3 a reference has no siblings, so it stands in an `allOf` beside the description.
            ("allOf", Value::Array(parts)) => {
                if let [Value::Object(part)] = parts.as_slice()
                    && part.contains_key("$ref")
                {
                    older.extend(schema(&parts[0]).as_object().cloned().unwrap_or_default());
                }
                continue;
            }
            ("anyOf" | "oneOf" | "not" | "nullable" | "default", _) => continue,
            ("properties", Value::Object(properties)) => {
                properties.iter().map(|(name, property)| (name.clone(), schema(property))).collect()
            }
            ("items" | "additionalProperties", value) => schema(value),
            (_, value) => value.clone(),
        };
        older.insert(key.clone(), value);
    }
    let is_nullable = |schema: &Value| schema["nullable"] == true;
    let keeps_unknown = newer.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if newer.get("nullable") == Some(&Value::Bool(true)) {
        forget(&mut older, &["type", "items", "properties"]);
    }
    if keeps_unknown {
        forget(&mut older, &["items", "properties"]);
    }
    let kind = older.get("type").and_then(Value::as_str);
    if (kind == Some("array") && !older.contains_key("items")) || (kind == Some("object") && keeps_unknown) {
        forget(&mut older, &["type"]);
    }
    if let Some(Value::Array(required)) = older.get_mut("required") {
        required.retain(|name| {
            let property =
                name.as_str().and_then(|name| newer.get("properties").and_then(|all| all.get(name)));
            !property.is_some_and(is_nullable)
        });
        if required.is_empty() || newer.get("additionalProperties").is_some_and(is_nullable) {
            forget(&mut older, &["required"]);
        }
    }
    Value::Object(older)
}

fn forget(schema: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        schema.remove(*key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(newer: Value, older: Value) {
        assert_eq!(schema(&newer), older, "{newer}");
    }

    #[test]
    fn what_version_2_cannot_say_is_left_out() {
        check(
            json!({"allOf": [{"$ref": "#/components/schemas/a"}], "description": "b"}),
            json!({"$ref": "#/definitions/a", "description": "b"}),
        );
        check(
            json!({"type": "object", "nullable": true, "properties": {"a": {}}, "description": "b"}),
            json!({"description": "b"}),
        );
        check(
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {}}}),
            json!({"x-kubernetes-preserve-unknown-fields": true}),
        );
        check(
            json!({"anyOf": [{"type": "string"}], "x-kubernetes-int-or-string": true}),
            json!({"x-kubernetes-int-or-string": true}),
        );
        check(json!({"type": "array"}), json!({}));
        check(
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "nullable": true}}}),
            json!({"type": "object", "properties": {"a": {}}}),
        );
        check(
            json!({"type": "object", "properties": {"nullable": {"type": "string", "default": "x"}}}),
            json!({"type": "object", "properties": {"nullable": {"type": "string"}}}),
        );
    }
}
