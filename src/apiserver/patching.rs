//! PATCH: JSON patch, merge patch, strategic merge patch and server-side apply.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::body;
use crate::apiserver::cause::Cause;
use crate::apiserver::encode;
use crate::apiserver::go_json;
use crate::apiserver::managed_fields::ApplyError;
use crate::apiserver::metadata;
use crate::apiserver::options::{FieldValidation, WriteOptions};
use crate::apiserver::patch::{self, PatchError};
use crate::apiserver::resource::Resource;
use crate::apiserver::schema;
use crate::apiserver::server::State;
use crate::apiserver::spelling;
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
            return Err(if resource.core.is_some() {
                ApiError::unroutable_media_type()
            } else {
                ApiError::unsupported_media_type(accepted)
            });
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
    bytes: &Bytes,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Written, ApiError> {
    if patch_type == PatchType::Apply {
        return apply(state, place, bytes, options, warnings).await;
    }
    let change = Change::parse(patch_type, bytes, options.field_validation)?;
    let mut noted = Vec::new();
    let result = write::update(state, place, options.dry_run, false, |old, now| {
        noted.clear();
        let Some(old) = old else {
            return Err(ApiError::not_found(place.resource.subject(), place.name));
        };
        let mut new = change.on(place.resource, old, options.field_validation, &mut noted)?;
        noted.extend(metadata::dedupe_owners(&mut new, true));
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
    /// What strict reading refuses about the patch itself.
    strict_errors: Vec<String>,
}

/// The members of an operation of a JSON patch.
const MEMBERS: [&str; 4] = ["op", "path", "from", "value"];

impl Change {
    fn parse(patch_type: PatchType, bytes: &[u8], validation: FieldValidation) -> Result<Self, ApiError> {
        let decoded = schema::decode(bytes).map_err(|error| {
            let fault = go_json::fault(bytes).unwrap_or_else(|| error.to_string());
            ApiError::bad_request(match patch_type {
                PatchType::Merge | PatchType::Strategic => "invalid JSON patch".to_owned(),
                PatchType::Json | PatchType::Apply => format!("error decoding patch: {fault}"),
            })
        })?;
        let mut strict_errors = Vec::new();
        if validation != FieldValidation::Ignore {
            let prefix = if patch_type == PatchType::Json { "json patch " } else { "" };
            let duplicates = decoded.duplicates.iter();
            strict_errors.extend(duplicates.map(|path| format!("{prefix}duplicate field \"{path}\"")));
            if patch_type == PatchType::Json {
                strict_errors.extend(unknown_members(&decoded.value));
            }
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
        let patched = match self.patch_type {
            PatchType::Json => patch::json_patch(old, &self.document),
            PatchType::Strategic => patch::strategic_patch(old, &self.document),
            PatchType::Merge | PatchType::Apply => patch::merge_patch(old, &self.document),
        }
        .map_err(|error| patch_refusal(&error))?;
        let refuse = |message: &str| {
            let text = encode::to_text(&patched);
            ApiError::invalid("", "", "", vec![Cause::invalid("patch", &Value::from(text), message)])
        };
        let mut new = patched.clone();
        let unknown =
            if resource.core.is_none() && new.is_object() && new["apiVersion"] != resource.api_version() {
                body::misplaced(&new)
            } else {
                body::normalize(resource, &mut new).map_err(|error| refuse(&error))?
            };
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

fn unknown_members(operations: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for (index, operation) in operations.as_array().into_iter().flatten().enumerate() {
        for member in operation.as_object().into_iter().flatten().map(|(member, _)| member) {
            if !MEMBERS.contains(&member.as_str()) {
                errors.push(format!("json patch unknown field \"[{index}].{member}\""));
            }
        }
    }
    errors
}

fn patch_refusal(error: &PatchError) -> ApiError {
    match error {
        PatchError::Malformed(message) => ApiError::bad_request(message),
        PatchError::TooManyOperations { .. } => ApiError::too_large(&error.to_string()),
        PatchError::Inapplicable { reason } => {
            tracing::debug!(reason, "A patch does not fit its object");
            ApiError::unprocessable()
        }
        PatchError::Failed(message) => ApiError::plain(message),
    }
}

async fn apply(
    state: &State,
    place: &Place<'_>,
    patch: &Bytes,
    options: &WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Written, ApiError> {
    let (applied, duplicates) = read_applied(patch)?;
    let force = options.force == Some(true);
    // An apply makes the object itself, never one of its subresources alone.
    let may_create = place.subresource.is_empty();
    let written = write::update(state, place, options.dry_run, may_create, |old, now: Timestamp| {
        check_applied(place, &applied)?;
        let mut new = place.apply(old, &applied, force, now).map_err(apply_refusal)?;
        match place.resource.core {
            Some(_) => drop(body::normalize(place.resource, &mut new).map_err(ApiError::bad_request)?),
            None => place.resource.schema.fill_defaults(&mut new),
        }
        let uid = metadata::text(&new, "uid");
        if old.is_none() && !uid.is_empty() {
            return Err(ApiError::conflict(
                place.resource.subject(),
                place.name,
                &format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                ),
            ));
        }
        if options.field_validation == FieldValidation::Strict && !duplicates.is_empty() {
            let error = format!("error strict decoding YAML: {}", duplicates.join(", "));
            return Err(ApiError::bad_request(error));
        }
        Ok(new)
    })
    .await?;
    if options.field_validation == FieldValidation::Warn {
        warnings.extend(duplicates);
    }
    Ok(written)
}

/// Reads an applied configuration, JSON or YAML, and what strict reading refuses about it.
fn read_applied(patch: &Bytes) -> Result<(Value, Vec<String>), ApiError> {
    if let Ok(decoded) = schema::decode(patch) {
        if decoded.value.is_object() {
            let duplicates =
                decoded.duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect();
            return Ok((decoded.value, duplicates));
        }
        return Err(ApiError::bad_request(format!(
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            spelling::json_name(&decoded.value)
        )));
    }
    if patch.trim_ascii().is_empty() {
        return Err(ApiError::bad_request("invalid object type: /, Kind="));
    }
    match body::yaml(patch) {
        Ok(value) => Ok((value, Vec::new())),
        Err(error) => Err(ApiError::bad_request(format!("error decoding YAML: {error}"))),
    }
}

fn check_applied(place: &Place<'_>, applied: &Value) -> Result<(), ApiError> {
    let resource = place.resource;
    let text = |field: &str| applied[field].as_str().unwrap_or_default();
    if text("kind") != resource.kind || text("apiVersion") != resource.api_version() {
        let api_version = text("apiVersion");
        let separator = if api_version.contains('/') { "" } else { "/" };
        return Err(ApiError::bad_request(format!(
            "invalid object type: {separator}{api_version}, Kind={}",
            text("kind")
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
