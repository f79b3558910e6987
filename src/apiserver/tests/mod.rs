//! The server as a client sees it: through its routes, over a store in memory.

mod reads;
mod watches;
mod writes;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::apiserver::{ApiServer, Options, Resource};
use crate::clock::ManualClock;
use crate::store::Store;

fn gadget_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Gadget", "plural": "gadgets", "shortNames": ["gd"]},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object",
                            "properties": {
                                "size": {"type": "integer", "maximum": 100},
                                "color": {"type": "string", "default": "red"},
                            },
                        },
                        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                    },
                }},
            }],
        },
    })
}

fn server() -> ApiServer {
    server_on(Store::memory().unwrap())
}

fn server_on(store: Store) -> ApiServer {
    let gadget = Resource::from_crd(&gadget_definition(), None).unwrap();
    let clock = Arc::new(ManualClock::at("2026-03-01T09:00:00Z".parse().unwrap()));
    ApiServer::new(store, vec![gadget], Options::new(clock, "0.0.0"))
}

fn gadgets(server: &ApiServer) -> Api<DynamicObject> {
    let client = kube::Client::new(server.router(), "default");
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Gadget"));
    Api::namespaced_with(client, "default", &kind)
}

fn gadget(name: &str, spec: &Value) -> DynamicObject {
    let object = json!({
        "apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// What a request was answered.
struct Answer {
    code: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends one request. Headers are given as pairs.
async fn send(
    server: &ApiServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = server.router().oneshot(request.body(Body::from(body.into())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer { code: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() }
}

const GADGETS: &str = "/apis/example.com/v1/namespaces/default/gadgets";

const JSON: (&str, &str) = ("content-type", "application/json");

const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

/// Creates a gadget with these labels and this spec, and returns it.
async fn make(server: &ApiServer, name: &str, labels: &Value, spec: &Value) -> Value {
    let object = json!({
        "apiVersion": "example.com/v1", "kind": "Gadget",
        "metadata": {"name": name, "labels": labels}, "spec": spec,
    });
    let answer = send(server, "POST", GADGETS, &[JSON], object.to_string()).await;
    assert_eq!(answer.code, StatusCode::CREATED, "{}", answer.body);
    answer.json()
}

async fn get(server: &ApiServer, path: &str) -> Answer {
    send(server, "GET", path, &[], "").await
}

#[tokio::test]
async fn a_typed_client_creates_reads_changes_and_deletes() {
    let server = server();
    let api = gadgets(&server);
    let created =
        api.create(&PostParams::default(), &gadget("a", &json!({"size": 1, "x": 2}))).await.unwrap();
    assert_eq!(created.data["spec"], json!({"size": 1, "color": "red"}));
    assert_eq!(created.metadata.generation, Some(1));

    let params = PatchParams { field_manager: Some("tester".into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"size": 2}}));
    let patched = api.patch("a", &params, &patch).await.unwrap();
    assert_eq!(patched.metadata.generation, Some(2));
    let status = Patch::Merge(json!({"status": {"phase": "Done"}, "spec": {"size": 9}}));
    let patched = api.patch_status("a", &params, &status).await.unwrap();
    assert_eq!(
        (&patched.data["spec"]["size"], &patched.data["status"]["phase"]),
        (&json!(2), &json!("Done"))
    );
    assert_eq!(patched.metadata.generation, Some(2));

    let error = api.create(&PostParams::default(), &gadget("a", &json!({}))).await.unwrap_err();
    assert!(
        matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
    );
    let error = api.create(&PostParams::default(), &gadget("b", &json!({"size": 101}))).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 422
        && status.message == "Gadget.example.com \"b\" is invalid: spec.size: Invalid value: 101: spec.size in body should be less than or equal to 100"));
    api.delete("a", &kube::api::DeleteParams::default()).await.unwrap();
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn server_side_apply_creates_owns_and_conflicts() {
    let server = server();
    let api = gadgets(&server);
    let apply = |size: i64| Patch::Apply(gadget("a", &json!({"size": size})));
    let created = api.patch("a", &PatchParams::apply("one"), &apply(1)).await.unwrap();
    assert_eq!(created.data["spec"], json!({"size": 1, "color": "red"}));
    let same = api.patch("a", &PatchParams::apply("one"), &apply(1)).await.unwrap();
    assert_eq!(same.metadata.resource_version, created.metadata.resource_version);
    let error = api.patch("a", &PatchParams::apply("two"), &apply(2)).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 409
        && status.message == "Apply failed with 1 conflict: conflict with \"one\": .spec.size"));
    let forced = api.patch("a", &PatchParams::apply("two").force(), &apply(2)).await.unwrap();
    assert_eq!(forced.data["spec"]["size"], 2);
}

#[tokio::test]
async fn a_watch_begins_with_the_state_and_follows_without_a_gap() {
    let server = server();
    let api = gadgets(&server);
    api.create(&PostParams::default(), &gadget("a", &json!({}))).await.unwrap();
    let events = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    let change = async {
        api.create(&PostParams::default(), &gadget("b", &json!({}))).await.unwrap();
        api.delete("a", &kube::api::DeleteParams::default()).await.unwrap();
    };
    let (events, ()) = tokio::join!(
        events
            .try_filter(|event| futures::future::ready(!matches!(event, WatchEvent::Bookmark(_))))
            .take(3)
            .try_collect::<Vec<_>>(),
        change
    );
    let seen: Vec<String> = events
        .unwrap()
        .into_iter()
        .map(|event| match event {
            WatchEvent::Added(object) => format!("+{}", object.metadata.name.unwrap()),
            WatchEvent::Modified(object) => format!("~{}", object.metadata.name.unwrap()),
            WatchEvent::Deleted(object) => format!("-{}", object.metadata.name.unwrap()),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => "?".to_owned(),
        })
        .collect();
    assert_eq!(seen, ["+a", "+b", "-a"]);
}
