//! Each story was first played on a real kube-apiserver 1.37.1 with its controller manager; what is expected here is
//! what its watches showed.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Event as CoreEvent, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::apiserver::garbage::{self, Collector};
use crate::apiserver::{ApiServer, Options};
use crate::clock::ManualClock;
use crate::store::{self, Store};

struct Cluster {
    server: ApiServer,
    store: Store,
    clock: Arc<ManualClock>,
}

impl Cluster {
    async fn new() -> Self {
        Self::on(Store::memory().unwrap()).await
    }

    async fn on(store: Store) -> Self {
        let clock = Arc::new(ManualClock::at("2026-03-01T09:00:00Z".parse().unwrap()));
        let options = Options::new(Arc::clone(&clock) as _, "0.0.0");
        let server = ApiServer::new(store.clone(), Vec::new(), options);
        server.prepare().await.unwrap();
        Self { server, store, clock }
    }

    fn client(&self) -> kube::Client {
        kube::Client::new(self.server.router(), "default")
    }

    fn maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client(), namespace)
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client())
    }

    async fn add(&self, name: &str, owners: &[OwnerReference], finalizers: &[&str]) -> ConfigMap {
        self.add_in("default", name, owners, finalizers).await
    }

    async fn add_in(
        &self,
        namespace: &str,
        name: &str,
        owners: &[OwnerReference],
        finalizers: &[&str],
    ) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: Some(owners.to_vec()),
            finalizers: Some(finalizers.iter().map(|&finalizer| finalizer.to_owned()).collect()),
            ..ObjectMeta::default()
        };
        let map = ConfigMap { metadata, ..ConfigMap::default() };
        let params = PostParams { field_manager: Some("tester".to_owned()), ..PostParams::default() };
        self.maps(namespace).create(&params, &map).await.unwrap()
    }

    async fn delete(&self, name: &str, policy: Option<PropagationPolicy>) {
        let params = DeleteParams { propagation_policy: policy, ..DeleteParams::default() };
        drop(self.maps("default").delete(name, &params).await.unwrap());
    }

    async fn free(&self, namespace: &str, name: &str) {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        self.maps(namespace).patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Runs a collector, as after a restart, until it has nothing left to do.
    async fn settle(&self) {
        let mut collector = Collector::start(self.server.state());
        collector.settle().await;
        assert!(collector.failed.is_empty(), "{:?}", collector.failed);
    }

    /// Returns what watchers of `prefix` see of `story`, while a collector follows it.
    async fn tell(&self, prefix: &str, story: impl Future<Output = ()>) -> Vec<String> {
        let mut watch = self.store.watch(prefix, self.store.revision()).unwrap();
        let mut collector = Collector::start(self.server.state());
        story.await;
        collector.settle().await;
        assert!(collector.failed.is_empty(), "{:?}", collector.failed);
        std::iter::from_fn(|| watch.try_next())
            .map(|event| {
                let kind = match (&event.value, &event.previous) {
                    (None, _) => "-",
                    (_, None) => "+",
                    _ => "~",
                };
                let bytes = event.value.or(event.deleted_value).unwrap();
                format!("{kind}{}", shown(&serde_json::from_slice(&bytes).unwrap()))
            })
            .collect()
    }

    async fn names(&self) -> Vec<String> {
        let list = self.maps("default").list(&kube::api::ListParams::default()).await.unwrap();
        list.into_iter().filter_map(|map| map.metadata.name).collect()
    }
}

/// Returns an object as `name <owners [finalizers] deleted`; an owner that it blocks has an exclamation mark.
fn shown(object: &Value) -> String {
    let metadata = &object["metadata"];
    let mut words = vec![metadata["name"].as_str().unwrap().to_owned()];
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        let mark = if owner["blockOwnerDeletion"] == true { "!" } else { "" };
        words.push(format!("<{}{mark}", owner["name"].as_str().unwrap()));
    }
    for finalizer in metadata["finalizers"].as_array().into_iter().flatten() {
        words.push(format!("[{}]", finalizer.as_str().unwrap()));
    }
    if !metadata["deletionTimestamp"].is_null() {
        words.push("deleted".to_owned());
    }
    words.join(" ")
}

fn owner(map: &ConfigMap, blocks: Option<bool>) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        name: map.metadata.name.clone().unwrap(),
        uid: map.metadata.uid.clone().unwrap(),
        block_owner_deletion: blocks,
        controller: None,
    }
}

fn stranger(kind: &str, api_version: &str, name: &str) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: "00000000-0000-0000-0000-000000000001".to_owned(),
        block_owner_deletion: None,
        controller: None,
    }
}

const MAPS: &str = "core/configmaps/";

#[tokio::test]
async fn a_dependent_follows_its_last_owner() {
    let cluster = Cluster::new().await;
    let (a, b) = (cluster.add("a", &[], &[]).await, cluster.add("b", &[], &[]).await);
    cluster.add("c", &[owner(&a, Some(true)), owner(&b, None)], &[]).await;
    cluster.add("d", &[owner(&a, None)], &[]).await;
    let told = cluster.tell(MAPS, cluster.delete("a", Some(PropagationPolicy::Background))).await;
    assert_eq!(told[0], "-a");
    let mut rest = told[1..].to_vec();
    rest.sort();
    assert_eq!(rest, ["-d <a", "~c <b"]);
    assert_eq!(cluster.tell(MAPS, cluster.delete("b", None)).await, ["-b", "-c <b"]);
}

/// A change that is decided and not yet durable is nothing that a collector sees.
#[tokio::test]
async fn a_dependent_that_was_released_meanwhile_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store.db"), store::Options::default()).unwrap();
    let cluster = Cluster::on(store).await;
    for round in 0..20 {
        let (a, name) = (cluster.add("a", &[], &[]).await, format!("b-{round}"));
        cluster.add(&name, &[owner(&a, None)], &[]).await;
        cluster.delete("a", None).await;
        let mut collector = Collector::start(cluster.server.state());
        let release = Request::patch(format!("/api/v1/namespaces/default/configmaps/{name}"))
            .header("content-type", "application/merge-patch+json")
            .body(Body::from(r#"{"metadata":{"ownerReferences":null}}"#));
        let release = cluster.server.router().oneshot(release.unwrap());
        let (released, ()) = futures::join!(release, collector.settle());
        collector.settle().await;
        let is_there = cluster.names().await.contains(&name);
        assert_eq!(released.unwrap().status().is_success(), is_there, "round {round}");
    }
}

#[tokio::test]
async fn dependents_of_dependents_follow_too() {
    let cluster = Cluster::new().await;
    let a = cluster.add("a", &[], &[]).await;
    let b = cluster.add("b", &[owner(&a, None)], &[]).await;
    let c = cluster.add("c", &[owner(&b, None)], &[]).await;
    cluster.add("d", &[owner(&c, None)], &[]).await;
    assert_eq!(cluster.tell(MAPS, cluster.delete("a", None)).await, ["-a", "-b <a", "-c <b", "-d <c"]);
}

#[tokio::test]
async fn foreground_deletion_waits_for_those_that_block() {
    let cluster = Cluster::new().await;
    let a = cluster.add("a", &[], &[]).await;
    let b = cluster.add("b", &[owner(&a, Some(true))], &[]).await;
    cluster.add("c", &[owner(&b, Some(true))], &[]).await;
    cluster.add("n", &[owner(&a, Some(false))], &[]).await;
    let told = cluster.tell(MAPS, cluster.delete("a", Some(PropagationPolicy::Foreground))).await;
    let without_n: Vec<&str> = told.iter().map(String::as_str).filter(|line| !line.contains(" n")).collect();
    let position = without_n.iter().position(|line| *line == "-n <a").expect("n goes at some time");
    let mut ordered = without_n.clone();
    ordered.remove(position);
    assert_eq!(
        ordered,
        [
            "~a [foregroundDeletion] deleted",
            "~b <a! [foregroundDeletion] deleted",
            "-c <b!",
            "-b <a! [foregroundDeletion] deleted",
            "-a [foregroundDeletion] deleted",
        ]
    );
}

#[tokio::test]
async fn foreground_deletion_waits_for_foreign_finalizers() {
    let cluster = Cluster::new().await;
    let a = cluster.add("a", &[], &[]).await;
    cluster.add("b", &[owner(&a, Some(true))], &["example.com/held"]).await;
    let told = cluster.tell(MAPS, cluster.delete("a", Some(PropagationPolicy::Foreground))).await;
    assert_eq!(told, ["~a [foregroundDeletion] deleted", "~b <a! [example.com/held] deleted"]);
    cluster.settle().await;
    let told = cluster.tell(MAPS, cluster.free("default", "b")).await;
    assert_eq!(told, ["-b <a! [example.com/held] deleted", "-a [foregroundDeletion] deleted"]);
}

#[tokio::test]
async fn foreground_deletion_lets_a_dependent_with_another_owner_stay() {
    let cluster = Cluster::new().await;
    let (a, b) = (cluster.add("a", &[], &[]).await, cluster.add("b", &[], &[]).await);
    cluster.add("c", &[owner(&a, Some(true)), owner(&b, None)], &[]).await;
    let told = cluster.tell(MAPS, cluster.delete("a", Some(PropagationPolicy::Foreground))).await;
    assert_eq!(told, ["~a [foregroundDeletion] deleted", "~c <b", "-a [foregroundDeletion] deleted"]);
}

#[tokio::test]
async fn orphans_lose_the_reference_and_stay() {
    let cluster = Cluster::new().await;
    let (a, b) = (cluster.add("a", &[], &[]).await, cluster.add("b", &[], &[]).await);
    cluster.add("c", &[owner(&a, Some(true))], &[]).await;
    cluster.add("d", &[owner(&a, None), owner(&b, None)], &[]).await;
    let told = cluster.tell(MAPS, cluster.delete("a", Some(PropagationPolicy::Orphan))).await;
    assert_eq!((told[0].as_str(), told[3].as_str()), ("~a [orphan] deleted", "-a [orphan] deleted"));
    let mut released = told[1..3].to_vec();
    released.sort();
    assert_eq!(released, ["~c", "~d <b"]);
    let d = cluster.maps("default").get("d").await.unwrap();
    let managed = d.metadata.managed_fields.unwrap();
    assert_eq!(managed.len(), 1, "removing a reference makes nobody its owner");
    let expected = json!({"f:metadata": {"f:ownerReferences": {".": {}, format!("k:{{\"uid\":\"{}\"}}", b.metadata.uid.unwrap()): {}}}});
    assert_eq!(managed[0].fields_v1.as_ref().unwrap().0, expected);
}

#[tokio::test]
async fn references_to_what_never_was_are_dropped_or_end_the_dependent() {
    let cluster = Cluster::new().await;
    let a = cluster.add("a", &[], &[]).await;
    cluster.add("absent", &[stranger("ConfigMap", "v1", "none")], &[]).await;
    cluster.add("replaced", &[stranger("ConfigMap", "v1", "a")], &[]).await;
    cluster.add("mixed", &[owner(&a, None), stranger("ConfigMap", "v1", "none")], &[]).await;
    let told = cluster.tell(MAPS, async {}).await;
    let mut told = told;
    told.sort();
    assert_eq!(told, ["-absent <none", "-replaced <a", "~mixed <a"]);
}

#[tokio::test]
async fn an_owner_of_another_namespace_is_none() {
    let cluster = Cluster::new().await;
    let there = cluster.add_in("kube-system", "a", &[], &[]).await;
    cluster.add("b", &[owner(&there, None)], &[]).await;
    assert_eq!(cluster.tell(MAPS, async {}).await, ["-b <a"]);
}

#[tokio::test]
async fn a_cluster_scoped_owner_may_own_in_any_namespace() {
    let cluster = Cluster::new().await;
    let team: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    let team = cluster.namespaces().create(&PostParams::default(), &team).await.unwrap();
    let reference = OwnerReference { uid: team.metadata.uid.unwrap(), ..stranger("Namespace", "v1", "team") };
    cluster.add("b", &[reference], &[]).await;
    assert_eq!(cluster.tell(MAPS, async {}).await, Vec::<String>::new());
    cluster.namespaces().delete("team", &DeleteParams::default()).await.unwrap();
    assert_eq!(cluster.tell(MAPS, async {}).await, ["-b <team"]);
}

#[tokio::test]
async fn an_owner_of_a_kind_that_is_not_served_is_left_in_peace() {
    let cluster = Cluster::new().await;
    cluster.add("a", &[stranger("Nope", "nope.example.com/v1", "none")], &[]).await;
    cluster.settle().await;
    assert_eq!(cluster.names().await, ["a"]);
}

#[tokio::test]
async fn a_circle_that_is_deleted_goes_completely() {
    let cluster = Cluster::new().await;
    let a = cluster.add("a", &[], &[]).await;
    let b = cluster.add("b", &[owner(&a, Some(true))], &[]).await;
    let patch = Patch::Merge(json!({"metadata": {"ownerReferences": [owner(&b, Some(true))]}}));
    cluster.maps("default").patch("a", &PatchParams::default(), &patch).await.unwrap();
    let told = cluster.tell(MAPS, cluster.delete("a", Some(PropagationPolicy::Foreground))).await;
    assert_eq!(told[..2], ["~a <b! [foregroundDeletion] deleted", "~b <a"]);
    assert_eq!(cluster.names().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_left_undone_is_done_after_a_restart() {
    let cluster = Cluster::new().await;
    let a = cluster.add("a", &[], &[]).await;
    cluster.add("b", &[owner(&a, Some(true))], &[]).await;
    let o = cluster.add("o", &[], &[]).await;
    cluster.add("p", &[owner(&o, None)], &[]).await;
    cluster.delete("a", Some(PropagationPolicy::Foreground)).await;
    cluster.delete("o", Some(PropagationPolicy::Orphan)).await;
    cluster.settle().await;
    assert_eq!(cluster.names().await, ["p"]);
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_empty() {
    let cluster = Cluster::new().await;
    let team: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    cluster.namespaces().create(&PostParams::default(), &team).await.unwrap();
    cluster.add_in("team", "a", &[], &[]).await;
    cluster.add("a", &[], &[]).await;
    let delete = async {
        drop(cluster.namespaces().delete("team", &DeleteParams::default()).await.unwrap());
    };
    let told = cluster.tell("core/", delete).await;
    assert_eq!(told, ["~team deleted", "-a", "~team deleted", "-team deleted"]);
    assert_eq!(cluster.names().await, ["a"], "other namespaces are not touched");
}

#[tokio::test]
async fn a_namespace_waits_for_what_is_held_and_says_so() {
    let cluster = Cluster::new().await;
    let team: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    cluster.namespaces().create(&PostParams::default(), &team).await.unwrap();
    cluster.add_in("team", "free", &[], &[]).await;
    cluster.add_in("team", "held", &[], &["example.com/held"]).await;
    cluster.namespaces().delete("team", &DeleteParams::default()).await.unwrap();
    cluster.settle().await;
    let metadata = ObjectMeta { name: Some("late".to_owned()), ..ObjectMeta::default() };
    let late = ConfigMap { metadata, ..ConfigMap::default() };
    let refused = cluster.maps("team").create(&PostParams::default(), &late).await;
    let kube::Error::Api(status) = refused.unwrap_err() else { panic!("no answer of the server") };
    assert_eq!(
        (status.code, status.details.unwrap().causes[0].reason.as_str()),
        (403, "NamespaceTerminating")
    );

    let status = cluster.namespaces().get("team").await.unwrap().status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Terminating"));
    let conditions: Vec<String> = status
        .conditions
        .unwrap()
        .into_iter()
        .map(|condition| {
            format!(
                "{}={} {}: {}",
                condition.type_,
                condition.status,
                condition.reason.unwrap(),
                condition.message.unwrap()
            )
        })
        .collect();
    assert_eq!(
        conditions,
        [
            "NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered",
            "NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed",
            "NamespaceDeletionContentFailure=False ContentDeleted: All content successfully deleted, may be waiting on finalization",
            "NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances",
            "NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/held in 1 resource instances",
        ]
    );
    let revision = cluster.store.revision();
    cluster.settle().await;
    assert_eq!(cluster.store.revision(), revision, "waiting writes nothing");
    assert_eq!(cluster.tell(MAPS, cluster.free("team", "held")).await, ["-held [example.com/held] deleted"]);
    assert!(cluster.namespaces().get_opt("team").await.unwrap().is_none());
}

#[tokio::test]
async fn events_expire_an_hour_after_they_were_last_written() {
    let cluster = Cluster::new().await;
    let events: Api<CoreEvent> = Api::namespaced(cluster.client(), "default");
    let event: CoreEvent = serde_json::from_value(json!({
        "metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "count": 1,
    }))
    .unwrap();
    events.create(&PostParams::default(), &event).await.unwrap();
    cluster.clock.advance(SignedDuration::from_mins(50));
    cluster.settle().await;
    let patch = Patch::Merge(json!({"count": 2, "message": "again"}));
    events.patch("e", &PatchParams::default(), &patch).await.unwrap();
    cluster.clock.advance(SignedDuration::from_mins(59));
    cluster.settle().await;
    assert!(events.get_opt("e").await.unwrap().is_some(), "writing it again began the hour anew");
    let mut watch = cluster.store.watch("core/events/", cluster.store.revision()).unwrap();
    cluster.clock.advance(SignedDuration::from_mins(1));
    cluster.settle().await;
    assert!(events.get_opt("e").await.unwrap().is_none());
    let event = watch.try_next().unwrap();
    let last: Value = serde_json::from_slice(&event.deleted_value.unwrap()).unwrap();
    assert_eq!(last["metadata"]["resourceVersion"], json!(event.revision.to_string()));
}

#[tokio::test]
async fn a_failed_write_is_tried_again() {
    let cluster = Cluster::new().await;
    let a = cluster.add("a", &[], &[]).await;
    cluster.add("b", &[owner(&a, None)], &[]).await;
    let mut collector = Collector::start(cluster.server.state());
    cluster.delete("a", None).await;
    // A closed store refuses writes like a full disk does.
    cluster.store.close();
    collector.settle().await;
    assert_eq!((collector.failed.len(), collector.failures), (1, 1));
    collector.settle().await;
    assert_eq!((collector.failed.len(), collector.failures), (1, 2));
}

#[tokio::test]
async fn the_loop_follows_changes_and_ends_with_the_server() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let cluster = Cluster::new().await;
    let story = async {
        let a = cluster.add("a", &[], &[]).await;
        cluster.add("b", &[owner(&a, None)], &[]).await;
        cluster.delete("a", None).await;
        let mut watch = cluster.store.watch(MAPS, cluster.store.revision()).unwrap();
        while cluster.store.get("core/configmaps/default/b").is_some() {
            watch.next().await.unwrap();
        }
        cluster.server.stop();
    };
    let both = async { tokio::join!(is_send(garbage::run(cluster.server.state())), story) };
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("b is collected");
}
