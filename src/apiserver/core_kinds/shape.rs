//! The fields of Kubernetes' own kinds: order, types, and what is written when a value is empty.
//!
//! The real server holds these kinds in structs. So unknown fields vanish, empty optional fields are not written, some
//! empty fields are written as `null`, `""` or `{}`, and keys come in the order of the struct. A [`Shape`] says all of
//! that once, for decoding and for encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::{Map, Number, Value};

use crate::apiserver::spelling;

/// What may stand at one place of an object.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Named fields in the order in which they are written.
    Struct(&'static [Field]),
    /// Any keys, one kind of value.
    Map(&'static Self),
    /// Items of one kind.
    List(&'static Self),
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A whole number of 32 bits.
    Integer32,
    /// `true` or `false`.
    Boolean,
    /// Base64 text.
    Bytes,
    /// An instant with seconds.
    Time,
    /// An instant with microseconds.
    MicroTime,
    /// A shape that contains itself; its published schema ends here.
    Recursive(&'static Self),
    /// Anything, kept as it is.
    Any,
}

/// A field of a struct.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static Shape,
    /// Whether an empty value is written rather than left out.
    pub(crate) kept: bool,
    /// Whether `false`, `0` and an empty struct that a client wrote are kept: what a pointer does in Go.
    pub(crate) pointer: bool,
}

/// A field that is left out while empty.
pub(crate) const fn optional(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, kept: false, pointer: false }
}

/// A field that is left out when a client did not write it, but may be zero.
pub(crate) const fn pointer(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, kept: false, pointer: true }
}

/// A field that is always written.
pub(crate) const fn kept(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, kept: true, pointer: false }
}

pub(crate) static TEXT: Shape = Shape::Text;
pub(crate) static TEXTS: Shape = Shape::List(&Shape::Text);
pub(crate) static TEXT_MAP: Shape = Shape::Map(&Shape::Text);
pub(crate) static BYTES_MAP: Shape = Shape::Map(&Shape::Bytes);
pub(crate) static INTEGER: Shape = Shape::Integer;
pub(crate) static INTEGER_32: Shape = Shape::Integer32;
pub(crate) static BOOLEAN: Shape = Shape::Boolean;
pub(crate) static TIME: Shape = Shape::Time;
pub(crate) static MICRO_TIME: Shape = Shape::MicroTime;
pub(crate) static ANY: Shape = Shape::Any;

/// The metadata of every object.
pub(crate) static METADATA: Shape = Shape::Struct(&[
    optional("name", &TEXT),
    optional("generateName", &TEXT),
    optional("namespace", &TEXT),
    optional("selfLink", &TEXT),
    optional("uid", &TEXT),
    optional("resourceVersion", &TEXT),
    optional("generation", &INTEGER),
    optional("creationTimestamp", &TIME),
    pointer("deletionTimestamp", &TIME),
    pointer("deletionGracePeriodSeconds", &INTEGER),
    optional("labels", &TEXT_MAP),
    optional("annotations", &TEXT_MAP),
    optional("ownerReferences", &OWNER_REFERENCES),
    optional("finalizers", &TEXTS),
    optional("managedFields", &Shape::List(&MANAGED_FIELDS)),
]);

/// The owners of an object.
pub(crate) static OWNER_REFERENCES: Shape = Shape::List(&OWNER_REFERENCE);

static OWNER_REFERENCE: Shape = Shape::Struct(&[
    kept("apiVersion", &TEXT),
    kept("kind", &TEXT),
    kept("name", &TEXT),
    kept("uid", &TEXT),
    pointer("controller", &BOOLEAN),
    pointer("blockOwnerDeletion", &BOOLEAN),
]);

static MANAGED_FIELDS: Shape = Shape::Struct(&[
    optional("manager", &TEXT),
    optional("operation", &TEXT),
    optional("apiVersion", &TEXT),
    pointer("time", &TIME),
    optional("fieldsType", &TEXT),
    pointer("fieldsV1", &ANY),
    optional("subresource", &TEXT),
]);

/// A value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// A value of another type.
    Type {
        /// The field, without the kind in front; empty for the object itself.
        path: String,
        /// What stands there, in Go's word for it.
        found: String,
        /// The Go type that it should have.
        wanted: String,
    },
    /// A text that cannot be read; this is what the real server says.
    Text(String),
}

impl Shape {
    /// Returns `value` as the real server would hold it, and adds the paths of fields that it does not know to
    /// `unknown`.
    pub(crate) fn decode(
        &self,
        value: &Value,
        path: &str,
        unknown: &mut Vec<String>,
    ) -> Result<Value, Mismatch> {
        let mismatch = || Mismatch::Type {
            path: path.to_owned(),
            found: spelling::json_name(value).to_owned(),
            wanted: self.go_type(),
        };
        match (self, value) {
            (Self::Recursive(inner), _) => inner.decode(value, path, unknown),
            (Self::Integer | Self::Integer32, Value::Number(number)) if !self.holds(number) => {
                Err(Mismatch::Type {
                    path: path.to_owned(),
                    found: format!("number {number}"),
                    wanted: self.go_type(),
                })
            }
            (Self::Any, _)
            | (_, Value::Null)
            | (Self::Integer | Self::Integer32, Value::Number(_))
            | (Self::Text, Value::String(_))
            | (Self::Boolean, Value::Bool(_)) => Ok(value.clone()),
            (Self::Struct(fields), Value::Object(map)) => {
                for name in map.keys() {
                    if !fields.iter().any(|field| field.name == name) {
                        unknown.push(join(path, name));
                    }
                }
                let mut decoded = Map::new();
                for field in *fields {
                    let value = match map.get(field.name) {
                        None | Some(Value::Null) => Value::Null,
                        Some(value) => field.shape.decode(value, &join(path, field.name), unknown)?,
                    };
                    let is_struct = matches!(field.shape, Self::Struct(_));
                    let value = if field.kept && is_struct { field.shape.or_zero(value) } else { value };
                    if (field.kept && is_struct) || !is_empty(&value, field.pointer) {
                        decoded.insert(field.name.to_owned(), value);
                    }
                }
                Ok(Value::Object(decoded))
            }
            (Self::Map(inner), Value::Object(map)) => {
                let mut decoded = Map::new();
                for (name, value) in map {
                    let value = inner.decode(value, path, unknown)?;
                    decoded.insert(name.clone(), inner.or_zero(value));
                }
                Ok(Value::Object(decoded))
            }
            (Self::List(inner), Value::Array(items)) => {
                let mut decoded = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let value = inner.decode(item, &format!("{path}[{index}]"), unknown)?;
                    decoded.push(inner.or_zero(value));
                }
                Ok(Value::Array(decoded))
            }
            (Self::Bytes, Value::String(text)) => match STANDARD.decode(text) {
                Ok(bytes) => Ok(Value::from(STANDARD.encode(bytes))),
                Err(_) => {
                    Err(Mismatch::Text(format!("illegal base64 data at input byte {}", bad_base64(text))))
                }
            },
            (Self::Time | Self::MicroTime, Value::String(text)) => self.time(text),
            _ => Err(mismatch()),
        }
    }

    /// Returns an instant in the form in which it is written.
    fn time(&self, text: &str) -> Result<Value, Mismatch> {
        let format = if matches!(self, Self::MicroTime) {
            "2006-01-02T15:04:05.000000Z07:00"
        } else {
            "2006-01-02T15:04:05Z07:00"
        };
        if text.is_empty() {
            return Ok(Value::Null);
        }
        let instant: Timestamp = text.parse().map_err(|_| {
            Mismatch::Text(format!(
                "parsing time {text:?} as \"{format}\": cannot parse {text:?} as \"2006\""
            ))
        })?;
        if matches!(self, Self::MicroTime) {
            let rest = text.get(19..).unwrap_or_default();
            let digits = rest.strip_prefix('.').unwrap_or_default();
            let count = digits.bytes().take_while(u8::is_ascii_digit).count();
            if count != 6 {
                return Err(Mismatch::Text(format!(
                    "parsing time {text:?} as \"{format}\": cannot parse {rest:?} as \".000000\""
                )));
            }
        }
        let written = if matches!(self, Self::MicroTime) {
            instant.strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        } else {
            instant.strftime("%Y-%m-%dT%H:%M:%SZ")
        };
        Ok(Value::from(written.to_string()))
    }

    /// Takes empty fields out of a stored value, so that it looks as a client would write it.
    pub(crate) fn thin(&self, value: &mut Value) {
        match (self, value) {
            (Self::Struct(fields), Value::Object(map)) => {
                for field in *fields {
                    let Some(inner) = map.get_mut(field.name) else { continue };
                    field.shape.thin(inner);
                    let is_struct = matches!(field.shape, Self::Struct(_));
                    if !is_struct && is_empty(inner, field.pointer) {
                        map.remove(field.name);
                    }
                }
            }
            (Self::Map(inner), Value::Object(map)) => map.values_mut().for_each(|value| inner.thin(value)),
            (Self::List(inner), Value::Array(items)) => items.iter_mut().for_each(|item| inner.thin(item)),
            (Self::Recursive(inner), value) => inner.thin(value),
            _ => {}
        }
    }

    /// Returns what stands for an absent field that is always written.
    fn zero(&self) -> Value {
        match self {
            Self::Struct(_) => Value::Object(Map::new()),
            Self::Recursive(inner) => inner.zero(),
            Self::Text | Self::Bytes => Value::from(""),
            Self::Integer | Self::Integer32 => Value::from(0),
            Self::Boolean => Value::from(false),
            Self::Map(_) | Self::List(_) | Self::Time | Self::MicroTime | Self::Any => Value::Null,
        }
    }

    /// Returns the value, or what an absent one counts as.
    fn or_zero(&self, value: Value) -> Value {
        if value.is_null() { self.zero() } else { value }
    }

    fn holds(&self, number: &Number) -> bool {
        let wide = number.as_i64();
        wide.is_some_and(|wide| !matches!(self, Self::Integer32) || i32::try_from(wide).is_ok())
    }

    fn go_type(&self) -> String {
        match self {
            Self::Struct(_) => "v1.ObjectMeta".to_owned(),
            Self::Map(inner) => format!("map[string]{}", inner.go_type()),
            Self::List(inner) => format!("[]{}", inner.go_type()),
            Self::Text => "string".to_owned(),
            Self::Integer => "int64".to_owned(),
            Self::Integer32 => "int32".to_owned(),
            Self::Boolean => "bool".to_owned(),
            Self::Bytes => "[]uint8".to_owned(),
            Self::Time => "v1.Time".to_owned(),
            Self::MicroTime => "v1.MicroTime".to_owned(),
            Self::Recursive(inner) => inner.go_type(),
            Self::Any => "interface {}".to_owned(),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn is_empty(value: &Value, pointer: bool) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() && !pointer,
        Value::Bool(flag) => !flag && !pointer,
        Value::Number(number) => number.as_i64() == Some(0) && !pointer,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && !pointer,
    }
}

/// Returns the position at which Go's decoder stops.
fn bad_base64(text: &str) -> usize {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let letters = text.bytes().take_while(|&byte| is_letter(byte)).count();
    // What is too short is found wanting at its end; anything else at the first byte that is no digit.
    if letters == text.len() { letters - letters % 4 + (letters % 4).saturating_sub(1) } else { letters }
}

/// A value that is written with the keys of its structs in their order.
#[derive(Debug)]
pub(crate) struct Ordered<'a> {
    pub(crate) value: &'a Value,
    pub(crate) shape: &'static Shape,
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.shape, self.value) {
            (Shape::Struct(fields), Value::Object(map)) => {
                let mut writer = serializer.serialize_map(None)?;
                for field in *fields {
                    if let Some(value) = map.get(field.name) {
                        writer.serialize_entry(field.name, &Ordered { value, shape: field.shape })?;
                    } else if field.kept {
                        let value = &field.shape.zero();
                        writer.serialize_entry(field.name, &Ordered { value, shape: field.shape })?;
                    }
                }
                writer.end()
            }
            (Shape::Map(inner), Value::Object(map)) => {
                let mut writer = serializer.serialize_map(Some(map.len()))?;
                for (name, value) in map {
                    writer.serialize_entry(name, &Ordered { value, shape: inner })?;
                }
                writer.end()
            }
            (Shape::List(inner), Value::Array(items)) => {
                let mut writer = serializer.serialize_seq(Some(items.len()))?;
                for value in items {
                    writer.serialize_element(&Ordered { value, shape: inner })?;
                }
                writer.end()
            }
            (Shape::Recursive(shape), value) => Ordered { value, shape }.serialize(serializer),
            (_, value) => value.serialize(serializer),
        }
    }
}
