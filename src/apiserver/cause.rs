//! One complaint about one field, in the words of apimachinery's `field.Error`.

use serde::Serialize;
use serde_json::Value;

use crate::apiserver::spelling;

/// One cause inside the details of a `Status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The kind of complaint, such as `FieldValueInvalid`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: String,
    /// The complaint without the field.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: String,
    /// Where, such as `spec.size`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub field: String,
}

impl Cause {
    fn new(reason: &str, field: &str, head: &str, detail: &str) -> Self {
        let message = if detail.is_empty() { head.to_owned() } else { format!("{head}: {detail}") };
        Self { reason: reason.to_owned(), message, field: field.to_owned() }
    }

    pub(crate) fn invalid(field: &str, value: &Value, detail: &str) -> Self {
        Self::invalid_shown(field, &shown(value), detail)
    }

    /// A complaint about a value whose form in the message is given.
    pub(crate) fn invalid_shown(field: &str, shown: &str, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, &format!("Invalid value: {shown}"), detail)
    }

    pub(crate) fn required(field: &str, detail: &str) -> Self {
        Self::new("FieldValueRequired", field, "Required value", detail)
    }

    pub(crate) fn forbidden(field: &str, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, "Forbidden", detail)
    }

    pub(crate) fn too_long(field: &str, limit: usize) -> Self {
        Self::new("FieldValueTooLong", field, "Too long", &format!("may not be more than {limit} bytes"))
    }

    pub(crate) fn not_supported(field: &str, value: &Value, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|value| spelling::quoted(value)).collect();
        Self::new(
            "FieldValueNotSupported",
            field,
            &format!("Unsupported value: {}", shown(value)),
            &format!("supported values: {}", quoted.join(", ")),
        )
    }
}

/// Returns a value as complaints show it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => spelling::quoted(text),
        Value::Number(number) => spelling::number(number),
        other => spelling::json(other),
    }
}

/// Joins complaints as apimachinery's aggregate does: one alone, several distinct ones in brackets.
pub(crate) fn aggregate(causes: &[Cause]) -> Option<String> {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes {
        let text = format!("{}: {}", cause.field, cause.message);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_as_go_shows_them() {
        assert_eq!(shown(&json!("a\"b\n\u{1}é")), "\"a\\\"b\\n\\x01é\"");
        assert_eq!(shown(&json!({"a": [1, 2.0, null]})), "{\"a\":[1,2,null]}");
        assert_eq!(
            Cause::not_supported("spec.type", &json!("x"), &["a", "b"]).message,
            "Unsupported value: \"x\": supported values: \"a\", \"b\""
        );
        assert_eq!(Cause::required("spec.size", "").message, "Required value");
    }

    #[test]
    fn several_complaints_stand_in_brackets_once_each() {
        let one = Cause::required("a", "");
        assert_eq!(aggregate(&[]), None);
        assert_eq!(aggregate(std::slice::from_ref(&one)).unwrap(), "a: Required value");
        let two = [one.clone(), one, Cause::forbidden("b", "no")];
        assert_eq!(aggregate(&two).unwrap(), "[a: Required value, b: Forbidden: no]");
    }
}
