//! Writes an OpenAPI v2 document in protobuf.
//!
//! Numbers and types of the fields are those of `OpenAPIv2.proto` of gnostic, the library that clients read it with.
//! Only what our documents hold is written.

use serde_json::{Map, Value};

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Boolean,
    Integer,
    Double,
    /// JSON as text, which is YAML too.
    Any,
    Anys,
    Message(&'static Message),
    /// A map: pairs of a name and a message.
    Named(&'static Message),
    /// One of two forms, each a message in a field of its own.
    OneOf(fn(&Value) -> (u32, Self)),
    OneOfs(fn(&Value) -> (u32, Self)),
}

/// A message: the name, number and kind of its fields.
struct Message {
    fields: &'static [(&'static str, u32, Kind)],
    /// The field of all members whose names begin with `x-`; 0 when there is none.
    extensions: u32,
    /// The one field that holds the whole value, for messages that only wrap it.
    whole: Option<(u32, Kind)>,
}

const fn message(fields: &'static [(&'static str, u32, Kind)], extensions: u32) -> Message {
    Message { fields, extensions, whole: None }
}

const fn wrapper(number: u32, kind: Kind) -> Message {
    Message { fields: &[], extensions: 0, whole: Some((number, kind)) }
}

static DOCUMENT: Message = message(
    &[
        ("swagger", 1, Kind::Text),
        ("info", 2, Kind::Message(&INFO)),
        ("paths", 8, Kind::Message(&PATHS)),
        ("definitions", 9, Kind::Message(&DEFINITIONS)),
    ],
    16,
);

static INFO: Message = message(&[("title", 1, Kind::Text), ("version", 2, Kind::Text)], 7);

static PATHS: Message = wrapper(2, Kind::Named(&PATH_ITEM));

static DEFINITIONS: Message = wrapper(1, Kind::Named(&SCHEMA));

static PATH_ITEM: Message = message(
    &[
        ("get", 2, Kind::Message(&OPERATION)),
        ("put", 3, Kind::Message(&OPERATION)),
        ("post", 4, Kind::Message(&OPERATION)),
        ("delete", 5, Kind::Message(&OPERATION)),
        ("patch", 7, Kind::Message(&OPERATION)),
        ("parameters", 9, Kind::OneOfs(|_| (1, Kind::OneOf(parameter)))),
    ],
    10,
);

static OPERATION: Message = message(
    &[
        ("description", 3, Kind::Text),
        ("parameters", 8, Kind::OneOfs(|_| (1, Kind::OneOf(parameter)))),
        ("responses", 9, Kind::Message(&RESPONSES)),
    ],
    13,
);

fn parameter(value: &Value) -> (u32, Kind) {
    match value["in"].as_str() {
        Some("body") => (1, Kind::Message(&BODY_PARAMETER)),
        _ => (2, Kind::OneOf(outer_parameter)),
    }
}

fn outer_parameter(value: &Value) -> (u32, Kind) {
    match value["in"].as_str() {
        Some("path") => (4, Kind::Message(&PATH_PARAMETER)),
        _ => (3, Kind::Message(&QUERY_PARAMETER)),
    }
}

static BODY_PARAMETER: Message = message(
    &[
        ("name", 2, Kind::Text),
        ("in", 3, Kind::Text),
        ("required", 4, Kind::Boolean),
        ("schema", 5, Kind::Message(&SCHEMA)),
    ],
    6,
);

static QUERY_PARAMETER: Message = message(
    &[
        ("required", 1, Kind::Boolean),
        ("in", 2, Kind::Text),
        ("name", 4, Kind::Text),
        ("type", 6, Kind::Text),
        ("uniqueItems", 20, Kind::Boolean),
    ],
    23,
);

static PATH_PARAMETER: Message = message(
    &[
        ("required", 1, Kind::Boolean),
        ("in", 2, Kind::Text),
        ("name", 4, Kind::Text),
        ("type", 5, Kind::Text),
        ("uniqueItems", 19, Kind::Boolean),
    ],
    22,
);

static RESPONSES: Message = wrapper(1, Kind::Named(&RESPONSE_VALUE));

/// A response stands in a message that could also hold a reference.
static RESPONSE_VALUE: Message = wrapper(1, Kind::Message(&RESPONSE));

static RESPONSE: Message = message(
    &[("description", 1, Kind::Text), ("schema", 2, Kind::OneOf(|_| (1, Kind::Message(&SCHEMA))))],
    5,
);

static SCHEMA: Message = message(
    &[
        ("$ref", 1, Kind::Text),
        ("format", 2, Kind::Text),
        ("title", 3, Kind::Text),
        ("description", 4, Kind::Text),
        ("multipleOf", 6, Kind::Double),
        ("maximum", 7, Kind::Double),
        ("exclusiveMaximum", 8, Kind::Boolean),
        ("minimum", 9, Kind::Double),
        ("exclusiveMinimum", 10, Kind::Boolean),
        ("maxLength", 11, Kind::Integer),
        ("minLength", 12, Kind::Integer),
        ("pattern", 13, Kind::Text),
        ("maxItems", 14, Kind::Integer),
        ("minItems", 15, Kind::Integer),
        ("uniqueItems", 16, Kind::Boolean),
        ("maxProperties", 17, Kind::Integer),
        ("minProperties", 18, Kind::Integer),
        ("required", 19, Kind::Texts),
        ("enum", 20, Kind::Anys),
        ("additionalProperties", 21, Kind::OneOf(additional_properties)),
        ("type", 22, Kind::OneOf(|_| (1, Kind::Text))),
        ("items", 23, Kind::OneOf(|_| (1, Kind::Message(&SCHEMA)))),
        ("properties", 25, Kind::Message(&DEFINITIONS)),
    ],
    31,
);

fn additional_properties(value: &Value) -> (u32, Kind) {
    if value.is_boolean() { (2, Kind::Boolean) } else { (1, Kind::Message(&SCHEMA)) }
}

/// Returns the document in protobuf.
pub(crate) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_message(&mut out, &DOCUMENT, document);
    out
}

fn write_message(out: &mut Vec<u8>, message: &Message, value: &Value) {
    if let Some((number, kind)) = message.whole {
        write_field(out, number, kind, value);
    }
    let empty = Map::new();
    let members = value.as_object().unwrap_or(&empty);
    for (name, number, kind) in message.fields {
        if let Some(member) = members.get(*name) {
            write_field(out, *number, *kind, member);
        }
    }
    if message.extensions != 0 {
        for (name, member) in members.iter().filter(|(name, _)| name.starts_with("x-")) {
            write_pair(out, message.extensions, name, |out| write_field(out, 2, Kind::Any, member));
        }
    }
}

fn write_field(out: &mut Vec<u8>, number: u32, kind: Kind, value: &Value) {
    let elements = || value.as_array().into_iter().flatten();
    match kind {
        Kind::Text => write_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Kind::Texts => elements().for_each(|element| write_field(out, number, Kind::Text, element)),
        Kind::Boolean => write_number(out, number, u64::from(value == &Value::Bool(true))),
        Kind::Integer => write_number(out, number, value.as_i64().unwrap_or_default().cast_unsigned()),
        Kind::Double => {
            write_varint(out, u64::from(number << 3 | 1));
            out.extend(value.as_f64().unwrap_or_default().to_le_bytes());
        }
        Kind::Any => {
            let mut any = Vec::new();
            write_bytes(&mut any, 2, value.to_string().as_bytes());
            write_bytes(out, number, &any);
        }
        Kind::Anys => elements().for_each(|element| write_field(out, number, Kind::Any, element)),
        Kind::Message(message) => {
            let mut inner = Vec::new();
            write_message(&mut inner, message, value);
            write_bytes(out, number, &inner);
        }
        Kind::Named(message) => {
            for (name, member) in value.as_object().into_iter().flatten() {
                write_pair(out, number, name, |out| write_field(out, 2, Kind::Message(message), member));
            }
        }
        Kind::OneOf(form) => {
            let (inner_number, kind) = form(value);
            let mut inner = Vec::new();
            write_field(&mut inner, inner_number, kind, value);
            write_bytes(out, number, &inner);
        }
        Kind::OneOfs(form) => {
            elements().for_each(|element| write_field(out, number, Kind::OneOf(form), element));
        }
    }
}

/// Writes a message of a name and what `write_value` writes into its second field.
fn write_pair(out: &mut Vec<u8>, number: u32, name: &str, write_value: impl FnOnce(&mut Vec<u8>)) {
    let mut pair = Vec::new();
    write_bytes(&mut pair, 1, name.as_bytes());
    write_value(&mut pair);
    write_bytes(out, number, &pair);
}

fn write_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    write_varint(out, u64::from(number << 3 | 2));
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_number(out: &mut Vec<u8>, number: u32, value: u64) {
    write_varint(out, u64::from(number << 3));
    write_varint(out, value);
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7F;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_numbered_as_clients_read_them() {
        let document = json!({"swagger": "2.0", "definitions": {"a": {"type": "string", "maxLength": 300, "minimum": 1}}});
        let wanted = [
            &[0x0A, 3][..], // swagger
            b"2.0",
            &[0x4A, 30, 0x0A, 28],                 // definitions: one pair
            &[0x0A, 1, b'a', 0x12, 23],            // of a name and a schema
            &[0x49, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F], // minimum, in eight bytes
            &[0x58, 0xAC, 0x02],                   // maxLength, in seven bits a byte
            &[0xB2, 0x01, 8, 0x0A, 6],             // type: a list of one text
            b"string",
        ];
        assert_eq!(encode(&document), wanted.concat());
    }
}
