//! Creates, updates, patches, deletions, and what is refused.

use super::*;

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn field_validation_refuses_warns_or_ignores() {
    let server = server();
    let body = r#"{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"a"},"spec":{"size":1,"size":2,"x":3}}"#;
    let path = |mode: &str| format!("{GADGETS}?dryRun=All&fieldValidation={mode}");
    let strict = send(&server, "POST", &path("Strict"), &[JSON], body).await;
    assert_eq!(
        message(&strict),
        "Gadget in version \"v1\" cannot be handled as a Gadget: strict decoding error: duplicate field \"spec.size\", unknown field \"spec.x\""
    );
    let warned = send(&server, "POST", &path("Warn"), &[JSON], body).await;
    let warnings: Vec<&str> =
        warned.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(
        warnings,
        ["299 - \"duplicate field \\\"spec.size\\\"\"", "299 - \"unknown field \\\"spec.x\\\"\""]
    );
    assert_eq!(warned.json()["spec"], json!({"color": "red", "size": 2}));
    let ignored = send(&server, "POST", &path("Ignore"), &[JSON], body).await;
    assert_eq!((ignored.code, ignored.header("warning")), (StatusCode::CREATED, ""));
    let unknown = send(&server, "POST", &path("Foo"), &[JSON], body).await;
    assert_eq!(unknown.code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(get(&server, &format!("{GADGETS}/a")).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let store = Store::memory().unwrap();
    let server = server_on(store.clone());
    make(&server, "a", &json!({}), &json!({"size": 1})).await;
    let before = store.revision();
    let path = format!("{GADGETS}/a?dryRun=All");
    let patched = send(&server, "PATCH", &path, &[MERGE], r#"{"spec":{"size":2}}"#).await.json();
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["generation"]), (&json!(2), &json!(2)));
    send(&server, "DELETE", &path, &[], "").await;
    let absent =
        send(&server, "POST", "/api/v1/namespaces?dryRun=All", &[JSON], r#"{"metadata":{"name":"x"}}"#);
    assert_eq!(absent.await.code, StatusCode::CREATED);
    assert_eq!(store.revision(), before);
    assert_eq!(get(&server, &format!("{GADGETS}/a")).await.json()["spec"]["size"], 1);
}

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_the_version() {
    let server = server();
    let made = make(&server, "a", &json!({}), &json!({"size": 1})).await;
    let path = format!("{GADGETS}/a");
    let put = send(&server, "PUT", &path, &[JSON], made.to_string()).await.json();
    let patched = send(&server, "PATCH", &path, &[MERGE], r#"{"spec":{"size":1}}"#).await.json();
    for answer in [put, patched] {
        assert_eq!(answer["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    }
}

#[tokio::test]
async fn a_stale_version_is_a_conflict_and_none_is_invalid() {
    let server = server();
    let mut object = make(&server, "a", &json!({}), &json!({"size": 1})).await;
    let path = format!("{GADGETS}/a");
    send(&server, "PATCH", &path, &[MERGE], r#"{"spec":{"size":2}}"#).await;
    let stale = send(&server, "PUT", &path, &[JSON], object.to_string()).await;
    assert_eq!(
        message(&stale),
        "Operation cannot be fulfilled on gadgets.example.com \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    object["metadata"]["resourceVersion"] = json!("");
    let without = send(&server, "PUT", &path, &[JSON], object.to_string()).await;
    assert_eq!(
        message(&without),
        "gadgets.example.com \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    );
    object["metadata"]["uid"] = json!("other");
    let other = send(&server, "PUT", &path, &[JSON], object.to_string()).await;
    assert_eq!(other.code, StatusCode::CONFLICT);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = server();
    let body = json!({
        "apiVersion": "example.com/v1", "kind": "Gadget",
        "metadata": {"name": "a", "finalizers": ["example.com/x"]}, "spec": {},
    });
    send(&server, "POST", GADGETS, &[JSON], body.to_string()).await;
    let path = format!("{GADGETS}/a");
    let held = send(&server, "DELETE", &path, &[], "").await.json();
    assert_eq!(held["metadata"]["deletionTimestamp"], "2026-03-01T09:00:00Z");
    assert_eq!(held["metadata"]["generation"], 2);
    let again = send(&server, "POST", GADGETS, &[JSON], body.to_string()).await;
    assert_eq!(message(&again), "object is being deleted: gadgets.example.com \"a\" already exists");
    let more = r#"{"metadata":{"finalizers":["example.com/x","example.com/y"]}}"#;
    assert_eq!(send(&server, "PATCH", &path, &[MERGE], more).await.code, StatusCode::UNPROCESSABLE_ENTITY);
    let released = send(&server, "PATCH", &path, &[MERGE], r#"{"metadata":{"finalizers":null}}"#).await;
    assert_eq!(released.code, StatusCode::OK);
    assert_eq!(get(&server, &path).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn deletions_obey_preconditions_and_selectors() {
    let server = server();
    let made = make(&server, "a", &json!({"c": "1"}), &json!({})).await;
    make(&server, "b", &json!({"c": "2"}), &json!({})).await;
    let path = format!("{GADGETS}/a");
    let wrong = send(&server, "DELETE", &path, &[JSON], r#"{"preconditions":{"uid":"wrong"}}"#).await;
    assert_eq!((wrong.code, &wrong.json()["details"]["kind"]), (StatusCode::CONFLICT, &json!("Gadget")));
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let options = json!({"preconditions": {"uid": uid}, "propagationPolicy": "Background"});
    let gone = send(&server, "DELETE", &path, &[JSON], options.to_string()).await;
    assert_eq!(gone.json()["details"]["uid"], uid);
    make(&server, "c", &json!({"c": "1"}), &json!({})).await;
    send(&server, "DELETE", &format!("{GADGETS}?labelSelector=c%3D1"), &[], "").await;
    let left = get(&server, GADGETS).await.json();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn names_are_generated_and_judged() {
    let server = server();
    let post = |metadata: Value| {
        let body = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": metadata});
        let server = &server;
        async move { send(server, "POST", GADGETS, &[JSON], body.to_string()).await }
    };
    let generated = post(json!({"generateName": "run-"})).await.json();
    let name = generated["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("run-") && name.len() == 9, "{name}");
    assert_eq!(
        message(&post(json!({})).await),
        "Gadget.example.com \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
    assert_eq!(post(json!({"name": "No_Good"})).await.code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(post(json!({"name": "x", "namespace": "other"})).await.code, StatusCode::BAD_REQUEST);
    let path = "/apis/example.com/v1/namespaces/absent/gadgets";
    let body = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "x"}});
    let answer = send(&server, "POST", path, &[JSON], body.to_string()).await;
    assert_eq!(message(&answer), "namespaces \"absent\" not found");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_right_code() {
    let server = server();
    let path = format!("{GADGETS}/a");
    make(&server, "a", &json!({}), &json!({})).await;
    let status = format!("{path}/status");
    let cases = [
        ("POST", GADGETS, JSON, "{", 400_u16),
        ("POST", GADGETS, JSON, "[]", 400),
        ("POST", GADGETS, ("content-type", "text/plain"), "{}", 415),
        ("POST", GADGETS, JSON, r#"{"metadata":{"name":"x"}}"#, 400),
        ("PATCH", path.as_str(), JSON, "{}", 415),
        ("PATCH", path.as_str(), ("content-type", "application/strategic-merge-patch+json"), "{}", 415),
        (
            "PATCH",
            &path,
            ("content-type", "application/json-patch+json"),
            r#"[{"op":"remove","path":"/x"}]"#,
            422,
        ),
        ("POST", status.as_str(), JSON, "{}", 405),
        ("PUT", "/api/v1/namespaces/default/configmaps", JSON, "{}", 405),
    ];
    for (method, path, header, body, code) in cases {
        let answer = send(&server, method, path, &[header], body).await;
        assert_eq!(answer.code.as_u16(), code, "{method} {path} {body}: {}", answer.body);
        assert_eq!(answer.json()["kind"], "Status");
    }
    let large = vec![b' '; (3 << 20) + 1];
    let answer = send(&server, "POST", GADGETS, &[JSON], large).await;
    assert_eq!(message(&answer), "Request entity too large: limit is 3145728");
}

#[tokio::test]
async fn secrets_take_plain_text_and_keep_their_type() {
    let server = server();
    let path = "/api/v1/namespaces/default/secrets";
    let body = r#"{"metadata":{"name":"s"},"stringData":{"a":"1"}}"#;
    let made = send(&server, "POST", path, &[], body).await.json();
    assert_eq!((&made["data"], &made["type"]), (&json!({"a": "MQ=="}), &json!("Opaque")));
    let patch = ("content-type", "application/strategic-merge-patch+json");
    let changed =
        send(&server, "PATCH", &format!("{path}/s"), &[patch], r#"{"type":"kubernetes.io/tls"}"#).await;
    assert_eq!(changed.code, StatusCode::UNPROCESSABLE_ENTITY);
    let broken = r#"{"metadata":{"name":"t"},"data":{"a":"!"}}"#;
    assert_eq!(send(&server, "POST", path, &[], broken).await.code, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_event_has_two_faces() {
    let server = server();
    let newer = "/apis/events.k8s.io/v1/namespaces/default/events";
    let body = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Gadget", "name": "g", "namespace": "default"},
        "note": "it began", "reason": "Began", "action": "Begin", "type": "Normal",
        "eventTime": "2026-03-01T09:00:00.000000Z",
        "reportingController": "example.com/c", "reportingInstance": "c-1",
    });
    let made = send(&server, "POST", newer, &[JSON], body.to_string()).await;
    assert_eq!(made.code, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.json()["note"], "it began");
    let query = "fieldSelector=involvedObject.name%3Dg,involvedObject.kind%3DGadget";
    let core = get(&server, &format!("/api/v1/namespaces/default/events?{query}")).await.json();
    assert_eq!(core["items"][0]["message"], "it began");
    let found = get(&server, &format!("{newer}?fieldSelector=regarding.name%3Dg")).await.json();
    assert_eq!(found["items"][0]["regarding"]["name"], "g");
    let changed = send(&server, "PATCH", &format!("{newer}/e"), &[MERGE], r#"{"note":"other"}"#).await;
    assert_eq!(
        message(&changed),
        "Event \"e\" is invalid: message: Invalid value: \"other\": field is immutable"
    );
}

#[tokio::test]
async fn handlers_answer_for_their_subresources() {
    let gadget = Resource::from_crd(&gadget_definition(), None).unwrap().with_subresource(
        "log",
        Arc::new(|request| {
            let text = format!("{} {}", request.name, request.query["tail"]);
            Box::pin(async move { axum::http::Response::new(Body::from(text)) })
        }),
    );
    let clock = Arc::new(ManualClock::at("2026-03-01T09:00:00Z".parse().unwrap()));
    let options = Options::new(clock, "0.0.0");
    let server = ApiServer::new(Store::memory().unwrap(), vec![gadget], options);
    make(&server, "a", &json!({}), &json!({})).await;
    assert_eq!(get(&server, &format!("{GADGETS}/a/log?tail=3")).await.body, "a 3");
    assert_eq!(get(&server, &format!("{GADGETS}/b/log?tail=3")).await.code, StatusCode::NOT_FOUND);
    assert_eq!(get(&server, &format!("{GADGETS}/a/other")).await.code, StatusCode::NOT_FOUND);
    let posted = send(&server, "POST", &format!("{GADGETS}/a/log"), &[JSON], "{}").await;
    assert_eq!(posted.code, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn rules_speak_after_the_schema() {
    use crate::apiserver::{Violation, ViolationReason};
    let mut definition = gadget_definition();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    definition.pointer_mut(spec).unwrap()["x-kubernetes-validations"] =
        json!([{"rule": "self.size != 13", "message": "brings no luck"}]);
    let rules = Arc::new(|new: &Value, _: Option<&Value>| {
        let violation = Violation {
            path: "spec".to_owned(),
            message: "brings no luck".to_owned(),
            reason: ViolationReason::Invalid,
        };
        if new["spec"]["size"] == 13 { vec![violation] } else { Vec::new() }
    });
    let gadget = Resource::from_crd(&definition, Some(rules)).unwrap();
    let clock = Arc::new(ManualClock::at("2026-03-01T09:00:00Z".parse().unwrap()));
    let options = Options::new(clock, "0.0.0");
    let server = ApiServer::new(Store::memory().unwrap(), vec![gadget], options);
    let post = |size: Value| {
        let body = json!({
            "apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "a"}, "spec": {"size": size},
        });
        let server = &server;
        async move { send(server, "POST", GADGETS, &[JSON], body.to_string()).await }
    };
    assert_eq!(
        message(&post(json!(13)).await),
        "Gadget.example.com \"a\" is invalid: spec: Invalid value: brings no luck"
    );
    assert!(message(&post(json!("x")).await).contains("some validation rules were not checked"));
    assert_eq!(post(json!(12)).await.code, StatusCode::CREATED);
}

#[tokio::test]
async fn reviews_are_answered_truthfully() {
    let server = server();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (group, resource, allowed) in
        [("example.com", "gadgets", true), ("", "pods", false), ("*", "*", true)]
    {
        let body =
            json!({"spec": {"resourceAttributes": {"group": group, "resource": resource, "verb": "get"}}});
        let answer = send(&server, "POST", path, &[JSON], body.to_string()).await.json();
        assert_eq!(answer["status"]["allowed"], allowed, "{group} {resource}");
    }
    let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = send(&server, "POST", whoami, &[JSON], "{}").await;
    assert_eq!(answer.json()["status"]["userInfo"]["username"], "kelos");
}

#[tokio::test]
async fn typed_clients_of_core_kinds_work_in_process() {
    use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
    use kube::api::{Api, Patch, PatchParams};
    let server = server();
    let service = crate::apiserver::in_process(server.router(), "kelos/1");
    let client = kube::Client::new(service.clone(), "default");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let applied =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "1"}});
    let made = maps.patch("a", &PatchParams::apply("one"), &Patch::Apply(&applied)).await.unwrap();
    assert_eq!(made.data.unwrap()["k"], "1");
    let strategic = Patch::Strategic(json!({"data": {"l": "2", "k": null}}));
    let patched = maps.patch("a", &PatchParams::default(), &strategic).await.unwrap();
    assert_eq!(patched.data.unwrap().into_keys().collect::<Vec<_>>(), ["l"]);
    // Who states no manager writes under the program's name.
    let managers: Vec<_> =
        patched.metadata.managed_fields.unwrap().into_iter().filter_map(|entry| entry.manager).collect();
    assert!(managers.contains(&"kelos".to_owned()), "{managers:?}");
    let namespaces: Api<Namespace> = Api::all(client);
    assert_eq!(namespaces.list(&kube::api::ListParams::default()).await.unwrap().items.len(), 2);
    service.finish().await;
}
