//! What a document is, and how its object is called.

use serde_json::Value;

use crate::api::kind::Kind;
use crate::api::names::{CRON_SUFFIX_LENGTH, MAX_LABEL_LENGTH, NameError, ResourceName};
use crate::api::{KELOS_GROUP, VERSION, labels};
use crate::validate::finding::FindingCode;
use crate::validate::suggestion::did_you_mean;
use crate::validate::{Context, Report, pointer};
use crate::yaml::Side;

/// Keys that Kelos writes itself. In git they would forge an owner, an origin or an identity.
const RESERVED_KEYS: [&str; 12] = [
    labels::TASK_SPAWNER,
    labels::OWNER_UID,
    labels::OWNER_NAME,
    labels::CONFIG_REVISION,
    labels::CONFIG_FILE,
    labels::CONFIG_LINE,
    labels::MANIFEST_DIGEST,
    labels::SPEC_DIGEST,
    labels::PROMPT_DIGEST,
    labels::SCHEDULED_AT,
    labels::WORK_ITEM,
    labels::TRIGGERED_AT,
];

/// Fields that the server writes; they are left over when somebody saves what `kubectl get -o yaml` prints.
const SERVER_METADATA: [&str; 10] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Checks kind and metadata and returns the kind, when the object is worth a closer look.
pub(super) fn check(report: &mut Report<'_>, context: &Context) -> Option<Kind> {
    let kind = kind(report)?;
    metadata(report, kind, context);
    if report.get("/status").is_some() {
        let finding =
            report.add(FindingCode::ServerField, "/status", Side::Key, "status is written by the server");
        finding.hint("remove it");
    }
    Some(kind)
}

/// Returns true when `key`, as the server writes it, needs no second finding from the schema.
pub(super) fn is_server_field(pointer: &str) -> bool {
    pointer == "/status"
        || pointer.strip_prefix("/metadata/").is_some_and(|field| SERVER_METADATA.contains(&field))
}

fn kind(report: &mut Report<'_>) -> Option<Kind> {
    let Some(object) = report.manifest.value.as_object() else {
        report
            .add(FindingCode::NotAnObject, "", Side::Value, "the document is not a mapping")
            .hint("every document holds one object, with apiVersion, kind, metadata and spec");
        return None;
    };
    let mut complete = true;
    for field in ["apiVersion", "kind"] {
        if object.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            let message = format!("{field} is missing or is not text");
            report.add(FindingCode::MissingKind, pointer::join("", field), Side::Value, message);
            complete = false;
        }
    }
    if !complete {
        return None;
    }
    let (api_version, name) = (report.text("/apiVersion")?, report.text("/kind")?);
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if name == "List" || (name.ends_with("List") && object.get("items").is_some()) {
        let finding =
            report.add(FindingCode::ListNotAllowed, "/kind", Side::Value, "a list of objects is not read");
        finding.hint("put the objects into documents of their own, separated by ---");
        return None;
    }
    let allowed = Kind::IN_GIT.map(Kind::as_str).join(", ");
    let known = name.parse::<Kind>().ok().filter(|kind| kind.group() == group);
    let Some(kind) = known else {
        if group == KELOS_GROUP {
            let finding = report.add(
                FindingCode::UnknownKind,
                "/kind",
                Side::Value,
                format!("{group} has no kind {name:?}"),
            );
            let suggestion = did_you_mean(name, Kind::IN_GIT.map(Kind::as_str));
            finding.hint(suggestion.unwrap_or_else(|| format!("a config repository may hold {allowed}")));
        } else {
            let message = format!("{name} of {api_version} has no place in a config repository");
            let finding = report.add(FindingCode::KindNotAllowed, "/kind", Side::Value, message);
            finding.hint(match name.parse::<Kind>() {
                Ok(kind) if Kind::IN_GIT.contains(&kind) => {
                    format!("write apiVersion: {}", kind.api_version())
                }
                _ => format!("it may hold {allowed}"),
            });
        }
        return None;
    };
    if !Kind::IN_GIT.contains(&kind) {
        let message = format!("a {kind} has no place in a config repository");
        let finding = report.add(FindingCode::KindNotAllowed, "/kind", Side::Value, message);
        finding.hint(format!("it may hold {allowed}; create a {kind} with kubectl"));
        return None;
    }
    if version != VERSION {
        let message = format!("{kind} is not served in version {version:?}");
        let finding = report.add(FindingCode::UnsupportedVersion, "/apiVersion", Side::Value, message);
        finding.hint(format!("write apiVersion: {}", kind.api_version()));
        return None;
    }
    Some(kind)
}

fn metadata(report: &mut Report<'_>, kind: Kind, context: &Context) {
    let Some(Value::Object(metadata)) = report.get("/metadata") else {
        if report.get("/metadata").is_none() {
            let finding = report.add(
                FindingCode::MissingName,
                "/metadata/name",
                Side::Key,
                format!("the {kind} has no name"),
            );
            finding.hint("add metadata.name");
        }
        return;
    };
    for field in SERVER_METADATA {
        if metadata.contains_key(field) {
            let message = format!("metadata.{field} is written by the server");
            report
                .add(FindingCode::ServerField, pointer::join("/metadata", field), Side::Key, message)
                .hint("remove it");
        }
    }
    if metadata.contains_key("generateName") {
        let message = "generateName gives a new object at every apply";
        let finding = report.add(FindingCode::GenerateName, "/metadata/generateName", Side::Key, message);
        finding.hint("give the object a name; a Task of the same name and spec runs once");
    } else if report.get("/metadata/name").is_none() {
        let finding = report.add(
            FindingCode::MissingName,
            "/metadata/name",
            Side::Key,
            format!("the {kind} has no name"),
        );
        finding.hint("add metadata.name");
    }
    if let Some(name) = report.text("/metadata/name") {
        check_name(report, kind, name);
    }
    if let (Some(found), Some(wanted)) = (report.text("/metadata/namespace"), context.namespace.as_deref())
        && found != wanted
    {
        let message = format!("the object is for namespace {found:?}, and {wanted:?} is applied to");
        let finding = report.add(FindingCode::ForeignNamespace, "/metadata/namespace", Side::Value, message);
        finding.hint("remove metadata.namespace; each ConfigRepository applies to its own namespace");
    }
    check_labels(report, "/metadata/labels", Values::Labels);
    check_labels(report, "/metadata/annotations", Values::Any);
    if kind == Kind::TaskSpawner {
        check_labels(report, "/spec/taskTemplate/metadata/labels", Values::LabelTemplates);
        check_labels(report, "/spec/taskTemplate/metadata/annotations", Values::Any);
    }
}

fn check_name(report: &mut Report<'_>, kind: Kind, name: &str) {
    let at = "/metadata/name";
    match ResourceName::parse(name) {
        Err(NameError::TooLong { length, limit }) => {
            let message = format!("the name is {length} characters long, at most {limit} are allowed");
            report.add(FindingCode::NameTooLong, at, Side::Value, message);
            return;
        }
        Err(error) => {
            report.add(FindingCode::InvalidName, at, Side::Value, error.to_string());
            return;
        }
        Ok(_) => {}
    }
    let is_cron = kind == Kind::TaskSpawner && report.get("/spec/when/cron").is_some();
    let (limit, why) = match kind {
        Kind::Task => (MAX_LABEL_LENGTH, "labels carry the name of a Task"),
        Kind::TaskSpawner if is_cron => (
            MAX_LABEL_LENGTH - CRON_SUFFIX_LENGTH,
            "the name of each Task adds -YYYYMMDD-HHMM, and labels carry it",
        ),
        Kind::TaskSpawner => (MAX_LABEL_LENGTH, "labels carry the name of a TaskSpawner"),
        Kind::Workspace | Kind::AgentConfig | Kind::ConfigRepository | Kind::RunRecord => return,
    };
    if name.len() > limit {
        let message =
            format!("the name is {} characters long, at most {limit} are allowed: {why}", name.len());
        report.add(FindingCode::NameTooLong, at, Side::Value, message);
    }
}

/// What the values of a map of labels or annotations may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Labels,
    LabelTemplates,
    Any,
}

fn check_labels(report: &mut Report<'_>, at: &str, values: Values) {
    let Some(Value::Object(entries)) = report.get(at) else { return };
    for (key, value) in entries {
        let here = pointer::join(at, key);
        if RESERVED_KEYS.contains(&key.as_str()) {
            let message = format!("{key} is written by Kelos itself");
            report.add(FindingCode::ReservedKey, here, Side::Key, message).hint("remove it");
            continue;
        }
        if !is_label_key(key) {
            let message = format!("{key:?} is not a key that Kubernetes allows");
            let finding = report.add(FindingCode::InvalidLabel, here, Side::Key, message);
            finding
                .hint("a key is PREFIX/NAME or NAME; NAME has at most 63 letters, digits, '-', '_' and '.'");
            continue;
        }
        let Some(text) = value.as_str() else { continue };
        let literal = values == Values::Labels || (values == Values::LabelTemplates && !text.contains("{{"));
        if literal && !text.is_empty() && !is_label_name(text) {
            let message = format!("{text:?} is not a label value that Kubernetes allows");
            let finding = report.add(FindingCode::InvalidLabel, here, Side::Value, message);
            finding.hint(
                "a value has at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends",
            );
        }
    }
}

/// A qualified name: an optional DNS prefix and a name.
fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => ResourceName::parse(prefix).is_ok() && is_label_name(name),
        None => is_label_name(key),
    }
}

fn is_label_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= MAX_LABEL_LENGTH
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}
