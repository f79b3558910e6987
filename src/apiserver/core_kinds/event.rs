//! Event in the core group.

use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::cause::Cause;
use crate::apiserver::core_kinds::shape::{
    INTEGER, METADATA, MICRO_TIME, Shape, TEXT, TIME, kept, optional, pointer,
};
use crate::apiserver::core_kinds::{
    Column, CoreKind, Selectable, column, keep_all, nothing, selectable, wide_column,
};
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
    namespaced: true,
    has_status: false,
    storage_group: "",
    hash_group: "",
    shape: &SHAPE,
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

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let event_time = &object["eventTime"];
    let or_event_time = |time: &Value| if time.is_null() { event_time.clone() } else { time.clone() };
    let first = table::age(&or_event_time(&object["firstTimestamp"]), now);
    let series = &object["series"];
    let last = if series.is_null() {
        table::age(&or_event_time(&object["lastTimestamp"]), now)
    } else {
        table::age(&series["lastObservedTime"], now)
    };
    let last = if last == "<unknown>" { first.clone() } else { last };
    let count = match (object["count"].as_i64().unwrap_or(0), series["count"].as_i64()) {
        (_, Some(count)) => count,
        (0, None) => 1,
        (count, None) => count,
    };
    let involved = &object["involvedObject"];
    let target = format!("{}/{}", text(&involved["kind"]).to_lowercase(), text(&involved["name"]));
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
        Value::from(target),
        Value::from(text(&involved["fieldPath"])),
        Value::from(reporter),
        Value::from(text(&object["message"]).trim()),
        Value::from(first),
        Value::from(count.to_string()),
    ]
}

/// An Event lies in the namespace of the object that it is about.
fn validate(new: &Value, _: Option<&Value>) -> Vec<Cause> {
    let namespace = new["metadata"]["namespace"].as_str().unwrap_or_default();
    let involved = new["involvedObject"]["namespace"].as_str().unwrap_or_default();
    let fits = if involved.is_empty() {
        namespace == "default" || namespace == "kube-system"
    } else {
        involved == namespace
    };
    if fits {
        return Vec::new();
    }
    vec![Cause::invalid("involvedObject.namespace", &Value::from(involved), "does not match event.namespace")]
}
