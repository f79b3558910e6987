//! Watches: what they show, in which order, and how they begin and end.

use serde_json::json;

use super::super::step::{Call, Case, METADATA_ONLY, Step, TABLE, delete, get, merge, post};
use super::{gadget_with, small};

/// The life of one object, which enters and leaves the selection `w=1`.
fn life() -> Vec<Call> {
    vec![
        post("{gadgets}", gadget_with("one", json!({"labels": {"w": "1"}}), json!({"size": 5}))),
        merge("{gadgets}/one", json!({"metadata": {"labels": {"w": "2"}}})),
        merge("{gadgets}/one", json!({"metadata": {"labels": {"w": "1"}}})),
        merge("{gadgets}/one", json!({"spec": {"size": 6}})),
        delete("{gadgets}/one"),
    ]
}

/// A version, then a life, then a watch from that version on, to its end.
fn replayed(watch: Call) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![get("{gadgets}").keep("version", "/metadata/resourceVersion").into()];
    steps.extend(life().into_iter().map(Step::from));
    steps.extend([Step::Open("w", watch), Step::Rest("w")]);
    steps
}

/// A watch that is open while a life is led. It begins with `initial` events, and the life makes `events`.
fn live(watch: Call, initial: usize, events: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![
        post("{gadgets}", small("before")).into(),
        get("{gadgets}").keep("version", "/metadata/resourceVersion").into(),
        Step::Open("w", watch),
        Step::Events("w", initial),
    ];
    steps.extend(life().into_iter().map(Step::from));
    steps.push(Step::Events("w", events));
    steps
}

const WATCH: &str = "{gadgets}?watch=true&timeoutSeconds=1";
const LONG: &str = "{gadgets}?watch=true&timeoutSeconds=60";

fn from_version(more: &str) -> Call {
    get(&format!("{WATCH}&resourceVersion={{version}}{more}"))
}

pub(super) fn cases() -> Vec<Case> {
    [contents(), beginnings(), refusals()].into_iter().flatten().collect()
}

fn contents() -> Vec<Case> {
    vec![
        Case::new("a watch replays what came after a version", replayed(from_version(""))),
        Case::new("a selection is entered and left", replayed(from_version("&labelSelector=w%3D1"))),
        Case::new("a watch by name", replayed(from_version("&fieldSelector=metadata.name%3Done"))),
        Case::new("a watch by another name", replayed(from_version("&fieldSelector=metadata.name%3Dtwo"))),
        Case::new("a watch of tables", replayed(from_version("").accept(TABLE))),
        Case::new(
            "a watch of tables without objects",
            replayed(from_version("&includeObject=None").accept(TABLE)),
        ),
        Case::new("a watch of metadata", replayed(from_version("").accept(METADATA_ONLY))),
        Case::new(
            "a watch of all namespaces",
            replayed(get(
                "/apis/example.com/v1/gadgets?watch=true&timeoutSeconds=1&resourceVersion={version}&fieldSelector=metadata.namespace%3D{namespace}",
            )),
        ),
        Case::new("a live watch", live(get(&format!("{LONG}&resourceVersion={{version}}")), 0, 5)),
        Case::new(
            "a live watch of a selection",
            live(get(&format!("{LONG}&resourceVersion={{version}}&labelSelector=w%3D1")), 0, 5),
        ),
        Case::new(
            "a live watch of all that is and comes",
            live(get(&format!("{LONG}&resourceVersion=0")), 1, 5),
        ),
        Case::new("a live watch without a version", live(get(LONG), 1, 5)),
        Case::new(
            "a watch shows a deletion that waits",
            [
                Step::from(get("{gadgets}").keep("version", "/metadata/resourceVersion")),
                post(
                    "{gadgets}",
                    gadget_with("one", json!({"finalizers": ["example.com/hold"]}), json!({"size": 5})),
                )
                .into(),
                delete("{gadgets}/one").into(),
                merge("{gadgets}/one", json!({"metadata": {"finalizers": null}})).into(),
                Step::Open("w", from_version("")),
                Step::Rest("w"),
            ],
        ),
        Case::new(
            "writes that change nothing make no event",
            [
                Step::from(post("{gadgets}", small("one")).keep("version", "/metadata/resourceVersion")),
                merge("{gadgets}/one", json!({"spec": {"size": 5}})).into(),
                merge("{gadgets}/one?dryRun=All", json!({"spec": {"size": 6}})).into(),
                merge("{gadgets}/one/status", json!({"status": {"count": 1}})).into(),
                Step::Open("w", from_version("")),
                Step::Rest("w"),
            ],
        ),
        Case::new(
            "a watch of a core kind",
            [
                Step::from(get("{configmaps}").keep("version", "/metadata/resourceVersion")),
                post("{configmaps}", json!({"metadata": {"name": "one"}, "data": {"a": "1"}})).into(),
                merge("{configmaps}/one", json!({"data": {"a": "2"}})).into(),
                delete("{configmaps}/one").into(),
                Step::Open("w", get("{configmaps}?watch=true&timeoutSeconds=1&resourceVersion={version}")),
                Step::Rest("w"),
            ],
        ),
    ]
}

fn beginnings() -> Vec<Case> {
    let initial = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    vec![
        Case::new("initial events end with a bookmark", live(get(&format!("{LONG}{initial}")), 2, 5)),
        Case::new(
            "initial events of a selection",
            live(get(&format!("{LONG}{initial}&resourceVersion=0&labelSelector=w%3D1")), 1, 5),
        ),
        Case::new("initial events as tables", live(get(&format!("{LONG}{initial}")).accept(TABLE), 2, 5)),
        Case::new(
            "initial events of metadata",
            live(get(&format!("{LONG}{initial}")).accept(METADATA_ONLY), 2, 5),
        ),
        Case::new(
            "initial events of nothing",
            [Step::Open("w", get(&format!("{LONG}{initial}"))), Step::Events("w", 1)],
        ),
        Case::new(
            "one object is watched by its path",
            [
                Step::from(post("{gadgets}", small("one"))),
                Step::Open("w", get("{gadgets}/one?watch=true&timeoutSeconds=1")),
                Step::Rest("w"),
            ],
        ),
        Case::new(
            "the old path of a watch",
            [
                Step::from(post("{gadgets}", small("one"))),
                Step::Open(
                    "w",
                    get("/apis/example.com/v1/watch/namespaces/{namespace}/gadgets?timeoutSeconds=1"),
                ),
                Step::Rest("w"),
                Step::from(post("{gadgets}", small("two"))),
                Step::from(post("{configmaps}", json!({"metadata": {"name": "two"}}))),
                Step::Open(
                    "one",
                    get("/apis/example.com/v1/watch/namespaces/{namespace}/gadgets/two?timeoutSeconds=1"),
                ),
                Step::Rest("one"),
                Step::Open(
                    "core",
                    get("/api/v1/watch/namespaces/{namespace}/configmaps/two?timeoutSeconds=1"),
                ),
                Step::Rest("core"),
                Step::from(get(
                    "/api/v1/watch/namespaces/{namespace}/configmaps/two?fieldSelector=metadata.name%3Done",
                )),
            ],
        ),
        Case::new(
            "the type of a stream is negotiated",
            [
                Step::Open("a", get(WATCH).accept("application/json;stream=watch")),
                Step::Open("b", get(WATCH).accept("*/*")),
                Step::Open("c", get(WATCH).accept("text/html")),
                Step::Rest("c"),
            ],
        ),
    ]
}

fn refusals() -> Vec<Case> {
    vec![
        Case::new(
            "options of a watch are checked",
            [
                get(&format!("{WATCH}&sendInitialEvents=true&allowWatchBookmarks=true")),
                get(&format!(
                    "{WATCH}&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                )),
                get(&format!("{WATCH}&sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=1")),
                get(&format!(
                    "{WATCH}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=1"
                )),
                get(&format!("{WATCH}&resourceVersionMatch=NotOlderThan&resourceVersion=1")),
                get(&format!("{WATCH}&resourceVersion=nonsense")),
                get(&format!("{WATCH}&labelSelector=a%3D%3D%3Db")),
                get(&format!("{WATCH}&fieldSelector=spec.size%3D1")),
                get("{gadgets}?watch=nonsense&timeoutSeconds=1"),
                get("{gadgets}?watch=true&timeoutSeconds=nonsense"),
                get(&format!("{WATCH}&continue=abc")),
            ],
        ),
        Case::new("a version before the history is gone", [get(&format!("{WATCH}&resourceVersion=1"))]),
        Case::new(
            "a version of the future cannot be watched",
            [get(&format!("{WATCH}&resourceVersion=99999999"))],
        ),
    ]
}
