//! Parsing and rendering, within limits.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use gtmpl_ng::{Context, ExecError, Func, FuncError, Limits, ParseError, Value, funcs};

use super::error::TemplateError;
use super::lexer::{self, Action};
use super::reference::{self, Reference};
use super::rewrite;

/// More than any prompt has.
const MAX_BYTES: usize = 64 * 1024;
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;
const MAX_ITERATIONS: usize = 100_000;
/// Enough for the largest output on a busy machine.
const DEADLINE: Duration = Duration::from_secs(2);
/// Messages of the engine may quote whole values.
const MAX_MESSAGE_CHARACTERS: usize = 200;

/// What a variable that is not there does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Fails the rendering, except under `index` (Go's `missingkey=error`, which upstream sets everywhere).
    Error,
    /// Prints `<no value>` and counts as false.
    Default,
}

/// A template that was parsed.
pub struct Template {
    engine: gtmpl_ng::Template,
    actions: Vec<Action>,
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Template").field("actions", &self.actions.len()).finish_non_exhaustive()
    }
}

impl Template {
    /// Parses `source`, which has at most 64 KiB.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        if source.len() > MAX_BYTES {
            let message = format!("the template has {} bytes, {MAX_BYTES} are allowed", source.len());
            return Err(TemplateError::new(1, message));
        }
        let actions = lexer::actions(source)?;
        let text = rewrite::rewrite(source, &actions)?;
        let limits = Limits::default()
            .with_iterations(MAX_ITERATIONS)
            .with_total_iterations(MAX_ITERATIONS)
            .with_output_bytes(MAX_OUTPUT_BYTES)
            .with_function_output(MAX_OUTPUT_BYTES)
            .with_deadline(DEADLINE);
        let mut engine = gtmpl_ng::Template::with_limits(limits);
        engine.add_funcs(&[("index", index as Func), ("eq", eq), ("ne", ne)]);
        // The lexer keeps out all that is known to make the engine panic; this is for what is not known.
        match catch_unwind(AssertUnwindSafe(|| engine.parse(text))) {
            Ok(Ok(())) => Ok(Self { engine, actions }),
            Ok(Err(error)) => Err(parse_error(error)),
            Err(_) => Err(TemplateError::new(1, "the template cannot be parsed")),
        }
    }

    /// Renders the template with `data`: at most 1 MiB, 100,000 iterations, two seconds. It may block for that long, so call
    /// it where that is allowed.
    pub fn render(&self, data: &serde_json::Value, missing: Missing) -> Result<String, TemplateError> {
        let context = Context::from(to_engine(data, missing));
        match catch_unwind(AssertUnwindSafe(|| self.engine.render(&context))) {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(exec_error(&error)),
            Err(_) => Err(TemplateError::new(1, "the template cannot be rendered")),
        }
    }

    /// Returns the variables of the data that the template mentions, in the order of the text.
    pub fn references(&self) -> Vec<Reference> {
        reference::references(&self.actions)
    }
}

/// Returns a template that renders as `text`, whatever stands in it.
///
/// It is for a value that ends in a text which is rendered once more. Escaped texts may stand side by side and before plain
/// text; what stands before one must not end with a single `{`.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, braces_and_after) = rest.split_at(start);
        let after = braces_and_after.trim_start_matches('{');
        let (braces, _) = braces_and_after.split_at(braces_and_after.len() - after.len());
        out.push_str(before);
        // A single brace is harmless, except at an end, where another one may stand beside it.
        if braces.len() == 1 && !out.is_empty() && !after.is_empty() {
            out.push('{');
        } else {
            out.push_str("{{\"");
            out.push_str(braces);
            out.push_str("\"}}");
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn parse_error(error: ParseError) -> TemplateError {
    match error {
        ParseError::WithContext(context, message) => TemplateError::new(context.line, shortened(&message)),
        other => TemplateError::new(1, shortened(&other.to_string())),
    }
}

fn exec_error(error: &ExecError) -> TemplateError {
    let Some(structured) = error.as_structured() else {
        return TemplateError::new(1, shortened(&error.to_string()));
    };
    let message = &structured.message;
    // The engine names the field and then prints all that it looked in.
    let field = message.strip_prefix("no field `").and_then(|rest| rest.split_once('`'));
    let message = match field {
        Some((name, _)) => format!("there is no value `{name}`"),
        None if *message == ExecError::OnlyMapsAndObjectsHaveFields.to_string() => {
            "a field is asked of a value that has none".to_owned()
        }
        None => shortened(message),
    };
    TemplateError::new(structured.context.line, message)
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARACTERS) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

/// Puts data into the engine's terms: a missing field of an `Object` is an error there, of a `Map` it is `<no value>`.
fn to_engine(data: &serde_json::Value, missing: Missing) -> Value {
    match data {
        serde_json::Value::Null => Value::NoValue,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Array(items) => {
            Value::Array(items.iter().map(|item| to_engine(item, missing)).collect())
        }
        serde_json::Value::Object(mapping) => {
            let mapping =
                mapping.iter().map(|(key, value)| (key.clone(), to_engine(value, missing))).collect();
            match missing {
                Missing::Error => Value::Object(mapping),
                Missing::Default => Value::Map(mapping),
            }
        }
    }
}

/// Go's `index`: a missing key of a map is no error, whatever is done about missing fields.
fn index(arguments: &[Value]) -> Result<Value, FuncError> {
    let [first, keys @ ..] = arguments else { return Err(FuncError::AtLeastXArgs("index".to_owned(), 1)) };
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Object(mapping) | Value::Map(mapping), Value::String(key)) => match mapping.get(key) {
                Some(found) => found.clone(),
                None if mapping.values().all(|value| matches!(value, Value::String(_))) => {
                    Value::String(String::new())
                }
                None => Value::NoValue,
            },
            (Value::Object(_) | Value::Map(_), _) => {
                return Err(FuncError::Generic("the key of a map is not a string".to_owned()));
            }
            (Value::NoValue | Value::Nil, _) => {
                return Err(FuncError::Generic("there is nothing to look the key up in".to_owned()));
            }
            (Value::Array(items), Value::Number(number)) => {
                let position = number.as_u64().and_then(|number| usize::try_from(number).ok());
                let item = position.and_then(|position| items.get(position)).cloned();
                item.ok_or_else(|| FuncError::IndexOutOfRange { index: key.to_string() })?
            }
            // A byte of a string, or an error that the engine words.
            (other, _) => funcs::index(&[other.clone(), key.clone()])?,
        };
    }
    Ok(value)
}

/// Go's `eq`: true if the first argument equals one of the others; what can never be equal is an error.
fn eq(arguments: &[Value]) -> Result<Value, FuncError> {
    if let [first, others @ ..] = arguments {
        for other in others {
            check_comparable(first, other)?;
            if let Value::Bool(true) = funcs::eq(&[first.clone(), other.clone()])? {
                return Ok(Value::Bool(true));
            }
        }
    }
    funcs::eq(arguments)
}

fn ne(arguments: &[Value]) -> Result<Value, FuncError> {
    if let [first, second] = arguments {
        check_comparable(first, second)?;
    }
    funcs::ne(arguments)
}

fn check_comparable(first: &Value, second: &Value) -> Result<(), FuncError> {
    let kind = |value: &Value| match value {
        Value::Bool(_) => Some("a boolean"),
        Value::String(_) => Some("a string"),
        Value::Number(_) => Some("a number"),
        Value::Array(_) => Some("a list"),
        Value::Object(_) | Value::Map(_) => Some("a map"),
        _ => None,
    };
    match (kind(first), kind(second)) {
        (Some(first @ ("a list" | "a map")), _) | (_, Some(first @ ("a list" | "a map"))) => {
            Err(FuncError::Generic(format!("{first} cannot be compared")))
        }
        (Some(first), Some(second)) if first != second => {
            Err(FuncError::Generic(format!("{first} is compared with {second}")))
        }
        _ => Ok(()),
    }
}
