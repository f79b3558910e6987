//! Watches beyond the plain one: selectors, bookmarks, forms, ends.

use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::apiserver::watch::Carrier;

/// Begins a watch, makes changes, and returns the events until its timeout of one second.
async fn watched(
    server: &ApiServer,
    query: &str,
    headers: &[(&str, &str)],
    changes: impl Future<Output = ()>,
) -> Vec<Value> {
    let path = format!("{GADGETS}?watch=true&timeoutSeconds=1&{query}");
    let (answer, ()) = tokio::join!(send(server, "GET", &path, headers, ""), changes);
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(events: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| format!("{} {}", text(&event["type"]), text(&event["object"]["metadata"]["name"])))
        .collect()
}

async fn version(server: &ApiServer) -> String {
    get(server, GADGETS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

async fn label(server: &ApiServer, name: &str, value: &Value) -> Value {
    let patch = json!({"metadata": {"labels": {"w": value}}});
    send(server, "PATCH", &format!("{GADGETS}/{name}"), &[MERGE], patch.to_string()).await.json()
}

#[tokio::test]
async fn entering_a_selection_adds_and_leaving_it_deletes() {
    let server = server();
    make(&server, "a", &json!({"w": "1"}), &json!({})).await;
    let from = version(&server).await;
    let query = format!("labelSelector=w%3D1&resourceVersion={from}");
    let mut left = Value::Null;
    let events = watched(&server, &query, &[], async {
        make(&server, "b", &json!({"w": "2"}), &json!({})).await;
        label(&server, "b", &json!("1")).await;
        left = label(&server, "a", &json!("2")).await;
        label(&server, "a", &json!("3")).await;
        send(&server, "DELETE", &format!("{GADGETS}/b"), &[], "").await;
    })
    .await;
    assert_eq!(kinds(&events), ["ADDED b", "DELETED a", "DELETED b"]);
    let gone = &events[1]["object"]["metadata"];
    // The object as it was while it matched, at the version of the change that took it away.
    assert_eq!(gone["labels"]["w"], "1");
    assert_eq!(gone["resourceVersion"], left["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn one_object_is_watched_by_its_name() {
    let server = server();
    make(&server, "a", &json!({}), &json!({})).await;
    make(&server, "b", &json!({}), &json!({})).await;
    let events = watched(&server, "fieldSelector=metadata.name%3Da", &[], async {
        label(&server, "b", &json!("1")).await;
        label(&server, "a", &json!("1")).await;
    })
    .await;
    assert_eq!(kinds(&events), ["ADDED a", "MODIFIED a"]);
}

#[tokio::test]
async fn the_state_ends_with_a_marked_bookmark() {
    let server = server();
    make(&server, "a", &json!({}), &json!({})).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let events = watched(&server, query, &[], async {}).await;
    assert_eq!(kinds(&events), ["ADDED a", "BOOKMARK "]);
    let metadata = &events[1]["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(metadata["resourceVersion"], version(&server).await);
    let answer = get(&server, &format!("{GADGETS}?watch=true&sendInitialEvents=true")).await;
    assert_eq!(answer.code, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_watched_table_names_its_columns_once() {
    let server = server();
    make(&server, "a", &json!({}), &json!({"size": 1})).await;
    let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    let events = watched(&server, "resourceVersion=0", &[accept], async {
        label(&server, "a", &json!("1")).await;
    })
    .await;
    assert_eq!(events.len(), 2);
    assert!(events[0]["object"]["columnDefinitions"].is_array());
    assert_eq!(events[1]["object"]["columnDefinitions"], Value::Null);
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "a");
}

#[tokio::test]
async fn stopping_the_server_ends_its_watches() {
    let server = server();
    let path = format!("{GADGETS}?watch=true&timeoutSeconds=3600&resourceVersion=0");
    let stop = async {
        tokio::task::yield_now().await;
        server.stop();
    };
    let (answer, ()) = tokio::join!(send(&server, "GET", &path, &[], ""), stop);
    assert_eq!((answer.code, answer.body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn a_listener_bounds_how_many_watches_are_open() {
    let server = server();
    let (endings, mut told) = mpsc::unbounded_channel();
    let carrier = Carrier { room: Arc::new(Semaphore::new(1)), endings };
    let watch = |carrier: Option<&Carrier>| {
        let mut request = Request::get(format!("{GADGETS}?watch=true")).body(Body::empty()).unwrap();
        if let Some(carrier) = carrier {
            request.extensions_mut().insert(carrier.clone());
        }
        server.router().oneshot(request)
    };
    let first = watch(Some(&carrier)).await.unwrap();
    let second = watch(Some(&carrier)).await.unwrap();
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS));
    let own = watch(None).await.unwrap();
    assert_eq!(own.status(), StatusCode::OK, "the daemon's own watches have no bound");
    let ending = told.try_recv().unwrap();
    assert!(told.try_recv().is_err(), "who is refused has no end to tell of");
    drop(first);
    assert!(!ending.overdue(Duration::from_hours(1)).await, "an answer that is gone is not waited for");
    assert_eq!(watch(Some(&carrier)).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn deletions_carry_the_version_of_the_deletion() {
    let server = server();
    let made = make(&server, "a", &json!({}), &json!({})).await;
    let events = watched(&server, "resourceVersion=0", &[], async {
        send(&server, "DELETE", &format!("{GADGETS}/a"), &[], "").await;
    })
    .await;
    assert_eq!(kinds(&events), ["ADDED a", "DELETED a"]);
    let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let deleted = number(&events[1]["object"]["metadata"]["resourceVersion"]);
    assert!(deleted > number(&made["metadata"]["resourceVersion"]));
    assert_eq!(deleted.to_string(), version(&server).await);
}

#[tokio::test]
async fn the_watcher_of_the_client_library_sees_state_and_changes() {
    use kube::runtime::watcher::{Config, Event, InitialListStrategy, watcher};
    for strategy in [InitialListStrategy::ListWatch, InitialListStrategy::StreamingList] {
        let server = server();
        make(&server, "a", &json!({}), &json!({})).await;
        make(&server, "b", &json!({}), &json!({})).await;
        let config = Config { initial_list_strategy: strategy.clone(), ..Config::default() }.page_size(1);
        let mut events = watcher(gadgets(&server), config).boxed();
        let mut seen = Vec::new();
        while let Some(event) = events.try_next().await.unwrap() {
            let name = |object: DynamicObject| object.metadata.name.unwrap();
            match event {
                Event::Init => seen.push("init".to_owned()),
                Event::InitApply(object) => seen.push(name(object)),
                Event::InitDone => {
                    seen.push("done".to_owned());
                    send(&server, "DELETE", &format!("{GADGETS}/a"), &[], "").await;
                }
                Event::Apply(object) => seen.push(format!("+{}", name(object))),
                Event::Delete(object) => {
                    seen.push(format!("-{}", name(object)));
                    break;
                }
            }
        }
        assert_eq!(seen, ["init", "a", "b", "done", "-a"], "{strategy:?}");
    }
}
