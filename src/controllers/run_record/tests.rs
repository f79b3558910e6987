//! The controller on the real API server over an in-memory store.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::*;
use crate::api::kind::Kind;
use crate::api::schema;
use crate::apiserver::{self, ApiServer, Options, Resource};
use crate::clock::{ManualClock, SharedClock};
use crate::domain::plan::{Desired, ManagedKind, ObjectKey, ObjectText};
use crate::gitops::evaluate::Evaluation;
use crate::metrics::Metrics;
use crate::store::Store;

struct World {
    context: Context,
    clock: Arc<ManualClock>,
    wanted: WantedRuns,
    _server: ApiServer,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at("2026-03-01T09:00:00Z".parse().unwrap()));
        let resources = Kind::ALL.iter().map(|kind| Resource::from_crd(&schema::crd(*kind), None).unwrap());
        let options = Options::new(Arc::clone(&clock) as SharedClock, "test");
        let server = ApiServer::new(Store::memory().unwrap(), resources.collect(), options);
        server.prepare().await.unwrap_or_else(|error| panic!("{}", error.message));
        let client = kube::Client::new(apiserver::in_process(server.router(), "test"), "default");
        let context = Context::new(client, Arc::clone(&clock) as SharedClock, Metrics::new("test"));
        Self { context, clock, wanted: WantedRuns::default(), _server: server }
    }

    fn records(&self) -> Api<RunRecord> {
        Api::namespaced(self.context.client.clone(), "default")
    }

    /// Stores the record of a run that ended just now.
    async fn record(&self, uid: &str, more: Value) {
        let mut spec = json!({
            "taskName": "t", "taskUid": uid, "agentType": "shell", "outcome": "Succeeded",
            "completionTime": self.context.clock.now(),
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let record = json!({
            "apiVersion": "gitops.kelos.dev/v1alpha1", "kind": "RunRecord", "metadata": {"name": uid}, "spec": spec,
        });
        let record = serde_json::from_value(record).unwrap();
        self.records().create(&PostParams::default(), &record).await.unwrap();
    }

    async fn report(&self, uid: &str) {
        let patch = Patch::Merge(json!({"status": {"reportedCommit": "1".repeat(40)}}));
        self.records().patch_status(uid, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Creates an object of another kind and returns its uid.
    async fn create<K>(&self, kind: Kind, spec: Value) -> String
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + serde::de::DeserializeOwned
            + serde::Serialize
            + Clone
            + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let object = json!({
            "apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": {"name": "t"}, "spec": spec,
        });
        let api: Api<K> = Api::namespaced(self.context.client.clone(), "default");
        let made =
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        made.meta().uid.clone().unwrap()
    }

    /// Goes through the records and returns those that are left.
    async fn left(&self) -> Vec<String> {
        sweep(&self.context, &self.wanted).await.unwrap();
        let records = self.records().list(&ListParams::default()).await.unwrap();
        records.items.iter().map(kube::ResourceExt::name_any).collect()
    }

    fn wait(&self, days: i64) {
        self.clock.advance(SignedDuration::from_hours(24 * days));
    }
}

#[tokio::test]
async fn records_go_after_a_month_and_not_before_their_lines_are_on_the_remote() {
    let world = World::new().await;
    world
        .create::<ConfigRepository>(Kind::ConfigRepository, json!({"url": "/srv/config", "report": {}}))
        .await;
    world.record("waits", json!({})).await;
    world.record("told", json!({})).await;
    world.report("told").await;
    world.wait(30);
    assert_eq!(world.left().await, ["told", "waits"]);
    world.wait(1);
    assert_eq!(world.left().await, ["waits"]);
    world.wait(300);
    assert_eq!(world.left().await, ["waits"]);
    world.report("waits").await;
    assert_eq!(world.left().await, [""; 0]);
}

#[tokio::test]
async fn where_nothing_is_reported_no_line_is_waited_for() {
    let world = World::new().await;
    let silent = json!({"url": "/srv/config", "report": {"enabled": false}});
    world.create::<ConfigRepository>(Kind::ConfigRepository, silent).await;
    world.record("a", json!({})).await;
    world.wait(31);
    assert_eq!(world.left().await, [""; 0]);
}

#[tokio::test]
async fn a_record_stays_while_its_task_or_its_item_may_need_it() {
    let world = World::new().await;
    let task = json!({"type": "shell", "prompt": "true", "dependsOn": ["before"]});
    let uid = world.create::<Task>(Kind::Task, task).await;
    world.record(&uid, json!({})).await;
    world.record("dependency", json!({"taskName": "before"})).await;
    let template = json!({"type": "shell", "promptTemplate": "true"});
    let polled = json!({"when": {"githubIssues": {}}, "taskTemplate": template});
    world.create::<TaskSpawner>(Kind::TaskSpawner, polled).await;
    world.record("item", json!({"spawner": "t", "workItem": "12"})).await;
    world
        .record(
            "tick",
            json!({"spawner": "t", "workItem": "20260301-0900", "scheduledAt": "2026-03-01T09:00:00Z"}),
        )
        .await;
    world.record("other", json!({"spawner": "gone", "workItem": "12"})).await;
    world.wait(365);
    let mut expected = vec![uid.clone(), "dependency".to_owned(), "item".to_owned()];
    expected.sort();
    assert_eq!(world.left().await, expected);
    let tasks: Api<Task> = Api::namespaced(world.context.client.clone(), "default");
    tasks.delete("t", &DeleteParams::default()).await.unwrap();
    assert_eq!(world.left().await, ["item"]);
}

#[tokio::test]
async fn a_record_stays_while_its_manifest_is_in_the_tree_or_may_be() {
    let world = World::new().await;
    let spec = json!({"url": "/srv/config"});
    let repository = world.create::<ConfigRepository>(Kind::ConfigRepository, spec).await;
    world.record("stands", json!({"specDigest": "aa", "configRepositoryUid": repository})).await;
    world.record("changed", json!({"specDigest": "bb", "configRepositoryUid": repository})).await;
    world.wait(31);
    assert_eq!(world.left().await, ["changed", "stands"], "what stands in the tree is not known yet");
    let desired = Desired {
        key: ObjectKey { kind: ManagedKind::Task, name: "t".to_owned() },
        manifest: ObjectText::of(&Value::Null),
        digest: String::new(),
        spec_digest: "aa".to_owned(),
        file: Arc::from("t.yaml"),
        line: 1,
        depends_on: Vec::new(),
    };
    let evaluation = |desired| {
        let mut evaluation = Evaluation::default();
        evaluation.desired = desired;
        Arc::new(evaluation)
    };
    world.wanted.set(&repository, evaluation(vec![Arc::new(desired)]));
    assert_eq!(world.left().await, ["stands"]);
    world.wanted.set(&repository, evaluation(Vec::new()));
    assert_eq!(world.left().await, [""; 0]);
}
