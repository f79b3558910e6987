//! What a client learns of the server before it asks for objects.

use super::super::step::{Call, Case, Look, get};

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

// kubectl looks here for the parameter `fieldValidation` before it sends one.
const PATCH_PARAMETERS: &str =
    "/paths/~1apis~1example.com~1v1~1namespaces~1{namespace}~1gadgets~1{name}/patch/parameters";
const POST_PARAMETERS: &str =
    "/paths/~1apis~1example.com~1v1~1namespaces~1{namespace}~1gadgets/post/parameters";

fn group(path: &str, name: &'static str) -> Call {
    get(path).look(Look::Member("/groups", "/name", name))
}

fn aggregated(name: &'static str) -> Call {
    get("/apis").accept(AGGREGATED).look(Look::Member("/items", "/metadata/name", name))
}

fn resource(path: &str, name: &'static str) -> Call {
    get(path).look(Look::Member("/resources", "/name", name))
}

pub(super) fn cases() -> Vec<Case> {
    let openapi = "/openapi/v3/apis/example.com/v1";
    vec![
        Case::new(
            "groups and their resources",
            [
                group("/apis", "example.com"),
                group("/apis/", "events.k8s.io"),
                group("/apis", "coordination.k8s.io"),
                get("/apis/example.com"),
                get("/apis/example.com/v1"),
                get("/apis/example.com/v1/"),
                get("/apis/events.k8s.io/v1"),
                get("/api").look(Look::At("/versions")),
                get("/api/").look(Look::At("/kind")),
                get("/apis/absent.example.com"),
                get("/apis/absent.example.com/v1"),
                get("/apis/example.com/v9"),
                get("/api/v9"),
            ],
        ),
        Case::new(
            "the resources of the core group",
            ["namespaces", "configmaps", "secrets", "events"].map(|name| resource("/api/v1", name)),
        ),
        Case::new(
            "leases and definitions",
            [
                resource("/apis/coordination.k8s.io/v1", "leases"),
                resource("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions")
                    .look(Look::At("/groupVersion")),
            ],
        ),
        Case::new(
            "aggregated discovery",
            [
                aggregated("example.com"),
                aggregated("events.k8s.io"),
                get("/api").accept(AGGREGATED).look(Look::At("/kind")),
                get("/apis")
                    .accept("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList")
                    .look(Look::Nothing),
            ],
        ),
        Case::new(
            "the OpenAPI document of a kind",
            [
                get("/openapi/v3").look(Look::At("/paths/apis~1example.com~1v1")),
                get(openapi).look(Look::At("/openapi")),
                get(openapi).look(Look::At("/components/schemas/com.example.v1.Gadget")),
                get(openapi).look(Look::Undescribed("/components/schemas/com.example.v1.GadgetList")),
                get(openapi).look(Look::Undescribed(PATCH_PARAMETERS)),
                get(openapi).look(Look::Undescribed(POST_PARAMETERS)),
                get("/openapi/v3/apis/absent.example.com/v1"),
            ],
        ),
        Case::new(
            "health",
            [
                get("/healthz"),
                get("/livez"),
                get("/readyz"),
                get("/version").look(Look::At("/major")),
                get("/version/").look(Look::At("/major")),
            ],
        ),
    ]
}
