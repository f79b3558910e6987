//! A client that means harm, with the token or without: it is answered or cut off, and everybody else is served.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::clients::newest_kubectl;
use crate::support::env::TestEnv;
use crate::support::wire::Reply;

const SETTINGS: &str = "/api/v1/namespaces/default/configmaps";
const TASKS: &str = "/apis/kelos.dev/v1alpha1/namespaces/default/tasks";

/// More than the daemon may ever need for what happens here.
const MOST_MEMORY: u64 = 600 << 20;

fn send(env: &TestEnv, line: &str, content_type: &str, body: &[u8]) -> Reply {
    let headers = format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
    env.exchange(line, &headers, body).unwrap_or_else(|| panic!("{line}: no answer"))
}

fn post(env: &TestEnv, path: &str, body: &[u8]) -> Reply {
    send(env, &format!("POST {path}"), "application/json", body)
}

/// Expects that the daemon serves, and did not grow.
#[track_caller]
fn serves(env: &TestEnv) {
    let reply = env.exchange(&format!("GET {SETTINGS}"), "", b"").unwrap();
    assert_eq!(reply.code, 200, "{}", reply.text());
    let peak = env.daemon_peak_memory();
    assert!(peak < MOST_MEMORY, "{} MiB", peak >> 20);
}

fn nested(depth: usize, open: &str, inside: &str, close: &str) -> String {
    format!("{}{inside}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn large_and_deep_bodies_are_refused() {
    let env = TestEnv::up();
    // Four gigabytes are announced, and what is sent is not read to its end.
    let mut wire = env.wire();
    let head = format!(
        "POST {SETTINGS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 4294967296\r\n\r\n",
        env.token()
    );
    wire.send(head.as_bytes());
    let piece = vec![b' '; 1 << 20];
    let sent = (0..4_096).take_while(|_| wire.send(&piece)).count();
    assert!(sent < 4_096, "the daemon read all of it");
    let endless = "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n";
    let mut chunks = Vec::new();
    for _ in 0..4 {
        write!(chunks, "100000\r\n").unwrap();
        chunks.extend_from_slice(&piece);
        chunks.extend_from_slice(b"\r\n");
    }
    if let Some(reply) = env.exchange(&format!("POST {SETTINGS}"), endless, &chunks) {
        assert_eq!(reply.code, 413, "{}", reply.text());
    }
    let deep = [
        nested(1_000_000, "[", "", "]"),
        nested(200_000, "{\"a\":", "1", "}"),
        nested(500, "{\"a\":", "1", "}"),
        "[".repeat(2_000_000),
        "{\"a\":".repeat(400_000),
    ];
    for body in &deep {
        for (line, kind) in [
            (format!("POST {TASKS}"), "application/json"),
            (format!("PATCH {TASKS}/x"), "application/merge-patch+json"),
            (format!("PATCH {TASKS}/x"), "application/json-patch+json"),
            (format!("PATCH {SETTINGS}/x"), "application/strategic-merge-patch+json"),
            (format!("PATCH {TASKS}/x?fieldManager=x"), "application/apply-patch+yaml"),
            (format!("DELETE {TASKS}/x"), "application/json"),
            (format!("POST {SETTINGS}"), "application/yaml"),
        ] {
            let reply = send(&env, &line, kind, body.as_bytes());
            assert!((400..500).contains(&reply.code), "{line} {kind}: {} {}", reply.code, reply.text());
        }
    }
    // An alias bomb of YAML.
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..30 {
        let before = level - 1;
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 9].join(",")));
    }
    let reply = send(
        &env,
        &format!("PATCH {TASKS}/x?fieldManager=x"),
        "application/apply-patch+yaml",
        bomb.as_bytes(),
    );
    assert_eq!(reply.code, 400, "{}", reply.text());
    serves(&env);
}

#[test]
fn an_object_never_becomes_one_that_cannot_be_read_again() {
    let env = TestEnv::up();
    let task = |depth: usize| {
        let affinity: Value = serde_json::from_str(&nested(depth, "{\"a\":", "1", "}")).unwrap();
        json!({
            "apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"name": format!("deep-{depth}")},
            "spec": {"type": "shell", "prompt": "true", "dependsOn": ["never"], "podOverrides": {"affinity": affinity}},
        })
    };
    let mut made = 0;
    for depth in [1, 60, 90, 95, 96, 97, 98, 99, 100, 110, 120] {
        let reply = post(&env, TASKS, task(depth).to_string().as_bytes());
        if reply.code != 201 {
            assert!((400..500).contains(&reply.code), "{depth}: {}", reply.text());
            continue;
        }
        made += 1;
        let label = br#"{"metadata":{"labels":{"a":"b"}}}"#;
        let line = format!("PATCH {TASKS}/deep-{depth}");
        let reply = send(&env, &line, "application/merge-patch+json", label);
        assert_eq!(reply.code, 200, "{depth}: {}", reply.text());
        let apply =
            json!({"apiVersion": "kelos.dev/v1alpha1", "kind": "Task", "metadata": {"labels": {"c": "d"}}});
        let line = format!("PATCH {TASKS}/deep-{depth}?fieldManager=x");
        let reply = send(&env, &line, "application/apply-patch+yaml", apply.to_string().as_bytes());
        assert_eq!(reply.code, 200, "{depth}: {}", reply.text());
    }
    assert!(made >= 3, "{made}");
    // A patch of many small operations that nests each time.
    let mut operations =
        vec![json!({"op": "add", "path": "/spec/podOverrides", "value": {"affinity": {"x": {}}}})];
    for _ in 0..3_000 {
        operations.push(json!({"op": "add", "path": "/spec/podOverrides/affinity/y", "value": {}}));
        let (x, inside) = ("/spec/podOverrides/affinity/x", "/spec/podOverrides/affinity/y/x");
        operations.push(json!({"op": "move", "from": x, "path": inside}));
        operations.push(json!({"op": "move", "from": "/spec/podOverrides/affinity/y", "path": x}));
    }
    let line = format!("PATCH {TASKS}/deep-1");
    let body = Value::Array(operations).to_string();
    let reply = send(&env, &line, "application/json-patch+json", body.as_bytes());
    assert!((400..500).contains(&reply.code), "{}", reply.text());
    serves(&env);
}

/// Encodes one field of a protobuf message.
fn field(number: usize, content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for mut rest in [number << 3 | 2, content.len()] {
        while rest > 127 {
            encoded.push(u8::try_from(rest % 128).unwrap() | 0x80);
            rest /= 128;
        }
        encoded.push(u8::try_from(rest).unwrap());
    }
    [encoded.as_slice(), content].concat()
}

#[test]
fn what_protobuf_brings_can_be_read_again_too() {
    let env = TestEnv::up();
    let mut made = 0;
    for depth in [1, 90, 96, 97, 110, 120, 122, 123, 125, 127, 128, 500] {
        let name = format!("deep-{depth}");
        let fields = nested(depth, "{\"f:a\":", "{}", "}");
        let entry = [
            field(1, b"m"),
            field(2, b"Update"),
            field(3, b"v1"),
            field(6, b"FieldsV1"),
            field(7, &field(1, fields.as_bytes())),
        ];
        let metadata = [field(1, name.as_bytes()), field(17, &entry.concat())];
        let kind = [field(1, b"v1"), field(2, b"ConfigMap")];
        let envelope = [field(1, &kind.concat()), field(2, &field(1, &metadata.concat()))];
        let body = [b"k8s\0".to_vec(), envelope.concat()].concat();
        let line = format!("POST {SETTINGS}");
        let reply = send(&env, &line, "application/vnd.kubernetes.protobuf", &body);
        if reply.code == 201 {
            made += 1;
            let patch = br#"{"metadata":{"labels":{"a":"b"}}}"#;
            let line = format!("PATCH {SETTINGS}/{name}");
            let reply = send(&env, &line, "application/merge-patch+json", patch);
            assert_eq!(reply.code, 200, "{depth}: {}", reply.text());
        } else {
            assert_eq!(reply.code, 400, "{depth}: {}", reply.text());
        }
    }
    assert!(made >= 2, "{made}");
    serves(&env);
}

/// Returns items that differ by a number of six digits in the place of the mark `#`, between commas.
fn many(count: usize, item: &str) -> String {
    (0..count).map(|number| item.replace('#', &format!("{number:06}"))).collect::<Vec<_>>().join(",")
}

/// Bodies within the limit that hold as many of one thing as there can be: whatever is done with each must not depend on
/// all the others.
#[test]
fn bodies_full_of_one_thing_hold_up_nobody() {
    let env = TestEnv::up();
    let map = |name: &str, metadata: &str, rest: &str| {
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"{metadata}}}{rest}}}"#)
    };
    let task = |spec: &str| {
        format!(
            r#"{{"apiVersion":"kelos.dev/v1alpha1","kind":"Task","metadata":{{"name":"x"}},"spec":{{"type":"shell","prompt":"true",{spec}}}}}"#
        )
    };
    let owners = many(50_000, r##"{"apiVersion":"v1","kind":"A","name":"b","uid":"#"}"##);
    let controllers =
        many(40_000, r##"{"apiVersion":"v1","kind":"A","name":"b","uid":"#","controller":true}"##);
    let finalizers = many(80_000, r#""a/#""#);
    let others = many(80_000, r#""b/#""#);
    let managers =
        many(35_000, r##"{"manager":"#","operation":"Apply","apiVersion":"v1","fieldsV1":{"f:data":{}}}"##);
    let (json, strategic) = ("application/json", "application/strategic-merge-patch+json");
    let merge = "application/merge-patch+json";
    let in_list = |name: &str, items: &str| format!(r#","{name}":[{items}]"#);
    let patch = |metadata: &str| format!(r#"{{"metadata":{{{metadata}}}}}"#);
    let (settings, owned, held) =
        (format!("POST {SETTINGS}"), format!("PATCH {SETTINGS}/owned"), format!("PATCH {SETTINGS}/held"));
    let requests = [
        (&*settings, json, map("bad", "", &format!(r#","data":{{{}}}"#, many(120_000, r#""!#":"""#))), 422),
        (&settings, json, map("bad", &format!(r#","labels":{{{}}}"#, many(100_000, r#""!#":"-""#)), ""), 422),
        (&settings, json, map("bad", "", &format!(",{}", many(230_000, r#""u#":1"#))), 201),
        (&settings, json, map("bad", &in_list("ownerReferences", &controllers), ""), 422),
        (&settings, json, map("managed", &in_list("managedFields", &managers), ""), 201),
        (
            &settings,
            json,
            map(
                "owned",
                &format!(r#"{},"annotations":{{"a":"b"}}"#, in_list("ownerReferences", &owners)),
                "",
            ),
            201,
        ),
        (&owned, strategic, patch(&format!(r#""ownerReferences":[{owners}]"#)), 200),
        (
            &owned,
            strategic,
            patch(&format!(
                r#""annotations":{{"$retainKeys":[{}],{}}}"#,
                many(120_000, r#""k#""#),
                many(120_000, r#""k#":null"#)
            )),
            200,
        ),
        (
            &owned,
            strategic,
            patch(&format!(r#""ownerReferences":[{}]"#, many(50_000, r##"{"$patch":"delete","uid":"#"}"##))),
            200,
        ),
        (&settings, json, map("held", &in_list("finalizers", &finalizers), ""), 201),
        (&held, strategic, patch(&format!(r#""finalizers":[{finalizers}]"#)), 200),
        (&*format!("DELETE {SETTINGS}/held"), json, String::new(), 200),
        (&held, strategic, patch(&format!(r#""$deleteFromPrimitiveList/finalizers":[{others}]"#)), 200),
        (&held, merge, patch(&format!(r#""finalizers":[{others}]"#)), 422),
        (&held, merge, patch(r#""finalizers":null"#), 200),
        (&*format!("POST {TASKS}"), json, task(&format!(r#""dependsOn":[{}1]"#, "1,".repeat(600_000))), 422),
        (&*format!("POST {TASKS}?fieldValidation=Strict"), json, task(&many(200_000, r#""u#":1"#)), 400),
    ];
    for (line, kind, body, code) in &requests {
        assert!(body.len() <= 3 << 20, "{line}: {} bytes", body.len());
        let shortened = body.get(..120).unwrap_or(body);
        let reply = send(&env, line, kind, body.as_bytes());
        let text = String::from_utf8_lossy(reply.body.get(..300).unwrap_or(&reply.body)).into_owned();
        assert_eq!(reply.code, *code, "{line} {shortened}: {text}");
        assert!(reply.body.len() < 32 << 20, "{line} {shortened}: an answer of {} bytes", reply.body.len());
    }
    serves(&env);
}

#[test]
fn heads_paths_and_types_that_nobody_sends_are_refused() {
    let env = TestEnv::up();
    let canary = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "canary"}, "stringData": {"a": "zzcanary"},
    });
    assert_eq!(post(&env, "/api/v1/namespaces/kube-system/secrets", canary.to_string().as_bytes()).code, 201);
    let shown = "enpjYW5hcnk";
    let large = format!("X-Large: {}\r\n", "x".repeat(1 << 20));
    let many: String = (0..20_000).map(|number| format!("X-{number}: x\r\n")).collect();
    for headers in [large, many] {
        if let Some(reply) = env.exchange(&format!("GET {SETTINGS}"), &headers, b"") {
            assert!((400..500).contains(&reply.code), "{}", reply.head);
        }
    }
    let long = format!("/api/v1/namespaces/default/configmaps/{}", "x".repeat(1 << 20));
    let deep = format!("/api/v1/{}", "a/".repeat(20_000));
    for path in [
        "/../../../../etc/passwd",
        "/api/v1/namespaces/default/../kube-system/secrets/canary",
        "/api/v1/namespaces/default/%2e%2e/kube-system/secrets/canary",
        "/api/v1/namespaces/default%2f..%2fkube-system/secrets/canary",
        "/api/v1/namespaces/default/configmaps/..%2f..%2fkube-system%2fsecrets%2fcanary",
        "/api/v1/namespaces/default/configmaps/../../kube-system/secrets/canary",
        "/api/v1/namespaces/../kube-system/secrets",
        "/api/v1/namespaces/./secrets/canary",
        "/api/v1/namespaces//secrets/canary",
        "/api/v1/namespaces/kube-system/secrets/canary%00",
        "/api/v1/namespaces/kube-system/secrets/canary%ff",
        "/api/v1/namespaces/kube-system/secrets/canary%",
        "/api/v1/namespaces/kube-system/secrets/canary/log",
        "/apis/kelos.dev/v1alpha1/namespaces/default/tasks/..%2f../log",
        "/apis/kelos.dev/v1alpha1/namespaces/default/tasks/x/log/../../../secrets",
        "/openapi/v3/../../api/v1/secrets",
        "/openapi/v3/%2e%2e/%2e%2e/etc/passwd",
        "/healthz/../api/v1/secrets",
        "/metrics/../api/v1/secrets",
        long.as_str(),
        deep.as_str(),
    ] {
        let Some(reply) = env.exchange(&format!("GET {path}"), "", b"") else { continue };
        let shortened = path.get(..80).unwrap_or(path);
        assert!((400..500).contains(&reply.code), "{shortened}: {} {}", reply.code, reply.text());
        assert!(!reply.text().contains(shown), "{shortened}");
    }
    // Without the token no spelling of a public path opens another one.
    for path in ["/healthz/../api/v1/secrets", "/healthz%2f..%2fapi", "/readyz?x=/api", "/livez/"] {
        let reply = env.exchange_as("", &format!("GET {path}"), "", b"").unwrap();
        assert!(reply.code == 401 || reply.text() == "ok", "{path}: {}", reply.text());
    }
    for method in ["OPTIONS", "TRACE", "CONNECT", "FOO", "PROPFIND"] {
        if let Some(reply) = env.exchange(&format!("{method} {SETTINGS}"), "", b"") {
            assert!((400..500).contains(&reply.code), "{method}: {}", reply.code);
        }
    }
    for kind in [
        "text/xml",
        "multipart/form-data",
        "application/cbor",
        "application/json/x",
        "",
        "application/json; charset=latin1",
    ] {
        let reply = send(&env, &format!("POST {SETTINGS}"), kind, b"<a/>");
        assert!((400..500).contains(&reply.code), "{kind}: {} {}", reply.code, reply.text());
    }
    // Ten gigabytes of zeros, packed twice: nothing here unpacks a body.
    let bomb = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff".repeat(1_000);
    let headers = format!(
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n",
        bomb.len()
    );
    let reply = env.exchange(&format!("POST {SETTINGS}"), &headers, &bomb).unwrap();
    assert!((400..500).contains(&reply.code), "{}", reply.text());
    for body in [
        &b"k8s\0"[..],
        b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"k8s\0\x12\x80\x80\x80\x80\x80\x80",
    ] {
        let reply = send(&env, &format!("POST {SETTINGS}"), "application/vnd.kubernetes.protobuf", body);
        assert!((400..500).contains(&reply.code), "{}", reply.text());
    }
    serves(&env);
}

#[test]
fn queries_that_nobody_sends_are_answered_at_once() {
    let env = TestEnv::up();
    let names: Vec<String> = (0..8_000).map(|number| format!("n{number}")).collect();
    for query in [
        format!("labelSelector=a%20in%20({})", names.join(",")),
        format!("labelSelector={}", names.join(",")),
        format!("labelSelector={}", "(".repeat(30_000)),
        format!("labelSelector={}", "!".repeat(30_000)),
        format!(
            "fieldSelector={}",
            names.iter().map(|name| format!("metadata.name%3D{name}")).collect::<Vec<_>>().join(",")
        ),
        "limit=18446744073709551615".to_owned(),
        "limit=-1".to_owned(),
        "resourceVersion=99999999999999999999999".to_owned(),
        "continue=AAAA".to_owned(),
        "timeoutSeconds=99999999999999999999&watch=true".to_owned(),
        format!("a={}", "%".repeat(30_000)),
    ] {
        if let Some(reply) = env.exchange(&format!("GET {SETTINGS}?{query}"), "", b"") {
            let shortened = query.get(..60).unwrap_or(&query);
            assert!(reply.code < 500 || reply.code == 504, "{shortened}: {} {}", reply.code, reply.text());
        }
    }
    serves(&env);
}

/// Returns how many watches of ConfigMaps are open.
fn open_watches(env: &TestEnv) -> Option<u64> {
    let text = env.exchange("GET /metrics", "", b"")?.text();
    let line = text.lines().find(|line| {
        line.starts_with("apiserver_longrunning_requests{") && line.contains("resource=\"configmaps\"")
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn connections_have_an_end_and_watches_go_on_beside_them() {
    let env = TestEnv::up();
    // Somebody without the token who says nothing at all, and somebody who asks again and again.
    let mut silent = env.wire();
    silent.send(b"GET /hea");
    let watch = format!(
        "GET {SETTINGS}?watch=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        env.token()
    );
    let mut watches: Vec<_> = (0..100)
        .map(|_| {
            let mut wire = env.wire();
            assert!(wire.send(watch.as_bytes()));
            wire
        })
        .collect();
    for wire in &mut watches {
        wire.until("\r\n\r\n");
    }
    // More sockets than there may be, all of them held: whoever shows the token gets in at their cost, and none of those
    // that did before has to go.
    let sockets: Vec<_> = (0..600).filter_map(|_| std::net::TcpStream::connect(env.address()).ok()).collect();
    assert!(sockets.len() > 400, "{}", sockets.len());
    let told = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "told"}});
    assert_eq!(post(&env, SETTINGS, told.to_string().as_bytes()).code, 201);
    for _ in 0..20 {
        assert!(
            env.exchange(&format!("GET {SETTINGS}/told"), "", b"").is_some_and(|reply| reply.code == 200)
        );
    }
    let (held, open) = (sockets.len(), watches.len());
    drop(sockets);
    for wire in &mut watches {
        let seen = String::from_utf8_lossy(&wire.until("\"name\":\"told\"")).into_owned();
        assert!(seen.contains("\"name\":\"told\""), "{seen}");
    }
    let text = env.exchange("GET /metrics", "", b"").unwrap().text();
    let refused = text.lines().find_map(|line| line.strip_prefix("kelos_api_refused_connections_total "));
    let refused: usize = refused.unwrap().parse().unwrap();
    assert!(refused >= held + open - 400, "{refused}");
    drop(watches);
    env.until("the watches are over", |env| (open_watches(env)? == 0).then_some(()));
    assert!(silent.ends(), "who says nothing is not waited for");
    serves(&env);
}

#[test]
fn a_watch_that_nobody_reads_is_given_up() {
    let env = TestEnv::up();
    let authorization = format!("Authorization: Bearer {}\r\n\r\n", env.token());
    // A connection that is kept for later, as clients do it, is there for as long as that.
    let mut kept = env.wire();
    let get = format!("GET {SETTINGS} HTTP/1.1\r\nHost: localhost\r\n{authorization}");
    assert!(kept.send(get.as_bytes()));
    assert!(!kept.until("\"items\":[").is_empty());
    let mut stalled = env.wire();
    let watch = format!("GET {SETTINGS}?watch=true HTTP/1.1\r\nHost: localhost\r\n{authorization}");
    assert!(stalled.send(watch.as_bytes()));
    stalled.until("\r\n\r\n");
    // kubectl speaks HTTP/2, where a connection carries many answers; nobody reads what this one prints.
    let mut piped = newest_kubectl().map(|kubectl| {
        let mut command = env.program(&kubectl.folder.join("kubectl"), None);
        command.env("KUBECONFIG", env.data_dir().join("kubeconfig"));
        command.args(["get", "configmaps", "--watch", "-o", "yaml"]).stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    });
    let count = 1 + u64::from(piped.is_some());
    env.until("the watches have begun", |env| (open_watches(env)? == count).then_some(()));
    let begun = Instant::now();
    let large = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"},
            "data": {"number": number.to_string(), "text": "x".repeat(1_000_000)},
        })
    };
    assert_eq!(post(&env, SETTINGS, large(0).to_string().as_bytes()).code, 201);
    // More than sockets, the program and the queue of a watch hold together.
    for number in 1..=60 {
        let body = large(number).to_string();
        let reply = send(&env, &format!("PUT {SETTINGS}/large"), "application/json", body.as_bytes());
        assert_eq!(reply.code, 200, "{}", reply.text());
    }
    env.until("both are given up", |env| (open_watches(env)? == 0).then_some(()));
    // Longer than a handshake may take.
    std::thread::sleep(Duration::from_secs(11).saturating_sub(begun.elapsed()));
    assert!(kept.send(get.as_bytes()));
    let seen = String::from_utf8_lossy(&kept.until("\"name\":\"large\"")).into_owned();
    assert!(seen.contains("\"name\":\"large\""), "the connection was closed");
    if let Some(kubectl) = &mut piped {
        kubectl.kill().unwrap();
        kubectl.wait().unwrap();
    }
    serves(&env);
}
