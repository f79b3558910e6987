//! Gets, lists, tables, discovery, forms of answers.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::*;
use crate::store;

#[tokio::test]
async fn discovery_is_found_in_both_forms() {
    let server = server();
    let accept =
        ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");
    let answer = send(&server, "GET", "/apis", &[accept], "").await;
    assert_eq!(
        answer.header("content-type"),
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let groups = answer.json();
    let gadgets = &groups["items"].as_array().unwrap().last().unwrap()["versions"][0]["resources"][0];
    assert_eq!(gadgets["resource"], "gadgets");
    assert_eq!(gadgets["subresources"][0]["subresource"], "status");
    let answer = get(&server, "/apis/example.com/v1").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json()["resources"][1]["name"], "gadgets/status");
    // Computed by a real server for the same group, version and kind.
    assert_eq!(answer.json()["resources"][0]["storageVersionHash"], "ggWp2HxsL0Q=");
    assert_eq!(get(&server, "/apis/nothing.example.com").await.body, "404 page not found\n");
}

#[tokio::test]
async fn the_older_document_is_had_in_the_encoding_that_is_asked_for() {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let server = server();
    let answer = get(&server, "/openapi/v2").await;
    assert_eq!((answer.header("content-type"), answer.header("vary")), ("application/json", "Accept"));
    let document = answer.json();
    assert_eq!(document["swagger"], "2.0");
    let path = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/gadgets/{name}"];
    assert_eq!(path["patch"]["x-kubernetes-group-version-kind"]["kind"], "Gadget");
    let validation = json!({"name": "fieldValidation", "in": "query", "type": "string", "uniqueItems": true});
    assert!(path["patch"]["parameters"].as_array().unwrap().contains(&validation), "{path}");
    assert_eq!(
        path["put"]["parameters"][0]["schema"],
        json!({"$ref": "#/definitions/com.example.v1.Gadget"})
    );
    let gadget = &document["definitions"]["com.example.v1.Gadget"];
    assert_eq!(
        gadget["properties"]["metadata"]["$ref"],
        "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    for asked in [PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"] {
        let accept = ("accept", asked);
        let answer = send(&server, "GET", "/openapi/v2", &[accept], "").await;
        assert_eq!(answer.header("content-type"), PROTOBUF);
        let known = ("if-none-match", answer.header("etag"));
        let again = send(&server, "GET", "/openapi/v2", &[accept, known], "").await;
        assert_eq!(again.code, StatusCode::NOT_MODIFIED);
    }
    let refused = send(&server, "GET", "/openapi/v2", &[("accept", "text/html")], "").await;
    assert_eq!((refused.code, refused.body.as_str()), (StatusCode::NOT_ACCEPTABLE, ""));
}

#[tokio::test]
async fn services_are_asked_for_and_there_are_none() {
    let server = server();
    let listed = get(&server, "/api/v1/namespaces/kube-system/services").await.json();
    assert_eq!(
        (listed["kind"].as_str(), listed["items"].as_array().map(Vec::len)),
        (Some("ServiceList"), Some(0))
    );
    let body = r#"{"metadata":{"name":"one"},"spec":{}}"#;
    let refused = send(&server, "POST", "/api/v1/namespaces/default/services", &[], body).await;
    assert_eq!(refused.code, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn documents_are_pinned_by_their_digest() {
    let server = server();
    let index = get(&server, "/openapi/v3").await.json();
    let url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let answer = get(&server, &url).await;
    assert!(answer.header("cache-control").contains("immutable"), "{}", answer.header("cache-control"));
    let document = answer.json();
    let schema = &document["components"]["schemas"]["com.example.v1.Gadget"];
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Gadget");
    let patch = &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/gadgets/{name}"]["patch"];
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation"));
    let known = ("if-none-match", answer.header("etag"));
    assert_eq!(send(&server, "GET", &url, &[known], "").await.code, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_list_in_pieces_is_one_state() {
    let server = server();
    for name in ["a", "b", "c"] {
        make(&server, name, &json!({}), &json!({})).await;
    }
    let first = get(&server, &format!("{GADGETS}?limit=2")).await.json();
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    send(&server, "DELETE", &format!("{GADGETS}/c"), &[], "").await;
    make(&server, "d", &json!({}), &json!({})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = get(&server, &format!("{GADGETS}?limit=2&continue={token}")).await.json();
    let names: Vec<&Value> =
        second["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["c"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(second["metadata"]["continue"], "");
    let climbing = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIvLi4vLi4vY29yZSJ9";
    assert_eq!(get(&server, &format!("{GADGETS}?continue={climbing}")).await.code, StatusCode::BAD_REQUEST);
}

/// Lists with a selector while somebody writes, each time with other pieces of the same state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selection_is_one_state_too() {
    let server = server();
    make(&server, "first", &json!({"w": "1"}), &json!({"size": 0})).await;
    let store = server.state().store.clone();
    for number in 0..2_500 {
        let object = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "x"}});
        let value = Bytes::from(object.to_string());
        let decide = |_: Option<&store::Entry>, _| Ok::<_, Infallible>((store::Change::Put(value), ()));
        store.mutate(&format!("example.com/gadgets/default/other-{number:04}"), decide).await.unwrap();
    }
    make(&server, "z", &json!({"w": "1"}), &json!({})).await;
    let over = Arc::new(AtomicBool::new(false));
    let writing = {
        let (server, over) = (server.clone(), Arc::clone(&over));
        tokio::task::spawn_blocking(move || {
            let mut versions = Vec::new();
            tokio::runtime::Handle::current().block_on(async {
                for size in 1.. {
                    let patch = json!({"spec": {"size": size % 100}}).to_string();
                    let changed = send(&server, "PATCH", &format!("{GADGETS}/first"), &[MERGE], patch).await;
                    versions.push(revision(&changed.json()));
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
            versions
        })
    };
    let mut seen = Vec::new();
    for _ in 0..100 {
        let list = get(&server, &format!("{GADGETS}?labelSelector=w%3D1&limit=500")).await.json();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        seen.push((revision(&list), revision(&items[0])));
    }
    over.store(true, Ordering::SeqCst);
    let versions = writing.await.unwrap();
    for (list, item) in seen {
        let missed = versions.iter().find(|&&version| version > item && version <= list);
        assert_eq!(missed, None, "the list of {list} has the object of {item}");
    }
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn one_object_is_listed_by_its_name() {
    let server = server();
    for name in ["a", "a-b", "b"] {
        make(&server, name, &json!({"w": name}), &json!({})).await;
    }
    let names = |list: Value| -> Vec<String> {
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(list["metadata"]["continue"], "", "{list}");
        list["items"].as_array().unwrap().iter().map(name).collect()
    };
    for (query, expected) in [
        ("fieldSelector=metadata.name%3Da&limit=1", &["a"][..]),
        ("fieldSelector=metadata.name%3Da-", &[]),
        ("fieldSelector=metadata.name%3Da-b&labelSelector=w%3Da-b", &["a-b"]),
        ("fieldSelector=metadata.name%3Da-b&labelSelector=w%3Da", &[]),
        ("fieldSelector=metadata.name%3Da/b", &[]),
        ("fieldSelector=metadata.name%3D", &[]),
    ] {
        let list = get(&server, &format!("{GADGETS}?{query}")).await.json();
        assert_eq!(names(list), expected, "{query}");
        let all = get(&server, &format!("/apis/example.com/v1/gadgets?{query}")).await.json();
        assert_eq!(names(all), expected, "{query} in all namespaces");
    }
}

#[tokio::test]
async fn the_past_ends_where_the_history_ends() {
    let options = store::Options { history_events: 2, ..store::Options::default() };
    let server = server_on(Store::memory_with(&options));
    let first = make(&server, "a", &json!({}), &json!({})).await;
    make(&server, "b", &json!({}), &json!({})).await;
    let page = get(&server, &format!("{GADGETS}?limit=1")).await.json();
    for name in ["c", "d", "e", "f"] {
        make(&server, name, &json!({}), &json!({})).await;
    }
    let old = first["metadata"]["resourceVersion"].as_str().unwrap();
    let exact = format!("{GADGETS}?resourceVersion={old}&resourceVersionMatch=Exact");
    let answer = get(&server, &exact).await;
    assert_eq!((answer.code, &answer.json()["reason"]), (StatusCode::GONE, &json!("Expired")));
    let token = page["metadata"]["continue"].as_str().unwrap();
    let answer = get(&server, &format!("{GADGETS}?limit=9&continue={token}")).await;
    assert_eq!(answer.code, StatusCode::GONE);
    // The refusal carries a token that goes on in the latest state.
    let body = answer.json();
    let token = body["metadata"]["continue"].as_str().unwrap();
    let rest = get(&server, &format!("{GADGETS}?limit=9&continue={token}")).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 5);
    let watch = get(&server, &format!("{GADGETS}?watch=true&resourceVersion={old}&timeoutSeconds=1")).await;
    assert_eq!(watch.code, StatusCode::OK);
    assert_eq!((&watch.json()["type"], &watch.json()["object"]["code"]), (&json!("ERROR"), &json!(410)));
}

#[tokio::test]
async fn versions_of_the_future_are_refused() {
    let server = server();
    for path in [format!("{GADGETS}?resourceVersion=99999"), format!("{GADGETS}/a?resourceVersion=99999")] {
        let answer = get(&server, &path).await;
        let causes = answer.json()["details"]["causes"].clone();
        assert_eq!(answer.code, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(causes[0]["reason"], "ResourceVersionTooLarge");
    }
    // A watch from there is patient.
    let watch = get(&server, &format!("{GADGETS}?watch=true&resourceVersion=99999&timeoutSeconds=1")).await;
    assert_eq!((watch.code, watch.body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn tables_show_the_columns_of_the_definition() {
    let server = server();
    make(&server, "a", &json!({}), &json!({"size": 3})).await;
    let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let table = send(&server, "GET", GADGETS, &[accept], "").await.json();
    let columns: Vec<&Value> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(columns, ["Name", "Size", "Age"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3, "0s"]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let answer = send(&server, "GET", &format!("{GADGETS}?includeObject=None"), &[accept], "").await;
    assert_eq!(answer.json()["rows"][0]["object"], Value::Null);
    let answer = send(&server, "GET", &format!("{GADGETS}?includeObject=Foo"), &[accept], "").await;
    assert_eq!(answer.code, StatusCode::BAD_REQUEST);
    let accept = ("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
    let list = send(&server, "GET", GADGETS, &[accept], "").await.json();
    assert_eq!(
        (&list["kind"], &list["items"][0]["spec"]),
        (&json!("PartialObjectMetadataList"), &Value::Null)
    );
}

#[tokio::test]
async fn bytes_are_those_of_the_real_server() {
    let server = server();
    make(&server, "a", &json!({"x": "1"}), &json!({"size": 3})).await;
    let answer = get(&server, &format!("{GADGETS}/a")).await;
    assert!(answer.body.starts_with(
        "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Gadget\",\"metadata\":{\"creationTimestamp\":"
    ));
    assert!(answer.body.ends_with("\"spec\":{\"color\":\"red\",\"size\":3}}\n"), "{}", answer.body);
    let body = r#"{"metadata":{"name":"c"},"data":{"k":"<&>"},"immutable":false}"#;
    let path = "/api/v1/namespaces/default/configmaps";
    let answer = send(&server, "POST", path, &[], body).await;
    assert!(
        answer.body.starts_with("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c\"")
    );
    assert!(answer.body.ends_with("\"immutable\":false,\"data\":{\"k\":\"\\u003c\\u0026\\u003e\"}}\n"));
    let list = get(&server, path).await.body;
    assert!(
        list.starts_with(
            "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":"
        )
    );
    assert!(list.contains("\"items\":[{\"metadata\":{\"name\":\"c\""), "{list}");
}

#[tokio::test]
async fn people_get_indented_json_and_yaml_on_request() {
    let server = server();
    make(&server, "a", &json!({}), &json!({})).await;
    let path = format!("{GADGETS}/a");
    let pretty = send(&server, "GET", &path, &[("user-agent", "curl/8")], "").await.body;
    assert!(pretty.starts_with("{\n  \"apiVersion\": \"example.com/v1\",\n"), "{pretty}");
    let answer = send(&server, "GET", &path, &[("accept", "application/yaml")], "").await;
    assert_eq!(answer.header("content-type"), "application/yaml");
    assert!(answer.body.starts_with("apiVersion: example.com/v1\nkind: Gadget\n"), "{}", answer.body);
    assert_eq!(send(&server, "GET", &path, &[("accept", "text/html")], "").await.code.as_u16(), 406);
}

#[tokio::test]
async fn standing_objects_are_there_and_definitions_are_read_only() {
    let store = Store::memory().unwrap();
    let server = server_on(store.clone());
    assert_eq!(get(&server, "/api/v1/namespaces/default").await.json()["status"]["phase"], "Active");
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = get(&server, &format!("{path}/gadgets.example.com")).await.json();
    let conditions: Vec<&Value> = definition["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| &condition["type"])
        .collect();
    assert_eq!(conditions, ["NamesAccepted", "Established"]);
    let refused = send(&server, "DELETE", &format!("{path}/gadgets.example.com"), &[], "").await;
    assert_eq!(refused.code, StatusCode::METHOD_NOT_ALLOWED);
    let before = store.revision();
    server_on(store.clone()).prepare().await.unwrap();
    assert_eq!(store.revision(), before, "a restart with the same kinds writes nothing");
    let clock = Arc::new(ManualClock::at("2026-03-02T09:00:00Z".parse().unwrap()));
    let smaller = ApiServer::new(store, Vec::new(), Options::new(clock, "0.0.0"));
    let list = get(&smaller, path).await.json();
    assert_eq!(list["items"], json!([]), "the definition of a kind that is gone goes");
}
