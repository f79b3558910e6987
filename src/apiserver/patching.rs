//! PATCH: JSON patch, merge patch, strategic merge patch and server-side apply.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::cause::Cause;
use crate::apiserver::managed_fields::ApplyError;
use crate::apiserver::metadata;
use crate::apiserver::options::{FieldValidation, WriteOptions};
use crate::apiserver::resource::Resource;
use crate::apiserver::schema;
use crate::apiserver::server::State;
use crate::apiserver::status::ApiError;
use crate::apiserver::write::{self, Place, Written};

/// The kinds of patch, by their media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// The media types of the patches that custom kinds take, in the order in which the refusal lists them.
const CUSTOM_TYPES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

/// The media types of the patches that Kubernetes' own kinds take.
const CORE_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

impl PatchType {
    /// Returns the type that a Content-Type names.
    pub(crate) fn parse(content_type: &str, resource: &Resource) -> Result<Self, ApiError> {
        let accepted: &[&str] = if resource.core.is_some() { &CORE_TYPES } else { &CUSTOM_TYPES };
        if !accepted.contains(&content_type) {
            return Err(ApiError::unsupported_media_type(accepted));
        }
        Ok(match content_type {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" => Self::Strategic,
            _ => Self::Apply,
        })
    }
}

/// Patches the object at `place`. An apply makes the object when it is absent.
pub(crate) async fn patch(
    state: &State,
    place: &Place<'_>,
    patch_type: PatchType,
    patch: &Bytes,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Written, ApiError> {
    if patch_type == PatchType::Apply {
        return apply(state, place, patch, options, warnings).await;
    }
    let change = Change::parse(patch_type, patch, options.field_validation)?;
    let mut noted = Vec::new();
    let result = write::update(state, place, options.dry_run, false, |old, now| {
        let Some(old) = old else {
            return Err(ApiError::not_found(place.resource.subject(), place.name));
        };
        let new = change.on(place.resource, old, options.field_validation, &mut noted)?;
        Ok(place.own(Some(old), new, now))
    })
    .await;
    warnings.append(&mut noted);
    result
}

/// A patch that was read.
struct Change {
    patch_type: PatchType,
    document: Value,
    /// Fields that the patch itself gives twice.
    strict_errors: Vec<String>,
}

impl Change {
    fn parse(patch_type: PatchType, bytes: &[u8], validation: FieldValidation) -> Result<Self, ApiError> {
        let decoded = schema::decode(bytes).map_err(|error| {
            let error = format!("error decoding patch: {error}");
            ApiError::bad_request(error)
        })?;
        let strict_errors = match validation {
            FieldValidation::Ignore => Vec::new(),
            _ => decoded.duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect(),
        };
        let shape_fits = match patch_type {
            PatchType::Json => decoded.value.is_array(),
            _ => decoded.value.is_object(),
        };
        if !shape_fits {
            let wanted = if patch_type == PatchType::Json {
                "[]handlers.jsonPatchOp"
            } else {
                "map[string]interface {}"
            };
            return Err(ApiError::bad_request(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type {wanted}",
                json_type(&decoded.value)
            )));
        }
        Ok(Self { patch_type, document: decoded.value, strict_errors })
    }

    /// Returns the patched object, normalized.
    fn on(
        &self,
        resource: &Resource,
        old: &Value,
        validation: FieldValidation,
        warnings: &mut Vec<String>,
    ) -> Result<Value, ApiError> {
        let mut new = old.clone();
        match self.patch_type {
            PatchType::Json => {
                let operations: json_patch::Patch = serde_json::from_value(self.document.clone())
                    .map_err(|error| ApiError::bad_request(error.to_string()))?;
                json_patch::patch(&mut new, &operations).map_err(|_| ApiError::unprocessable())?;
            }
            _ => json_patch::merge(&mut new, &self.document),
        }
        let patched = new.clone();
        let refuse = |message: &str| {
            let text = String::from_utf8_lossy(&crate::apiserver::encode::to_vec(&patched)).into_owned();
            ApiError::invalid("", "", "", vec![Cause::invalid("patch", &Value::from(text), message)])
        };
        let unknown = write::renormalize(resource, &mut new).map_err(|error| refuse(&error))?;
        let strict_errors: Vec<String> = self.strict_errors.iter().cloned().chain(unknown).collect();
        match validation {
            FieldValidation::Strict if !strict_errors.is_empty() => {
                return Err(refuse(&format!("strict decoding error: {}", strict_errors.join(", "))));
            }
            FieldValidation::Warn => warnings.extend(strict_errors),
            FieldValidation::Strict | FieldValidation::Ignore => {}
        }
        Ok(new)
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

async fn apply(
    state: &State,
    place: &Place<'_>,
    patch: &Bytes,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Written, ApiError> {
    let decoded = schema::decode(patch)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    let mut applied = decoded.value;
    if !applied.is_object() {
        return Err(ApiError::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(&applied)
        )));
    }
    let resource = place.resource;
    check_applied(place, &applied)?;
    let force = options.force == Some(true);
    let validation = options.field_validation;
    let mut noted = Vec::new();
    write::update(state, place, options.dry_run, true, |old, now: Timestamp| {
        let unknown = prepare_applied(resource, &mut applied);
        if validation == FieldValidation::Strict && !unknown.is_empty() {
            return Err(ApiError::plain(unknown.join(", ")));
        }
        let mut new = place.apply(old, &applied, force, now).map_err(apply_refusal)?;
        let unknown = write::renormalize(resource, &mut new).map_err(ApiError::bad_request)?;
        if validation == FieldValidation::Warn {
            noted.extend(unknown);
        }
        if old.is_none() && !metadata::text(&new, "uid").is_empty() {
            return Err(ApiError::conflict(
                resource.subject(),
                place.name,
                &format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    metadata::text(&new, "uid")
                ),
            ));
        }
        Ok(new)
    })
    .await
    .inspect(|_| warnings.append(&mut noted))
}

/// Drops from an applied configuration what the schema does not know.
fn prepare_applied(_resource: &Resource, _applied: &mut Value) -> Vec<String> {
    Vec::new()
}

fn check_applied(place: &Place<'_>, applied: &Value) -> Result<(), ApiError> {
    let resource = place.resource;
    let text = |field: &str| applied[field].as_str().unwrap_or_default();
    if text("kind").is_empty() {
        return Err(ApiError::plain("Object 'Kind' is missing"));
    }
    if text("apiVersion") != resource.api_version() {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            text("apiVersion"),
            resource.api_version()
        )));
    }
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

fn apply_refusal(error: ApplyError) -> ApiError {
    match error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts
                .causes()
                .into_iter()
                .map(|cause| Cause {
                    reason: cause.reason.to_owned(),
                    message: cause.message,
                    field: cause.field,
                })
                .collect();
            ApiError::apply_conflict(conflicts.to_string(), causes)
        }
        other => ApiError::plain(other.to_string()),
    }
}
