//! Events of core/v1 and of events.k8s.io/v1 are one kind.

use serde_json::{Value, json};

use super::super::step::{Case, TABLE, delete, get, merge, post, strategic};

fn core(name: &str) -> Value {
    json!({"metadata": {"name": name}, "reason": "Started", "message": "it started", "type": "Normal", "count": 2,
           "involvedObject": {"kind": "Gadget", "apiVersion": "example.com/v1", "name": "g1", "namespace": "{namespace}", "uid": "u1"},
           "source": {"component": "c1", "host": "h"},
           "firstTimestamp": "2001-01-01T00:00:00Z", "lastTimestamp": "2001-01-01T00:00:01Z"})
}

fn new(name: &str) -> Value {
    json!({"metadata": {"name": name}, "reason": "Started", "note": "it started", "type": "Normal", "action": "Start",
           "regarding": {"kind": "Gadget", "apiVersion": "example.com/v1", "name": "g2", "namespace": "{namespace}", "uid": "u2"},
           "related": {"kind": "ConfigMap", "name": "cm"}, "eventTime": "2001-01-01T00:00:00.000000Z",
           "reportingController": "example.com/c", "reportingInstance": "c-1"})
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "an event of the core group is read in both",
            [
                post("{core-events}", core("one")),
                get("{core-events}/one"),
                get("{events}/one"),
                get("{events}"),
            ],
        ),
        Case::new(
            "an event of the new group is read in both",
            [
                post("{events}", new("one")),
                get("{events}/one"),
                get("{core-events}/one"),
                get("{core-events}"),
            ],
        ),
        Case::new(
            "the tables of events",
            [
                post("{core-events}", core("one")),
                post("{events}", new("two")),
                get("{core-events}").accept(TABLE),
                get("{events}").accept(TABLE),
            ],
        ),
        Case::new(
            "events are selected by their object",
            [
                post("{core-events}", core("one")),
                post("{events}", new("two")),
                get(
                    "{core-events}?fieldSelector=involvedObject.name%3Dg1,involvedObject.kind%3DGadget,involvedObject.uid%3Du1",
                ),
                get(
                    "{core-events}?fieldSelector=involvedObject.namespace%3D{namespace},type%3DNormal,reason%3DStarted",
                ),
                get("{core-events}?fieldSelector=involvedObject.name%3Dabsent"),
                get("{core-events}?fieldSelector=regarding.name%3Dg1"),
                get("{events}?fieldSelector=regarding.name%3Dg1"),
            ],
        ),
        Case::new(
            "an event is counted up",
            [
                post("{core-events}", core("one")),
                strategic("{core-events}/one", json!({"count": 3, "lastTimestamp": "2001-01-01T00:00:09Z"})),
                post("{events}", new("two")),
                merge(
                    "{events}/two",
                    json!({"series": {"count": 2, "lastObservedTime": "2001-01-01T00:00:05.000000Z"}}),
                ),
                get("{core-events}/two"),
                merge("{events}/two", json!({"note": "other"})),
                delete("{events}/one"),
            ],
        ),
        Case::new(
            "events are checked",
            [
                post(
                    "{events}",
                    json!({"metadata": {"name": "one"}, "regarding": {"namespace": "{namespace}"}}),
                ),
                post(
                    "{core-events}",
                    json!({"metadata": {"name": "one"}, "involvedObject": {"namespace": "other"}}),
                ),
                post(
                    "{core-events}",
                    json!({"metadata": {"generateName": "generated-"}, "involvedObject": {"namespace": "{namespace}"}}),
                ),
                post(
                    "{core-events}",
                    json!({"metadata": {"name": "one"}, "involvedObject": {"namespace": "{namespace}"}, "count": "x"}),
                ),
            ],
        ),
    ]
}
