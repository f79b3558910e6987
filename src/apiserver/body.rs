//! From the bytes of a request to an object: size limit, decoding, unknown and duplicate fields, pruning, defaults.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use crate::apiserver::core_kinds::CoreKind;
use crate::apiserver::core_kinds::shape::Mismatch;
use crate::apiserver::negotiate::Encoding;
use crate::apiserver::options::FieldValidation;
use crate::apiserver::resource::Resource;
use crate::apiserver::schema;
use crate::apiserver::status::ApiError;

/// The largest body that is read, in bytes: what the real server takes.
const BODY_LIMIT: usize = 3 << 20;

/// Reads a whole body.
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::too_large(&format!("limit is {BODY_LIMIT}")))
        }
        Err(error) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// An object from a body, and what strict reading would refuse about it.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) object: Value,
    pub(crate) strict_errors: Vec<String>,
}

/// Decodes the object of a create or update.
pub(crate) fn decode(resource: &Resource, bytes: &[u8], encoding: Encoding) -> Result<Incoming, ApiError> {
    let (mut object, mut strict_errors) = match encoding {
        Encoding::Json => {
            let decoded =
                schema::decode(bytes).map_err(|error| unreadable(resource, bytes, &error.to_string()))?;
            (decoded.value, decoded.duplicates.iter().map(|path| duplicate(path)).collect::<Vec<_>>())
        }
        Encoding::Yaml | Encoding::Protobuf => {
            return Err(ApiError::unsupported_media_type(&["application/json"]));
        }
    };
    if !object.is_object() {
        return Err(unreadable(
            resource,
            bytes,
            "json: cannot unmarshal into Go value of type map[string]interface {}",
        ));
    }
    complete_type(resource, &mut object);
    check_type(resource, &object)?;
    strict_errors.extend(
        normalize(resource, &mut object).map_err(|error| cannot_be_handled(&object, resource, &error))?,
    );
    Ok(Incoming { object, strict_errors })
}

fn duplicate(path: &str) -> String {
    format!("duplicate field \"{path}\"")
}

fn unreadable(resource: &Resource, bytes: &[u8], error: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {error} ({})",
        resource.kind,
        summary(bytes)
    ))
}

/// Returns the beginning of a body as refusals show it: text for an object, hexadecimal for anything else.
fn summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let head = bytes.get(..SHOWN).unwrap_or(bytes);
    let more = if bytes.len() > SHOWN { " ..." } else { "" };
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => format!("{}{more}", hex::encode(head)),
    }
}

/// Fills in `apiVersion` and `kind` from the path where a client left them out.
fn complete_type(resource: &Resource, object: &mut Value) {
    let absent = |value: &Value| value.as_str().is_none_or(str::is_empty);
    if absent(&object["apiVersion"]) {
        object["apiVersion"] = Value::from(resource.api_version());
    }
    if absent(&object["kind"]) {
        object["kind"] = Value::from(resource.kind.as_str());
    }
}

fn check_type(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if kind != resource.kind {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {}: converting ({kind}) to ({}): unknown conversion",
            resource.kind, resource.kind
        )));
    }
    if api_version != resource.api_version() {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            resource.api_version()
        )));
    }
    Ok(())
}

fn cannot_be_handled(object: &Value, resource: &Resource, error: &str) -> ApiError {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    ApiError::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {}: {error}",
        resource.kind
    ))
}

/// Brings an object into the form in which it is held: pruned and defaulted. Returns the complaints of strict reading.
pub(crate) fn normalize(resource: &Resource, object: &mut Value) -> Result<Vec<String>, String> {
    match resource.core {
        Some(core) => normalize_core(core, object),
        None => {
            let mut errors = Vec::new();
            let mut metadata_unknown = Vec::new();
            crate::apiserver::core_kinds::shape::METADATA
                .decode(&object["metadata"], "metadata", &mut metadata_unknown)
                .map_err(|mismatch| go_mismatch("ObjectMeta", &mismatch))
                .map(|metadata| {
                    object["metadata"] =
                        if metadata.is_null() { Value::Object(serde_json::Map::new()) } else { metadata };
                })?;
            errors.extend(metadata_unknown.iter().map(|path| unknown(path)));
            errors.extend(resource.schema.prune(object).iter().map(|path| unknown(path)));
            resource.schema.fill_defaults(object);
            Ok(errors)
        }
    }
}

fn unknown(path: &str) -> String {
    format!("unknown field \"{path}\"")
}

fn normalize_core(core: &CoreKind, object: &mut Value) -> Result<Vec<String>, String> {
    let api_version = object["apiVersion"].take();
    let kind = object["kind"].take();
    if let Some(map) = object.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
    }
    let mut unknown_paths = Vec::new();
    let mut decoded = core
        .shape
        .decode(object, "", &mut unknown_paths)
        .map_err(|mismatch| go_mismatch(core.kind, &mismatch))?;
    if decoded.is_null() {
        decoded = Value::Object(serde_json::Map::new());
    }
    decoded["apiVersion"] = api_version;
    decoded["kind"] = kind;
    (core.default)(&mut decoded);
    *object = decoded;
    Ok(unknown_paths.iter().map(|path| unknown(path)).collect())
}

fn go_mismatch(kind: &str, mismatch: &Mismatch) -> String {
    let field = mismatch.path.strip_prefix("metadata.").map_or_else(
        || format!("{kind}.{}", mismatch.path),
        |inner| {
            if kind == "ObjectMeta" {
                format!("{kind}.{inner}")
            } else {
                format!("ObjectMeta.metadata.{inner}")
            }
        },
    );
    format!(
        "json: cannot unmarshal {} into Go struct field {field} of type {}",
        mismatch.found, mismatch.wanted
    )
}

/// Turns the complaints of strict reading into a refusal or into warnings, as the client asked.
pub(crate) fn judge(
    resource: &Resource,
    incoming: &Incoming,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    if incoming.strict_errors.is_empty() {
        return Ok(());
    }
    match validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            warnings.extend(incoming.strict_errors.iter().cloned());
            Ok(())
        }
        FieldValidation::Strict => Err(cannot_be_handled(
            &incoming.object,
            resource,
            &format!("strict decoding error: {}", incoming.strict_errors.join(", ")),
        )),
    }
}

/// Decodes the options in the body of a deletion.
pub(crate) fn delete_options(bytes: &[u8], encoding: Encoding) -> Result<Value, ApiError> {
    if encoding != Encoding::Json {
        return Err(ApiError::unsupported_media_type(&["application/json"]));
    }
    let options: Value =
        serde_json::from_slice(bytes).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let kind = options["kind"].as_str().unwrap_or("DeleteOptions");
    if !options.is_object() || kind != "DeleteOptions" {
        return Err(ApiError::bad_request("decoded object cannot be converted to DeleteOptions"));
    }
    Ok(options)
}
