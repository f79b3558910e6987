//! What the JSON Schema of a kind says, in words that help.

use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::Value;

use crate::api::kind::Kind;
use crate::api::schema;
use crate::validate::finding::FindingCode;
use crate::validate::suggestion::{closest, did_you_mean};
use crate::validate::{Report, document, pointer};
use crate::yaml::Side;

/// Fields that upstream has in a version that is not served, or that have moved.
const ELSEWHERE: [(&str, &str); 8] = [
    ("worker", "upstream has it in v1alpha2 only; write its fields directly"),
    ("workerPoolRef", "upstream has worker pools in v1alpha2 only"),
    ("nameTemplate", "upstream has it in v1alpha2 only; Tasks are named after the spawner and the item"),
    ("podFailurePolicy", "upstream has it in v1alpha2 only"),
    ("ghproxy", "upstream has it in v1alpha2 only; calls are cached without it"),
    ("excludeFilters", "upstream has it in v1alpha2 only"),
    ("conclusion", "upstream has it in v1alpha2 only"),
    ("checkName", "upstream has it in v1alpha2 only"),
];

/// A compiled schema, and the schema itself for looking up the known fields.
struct Compiled {
    schema: Value,
    validator: Validator,
}

static SCHEMAS: LazyLock<Vec<(Kind, Compiled)>> = LazyLock::new(|| {
    let compile = |kind: &Kind| {
        let schema = schema::json_schema(*kind);
        let validator = jsonschema::validator_for(&schema).expect("because a test compiles every schema");
        (*kind, Compiled { schema, validator })
    };
    Kind::ALL.iter().map(compile).collect()
});

/// Reports what the schema refuses and returns whether the agent type, where the kind has one, is a known word.
pub(super) fn check(report: &mut Report<'_>, kind: Kind) -> bool {
    let Some((_, compiled)) = SCHEMAS.iter().find(|(other, _)| *other == kind) else { return true };
    let value = report.manifest.value;
    if compiled.validator.is_valid(value) {
        return true;
    }
    let mut agent_known = true;
    for error in compiled.validator.iter_errors(value) {
        let at = error.instance_path().as_str();
        agent_known &= at != "/spec/type" && at != "/spec/taskTemplate/type";
        explain(report, compiled, &error);
    }
    agent_known
}

fn explain(report: &mut Report<'_>, compiled: &Compiled, error: &ValidationError<'_>) {
    let at = error.instance_path().as_str();
    let path = pointer::readable(at);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_fields(compiled, error);
            for field in unexpected {
                unknown_field(report, &pointer::join(at, field), field, &known);
            }
        }
        ValidationErrorKind::Required { property } => {
            let field = property.as_str().unwrap_or_default();
            let here = pointer::join(at, field);
            let message = format!("{} is required", pointer::readable(&here));
            report.add(FindingCode::MissingField, here, Side::Key, message);
        }
        ValidationErrorKind::Type { kind } => wrong_type(report, at, kind, error.instance()),
        ValidationErrorKind::Enum { options } => unknown_value(report, at, options, error.instance()),
        ValidationErrorKind::Pattern { pattern } => {
            let finding = report.add(
                FindingCode::MalformedValue,
                at,
                Side::Value,
                format!("{path} does not have the right form"),
            );
            finding.hint(form_of(pattern).map_or_else(|| format!("it must match {pattern}"), str::to_owned));
        }
        other => {
            let message = match limit_of(other) {
                Some(limit) => format!("{path} must {limit}"),
                // The text quotes the value, which may be confidential.
                None => format!("{path}: {}", error.masked()),
            };
            report.add(FindingCode::OutOfRange, at, Side::Value, message);
        }
    }
}

fn unknown_field(report: &mut Report<'_>, at: &str, field: &str, known: &[&str]) {
    if document::is_server_field(at) {
        return;
    }
    let message = format!("there is no field {}", pointer::readable(at));
    let finding = report.add(FindingCode::UnknownField, at, Side::Key, message);
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == field).map(|(_, why)| (*why).to_owned());
    let fields = || (!known.is_empty()).then(|| format!("known fields: {}", known.join(", ")));
    if let Some(hint) = elsewhere.or_else(|| did_you_mean(field, known.iter().copied())).or_else(fields) {
        finding.hint(hint);
    }
}

/// Returns the fields that the schema knows where the error is.
fn known_fields<'a>(compiled: &'a Compiled, error: &ValidationError<'_>) -> Vec<&'a str> {
    let keyword = error.schema_path().as_str();
    let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
    let fields = compiled.schema.pointer(parent).and_then(|schema| schema["properties"].as_object());
    fields.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn wrong_type(report: &mut Report<'_>, at: &str, kind: &TypeKind, value: &Value) {
    let wanted = match kind {
        TypeKind::Single(kind) => type_name(*kind),
        TypeKind::Multiple(_) => "of another type",
    };
    let path = pointer::readable(at);
    if value.is_null() {
        let finding = report.add(FindingCode::WrongType, at, Side::Value, format!("{path} is empty"));
        finding.hint(format!("give it a value ({wanted}) or remove the field"));
        return;
    }
    let found = type_name(JsonType::from(value));
    let finding =
        report.add(FindingCode::WrongType, at, Side::Value, format!("{path} must be {wanted}, not {found}"));
    let hint = match (wanted, value) {
        ("text", Value::Number(_) | Value::Bool(_)) => "put the value in quotes",
        ("a whole number", Value::String(text)) if text.parse::<i64>().is_ok() => "remove the quotes",
        ("a number", Value::String(text)) if text.parse::<f64>().is_ok() => "remove the quotes",
        ("true or false", Value::String(text)) if text.parse::<bool>().is_ok() => "remove the quotes",
        ("a list", Value::String(_) | Value::Object(_)) => "begin each item with a dash: - item",
        _ => return,
    };
    finding.hint(hint);
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "empty",
        JsonType::Number => "a number",
        JsonType::Object => "a mapping",
        JsonType::String => "text",
    }
}

fn unknown_value(report: &mut Report<'_>, at: &str, options: &Value, value: &Value) {
    let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(word) = value.as_str() else {
        // The type is wrong too, and that is said elsewhere.
        return;
    };
    let path = pointer::readable(at);
    let shown: String = word.chars().take(60).collect();
    let finding =
        report.add(FindingCode::UnknownValue, at, Side::Value, format!("{path} has no value {shown:?}"));
    let quoted: Vec<String> = options.iter().map(|option| format!("{option:?}")).collect();
    let allowed = format!("allowed are {}", quoted.join(", "));
    finding.hint(match closest(word, options) {
        Some(candidate) => format!("did you mean {candidate:?}? {allowed}"),
        None => allowed,
    });
}

/// Returns a limit in words.
fn limit_of(kind: &ValidationErrorKind) -> Option<String> {
    Some(match kind {
        ValidationErrorKind::Minimum { limit } => format!("be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("be at most {limit}"),
        ValidationErrorKind::MinLength { limit: 1 } => "not be empty".to_owned(),
        ValidationErrorKind::MinLength { limit } => format!("be at least {limit} characters long"),
        ValidationErrorKind::MaxLength { limit } => format!("be at most {limit} characters long"),
        ValidationErrorKind::MinItems { limit: 1 } => "have at least one item".to_owned(),
        ValidationErrorKind::MinItems { limit } => format!("have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("have at most {limit} items"),
        _ => return None,
    })
}

/// Returns what a pattern of ours asks for, in words.
fn form_of(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        r"^(https?://|git://|ssh://|git@).*" => {
            "it must begin with https://, http://, ssh://, git:// or git@"
        }
        r"^(https?://|git://|ssh://|git@|file:///).*" => {
            "it must begin with https://, http://, ssh://, git:// or git@, or with file:/// for this machine"
        }
        r"^https?://.+" => "it must begin with https:// or http://",
        r"^[^/]+/[^/]+$" => "it must be ORGANISATION/TEAM",
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" => {
            "it may have lower case letters, digits and, between them, dashes"
        }
        r"^[a-zA-Z][a-zA-Z0-9_]*$" => "it must begin with a letter and have only letters, digits and _",
        r"^[CG][A-Z0-9]{8,}$" => "it must be the id of a channel, as in C0123456789",
        _ => return None,
    })
}
