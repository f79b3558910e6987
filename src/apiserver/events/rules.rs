//! What is wrong with an Event, as kube-apiserver 1.37 judges it.
//!
//! The older face is lenient: an Event without `eventTime` only has to lie in the namespace of its object. The newer
//! one demands the fields of its time and, once an Event is made, lets only the series go on.

use serde_json::Value;

use crate::apiserver::cause::{self, Cause};
use crate::apiserver::encode;
use crate::apiserver::names;

/// The face through which an Event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// `v1`.
    Core,
    /// `events.k8s.io/v1`.
    Events,
}

/// The longest action, reason and instance, in bytes.
const WORD_LIMIT: usize = 128;

/// The longest message, in bytes.
const MESSAGE_LIMIT: usize = 1_024;

/// Returns what is wrong with a new Event, or with an update of `old`; both in the core form. Metadata is not judged
/// here.
pub fn violations(new: &Value, old: Option<&Value>, face: Face) -> Vec<Cause> {
    let mut causes = common(new, face);
    match (face, old) {
        (Face::Core, _) => {}
        (Face::Events, None) => creation(new, &mut causes),
        (Face::Events, Some(old)) => update(new, old, &mut causes),
    }
    causes
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_default()
}

fn invalid(field: &str, detail: &str) -> Cause {
    Cause::invalid(field, &Value::from(""), detail)
}

fn common(event: &Value, face: Face) -> Vec<Cause> {
    let namespace = text(&event["metadata"], "namespace");
    let involved = text(&event["involvedObject"], "namespace");
    let is_old = event["eventTime"].is_null();
    let fits = match involved {
        "" if is_old => matches!(namespace, "" | "default"),
        "" => matches!(namespace, "default" | "kube-system"),
        _ => !is_old || namespace == involved,
    };
    let mut causes = Vec::new();
    if !fits {
        let field = "involvedObject.namespace";
        causes.push(Cause::invalid(field, &Value::from(involved), "does not match event.namespace"));
    }
    if is_old {
        return causes;
    }
    let controller = text(event, "reportingComponent");
    let field = if face == Face::Core { "reportingComponent" } else { "reportingController" };
    if controller.is_empty() {
        causes.push(Cause::required(field, ""));
    }
    for message in names::qualified(controller) {
        causes.push(Cause::invalid(field, &Value::from(controller), &message));
    }
    for field in ["reportingInstance", "action", "reason"] {
        let word = text(event, field);
        if word.is_empty() {
            causes.push(Cause::required(field, ""));
        }
        if word.len() > WORD_LIMIT {
            causes.push(invalid(field, &format!("can have at most {WORD_LIMIT} characters")));
        }
    }
    if text(event, "message").len() > MESSAGE_LIMIT {
        causes.push(invalid("message", &format!("can have at most {MESSAGE_LIMIT} characters")));
    }
    causes
}

fn creation(event: &Value, causes: &mut Vec<Cause>) {
    series(event, causes);
    if event["eventTime"].is_null() {
        causes.push(Cause::required("eventTime", ""));
    }
    let kind = text(event, "type");
    if !matches!(kind, "Normal" | "Warning") {
        causes.push(invalid("type", &format!("has invalid value: {kind}")));
    }
    let is_set = |field: &str| match field {
        "count" => event["count"].as_i64().unwrap_or(0) != 0,
        "source" => ["component", "host"].iter().any(|part| !text(&event["source"], part).is_empty()),
        _ => !event[field].is_null(),
    };
    for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        if is_set(field) {
            causes.push(invalid(field, "needs to be unset"));
        }
    }
}

fn series(event: &Value, causes: &mut Vec<Cause>) {
    let series = &event["series"];
    if series.is_null() {
        return;
    }
    if series["count"].as_i64().unwrap_or(0) < 2 {
        causes.push(invalid("series.count", "should be at least 2"));
    }
    if series["lastObservedTime"].is_null() {
        causes.push(Cause::required("series.lastObservedTime", ""));
    }
}

/// The parts of a reference, as JSON and Go name them.
const REFERENCE: [(&str, &str); 7] = [
    ("kind", "Kind"),
    ("namespace", "Namespace"),
    ("name", "Name"),
    ("uid", "UID"),
    ("apiVersion", "APIVersion"),
    ("resourceVersion", "ResourceVersion"),
    ("fieldPath", "FieldPath"),
];

const SOURCE: [(&str, &str); 2] = [("component", "Component"), ("host", "Host")];

fn update(new: &Value, old: &Value, causes: &mut Vec<Cause>) {
    if new["series"] != old["series"] {
        series(new, causes);
    }
    let fixed = [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    for (field, shown_field) in fixed {
        let shown = shown(new, field);
        if shown != self::shown(old, field) {
            causes.push(Cause {
                reason: "FieldValueInvalid".to_owned(),
                message: format!("Invalid value: {shown}: field is immutable"),
                field: shown_field.to_owned(),
            });
        }
    }
}

/// Returns a field as the real server shows it: it holds Events in structs, whose empty fields have values.
fn shown(event: &Value, field: &str) -> String {
    let value = &event[field];
    match field {
        "involvedObject" => go_struct(value, &REFERENCE),
        "related" if !value.is_null() => go_struct(value, &REFERENCE),
        "source" => go_struct(value, &SOURCE),
        "count" => value.as_i64().unwrap_or(0).to_string(),
        "related" | "firstTimestamp" | "lastTimestamp" | "eventTime" => encode::to_text(value),
        _ => cause::shown(&Value::from(text(event, field))),
    }
}

fn go_struct(value: &Value, fields: &[(&str, &str)]) -> String {
    let parts: Vec<String> = fields
        .iter()
        .map(|(field, go_name)| {
            format!("\"{go_name}\":{}", encode::to_text(&Value::from(text(value, field))))
        })
        .collect();
    format!("{{{}}}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::patch::merge_patch;

    /// An Event that the newer face takes, in the core form, with `changes` on top.
    fn event(changes: &Value) -> Value {
        let event = json!({
            "metadata": {"name": "e", "namespace": "team"},
            "involvedObject": {"kind": "G", "name": "g1", "namespace": "team"},
            "related": {"kind": "ConfigMap", "name": "cm"},
            "reason": "Started", "message": "it started", "type": "Normal", "action": "Start",
            "source": {}, "firstTimestamp": null, "lastTimestamp": null,
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingComponent": "example.com/c", "reportingInstance": "c-1",
        });
        merge_patch(&event, changes).unwrap()
    }

    fn told(causes: &[Cause]) -> Vec<String> {
        causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    /// The expectations of all checks are answers of a real kube-apiserver 1.37.1.
    fn check_new(face: Face, changes: &Value, expected: &[&str]) {
        assert_eq!(told(&violations(&event(changes), None, face)), expected, "{face:?} {changes}");
    }

    const NO_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

    #[test]
    fn new_events_of_the_newer_face() {
        let check = |changes: Value, expected: &[&str]| check_new(Face::Events, &changes, expected);
        check(json!({}), &[]);
        check(json!({"action": ""}), &["action: Required value"]);
        let long = "a".repeat(129);
        let too_long = "Invalid value: \"\": can have at most 128 characters";
        check(json!({"action": long}), &[&format!("action: {too_long}")]);
        check(json!({"reason": long}), &[&format!("reason: {too_long}")]);
        check(json!({"reportingInstance": long}), &[&format!("reportingInstance: {too_long}")]);
        check(
            json!({"message": "m".repeat(1_025)}),
            &["message: Invalid value: \"\": can have at most 1024 characters"],
        );
        check(
            json!({"reportingComponent": ""}),
            &[
                "reportingController: Required value",
                "reportingController: Invalid value: \"\": name part must be non-empty",
                &format!("reportingController: Invalid value: \"\": {NO_NAME}"),
            ],
        );
        check(json!({"type": "Odd"}), &["type: Invalid value: \"\": has invalid value: Odd"]);
        check(
            json!({"series": {"count": 1, "lastObservedTime": null}}),
            &[
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
            ],
        );
        check(
            json!({"count": 1, "firstTimestamp": "t", "lastTimestamp": "t", "source": {"component": "c"}}),
            &[
                "firstTimestamp: Invalid value: \"\": needs to be unset",
                "lastTimestamp: Invalid value: \"\": needs to be unset",
                "count: Invalid value: \"\": needs to be unset",
                "source: Invalid value: \"\": needs to be unset",
            ],
        );
        check(
            json!({"involvedObject": {"namespace": null}}),
            &["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"],
        );
        check(json!({"involvedObject": {"namespace": "other"}}), &[]);
        check(
            json!({"eventTime": null, "type": ""}),
            &["eventTime: Required value", "type: Invalid value: \"\": has invalid value: "],
        );
    }

    #[test]
    fn new_events_of_the_core_face() {
        let check = |changes: Value, expected: &[&str]| check_new(Face::Core, &changes, expected);
        check(json!({"type": "Odd", "count": 2, "source": {"component": "c"}}), &[]);
        check(json!({"action": ""}), &["action: Required value"]);
        check(
            json!({"reportingComponent": "bad name"}),
            &[&format!("reportingComponent: Invalid value: \"bad name\": {NO_NAME}")],
        );
        check(json!({"eventTime": null, "action": "", "reportingComponent": ""}), &[]);
        check(
            json!({"eventTime": null, "involvedObject": {"namespace": "other"}}),
            &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
        );
        let no_namespace = |own: &str, time: Value| json!({"metadata": {"namespace": own}, "involvedObject": {"namespace": null}, "eventTime": time});
        let refused: &[&str] =
            &["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"];
        check(no_namespace("default", Value::Null), &[]);
        check(no_namespace("kube-system", Value::Null), refused);
        check(no_namespace("kube-system", json!("t")), &[]);
        check(no_namespace("team", json!("t")), refused);
    }

    #[test]
    fn only_the_series_of_a_newer_event_goes_on() {
        let check = |changes: Value, expected: &[&str]| {
            let causes = violations(&event(&changes), Some(&event(&json!({}))), Face::Events);
            assert_eq!(told(&causes), expected, "{changes}");
        };
        check(json!({"series": {"count": 2, "lastObservedTime": "t"}}), &[]);
        check(
            json!({"series": {"count": 0, "lastObservedTime": null}}),
            &[
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
            ],
        );
        check(
            json!({"involvedObject": {"name": "x", "uid": "u"}}),
            &[
                "involvedObject: Invalid value: {\"Kind\":\"G\",\"Namespace\":\"team\",\"Name\":\"x\",\"UID\":\"u\",\"APIVersion\":\"\",\"ResourceVersion\":\"\",\"FieldPath\":\"\"}: field is immutable",
            ],
        );
        check(json!({"related": null}), &["related: Invalid value: null: field is immutable"]);
        check(
            json!({"source": {"component": "c", "host": "h"}}),
            &["source: Invalid value: {\"Component\":\"c\",\"Host\":\"h\"}: field is immutable"],
        );
        check(
            json!({"firstTimestamp": "2026-01-01T00:00:00Z"}),
            &["firstTimestamp: Invalid value: \"2026-01-01T00:00:00Z\": field is immutable"],
        );
        check(json!({"count": 3}), &["count: Invalid value: 3: field is immutable"]);
        check(
            json!({"reportingComponent": "y"}),
            &["reportingController: Invalid value: \"y\": field is immutable"],
        );
        check(
            json!({"type": "Odd", "message": "n"}),
            &[
                "message: Invalid value: \"n\": field is immutable",
                "type: Invalid value: \"Odd\": field is immutable",
            ],
        );
        check(
            json!({"reason": ""}),
            &["reason: Required value", "reason: Invalid value: \"\": field is immutable"],
        );
        check(json!({"eventTime": null}), &["eventTime: Invalid value: null: field is immutable"]);
    }

    #[test]
    fn a_core_update_changes_anything() {
        let changed = event(&json!({"message": "n", "type": "Odd", "related": null}));
        assert_eq!(violations(&changed, Some(&event(&json!({}))), Face::Core), []);
    }
}
