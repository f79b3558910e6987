//! The two faces of an Event: `v1` of the core group, which kubectl reads, and `events.k8s.io/v1`, which recorders
//! write.
//!
//! One kind is stored, the core one. The other face is the same object under other field names; the fields that only
//! the older face needs live on as `deprecated…`. Owners of fields keep the names of the face that they wrote, so
//! `managedFields` is the same in both.

pub mod rules;

use serde_json::{Map, Value, json};

/// The fields that have another name, as core and as `events.k8s.io` call them.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Turns an `events.k8s.io/v1` Event into a core one.
pub fn to_core(event: Value) -> Value {
    rename(event, "v1", RENAMED.map(|(core, newer)| (newer, core)))
}

/// Turns a core Event into an `events.k8s.io/v1` one.
pub fn from_core(event: Value) -> Value {
    rename(event, "events.k8s.io/v1", RENAMED)
}

fn rename(event: Value, api_version: &str, names: [(&str, &str); 7]) -> Value {
    let Value::Object(mut fields) = event else { return event };
    let mut renamed = Map::with_capacity(fields.len());
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            renamed.insert(to.to_owned(), value);
        }
    }
    // A name of the other face is no field of this one, so it says nothing.
    fields.retain(|name, _| !names.iter().any(|(_, to)| to == name));
    renamed.extend(fields);
    renamed.insert("apiVersion".to_owned(), json!(api_version));
    // What is always written in the one face may be left out in the other while it is empty.
    for name in ["reportingController", "reportingComponent", "reportingInstance", "note", "message"] {
        if renamed.get(name).is_some_and(|value| value == "") {
            renamed.remove(name);
        }
    }
    let always: &[(&str, Value)] = if api_version == "v1" {
        &[
            ("involvedObject", json!({})),
            ("source", json!({})),
            ("firstTimestamp", Value::Null),
            ("lastTimestamp", Value::Null),
            ("eventTime", Value::Null),
            ("reportingComponent", json!("")),
            ("reportingInstance", json!("")),
        ]
    } else {
        &[
            ("regarding", json!({})),
            ("deprecatedSource", json!({})),
            ("deprecatedFirstTimestamp", Value::Null),
            ("deprecatedLastTimestamp", Value::Null),
            ("eventTime", Value::Null),
        ]
    };
    for (name, value) in always {
        if renamed.get(*name).is_none_or(Value::is_null) {
            renamed.insert((*name).to_owned(), value.clone());
        }
    }
    Value::Object(renamed)
}

/// Returns the core field that a field selector of `events.k8s.io/v1` means; nothing for a field that cannot be
/// selected.
pub fn core_field(label: &str) -> Option<String> {
    match label {
        "reason" | "type" | "metadata.name" | "metadata.namespace" => Some(label.to_owned()),
        "reportingController" => Some("reportingComponent".to_owned()),
        _ => {
            let field = label.strip_prefix("regarding.")?;
            let known = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];
            known.contains(&field).then(|| format!("involvedObject.{field}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Value {
        json!({"name": "e", "namespace": "rec", "managedFields": [{"fieldsV1": {"f:note": {}}}]})
    }

    /// Both faces of the same stored Event, as a real kube-apiserver 1.37.1 served them.
    fn recorded() -> [(Value, Value); 2] {
        let involved = json!({"kind": "Gadget", "namespace": "rec", "name": "g1", "uid": "u1", "apiVersion": "example.com/v1"});
        [
            (
                json!({
                    "kind": "Event", "apiVersion": "v1", "metadata": metadata(), "involvedObject": involved,
                    "reason": "Started", "message": "it started", "source": {"component": "c1", "host": "h"},
                    "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:01Z",
                    "count": 2, "type": "Normal", "eventTime": null, "reportingComponent": "",
                    "reportingInstance": "",
                }),
                json!({
                    "kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": metadata(),
                    "eventTime": null, "reason": "Started", "regarding": involved, "note": "it started",
                    "type": "Normal", "deprecatedSource": {"component": "c1", "host": "h"},
                    "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
                    "deprecatedLastTimestamp": "2026-01-01T00:00:01Z", "deprecatedCount": 2,
                }),
            ),
            (
                json!({
                    "kind": "Event", "apiVersion": "v1", "metadata": metadata(), "involvedObject": involved,
                    "reason": "Started", "message": "it started", "source": {}, "firstTimestamp": null,
                    "lastTimestamp": null, "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
                    "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:05.000000Z"},
                    "action": "Start", "related": {"kind": "ConfigMap", "name": "cm"},
                    "reportingComponent": "example.com/c", "reportingInstance": "c-1",
                }),
                json!({
                    "kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": metadata(),
                    "eventTime": "2026-01-01T00:00:00.000000Z",
                    "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:05.000000Z"},
                    "reportingController": "example.com/c", "reportingInstance": "c-1", "action": "Start",
                    "reason": "Started", "regarding": involved, "related": {"kind": "ConfigMap", "name": "cm"},
                    "note": "it started", "type": "Normal", "deprecatedSource": {},
                    "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null,
                }),
            ),
        ]
    }

    #[test]
    fn both_faces_show_what_a_real_server_shows() {
        for (core, newer) in recorded() {
            assert_eq!(from_core(core.clone()), newer);
            assert_eq!(to_core(newer), core);
        }
    }

    #[test]
    fn an_empty_event_has_the_fields_that_are_always_written() {
        assert_eq!(
            from_core(json!({"kind": "Event", "metadata": {}})),
            json!({
                "kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": {}, "eventTime": null,
                "regarding": {}, "deprecatedSource": {}, "deprecatedFirstTimestamp": null,
                "deprecatedLastTimestamp": null,
            })
        );
        assert_eq!(
            to_core(json!({"kind": "Event", "metadata": {}, "message": "not a field of this face"})),
            json!({
                "kind": "Event", "apiVersion": "v1", "metadata": {}, "involvedObject": {}, "source": {},
                "firstTimestamp": null, "lastTimestamp": null, "eventTime": null, "reportingComponent": "",
                "reportingInstance": "",
            })
        );
    }

    #[test]
    fn selectors_of_the_newer_face_mean_core_fields() {
        assert_eq!(core_field("regarding.name").as_deref(), Some("involvedObject.name"));
        assert_eq!(core_field("reportingController").as_deref(), Some("reportingComponent"));
        assert_eq!(core_field("reason").as_deref(), Some("reason"));
        for label in ["involvedObject.name", "regarding.other", "source", "note"] {
            assert_eq!(core_field(label), None, "{label}");
        }
    }
}
