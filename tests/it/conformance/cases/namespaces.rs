//! Namespaces and their end.

use serde_json::json;

use super::super::step::{Case, Step, delete, get, merge, post};
use super::small;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a namespace lives",
            [
                get("/api/v1/namespaces/{namespace}"),
                post("/api/v1/namespaces", json!({"metadata": {"name": "{namespace}"}})),
                merge("/api/v1/namespaces/{namespace}", json!({"metadata": {"labels": {"x": "y"}}})),
                post("/api/v1/namespaces", json!({"metadata": {"name": "a.b"}})),
                get("/api/v1/namespaces/absent"),
                get("/api/v1/namespaces?fieldSelector=metadata.name%3D{namespace}"),
                get("/api/v1/namespaces?labelSelector=kubernetes.io/metadata.name%3D{namespace}"),
                get("/api/v1/namespaces/absent/configmaps"),
                post("/api/v1/namespaces/absent/configmaps", json!({"metadata": {"name": "one"}})),
            ],
        ),
        Case::new(
            "the namespaces of the system cannot be deleted",
            [delete("/api/v1/namespaces/default"), delete("/api/v1/namespaces/kube-system")],
        ),
        Case::new(
            "an ending namespace takes nothing in and then all with it",
            [
                Step::from(post("{gadgets}", {
                    let mut held = small("one");
                    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
                    held
                })),
                post("{configmaps}", json!({"metadata": {"name": "one"}})).into(),
                delete("/api/v1/namespaces/{namespace}").into(),
                post("{configmaps}", json!({"metadata": {"name": "two"}})).into(),
                post("{gadgets}", small("two")).into(),
                Step::Await(get("{configmaps}/one"), 404),
                // The sweep may have been here already or not; after this the object is on its way out in both cases.
                delete("{gadgets}/one").into(),
                merge("{gadgets}/one", json!({"metadata": {"finalizers": null}})).into(),
                Step::Await(get("/api/v1/namespaces/{namespace}"), 404),
                get("/api/v1/namespaces/{namespace}").into(),
            ],
        ),
    ]
}
