//! From the bytes of a request to an object: size limit, decoding, unknown and duplicate fields, pruning, defaults.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value};

use crate::apiserver::core_kinds::shape::Mismatch;
use crate::apiserver::core_kinds::{self, CoreKind};
use crate::apiserver::go_json;
use crate::apiserver::negotiate::Encoding;
use crate::apiserver::options::FieldValidation;
use crate::apiserver::protobuf::{self, ProtobufError};
use crate::apiserver::resource::Resource;
use crate::apiserver::schema;
use crate::apiserver::spelling;
use crate::apiserver::status::ApiError;
use crate::yaml::{self, Limits};

/// The largest body that is read, in bytes: what the real server takes.
const BODY_LIMIT: usize = 3 << 20;

/// How long a body may take to arrive: as long as the real server gives a whole request.
const BODY_PATIENCE: Duration = Duration::from_mins(1);

/// Reads a whole body.
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    read_within(body, BODY_PATIENCE).await
}

async fn read_within(body: Body, patience: Duration) -> Result<Bytes, ApiError> {
    let collected = Limited::new(body, BODY_LIMIT).collect();
    let Ok(collected) = tokio::time::timeout(patience, collected).await else {
        return Err(ApiError::timeout("the body of the request did not arrive in time"));
    };
    match collected {
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
        Encoding::Json => json(bytes).map_err(|error| unreadable(resource, bytes, &error))?,
        Encoding::Yaml => {
            let object = yaml(bytes).map_err(|error| unreadable(resource, bytes, &error))?;
            (object, Vec::new())
        }
        Encoding::Protobuf => {
            let object = protobuf::decode(bytes).map_err(|error| bad_protobuf(resource, bytes, &error))?;
            (object, Vec::new())
        }
    };
    complete_type(resource, &mut object);
    check_type(resource, bytes, &object)?;
    if object["apiVersion"].as_str().unwrap_or_default().is_empty() {
        return Ok(Incoming { object, strict_errors });
    }
    if object["apiVersion"] != resource.api_version() {
        return Ok(Incoming { strict_errors: misplaced(&object), object });
    }
    let unknown =
        normalize(resource, &mut object).map_err(|error| cannot_be_handled(&object, resource, &error))?;
    strict_errors.extend(unknown);
    Ok(Incoming { object, strict_errors })
}

/// Reads JSON that has to be an object. Returns it with what strict reading refuses.
fn json(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    let about = "couldn't get version/kind; json parse error";
    let decoded = schema::decode(bytes).map_err(|error| {
        let fault = go_json::fault(bytes).unwrap_or_else(|| error.to_string());
        format!("{about}: {fault}")
    })?;
    if decoded.value.is_null() {
        // Go reads null into anything, and finds nothing in it.
        return Ok((Value::Object(Map::new()), Vec::new()));
    }
    if !decoded.value.is_object() {
        return Err(format!(
            "{about}: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            spelling::json_name(&decoded.value)
        ));
    }
    let duplicates = decoded.duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect();
    Ok((decoded.value, duplicates))
}

/// Reads one YAML document.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Value, String> {
    let limits = Limits { bytes: BODY_LIMIT, documents: 1, ..Limits::default() };
    let documents = yaml::parse_bytes(bytes, &limits).map_err(|faults| match faults.first() {
        Some(fault) => format!("yaml: line {}: {}", fault.position.line, fault.message),
        None => "yaml: the document cannot be read".to_owned(),
    })?;
    let value = documents.into_iter().next().map(|document| document.value).unwrap_or_default();
    if value.is_object() { Ok(value) } else { Err("yaml: the document is not a mapping".to_owned()) }
}

fn bad_protobuf(resource: &Resource, bytes: &[u8], error: &ProtobufError) -> ApiError {
    match error {
        ProtobufError::Envelope(reason) => unreadable(resource, bytes, reason),
        ProtobufError::Object { api_version, kind, reason } => {
            let version = api_version.rsplit('/').next().unwrap_or_default();
            ApiError::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {}: {reason}",
                resource.kind
            ))
        }
    }
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

/// Fills in `apiVersion` and `kind` from the path where a client left them out, as Kubernetes' own kinds allow.
fn complete_type(resource: &Resource, object: &mut Value) {
    if resource.core.is_none() {
        return;
    }
    let absent = |value: &Value| value.as_str().is_none_or(str::is_empty);
    if absent(&object["apiVersion"]) {
        object["apiVersion"] = Value::from(resource.api_version());
    }
    if absent(&object["kind"]) {
        object["kind"] = Value::from(resource.kind.as_str());
    }
}

fn check_type(resource: &Resource, bytes: &[u8], object: &Value) -> Result<(), ApiError> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let Some(core) = resource.core else {
        if kind.is_empty() {
            let error = format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(bytes));
            return Err(unreadable(resource, bytes, &error));
        }
        // Another kind is a fault of the object, which validation names.
        return Ok(());
    };
    if kind == core.kind && api_version == resource.api_version() {
        return Ok(());
    }
    if kind == core.kind {
        return Err(wrong_version(resource, api_version));
    }
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let reason = if core_kinds::is_known(api_version, kind) {
        let package =
            if core.group.is_empty() { "core" } else { core.group.split('.').next().unwrap_or("core") };
        format!("converting ({version}.{kind}) to ({package}.{}): unknown conversion", core.kind)
    } else {
        format!(
            "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )
    };
    Err(cannot_be_handled(object, resource, &reason))
}

/// Returns the refusal of an object in another version than the path's.
pub(crate) fn wrong_version(resource: &Resource, api_version: &str) -> ApiError {
    ApiError::bad_request(format!(
        "the API version in the data ({api_version}) does not match the expected API version ({})",
        resource.api_version()
    ))
}

/// Returns the complaints about an object in an unknown version: nothing of it has a schema.
pub(crate) fn misplaced(object: &Value) -> Vec<String> {
    let known = ["apiVersion", "kind", "metadata"];
    let fields = object.as_object().into_iter().flatten().map(|(name, _)| name);
    fields.filter(|name| !known.contains(&name.as_str())).map(|name| unknown(name)).collect()
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
    if let Some(core) = resource.core {
        return normalize_core(core, object);
    }
    let Value::Object(fields) = object else {
        let found = spelling::json_name(object);
        return Err(format!(
            "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        ));
    };
    fields.entry("metadata").or_insert(Value::Null);
    let paths = resource.schema.coerce(fields)?;
    resource.schema.fill_defaults(object);
    Ok(paths.iter().map(|path| unknown(path)).collect())
}

fn unknown(path: &str) -> String {
    format!("unknown field \"{path}\"")
}

fn normalize_core(core: &CoreKind, object: &mut Value) -> Result<Vec<String>, String> {
    let (api_version, kind) = (object["apiVersion"].clone(), object["kind"].clone());
    let mut content = object.clone();
    if let Some(map) = content.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
    }
    let mut unknown_paths = Vec::new();
    let mut decoded = core
        .shape
        .decode(&content, "", &mut unknown_paths)
        .map_err(|mismatch| go_mismatch(core.kind, &mismatch))?;
    if decoded.is_null() {
        decoded = Value::Object(Map::new());
    }
    decoded["apiVersion"] = api_version;
    decoded["kind"] = kind;
    (core.default)(&mut decoded);
    *object = decoded;
    Ok(unknown_paths.iter().map(|path| unknown(path)).collect())
}

fn go_mismatch(kind: &str, mismatch: &Mismatch) -> String {
    let (path, found, wanted) = match mismatch {
        Mismatch::Text(text) => return text.clone(),
        Mismatch::Type { path, found, wanted } => (path, found, wanted),
    };
    let field = match path.strip_prefix("metadata.") {
        Some(inner) => format!("ObjectMeta.metadata.{inner}"),
        None => format!("{kind}.{path}"),
    };
    format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}")
}

/// Turns the complaints of strict reading into a refusal or into warnings, as the client asked.
pub(crate) fn judge(
    resource: &Resource,
    incoming: &Incoming,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    note(resource, incoming, validation, warnings)?;
    let api_version = incoming.object["apiVersion"].as_str().unwrap_or_default();
    if api_version == resource.api_version() { Ok(()) } else { Err(wrong_version(resource, api_version)) }
}

fn note(
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

/// Decodes an object that has no schema here.
pub(crate) fn plain(bytes: &[u8], encoding: Encoding) -> Result<Value, ApiError> {
    match encoding {
        Encoding::Json => json(bytes).map(|(object, _)| object).map_err(ApiError::bad_request),
        Encoding::Yaml => yaml(bytes).map_err(ApiError::bad_request),
        Encoding::Protobuf => {
            protobuf::decode(bytes).map_err(|error| ApiError::bad_request(error.to_string()))
        }
    }
}

/// Decodes the options in the body of a deletion.
pub(crate) fn delete_options(bytes: &[u8], encoding: Encoding) -> Result<Value, ApiError> {
    let options = plain(bytes, encoding)?;
    let text = |field: &str, default| options[field].as_str().unwrap_or(default).to_owned();
    let (api_version, kind) = (text("apiVersion", "v1"), text("kind", "DeleteOptions"));
    if kind != "DeleteOptions" {
        return Err(ApiError::bad_request(format!(
            "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/runtime/scheme.go:111\""
        )));
    }
    let grace = &options["gracePeriodSeconds"];
    if !grace.is_null() && !grace.is_i64() {
        return Err(ApiError::bad_request(format!(
            "json: cannot unmarshal {} into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
            spelling::json_name(grace)
        )));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let begun = futures::stream::iter([Ok::<_, std::convert::Infallible>("{\"kind\":")]);
        let body = Body::from_stream(begun.chain(futures::stream::pending()));
        let refusal = read_within(body, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (504, "Timeout"));
        let endless = futures::stream::repeat(Ok::<_, std::convert::Infallible>(vec![b' '; 1 << 16]));
        let refusal = read(Body::from_stream(endless)).await.unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (413, "RequestEntityTooLarge"));
    }
}
