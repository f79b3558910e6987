//! `podOverrides`: whether its parts are what a Pod has there.
//!
//! The CRD keeps these parts as they are, so this is the only place that looks into them before they are used.

use k8s_openapi::api::core::v1 as core;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api::kind::Kind;
use crate::validate::finding::FindingCode;
use crate::validate::{Report, pointer};
use crate::yaml::Side;

/// How a part is read: gives back what was understood, or what is wrong.
type Read = fn(&Value) -> Result<Value, String>;

/// A part of `podOverrides`.
struct Part {
    field: &'static str,
    is_list: bool,
    read: Read,
    /// Fields without which Kubernetes refuses it, although its reader does not.
    required: &'static [&'static str],
}

const PARTS: [Part; 11] = [
    one("resources", read::<core::ResourceRequirements>),
    list("env", read::<core::EnvVar>, &["name"]),
    list("tolerations", read::<core::Toleration>, &[]),
    one("affinity", read::<core::Affinity>),
    list("imagePullSecrets", read::<core::LocalObjectReference>, &["name"]),
    list("volumes", read::<core::Volume>, &[]),
    list("volumeMounts", read::<core::VolumeMount>, &["name", "mountPath"]),
    one("podSecurityContext", read::<core::PodSecurityContext>),
    one("containerSecurityContext", read::<core::SecurityContext>),
    list("extraContainers", read::<core::Container>, &["image"]),
    list("extraInitContainers", read::<core::Container>, &["image"]),
];

const fn one(field: &'static str, read: Read) -> Part {
    Part { field, is_list: false, read, required: &[] }
}

const fn list(field: &'static str, read: Read, required: &'static [&'static str]) -> Part {
    Part { field, is_list: true, read, required }
}

fn read<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, String> {
    let understood = T::deserialize(value).map_err(|error| error.to_string())?;
    serde_json::to_value(understood).map_err(|error| error.to_string())
}

/// Checks the parts of `podOverrides`.
pub(super) fn check(report: &mut Report<'_>, kind: Kind) {
    let base = match kind {
        Kind::Task => "/spec/podOverrides",
        Kind::TaskSpawner => "/spec/taskTemplate/podOverrides",
        Kind::Workspace | Kind::AgentConfig | Kind::ConfigRepository | Kind::RunRecord => return,
    };
    for part in &PARTS {
        let at = pointer::join(base, part.field);
        match (part.is_list, report.get(&at)) {
            (true, Some(Value::Array(items))) => {
                for (index, item) in items.iter().enumerate() {
                    check_part(report, part, &pointer::item(&at, index), item);
                }
            }
            (false, Some(value)) => check_part(report, part, &at, value),
            // The schema refuses what is not a list.
            (true, _) | (false, None) => {}
        }
    }
}

fn check_part(report: &mut Report<'_>, part: &Part, at: &str, value: &Value) {
    let Some(fields) = value.as_object() else { return };
    for field in part.required {
        if fields.get(*field).is_none_or(Value::is_null) {
            let here = pointer::join(at, field);
            let message = format!("{} is required", pointer::readable(&here));
            report.add(FindingCode::MissingField, here, Side::Key, message);
        }
    }
    match (part.read)(value) {
        Ok(understood) => unknown_fields(report, at, value, &understood),
        Err(reason) => {
            let blamed = blame(part.read, fields);
            let here = blamed.map_or_else(|| at.to_owned(), |field| pointer::join(at, field));
            let message = format!("{} cannot be read: {reason}", pointer::readable(&here));
            let finding = report.add(FindingCode::InvalidPodPart, here, Side::Value, message);
            if part.field == "env" && blamed == Some("value") {
                finding.hint("values of variables are text; put the value in quotes");
            }
        }
    }
}

/// Returns the field without which the rest can be read.
fn blame(read: Read, fields: &Map<String, Value>) -> Option<&str> {
    let readable_without = |field: &&String| {
        let mut rest = fields.clone();
        rest.remove(field.as_str());
        read(&Value::Object(rest)).is_ok()
    };
    fields.keys().find(readable_without).map(String::as_str)
}

/// Reports fields that went in and did not come out.
fn unknown_fields(report: &mut Report<'_>, at: &str, value: &Value, understood: &Value) {
    match (value, understood) {
        (Value::Object(fields), Value::Object(known)) => {
            for (field, value) in fields {
                let here = pointer::join(at, field);
                match known.get(field) {
                    Some(understood) => unknown_fields(report, &here, value, understood),
                    None if value.is_null() => {}
                    None => {
                        let message = format!("there is no field {}", pointer::readable(&here));
                        report.add(FindingCode::UnknownField, here, Side::Key, message);
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(known)) => {
            for (index, (item, known)) in items.iter().zip(known).enumerate() {
                unknown_fields(report, &pointer::item(at, index), item, known);
            }
        }
        _ => {}
    }
}
