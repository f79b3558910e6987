//! One step of a path into an object, in the order and the spelling that a Kubernetes API server uses.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use crate::apiserver::spelling;

/// One step from a value to something inside it.
///
/// The derived order is the one in which field sets are written: names, then keys, then set items, then indexes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathElement {
    /// A field of an object (`f:`).
    Field(String),
    /// The item of a list that has these fields, sorted by name (`k:`).
    Key(Vec<(String, Ordered)>),
    /// The item of a set that is equal to this value (`v:`).
    Item(Ordered),
    /// The item of a list at this place (`i:`). Nothing in our schemas makes one, but clients may write one.
    Index(i64),
}

/// A JSON value with a total order: numbers, strings, booleans, lists, objects, null.
#[derive(Debug, Clone)]
pub(super) struct Ordered(pub(super) Value);

/// Why a key of a stored field set is not a path element.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathElementError {
    #[error("key must be 2 characters long:")]
    TooShort,
    #[error("missing colon: {0}")]
    MissingColon(String),
    /// A later version of the format may know it, so it is left out in silence.
    #[error("unknown path element type")]
    UnknownType,
    #[error("{0}")]
    Malformed(String),
}

impl PathElement {
    /// Returns the step to the field `name`.
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// Reads the spelling that field sets use, such as `f:spec` or `v:"kelos.dev/end"`.
    pub(super) fn parse(text: &str) -> Result<Self, PathElementError> {
        if text.len() < 2 {
            return Err(PathElementError::TooShort);
        }
        let (Some(kind), Some(":"), Some(rest)) = (text.get(..1), text.get(1..2), text.get(2..)) else {
            return Err(PathElementError::MissingColon(text.to_owned()));
        };
        match kind {
            "f" => Ok(Self::field(rest)),
            "v" => Ok(Self::Item(Ordered(read_json(rest)?))),
            "k" => match read_json(rest)? {
                Value::Object(fields) => {
                    let mut key: Vec<_> =
                        fields.into_iter().map(|(name, value)| (name, Ordered(value))).collect();
                    key.sort();
                    Ok(Self::Key(key))
                }
                _ => Err(PathElementError::Malformed(format!("expected an object: {rest}"))),
            },
            "i" => rest
                .parse()
                .map(Self::Index)
                .map_err(|_| PathElementError::Malformed(format!("expected a number: {rest}"))),
            _ => Err(PathElementError::UnknownType),
        }
    }

    /// Returns the spelling that field sets use; the inverse of [`PathElement::parse`].
    pub(super) fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| {
                        format!(
                            "{}:{}",
                            spelling::json(&Value::from(name.as_str())),
                            spelling::json(&value.0)
                        )
                    })
                    .collect();
                format!("k:{{{}}}", fields.join(","))
            }
            Self::Item(value) => format!("v:{}", spelling::json(&value.0)),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

impl Display for PathElement {
    /// Writes the step as conflicts and errors show it: `.spec`, `[uid="1"]`, `[="a"]`, `[0]`.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, ".{name}"),
            Self::Key(fields) => {
                formatter.write_str("[")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(formatter, "{comma}{name}={}", shown(&value.0))?;
                }
                formatter.write_str("]")
            }
            Self::Item(value) => write!(formatter, "[={}]", shown(&value.0)),
            Self::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

impl From<&Value> for Ordered {
    fn from(value: &Value) -> Self {
        Self(value.clone())
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_values(&self.0, &other.0)
    }
}

/// Returns whether two values are the same to the merge: 1 and 1.0 are.
pub(super) fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left_number), Value::Number(right_number)) => {
            left_number == right_number || compare_values(left, right) == Ordering::Equal
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same_value(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, value)| right.get(name).is_some_and(|other| same_value(value, other)))
        }
        _ => left == right,
    }
}

fn compare_values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.as_f64().unwrap_or(0.0).total_cmp(&right.as_f64().unwrap_or(0.0)),
        },
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => left
            .iter()
            .zip(right)
            .map(|(left, right)| compare_values(left, right))
            .find(|ordering| ordering.is_ne())
            .unwrap_or_else(|| left.len().cmp(&right.len())),
        (Value::Object(_), Value::Object(_)) => left.to_string().cmp(&right.to_string()),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

fn read_json(text: &str) -> Result<Value, PathElementError> {
    serde_json::from_str(text).map_err(|error| PathElementError::Malformed(error.to_string()))
}

/// Returns a value as paths show it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => spelling::quoted(text),
        Value::Number(number) => spelling::number(number),
        other => spelling::json(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn path_elements_survive_a_round_trip() {
        for text in ["f:spec", "f:", "f:a:b", r#"v:"kelos.dev/end""#, "v:1", r#"k:{"uid":"1"}"#, "i:3"] {
            assert_eq!(PathElement::parse(text).unwrap().encode(), text);
        }
    }

    #[test]
    fn malformed_path_elements_are_refused() {
        assert_eq!(PathElement::parse("f"), Err(PathElementError::TooShort));
        assert_eq!(PathElement::parse("spec"), Err(PathElementError::MissingColon("spec".to_owned())));
        assert_eq!(PathElement::parse("é:x"), Err(PathElementError::MissingColon("é:x".to_owned())));
        assert_eq!(PathElement::parse("x:y"), Err(PathElementError::UnknownType));
        assert!(matches!(PathElement::parse("i:x"), Err(PathElementError::Malformed(_))));
        assert!(matches!(PathElement::parse("k:[]"), Err(PathElementError::Malformed(_))));
        assert!(matches!(PathElement::parse("v:"), Err(PathElementError::Malformed(_))));
    }

    #[test]
    fn numbers_are_the_same_by_value_and_other_values_by_type() {
        assert!(same_value(&json!(1), &json!(1.0)));
        assert!(same_value(&json!({"a": [1.0]}), &json!({"a": [1]})));
        assert!(!same_value(&json!("1"), &json!(1)));
        assert!(!same_value(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
        assert!(!same_value(&json!([1]), &json!([1, 1])));
    }
}
