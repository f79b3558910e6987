//! The metadata of an object, read as the real server reads it: into a fixed structure, and written from there again.
//!
//! Unknown fields fall away, null and empty ones too, times are put into UTC and whole seconds, and a value of another
//! type is an error that names the Go type it should have had.

use serde_json::{Map, Value};

use crate::apiserver::spelling;

/// The type of a metadata field.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Boolean,
    Time,
    Texts,
    TextMap,
    /// A list of structures: the Go name of the structure and its fields.
    List(&'static str, &'static [Field]),
    /// JSON that is kept as it is.
    Raw,
}

/// A field: its name, its type, the Go name of a text that has one of its own, whether it stands when it is empty.
#[derive(Debug, Clone, Copy)]
struct Field {
    name: &'static str,
    kind: Kind,
    go_name: &'static str,
    always: bool,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, go_name: "string", always: false }
}

const fn always(name: &'static str, kind: Kind) -> Field {
    Field { always: true, ..field(name, kind) }
}

const OWNER_FIELDS: &[Field] = &[
    always("apiVersion", Kind::Text),
    field("blockOwnerDeletion", Kind::Boolean),
    field("controller", Kind::Boolean),
    always("kind", Kind::Text),
    always("name", Kind::Text),
    Field { go_name: "types.UID", ..always("uid", Kind::Text) },
];

const ENTRY_FIELDS: &[Field] = &[
    field("apiVersion", Kind::Text),
    field("fieldsType", Kind::Text),
    field("fieldsV1", Kind::Raw),
    field("manager", Kind::Text),
    Field { go_name: "v1.ManagedFieldsOperationType", ..field("operation", Kind::Text) },
    field("subresource", Kind::Text),
    field("time", Kind::Time),
];

const META_FIELDS: &[Field] = &[
    field("annotations", Kind::TextMap),
    field("creationTimestamp", Kind::Time),
    field("deletionGracePeriodSeconds", Kind::Integer),
    field("deletionTimestamp", Kind::Time),
    field("finalizers", Kind::Texts),
    field("generateName", Kind::Text),
    field("generation", Kind::Integer),
    field("labels", Kind::TextMap),
    field("managedFields", Kind::List("ManagedFieldsEntry", ENTRY_FIELDS)),
    field("name", Kind::Text),
    field("namespace", Kind::Text),
    field("ownerReferences", Kind::List("OwnerReference", OWNER_FIELDS)),
    field("resourceVersion", Kind::Text),
    field("selfLink", Kind::Text),
    Field { go_name: "types.UID", ..field("uid", Kind::Text) },
];

/// Reads and rewrites the `metadata` of `object`; an object without any is left alone.
///
/// Returns the paths of unknown fields, sorted, each after `prefix` (`metadata` for the object itself), or the message
/// of the decoder.
pub(super) fn coerce(object: &mut Map<String, Value>, prefix: &str) -> Result<Vec<String>, String> {
    let Some(metadata) = object.get("metadata") else { return Ok(Vec::new()) };
    let fields = match metadata {
        Value::Object(fields) => fields,
        Value::Null => &Map::new(),
        other => {
            return Err(format!(
                "json: cannot unmarshal {} into Go value of type v1.ObjectMeta",
                spelling::json_name(other)
            ));
        }
    };
    let mut unknown = Vec::new();
    let coerced = structure(fields, META_FIELDS, "ObjectMeta", "", prefix, &mut unknown)?;
    unknown.sort();
    object.insert("metadata".to_owned(), Value::Object(coerced));
    Ok(unknown)
}

fn structure(
    given: &Map<String, Value>,
    fields: &[Field],
    go_struct: &str,
    go_path: &str,
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<Map<String, Value>, String> {
    for name in given.keys() {
        if !fields.iter().any(|field| field.name == name) {
            unknown.push(format!("{path}.{name}"));
        }
    }
    let mut coerced = Map::new();
    for field in fields {
        let value = match given.get(field.name) {
            None | Some(Value::Null) => None,
            Some(value) => Place { go_struct, go_path, path, field: *field }.read(value, unknown)?,
        };
        match (value, field.always) {
            (Some(value), _) => drop(coerced.insert(field.name.to_owned(), value)),
            (None, true) => drop(coerced.insert(field.name.to_owned(), Value::from(""))),
            (None, false) => {}
        }
    }
    Ok(coerced)
}

/// Where a value stands: for Go, and for people. Written out only where there is something to say.
struct Place<'a> {
    go_struct: &'a str,
    go_path: &'a str,
    path: &'a str,
    field: Field,
}

impl Place<'_> {
    /// Returns the value as it is written again, or nothing when it is empty.
    fn read(&self, value: &Value, unknown: &mut Vec<String>) -> Result<Option<Value>, String> {
        let field = self.field;
        match (field.kind, value) {
            (Kind::Text, Value::String(text)) => Ok(Some(value.clone()).filter(|_| !text.is_empty())),
            (Kind::Integer, Value::Number(number)) if number.is_i64() => {
                // A generation of 0 is none; the other one is a pointer in Go and tells 0 from absent.
                let is_empty = number.as_i64() == Some(0) && field.name == "generation";
                Ok(Some(value.clone()).filter(|_| !is_empty))
            }
            (Kind::Integer, Value::Number(number)) => {
                Err(self.mistyped(&format!("number {}", spelling::number(number)), "int64"))
            }
            (Kind::Boolean, Value::Bool(_)) | (Kind::Raw, _) => Ok(Some(value.clone())),
            (Kind::Time, Value::String(text)) => time(text).map(|text| Some(Value::from(text))),
            (Kind::Texts, Value::Array(items)) => {
                let texts: Result<Vec<_>, _> = items.iter().map(|item| self.text(item)).collect();
                Ok(texts.map(Value::Array).map(Some)?.filter(|_| !items.is_empty()))
            }
            (Kind::TextMap, Value::Object(fields)) => {
                let texts: Result<Map<_, _>, _> =
                    fields.iter().map(|(name, value)| Ok((name.clone(), self.text(value)?))).collect();
                texts.map(|texts| Some(Value::Object(texts)).filter(|_| !fields.is_empty()))
            }
            (Kind::List(go_struct, fields), Value::Array(items)) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let given = match item {
                        Value::Object(given) => given,
                        Value::Null => &Map::new(),
                        other => {
                            return Err(self.mistyped(spelling::json_name(other), &format!("v1.{go_struct}")));
                        }
                    };
                    let (go_path, path) =
                        (format!("{}.", field.name), format!("{}.{}[{index}]", self.path, field.name));
                    structure(given, fields, go_struct, &go_path, &path, unknown).map(Value::Object)
                });
                let items: Vec<Value> = items.collect::<Result<_, _>>()?;
                Ok(if items.is_empty() { None } else { Some(Value::Array(items)) })
            }
            (kind, other) => Err(self.mistyped(spelling::json_name(other), &go_name(kind, field.go_name))),
        }
    }

    fn text(&self, value: &Value) -> Result<Value, String> {
        match value {
            Value::String(_) => Ok(value.clone()),
            Value::Null => Ok(Value::from("")),
            other => Err(self.mistyped(spelling::json_name(other), "string")),
        }
    }

    fn mistyped(&self, found: &str, wanted: &str) -> String {
        let Self { go_struct, go_path, field, .. } = self;
        let go_field = format!("{go_struct}.{go_path}{}", field.name);
        format!("json: cannot unmarshal {found} into Go struct field {go_field} of type {wanted}")
    }
}

fn go_name(kind: Kind, text_name: &str) -> String {
    match kind {
        Kind::Text => text_name.to_owned(),
        Kind::Integer => "int64".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Time | Kind::Raw => "string".to_owned(),
        Kind::Texts => "[]string".to_owned(),
        Kind::TextMap => "map[string]string".to_owned(),
        Kind::List(name, _) => format!("[]v1.{name}"),
    }
}

fn time(text: &str) -> Result<String, String> {
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    // Go wants the full form; the parser at hand takes shorter ones too.
    let has_full_form = text.len() >= 20
        && text.bytes().enumerate().take(19).all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
    let parsed: Option<jiff::Timestamp> = if has_full_form { text.parse().ok() } else { None };
    parsed.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).ok_or_else(|| {
        let quoted = spelling::quoted(text);
        // Go goes on to say at which part it stopped; beyond the year it is not worth following.
        format!("parsing time {quoted} as \"{LAYOUT}\": cannot parse {quoted} as \"2006\"")
    })
}
