//! One complaint about one field, in the words of apimachinery's `field.Error`.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;

use crate::apiserver::schema::{FieldError, TEXTS_LIMIT};
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

impl From<&FieldError> for Cause {
    fn from(error: &FieldError) -> Self {
        Self { reason: error.kind.reason().to_owned(), message: error.body(), field: error.path.clone() }
    }
}

/// Complaints about an object, as many as an answer holds.
#[derive(Debug, Default)]
pub(crate) struct Causes {
    causes: Vec<Cause>,
    bytes: usize,
}

impl Causes {
    /// Takes a complaint in, unless the answer is full.
    pub(crate) fn push(&mut self, cause: Cause) {
        if !self.is_full() {
            self.bytes += cause.field.len() + cause.message.len();
            self.causes.push(cause);
        }
    }

    /// Whether nothing more is taken in, so that there is no need to look any further.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > TEXTS_LIMIT
    }

    /// Returns the complaints; the last one says so when there may be more.
    pub(crate) fn into_vec(self) -> Vec<Cause> {
        let is_full = self.is_full();
        let rest = || {
            Cause::invalid_shown("<nil>", "null", "too much is wrong for one answer; this is the beginning")
        };
        self.causes.into_iter().chain(is_full.then(rest)).collect()
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
    let mut known = HashSet::with_capacity(causes.len());
    for cause in causes.iter().filter(|cause| known.insert((&cause.field, &cause.message))) {
        texts.push(format!("{}: {}", cause.field, cause.message));
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
    fn an_answer_holds_the_beginning_of_endless_complaints() {
        let mut causes = Causes::default();
        let mut count = 0;
        while !causes.is_full() {
            causes.push(Cause::required(&format!("field-{count}"), ""));
            count += 1;
        }
        causes.push(Cause::required("beyond", ""));
        let causes = causes.into_vec();
        assert_eq!(causes.len(), count + 1);
        assert_eq!((&*causes[0].field, &*causes[count].field), ("field-0", "<nil>"));
        assert!(aggregate(&causes).unwrap().len() < 2 * TEXTS_LIMIT);
        assert_eq!(Causes::default().into_vec(), []);
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
