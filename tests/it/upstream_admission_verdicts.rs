//! Manifests written for upstream are accepted and refused as upstream does, with the same defaults and the same pruning.
//!
//! The cases are recordings of upstream's own CRDs; what we mean to do otherwise stands in a table with its reason.

use http::Request;
use kelos::api::kind::Kind;
use kelos::api::schema;
use kelos::apiserver::{ApiServer, Options, Resource, in_process};
use kelos::clock;
use kelos::daemon::rules_of;
use kelos::store::Store;
use serde_json::{Value, json};

const RECORDED: &str = include_str!("../testdata/kinds/upstream-admission.jsonl");

/// Cases with another verdict than upstream's, and why.
const OTHER_VERDICT: [(&str, &str); 1] = [(
    "contextSources: [{name: a, http: {url: 'https://x'}}, {name: a, http: {url: 'https://x'}}]",
    "upstream's rule for unique names can never be broken; ours is what its message says",
)];

/// What a server adds when the schema already refuses an object; the recordings leave it out.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid";

#[tokio::test]
async fn verdicts_defaults_and_pruning_are_upstreams() {
    let server = Server::new();
    let mut seen = [0; OTHER_VERDICT.len()];
    let mut count = 0;
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["case"].as_str().unwrap();
        let namespace = format!("case-{count}");
        let (object, errors) =
            server.admit(&namespace, &case["input"]["object"], case["input"].get("oldObject")).await;
        let expected = &case["output"];
        count += 1;
        if let Some(index) = OTHER_VERDICT.iter().position(|(part, _)| name.contains(part)) {
            seen[index] += 1;
            assert_ne!(errors.is_empty(), expected["valid"].as_bool().unwrap(), "{name} agrees by now");
            continue;
        }
        assert_eq!(errors.is_empty(), expected["valid"].as_bool().unwrap(), "{name}: {errors:?}");
        if errors.is_empty() {
            if let Some(stored) = expected.get("storedSpec") {
                assert_eq!(object["spec"], *stored, "{name}");
            }
            continue;
        }
        let mut texts: Vec<String> =
            expected["errors"].as_array().unwrap().iter().map(as_we_say_it).collect();
        let credentials_are_a_rule = texts.iter().any(|text| text.contains("type: Required value"));
        // A missing credential is broken as a rule, and rules are asked only when the schema agrees.
        texts.retain(|text| !(credentials_are_a_rule && text.contains(".credentials: Required value")));
        texts.sort();
        assert_eq!(errors, texts, "{name}");
    }
    assert_eq!(count, 146);
    assert!(seen.iter().all(|count| *count > 0), "cases of the table that are not recorded: {seen:?}");
}

/// Upstream's text with our differences: the agent type `shell`, credentials that only other agents need,
/// repositories over ssh on any port, and of the machine itself.
fn as_we_say_it(text: &Value) -> String {
    let text = text.as_str().unwrap();
    let text = text.replace("\"opencode\", \"cursor\"", "\"opencode\", \"cursor\", \"shell\"");
    let is_repository = text.starts_with("spec.repo:");
    let text = text.replace("git://|git@", "git://|ssh://|git@");
    let text = if is_repository { text.replace("|git@).*", "|git@|file:///).*") } else { text };
    if text.ends_with(".credentials: Required value") {
        return format!("{text}: credentials are required unless the type is shell");
    }
    text
}

/// Our server of our kinds, over an empty store.
struct Server {
    client: kube::Client,
}

impl Server {
    fn new() -> Self {
        let resource = |kind: &Kind| Resource::from_crd(&schema::crd(*kind), Some(rules_of(*kind))).unwrap();
        let resources = Kind::ALL.iter().map(resource).collect();
        let options = Options::new(clock::system(), "1.0.0");
        let server = ApiServer::new(Store::memory().unwrap(), resources, options);
        Self { client: kube::Client::new(in_process(server.router(), "tester"), "default") }
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.client.request::<Value>(request.body(body.to_string().into_bytes()).unwrap()).await
    }

    /// Creates an object in `namespace`, or replaces the old one with it, without storing it. Returns what would be
    /// stored and the texts of what is wrong, in order.
    async fn admit(&self, namespace: &str, object: &Value, old: Option<&Value>) -> (Value, Vec<String>) {
        let kind: Kind = object["kind"].as_str().unwrap().parse().unwrap();
        let api_version = object["apiVersion"].as_str().unwrap();
        let path = format!("/apis/{api_version}/namespaces/{namespace}/{}", kind.plural());
        let name = object["metadata"]["name"].as_str().unwrap();
        let place = |object: &Value| {
            let mut placed = object.clone();
            placed["metadata"]["namespace"] = json!(namespace);
            placed
        };
        self.ask("POST", "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await.unwrap();
        let mut object = place(object);
        let answer = match old {
            None => self.ask("POST", &format!("{path}?dryRun=All"), &object).await,
            Some(old) => {
                let old = self.ask("POST", &path, &place(old)).await.unwrap();
                object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
                self.ask("PUT", &format!("{path}/{name}?dryRun=All"), &object).await
            }
        };
        let status = match answer {
            Ok(stored) => return (stored, Vec::new()),
            Err(kube::Error::Api(status)) => status,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(status.code, 422, "{status:?}");
        let causes = status.details.as_ref().unwrap().causes.iter();
        let texts = causes.map(|cause| format!("{}: {}", cause.field, cause.message));
        let mut texts: Vec<String> = texts.filter(|text| !text.contains(NOT_CHECKED)).collect();
        texts.sort();
        (Value::Null, texts)
    }
}
