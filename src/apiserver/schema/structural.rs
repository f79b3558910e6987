//! The schema of a custom resource, parsed once from the `openAPIV3Schema` of its definition.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Number, Value};

/// A parsed structural schema.
#[derive(Debug, Clone)]
pub struct Structural {
    root: Node,
    /// Whether a place holds a whole resource.
    embeds: bool,
    /// Whether a list tells its items apart.
    identifies: bool,
}

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The schema is not what a definition may hold.
    #[error("{path}: {message}")]
    Malformed {
        /// Where in the schema, as `.properties.spec`.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// A `pattern` is not a regular expression.
    #[error("{path}: pattern cannot be used")]
    Pattern {
        /// Where in the schema.
        path: String,
        /// What the expression compiler says.
        #[source]
        source: Box<regex::Error>,
    },
}

/// One schema node: what is allowed at one place of an object.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own in the schema language")]
pub(in crate::apiserver) struct Node {
    pub(in crate::apiserver) type_name: Option<String>,
    pub(in crate::apiserver) nullable: bool,
    pub(in crate::apiserver) int_or_string: bool,
    pub(in crate::apiserver) preserve_unknown_fields: bool,
    pub(in crate::apiserver) embedded_resource: bool,
    pub(in crate::apiserver) list_type: ListType,
    pub(in crate::apiserver) map_is_atomic: bool,
    pub(in crate::apiserver) default: Option<Value>,
    pub(in crate::apiserver) properties: BTreeMap<String, Self>,
    pub(in crate::apiserver) additional: Option<Additional>,
    pub(in crate::apiserver) items: Option<Box<Self>>,
    pub(in crate::apiserver) validation: Validation,
}

/// What fields are allowed beside the named ones.
#[derive(Debug, Clone)]
pub(in crate::apiserver) enum Additional {
    /// Those that match a schema.
    Schema(Box<Node>),
    /// All (true) or none (false).
    Any(bool),
}

/// What tells the items of a list apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::apiserver) enum ListType {
    /// Nothing.
    #[default]
    Atomic,
    /// Their value.
    Set,
    /// The values of these fields.
    Map(Vec<String>),
}

/// What is demanded of a value beside its type.
#[derive(Debug, Clone, Default)]
pub(in crate::apiserver) struct Validation {
    pub(in crate::apiserver) format: Option<String>,
    pub(in crate::apiserver) maximum: Option<Number>,
    pub(in crate::apiserver) exclusive_maximum: bool,
    pub(in crate::apiserver) minimum: Option<Number>,
    pub(in crate::apiserver) exclusive_minimum: bool,
    pub(in crate::apiserver) multiple_of: Option<Number>,
    pub(in crate::apiserver) max_length: Option<i64>,
    pub(in crate::apiserver) min_length: Option<i64>,
    pub(in crate::apiserver) pattern: Option<Pattern>,
    pub(in crate::apiserver) max_items: Option<i64>,
    pub(in crate::apiserver) min_items: Option<i64>,
    pub(in crate::apiserver) unique_items: bool,
    pub(in crate::apiserver) max_properties: Option<i64>,
    pub(in crate::apiserver) min_properties: Option<i64>,
    pub(in crate::apiserver) required: Vec<String>,
    pub(in crate::apiserver) allowed: Vec<Value>,
    pub(in crate::apiserver) all_of: Vec<Node>,
    pub(in crate::apiserver) any_of: Vec<Node>,
    pub(in crate::apiserver) one_of: Vec<Node>,
    pub(in crate::apiserver) not: Option<Box<Node>>,
}

/// A regular expression with the text it came from.
#[derive(Debug, Clone)]
pub(in crate::apiserver) struct Pattern {
    pub(in crate::apiserver) text: String,
    pub(in crate::apiserver) regex: Regex,
}

impl Structural {
    /// Parses the `openAPIV3Schema` of a custom resource definition.
    pub fn parse(schema: &Value) -> Result<Self, SchemaError> {
        let root = parse_node(schema, "", 0)?;
        let embeds = root.any(&|node| node.embedded_resource);
        let identifies = root.any(&|node| node.list_type != ListType::Atomic);
        Ok(Self { root, embeds, identifies })
    }

    /// Whether any place holds a whole resource: most schemas have none, and need no look for them.
    pub(in crate::apiserver) fn embeds(&self) -> bool {
        self.embeds
    }

    /// Whether any list tells its items apart.
    pub(in crate::apiserver) fn identifies(&self) -> bool {
        self.identifies
    }

    pub(in crate::apiserver) fn root(&self) -> &Node {
        &self.root
    }
}

impl Node {
    /// Whether something holds for this node or for one below it.
    fn any(&self, holds: &impl Fn(&Self) -> bool) -> bool {
        let additional = match &self.additional {
            Some(Additional::Schema(schema)) => Some(&**schema),
            Some(Additional::Any(_)) | None => None,
        };
        let below = self.properties.values().chain(additional).chain(self.items.as_deref());
        holds(self) || below.into_iter().any(|node| node.any(holds))
    }

    /// Returns the JSON types that a value may have; none allows all.
    pub(in crate::apiserver) fn type_names(&self) -> &[&str] {
        if self.int_or_string {
            return &["integer", "string"];
        }
        match self.type_name.as_deref() {
            Some("object") => &["object"],
            Some("array") => &["array"],
            Some("string") => &["string"],
            Some("integer") => &["integer"],
            Some("number") => &["number"],
            Some("boolean") => &["boolean"],
            _ => &[],
        }
    }

    /// Returns the schema of a field, named or not.
    pub(in crate::apiserver) fn field(&self, name: &str) -> Option<&Self> {
        match (self.properties.get(name), &self.additional) {
            (Some(property), _) => Some(property),
            (None, Some(Additional::Schema(schema))) => Some(schema),
            (None, _) => None,
        }
    }
}

/// Schemas nest by hand-written types; deeper ones are hostile.
const DEPTH_LIMIT: usize = 200;

fn parse_node(schema: &Value, path: &str, depth: usize) -> Result<Node, SchemaError> {
    let Value::Object(schema) = schema else {
        return Err(malformed(path, "must be an object"));
    };
    if depth > DEPTH_LIMIT {
        return Err(malformed(path, "nested too deeply"));
    }
    let child = |name: &str, value: &Value| parse_node(value, &format!("{path}.{name}"), depth + 1);
    let mut properties = BTreeMap::new();
    if let Some(Value::Object(schemas)) = schema.get("properties") {
        for (name, value) in schemas {
            properties.insert(name.clone(), child(&format!("properties.{name}"), value)?);
        }
    }
    let additional = match schema.get("additionalProperties") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(any)) => Some(Additional::Any(*any)),
        Some(value) => Some(Additional::Schema(Box::new(child("additionalProperties", value)?))),
    };
    let items = schema.get("items").map(|value| child("items", value).map(Box::new)).transpose()?;
    Ok(Node {
        type_name: text(schema, "type").filter(|name| !name.is_empty()),
        nullable: flag(schema, "nullable"),
        int_or_string: flag(schema, "x-kubernetes-int-or-string"),
        preserve_unknown_fields: flag(schema, "x-kubernetes-preserve-unknown-fields"),
        embedded_resource: flag(schema, "x-kubernetes-embedded-resource"),
        list_type: list_type(schema, path)?,
        map_is_atomic: text(schema, "x-kubernetes-map-type").as_deref() == Some("atomic"),
        default: schema.get("default").filter(|value| !value.is_null()).cloned(),
        properties,
        additional,
        items,
        validation: parse_validation(schema, path, depth)?,
    })
}

fn parse_validation(
    schema: &Map<String, Value>,
    path: &str,
    depth: usize,
) -> Result<Validation, SchemaError> {
    let nodes = |name: &str| -> Result<Vec<Node>, SchemaError> {
        list(schema, name)
            .iter()
            .enumerate()
            .map(|(index, value)| parse_node(value, &format!("{path}.{name}[{index}]"), depth + 1))
            .collect()
    };
    let not = schema
        .get("not")
        .map(|value| parse_node(value, &format!("{path}.not"), depth + 1).map(Box::new))
        .transpose()?;
    let pattern = match text(schema, "pattern").filter(|text| !text.is_empty()) {
        Some(text) => {
            let regex = Regex::new(&text)
                .map_err(|error| SchemaError::Pattern { path: path.to_owned(), source: Box::new(error) })?;
            Some(Pattern { text, regex })
        }
        None => None,
    };
    Ok(Validation {
        format: text(schema, "format").filter(|format| !format.is_empty()),
        maximum: number(schema, "maximum"),
        exclusive_maximum: flag(schema, "exclusiveMaximum"),
        minimum: number(schema, "minimum"),
        exclusive_minimum: flag(schema, "exclusiveMinimum"),
        multiple_of: number(schema, "multipleOf"),
        max_length: integer(schema, "maxLength"),
        min_length: integer(schema, "minLength"),
        pattern,
        max_items: integer(schema, "maxItems"),
        min_items: integer(schema, "minItems"),
        unique_items: flag(schema, "uniqueItems"),
        max_properties: integer(schema, "maxProperties"),
        min_properties: integer(schema, "minProperties"),
        required: list(schema, "required")
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        allowed: list(schema, "enum").to_vec(),
        all_of: nodes("allOf")?,
        any_of: nodes("anyOf")?,
        one_of: nodes("oneOf")?,
        not,
    })
}

fn list_type(schema: &Map<String, Value>, path: &str) -> Result<ListType, SchemaError> {
    match text(schema, "x-kubernetes-list-type").as_deref() {
        None | Some("" | "atomic") => Ok(ListType::Atomic),
        Some("set") => Ok(ListType::Set),
        Some("map") => Ok(ListType::Map(
            list(schema, "x-kubernetes-list-map-keys")
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
        )),
        Some(other) => Err(malformed(path, &format!("unknown list type {other}"))),
    }
}

fn malformed(path: &str, message: &str) -> SchemaError {
    let path = if path.is_empty() { "." } else { path };
    SchemaError::Malformed { path: path.to_owned(), message: message.to_owned() }
}

fn flag(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn text(schema: &Map<String, Value>, name: &str) -> Option<String> {
    schema.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn number(schema: &Map<String, Value>, name: &str) -> Option<Number> {
    schema.get(name).and_then(Value::as_number).cloned()
}

fn integer(schema: &Map<String, Value>, name: &str) -> Option<i64> {
    schema.get(name).and_then(Value::as_i64)
}

fn list<'a>(schema: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
