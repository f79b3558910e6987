//! Reads request bodies in Kubernetes' protobuf encoding.
//!
//! Some clients, kubectl among them, send the built-in kinds in no other way. A body is the four bytes `k8s\0` and an
//! envelope that names the kind and carries the object. The objects become the same JSON that a JSON body would
//! have been; nothing is ever written in this encoding, since clients accept JSON answers.
//!
//! Numbers and types of the fields are those of the `generated.proto` files of Kubernetes' API.

mod tables;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::apiserver::protobuf::tables::{Field, Kind, message};
use crate::apiserver::schema;

/// How many objects and lists `metadata.managedFields[0].fieldsV1` lies in: the object, its metadata, the list, and the
/// entry.
const FIELDS_DEPTH: usize = 4;

/// What every body begins with.
const PREFIX: &[u8] = b"k8s\0";

/// A body that cannot be read. The texts are those of the real server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// What surrounds the object is broken, so its kind is unknown.
    #[error("{0}")]
    Envelope(String),
    /// The object is broken or of a kind that is not read.
    #[error("{reason}")]
    Object {
        /// The version that the envelope states.
        api_version: String,
        /// The kind that the envelope states.
        kind: String,
        /// What is wrong.
        reason: String,
    },
}

/// Returns the object in `bytes` with its `apiVersion` and `kind`.
pub fn decode(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let broken = |reason: &str| ProtobufError::Envelope(reason.to_owned());
    if bytes.is_empty() {
        return Err(broken("empty data"));
    }
    let envelope = bytes.strip_prefix(PREFIX).ok_or_else(|| {
        broken("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    })?;
    if envelope.is_empty() {
        return Err(broken("empty body"));
    }
    let (api_version, kind, raw) = open(envelope).map_err(|fault| broken(fault.reason()))?;
    let refused = |reason: String| ProtobufError::Object {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        reason,
    };
    let fields = message(api_version, kind).ok_or_else(|| {
        refused(format!(
            "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/runtime/scheme.go:111\""
        ))
    })?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::from(api_version));
    object.insert("kind".to_owned(), Value::from(kind));
    read(raw, fields, &mut object).map_err(|fault| refused(fault.reason().to_owned()))?;
    Ok(Value::Object(object))
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    End,
    Overflow,
    WireType,
    Utf8,
    Time,
    Json,
}

impl Fault {
    fn reason(self) -> &'static str {
        match self {
            Self::End => "unexpected EOF",
            Self::Overflow => "proto: integer overflow",
            Self::WireType => "proto: illegal wireType",
            Self::Utf8 => "proto: invalid UTF-8",
            Self::Time => "proto: time out of range",
            Self::Json => "proto: fieldsV1 is no JSON, or nests too deeply",
        }
    }
}

/// One field as it stands in a message.
enum Item<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a type that none of the messages here uses.
    Other,
}

/// Returns version, kind and content of an envelope.
fn open(mut rest: &[u8]) -> Result<(&str, &str, &[u8]), Fault> {
    let (mut api_version, mut kind, mut raw): (&str, &str, &[u8]) = ("", "", &[]);
    while !rest.is_empty() {
        match item(&mut rest)? {
            (1, Item::Bytes(mut type_meta)) => {
                while !type_meta.is_empty() {
                    match item(&mut type_meta)? {
                        (1, Item::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Item::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    Ok((api_version, kind, raw))
}

/// Reads a message into `object`. A field that comes twice is merged if it is a message, otherwise the last one
/// counts; unknown fields are passed over: the rules of protobuf. The depth is that of the tables, not of the data.
fn read(mut rest: &[u8], fields: &'static [Field], object: &mut Map<String, Value>) -> Result<(), Fault> {
    while !rest.is_empty() {
        let (number, item) = item(&mut rest)?;
        let Some(field) = fields.iter().find(|field| field.number == number) else { continue };
        let slot = object.entry(field.name).or_insert(Value::Null);
        if field.repeated {
            let mut element = Value::Null;
            assign(&mut element, field.kind, item)?;
            match slot {
                Value::Array(elements) => elements.push(element),
                _ => *slot = Value::Array(vec![element]),
            }
        } else {
            assign(slot, field.kind, item)?;
        }
    }
    Ok(())
}

fn assign(slot: &mut Value, kind: Kind, item: Item<'_>) -> Result<(), Fault> {
    match (kind, item) {
        // Negative numbers are written as their two's complement in 64 bits.
        (Kind::Integer, Item::Number(number)) => *slot = Value::from(number.cast_signed()),
        (Kind::Boolean, Item::Number(number)) => *slot = Value::from(number != 0),
        (Kind::Text, Item::Bytes(bytes)) => *slot = Value::from(text(bytes)?),
        (Kind::Time, Item::Bytes(bytes)) => *slot = time(bytes, false)?,
        (Kind::MicroTime, Item::Bytes(bytes)) => *slot = time(bytes, true)?,
        (Kind::FieldsV1, Item::Bytes(bytes)) => {
            *slot = Value::Null;
            let mut rest = bytes;
            while !rest.is_empty() {
                if let (1, Item::Bytes(raw)) = self::item(&mut rest)? {
                    *slot = schema::decode_at(raw, FIELDS_DEPTH).map_err(|_| Fault::Json)?.value;
                }
            }
        }
        (Kind::Message(fields), Item::Bytes(bytes)) => read(bytes, fields, as_map(slot))?,
        (Kind::TextMap, Item::Bytes(bytes)) => {
            let (key, value) = entry(bytes)?;
            as_map(slot).insert(key.to_owned(), Value::from(text(value)?));
        }
        (Kind::BytesMap, Item::Bytes(bytes)) => {
            let (key, value) = entry(bytes)?;
            as_map(slot).insert(key.to_owned(), Value::from(STANDARD.encode(value)));
        }
        _ => return Err(Fault::WireType),
    }
    Ok(())
}

fn as_map(slot: &mut Value) -> &mut Map<String, Value> {
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("because it was just made an object")
}

/// Returns key and value of an entry of a map.
fn entry(mut rest: &[u8]) -> Result<(&str, &[u8]), Fault> {
    let (mut key, mut value): (&str, &[u8]) = ("", &[]);
    while !rest.is_empty() {
        match item(&mut rest)? {
            (1, Item::Bytes(bytes)) => key = text(bytes)?,
            (2, Item::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

/// Returns an instant as Kubernetes writes it in JSON; an empty message is the absent time.
fn time(mut rest: &[u8], micro: bool) -> Result<Value, Fault> {
    if rest.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    while !rest.is_empty() {
        match item(&mut rest)? {
            (1, Item::Number(number)) => seconds = number.cast_signed(),
            (2, Item::Number(number)) => nanoseconds = number.cast_signed(),
            _ => {}
        }
    }
    // The real server drops the fraction of a time with seconds, so that JSON clients read what was stored.
    let nanoseconds = if micro { i32::try_from(nanoseconds).map_err(|_| Fault::Time)? } else { 0 };
    let timestamp = Timestamp::new(seconds, nanoseconds).map_err(|_| Fault::Time)?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Value::from(timestamp.strftime(format).to_string()))
}

/// Takes one field, with its number, from the front of a message.
fn item<'a>(rest: &mut &'a [u8]) -> Result<(u64, Item<'a>), Fault> {
    let tag = varint(rest)?;
    let item = match tag & 7 {
        0 => Item::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| Item::Other)?,
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| Fault::End)?;
            Item::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| Item::Other)?,
        _ => return Err(Fault::WireType),
    };
    Ok((tag >> 3, item))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Fault> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Fault::End)?;
    *rest = left;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Fault> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, left) = rest.split_first().ok_or(Fault::End)?;
        *rest = left;
        number |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Fault::Overflow)
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Utf8)
}
