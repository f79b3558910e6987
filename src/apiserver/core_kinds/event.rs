//! Event, in the core group and in `events.k8s.io`: one stored kind with two faces.

use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::cause::Cause;
use crate::apiserver::core_kinds::shape::{
    INTEGER_32, METADATA, MICRO_TIME, Shape, TEXT, TIME, kept, optional, pointer,
};
use crate::apiserver::core_kinds::{
    Column, CoreKind, Face, Selectable, column, keep_all, nothing, selectable, wide_column,
};
use crate::apiserver::events::{self, rules};
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

static SERIES: Shape =
    Shape::Struct(&[optional("count", &INTEGER_32), kept("lastObservedTime", &MICRO_TIME)]);

static SOURCE: Shape = Shape::Struct(&[optional("component", &TEXT), optional("host", &TEXT)]);

static SHAPE: Shape = Shape::Struct(&[
    kept("metadata", &METADATA),
    kept("involvedObject", &REFERENCE),
    optional("reason", &TEXT),
    optional("message", &TEXT),
    kept("source", &SOURCE),
    kept("firstTimestamp", &TIME),
    kept("lastTimestamp", &TIME),
    optional("count", &INTEGER_32),
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
    optional("deprecatedCount", &INTEGER_32),
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

fn validate(new: &Value, _: Option<&Value>) -> Vec<Cause> {
    rules::violations(new, None, rules::Face::Core)
}

fn newer_validate(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let old = old.map(|old| events::to_core(old.clone()));
    rules::violations(&events::to_core(new.clone()), old.as_ref(), rules::Face::Events)
}
