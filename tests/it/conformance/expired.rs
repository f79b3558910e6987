//! What is older than the history: the real server is made to forget by compaction, ours by a short history.

use kelos::apiserver::Resource;
use kelos::store::{self, Store};
use serde_json::json;

use super::cases::gadget;
use super::difference::Report;
use super::peer::Peer;
use super::step::{Case, JSON, Look, Step, TABLE, get, merge, post};
use super::{GADGET, answers, define, embedded_server_over, gadget as definition, write_down};
use crate::support::real_api_server::{RealApiServer, assets_or_skip};

/// How many changes follow on the version that is asked for: more than our history holds.
const CHANGES: usize = 40;

fn steps(collection: &str, first: &str, change: impl Fn(usize) -> serde_json::Value) -> Vec<Step> {
    let mut steps: Vec<Step> = ["a", "b", "c"]
        .map(|name| {
            let mut object: serde_json::Value = serde_json::from_str(first).unwrap();
            object["metadata"]["name"] = json!(name);
            post(collection, object).into()
        })
        .into();
    let page = get(&format!("{collection}?limit=1"));
    let kept = page.keep("token", "/metadata/continue").keep("version", "/metadata/resourceVersion");
    steps.push(kept.into());
    for number in 0..CHANGES {
        steps.push(merge(&format!("{collection}/b"), change(number)).look(Look::Nothing).into());
    }
    let next = get(&format!("{collection}?limit=1&continue={{token}}"));
    let exact = get(&format!("{collection}?resourceVersion={{version}}&resourceVersionMatch=Exact"));
    let implied = get(&format!("{collection}?resourceVersion={{version}}&limit=2"));
    let inconsistent = next.clone().keep("fresh", "/metadata/continue");
    steps.push(Step::Await(next, 410));
    steps.push(Step::Await(exact.clone(), 410));
    steps.extend([inconsistent, exact, implied].map(Step::from));
    // The refusal brings a token with which the list goes on as it is now.
    steps.push(
        get(&format!("{collection}?limit=1&continue={{fresh}}"))
            .look(Look::At("/items/0/metadata/name"))
            .into(),
    );
    steps
}

/// Watches from the first version of all, which lies before the real server heard of Gadgets.
fn watches() -> impl Iterator<Item = Step> {
    [JSON, TABLE].into_iter().flat_map(|accept| {
        let watch = get("{gadgets}?watch=true&timeoutSeconds=1&resourceVersion=1").accept(accept);
        [Step::Open("w", watch), Step::Rest("w")]
    })
}

fn cases() -> Vec<Case> {
    let object = gadget("x", json!({"size": 1})).to_string();
    let settings = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{},"data":{}}"#;
    let change = |number: usize| json!({"metadata": {"annotations": {"count": number.to_string()}}});
    vec![
        Case::new("a Gadget of long ago", steps("{gadgets}", &object, change).into_iter().chain(watches())),
        Case::new("a ConfigMap of long ago", steps("{configmaps}", settings, change)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_refused_alike() {
    let Some(assets) = assets_or_skip("what_is_too_old_is_refused_alike") else { return };
    let server = RealApiServer::start_with(&assets, &["--etcd-compaction-interval=2s"]).await;
    let options = store::Options { history_events: CHANGES / 2, ..store::Options::default() };
    let gadgets = vec![Resource::from_crd(&definition(), None).expect("the definition is sound")];
    let (ours, _housekeeping) = embedded_server_over(Store::memory_with(&options), gadgets);
    let real = Peer::real(&server.endpoint);
    define(&real, &[serde_json::from_str(GADGET).unwrap()]).await;
    let cases = cases();
    let (expected, given) = tokio::join!(answers(&real, &cases), answers(&ours, &cases));
    write_down("expired-real", &cases, &expected);
    write_down("expired-embedded", &cases, &given);
    let report = Report::compare(&cases, &expected, &given);
    assert!(report.is_clean(), "{report}");
}
