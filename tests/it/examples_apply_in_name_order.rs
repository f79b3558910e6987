//! The examples are applied as `kubectl apply -f FOLDER` does it: file by file in the order of their names, so that a Task
//! may come before its Workspace.

use kelos::apiserver;
use kelos::clock;
use kelos::store::Store;
use kelos::yaml::{self, Limits};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective};
use serde_json::Value;

use crate::support::cluster::server;
use crate::tidy::source::{files, text};

#[tokio::test]
async fn every_example_is_accepted_and_stays_as_it_is_when_applied_again() {
    let server = server(Store::memory().unwrap(), clock::system());
    server.prepare().await.unwrap_or_else(|error| panic!("{}", error.message));
    let in_process = apiserver::in_process(server.router(), "examples");
    let client = kube::Client::new(in_process, "default");
    let mut applied = 0;
    for path in files("examples", ".yaml") {
        for document in yaml::parse(&text(&path), &Limits::default()).unwrap() {
            let first = apply(&client, &path, &document.value).await;
            let second = apply(&client, &path, &document.value).await;
            assert_eq!(first.metadata.resource_version, second.metadata.resource_version, "{path}");
            applied += 1;
        }
    }
    assert!(applied > 30, "{applied} objects");
}

/// Applies one object strictly, so that an unknown field is refused.
async fn apply(client: &kube::Client, path: &str, object: &Value) -> DynamicObject {
    let kind = object["kind"].as_str().unwrap();
    let (group, version) = object["apiVersion"].as_str().unwrap().rsplit_once('/').unwrap_or(("", "v1"));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let params =
        PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply("examples") };
    let name = object["metadata"]["name"].as_str().unwrap();
    let answer = api.patch(name, &params, &Patch::Apply(object)).await;
    answer.unwrap_or_else(|error| panic!("{path}: {kind} {name}: {error}"))
}
