//! Event, in the core group and in `events.k8s.io`: one stored kind with two faces.

use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::cause::Cause;
use crate::apiserver::core_kinds::shape::{
    INTEGER, METADATA, MICRO_TIME, Shape, TEXT, TIME, kept, optional, pointer,
};
use crate::apiserver::core_kinds::{
    Column, CoreKind, Face, Selectable, column, keep_all, nothing, selectable, wide_column,
};
use crate::apiserver::events;
use crate::apiserver::names;
use crate::apiserver::table;

static REFERENCE: Shape = Shape::Struct(&[
    optional("kind", &TEXT),
    optional("namespace", &TEXT),
    optional("name", &TEXT),
    optional("uid", &TEXT),
    optional("apiVersion", &TEXT),
    optional("resourceVersion", &TEXT),
    optional("fieldPath", &TEXT),
]);

static SERIES: Shape = Shape::Struct(&[optional("count", &INTEGER), kept("lastObservedTime", &MICRO_TIME)]);

static SOURCE: Shape = Shape::Struct(&[optional("component", &TEXT), optional("host", &TEXT)]);

static SHAPE: Shape = Shape::Struct(&[
    kept("metadata", &METADATA),
    kept("involvedObject", &REFERENCE),
    optional("reason", &TEXT),
    optional("message", &TEXT),
    kept("source", &SOURCE),
    kept("firstTimestamp", &TIME),
    kept("lastTimestamp", &TIME),
    optional("count", &INTEGER),
    optional("type", &TEXT),
    kept("eventTime", &MICRO_TIME),
    pointer("series", &SERIES),
    optional("action", &TEXT),
    pointer("related", &REFERENCE),
    kept("reportingComponent", &TEXT),
    kept("reportingInstance", &TEXT),
]);

static COLUMNS: [Column; 9] = [
    column("Last Seen", "string", "The time at which the most recent occurrence of this event was recorded."),
    column("Type", "string", "Type of this event (Normal, Warning), new types could be added in the future"),
    column(
        "Reason",
        "string",
        "This should be a short, machine understandable string that gives the reason for the transition into the object's current status.",
    ),
    column("Object", "string", "The object that this event is about."),
    wide_column(
        "Subobject",
        "string",
        "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go field access statement, such as desiredState.manifest.containers[2]. For example, if the object reference is to a container within a pod, this would take on a value like: \"spec.containers{name}\" (where \"name\" refers to the name of the container that triggered the event) or if no container name is specified \"spec.containers[2]\" (container with index 2 in this pod). This syntax is chosen only to have some well-defined way of referencing a part of an object.",
    ),
    wide_column(
        "Source",
        "string",
        "The component reporting this event. Should be a short machine understandable string.",
    ),
    column("Message", "string", "A human-readable description of the status of this operation."),
    wide_column(
        "First Seen",
        "string",
        "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)",
    ),
    wide_column("Count", "string", "The number of times this event has occurred."),
];

static SELECTABLE: [Selectable; 12] = [
    selectable("involvedObject.kind"),
    selectable("involvedObject.namespace"),
    selectable("involvedObject.name"),
    selectable("involvedObject.uid"),
    selectable("involvedObject.apiVersion"),
    selectable("involvedObject.resourceVersion"),
    selectable("involvedObject.fieldPath"),
    selectable("reason"),
    selectable("reportingComponent"),
    Selectable { name: "source", path: "source.component", absent: "" },
    selectable("type"),
    Selectable { name: "reportingController", path: "reportingComponent", absent: "" },
];

pub(super) static KIND: CoreKind = CoreKind {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    namespaced: true,
    has_status: false,
    storage_group: "",
    hash_group: "",
    shape: &SHAPE,
    face: None,
    read_only: false,
    creates_on_update: true,
    updates_unconditionally: true,
    has_generation: false,
    selectable: &SELECTABLE,
    columns: &COLUMNS,
    name_column: 9,
    name_priority: 1,
    cells,
    default: nothing,
    prepare: keep_all,
    validate,
    validate_name: names::dns_subdomain,
};

/// The same kind as `events.k8s.io/v1` shows it.
pub(super) static NEWER_KIND: CoreKind = CoreKind {
    group: "events.k8s.io",
    shape: &NEWER_SHAPE,
    face: Some(Face {
        stored_shape: &SHAPE,
        to_stored: events::to_core,
        from_stored: events::from_core,
        stored_field: events::core_field,
    }),
    cells: newer_cells,
    validate: newer_validate,
    ..KIND
};

static NEWER_SHAPE: Shape = Shape::Struct(&[
    kept("metadata", &METADATA),
    kept("eventTime", &MICRO_TIME),
    pointer("series", &SERIES),
    optional("reportingController", &TEXT),
    optional("reportingInstance", &TEXT),
    optional("action", &TEXT),
    optional("reason", &TEXT),
    kept("regarding", &REFERENCE),
    pointer("related", &REFERENCE),
    optional("note", &TEXT),
    optional("type", &TEXT),
    kept("deprecatedSource", &SOURCE),
    kept("deprecatedFirstTimestamp", &TIME),
    kept("deprecatedLastTimestamp", &TIME),
    optional("deprecatedCount", &INTEGER),
]);

fn newer_cells(object: &Value, now: Timestamp) -> Vec<Value> {
    cells(&events::to_core(object.clone()), now)
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let event_time = &object["eventTime"];
    let or_event_time = |time: &Value| if time.is_null() { event_time.clone() } else { time.clone() };
    let first = table::age(&or_event_time(&object["firstTimestamp"]), now);
    let series = &object["series"];
    let last = if !series.is_null() {
        table::age(&series["lastObservedTime"], now)
    } else if object["lastTimestamp"].is_null() {
        first.clone()
    } else {
        table::age(&object["lastTimestamp"], now)
    };
    // An event of the newer face that happened once carries no count.
    let count = series["count"].as_i64().or_else(|| object["count"].as_i64()).filter(|&count| count != 0);
    let involved = &object["involvedObject"];
    let kind = text(&involved["kind"]).to_lowercase();
    let name = text(&involved["name"]);
    let source = &object["source"];
    let mut reporter = text(&source["component"]);
    let mut host = text(&source["host"]);
    if reporter.is_empty() {
        reporter = text(&object["reportingComponent"]);
        host = text(&object["reportingInstance"]);
    }
    if !host.is_empty() {
        reporter = format!("{reporter}, {host}");
    }
    vec![
        Value::from(last),
        Value::from(text(&object["type"])),
        Value::from(text(&object["reason"])),
        Value::from(if name.is_empty() { kind } else { format!("{kind}/{name}") }),
        Value::from(text(&involved["fieldPath"])),
        Value::from(reporter),
        Value::from(text(&object["message"]).trim()),
        Value::from(first),
        Value::from(count.unwrap_or(1)),
    ]
}

/// The longest action, reason and reporting instance.
const SHORT_LIMIT: usize = 128;

/// The longest message.
const NOTE_LIMIT: usize = 1_024;

fn validate(new: &Value, _: Option<&Value>) -> Vec<Cause> {
    common_causes(new, "reportingComponent")
}

/// The rules of both faces, on the core form.
fn common_causes(event: &Value, reporter_field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let namespace = text(&event["metadata"]["namespace"]);
    let involved = text(&event["involvedObject"]["namespace"]);
    let is_newer = !event["eventTime"].is_null();
    let fits = match (involved.is_empty(), is_newer) {
        (true, false) => namespace == "default",
        (true, true) => namespace == "default" || namespace == "kube-system",
        (false, false) => namespace == involved,
        (false, true) => true,
    };
    if !fits {
        causes.push(Cause::invalid(
            "involvedObject.namespace",
            &Value::from(involved),
            "does not match event.namespace",
        ));
    }
    if !is_newer {
        return causes;
    }
    let reporter = text(&event["reportingComponent"]);
    if reporter.is_empty() {
        causes.push(Cause::required(reporter_field, ""));
    }
    for message in names::qualified(&reporter) {
        causes.push(Cause::invalid(reporter_field, &Value::from(reporter.as_str()), &message));
    }
    for (field, limit, is_required) in [
        ("reportingInstance", SHORT_LIMIT, true),
        ("action", SHORT_LIMIT, true),
        ("reason", SHORT_LIMIT, true),
        ("message", NOTE_LIMIT, false),
    ] {
        let value = text(&event[field]);
        if value.is_empty() && is_required {
            causes.push(Cause::required(field, ""));
        }
        if value.len() > limit {
            let detail = format!("can have at most {limit} characters");
            causes.push(Cause::invalid(field, &Value::from(""), &detail));
        }
    }
    causes
}

fn newer_validate(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let new = events::to_core(new.clone());
    let mut causes = common_causes(&new, "reportingController");
    let series = &new["series"];
    let old = old.map(|old| events::to_core(old.clone()));
    if !series.is_null() && old.as_ref().is_none_or(|old| old["series"] != *series) {
        if series["count"].as_i64().unwrap_or(0) < 2 {
            causes.push(Cause::invalid("series.count", &Value::from(""), "should be at least 2"));
        }
        if series["lastObservedTime"].is_null() {
            causes.push(Cause::required("series.lastObservedTime", ""));
        }
    }
    let Some(old) = old else {
        causes.extend(newer_create_causes(&new));
        return causes;
    };
    for field in [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ] {
        let (now, before) = (&new[field], &old[field]);
        let is_empty = |value: &Value| value.is_null() || value == "";
        if now != before && !(is_empty(now) && is_empty(before)) {
            let shown = if field == "reportingComponent" { "reportingController" } else { field };
            causes.push(Cause::invalid(shown, now, "field is immutable"));
        }
    }
    causes
}

/// The rules of what the newer face creates.
fn newer_create_causes(event: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if event["eventTime"].is_null() {
        causes.push(Cause::required("eventTime", ""));
    }
    let kind = event["type"].as_str().unwrap_or_default();
    if kind != "Normal" && kind != "Warning" {
        causes.push(Cause::invalid("type", &Value::from(""), &format!("has invalid value: {kind}")));
    }
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
        _ => true,
    };
    for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        if is_set(&event[field]) {
            causes.push(Cause::invalid(field, &Value::from(""), "needs to be unset"));
        }
    }
    causes
}
