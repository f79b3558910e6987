//! Errors of single fields, spelled as the real server spells them.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use crate::apiserver::spelling;

/// How many bytes are said about what is wrong with one object. A body can have a fault for every few of its bytes, each of
/// which takes hundreds to say.
pub(in crate::apiserver) const TEXTS_LIMIT: usize = 1 << 20;

/// What is wrong with one field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The kind of fault.
    pub kind: FieldErrorKind,
    /// The path of the field, as `spec.items[0].name`; `<nil>` for the object itself.
    pub path: String,
    /// The value that is refused, where it is shown.
    pub value: Option<Value>,
    /// What would be right; may be empty.
    pub detail: String,
}

/// The kind of fault of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value is missing.
    Required,
    /// A value is malformed or out of bounds.
    Invalid,
    /// A value is of another type.
    TypeInvalid,
    /// A value is not one of those allowed.
    NotSupported,
    /// A value stands twice where it may stand once.
    Duplicate,
    /// A value is not permitted here.
    Forbidden,
    /// A text is too long; the value is not shown.
    TooLong,
    /// There are too many items or fields.
    TooMany,
}

impl FieldErrorKind {
    /// Returns the `reason` of a cause in a status.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }

    /// Returns whether rules over several fields are not checked while an object has such a fault.
    fn blocks_rules(self) -> bool {
        match self {
            Self::Required | Self::TypeInvalid | Self::NotSupported | Self::TooLong | Self::TooMany => true,
            Self::Invalid | Self::Duplicate | Self::Forbidden => false,
        }
    }
}

impl FieldError {
    /// Returns the error that a value is malformed.
    pub fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, value, detail)
    }

    /// Returns the error that a value is missing.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::without_value(FieldErrorKind::Required, path, detail)
    }

    /// Returns the error that a field may not be what it is.
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::without_value(FieldErrorKind::Forbidden, path, detail)
    }

    /// Returns the error that a text has more than `max` bytes.
    pub fn too_long(path: impl Into<String>, max: usize) -> Self {
        let bytes = if max == 1 { "byte" } else { "bytes" };
        Self::without_value(FieldErrorKind::TooLong, path, format!("may not be more than {max} {bytes}"))
    }

    /// Returns the error that a value is not one of `allowed`.
    pub fn not_supported(path: impl Into<String>, value: impl Into<Value>, allowed: &[String]) -> Self {
        let allowed: Vec<_> = allowed.iter().map(|value| spelling::quoted(value)).collect();
        let detail = if allowed.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", allowed.join(", "))
        };
        Self::new(FieldErrorKind::NotSupported, path, value, detail)
    }

    /// Returns an error of this kind.
    pub fn new(
        kind: FieldErrorKind,
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { value: Some(value.into()), ..Self::without_value(kind, path, detail) }
    }

    /// Returns an error of this kind that does not show the value, such as that of a violated rule.
    pub fn without_value(kind: FieldErrorKind, path: impl Into<String>, detail: impl Into<String>) -> Self {
        let path: String = path.into();
        let path = if path.is_empty() { "<nil>".to_owned() } else { path };
        Self { kind, path, value: None, detail: detail.into() }
    }

    /// Returns the message of a cause in a status: the error without its path.
    pub fn body(&self) -> String {
        let label = self.kind.label();
        let mut body = match &self.value {
            None => label.to_owned(),
            Some(Value::String(text)) => format!("{label}: {}", spelling::quoted(text)),
            Some(Value::Number(number)) => format!("{label}: {}", spelling::number(number)),
            Some(other) => format!("{label}: {}", spelling::json(other)),
        };
        if !self.detail.is_empty() {
            body = format!("{body}: {}", self.detail);
        }
        body
    }
}

impl Display for FieldError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.body())
    }
}

/// Returns the errors of the rules, or, when other errors keep rules from being checked, the one that says so.
///
/// `rules` is only called when it may be.
pub fn with_rules(mut errors: Vec<FieldError>, rules: impl FnOnce() -> Vec<FieldError>) -> Vec<FieldError> {
    if errors.iter().any(|error| error.kind.blocks_rules()) {
        errors.push(FieldError::invalid(
            "",
            Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to \
             complete validation",
        ));
    } else {
        errors.extend(rules());
    }
    errors
}

/// Returns the message of the status 422 for these errors.
///
/// `kind` is the kind with its group, as `Task.kelos.dev`.
pub fn invalid_message(kind: &str, name: &str, errors: &[FieldError]) -> String {
    let mut known = HashSet::new();
    let texts: Vec<String> =
        errors.iter().map(FieldError::to_string).filter(|text| known.insert(text.clone())).collect();
    let joined = match texts.as_slice() {
        [] => "null".to_owned(),
        [text] => text.clone(),
        _ => format!("[{}]", texts.join(", ")),
    };
    format!("{kind} {} is invalid: {joined}", spelling::quoted(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_read_as_the_real_server_writes_them() {
        let cases = [
            (FieldError::required("spec.size", ""), "spec.size: Required value"),
            (FieldError::invalid("", json!(null), "x"), "<nil>: Invalid value: null: x"),
            (FieldError::invalid("spec.a", json!({"b": 1.0}), ""), r#"spec.a: Invalid value: {"b":1}"#),
            (FieldError::invalid("spec.a", 1e21, "no"), "spec.a: Invalid value: 1e+21: no"),
            (
                FieldError::not_supported("spec.mode", "x", &["a".to_owned(), "b".to_owned()]),
                r#"spec.mode: Unsupported value: "x": supported values: "a", "b""#,
            ),
            (FieldError::forbidden("spec", "no"), "spec: Forbidden: no"),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn one_error_stands_alone_and_several_are_listed_once_each() {
        let error = FieldError::required("spec.a", "");
        let other = FieldError::required("spec.b", "");
        assert_eq!(
            invalid_message("Task.kelos.dev", "x", std::slice::from_ref(&error)),
            r#"Task.kelos.dev "x" is invalid: spec.a: Required value"#
        );
        assert_eq!(
            invalid_message("Task.kelos.dev", "x", &[error.clone(), other, error]),
            r#"Task.kelos.dev "x" is invalid: [spec.a: Required value, spec.b: Required value]"#
        );
    }
}
