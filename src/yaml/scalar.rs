//! What a plain (unquoted) scalar means.
//!
//! The core schema of YAML 1.2 decides the value; the type repository of YAML 1.1 (what go-yaml and `PyYAML` implement)
//! decides whether somebody else would read another one.

use serde_json::{Number, Value};

use super::fault::FaultCode;

/// Why a plain scalar is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: FaultCode,
    pub(super) message: String,
}

/// Integers up to this size are exact in a float, so a float without a fraction may become one.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// Returns the value of a plain scalar.
pub(super) fn resolve(text: &str) -> Result<Value, Refusal> {
    // Most scalars are words: decide them by their first byte.
    let Some(&first) = text.as_bytes().first() else { return Ok(Value::Null) };
    if !matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.' | b'~' | b'=' | b'<')
        && !matches!(first.to_ascii_lowercase(), b't' | b'f' | b'n' | b'y' | b'o')
    {
        return Ok(Value::String(text.to_owned()));
    }
    match text {
        "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if is_boolean_word(text) {
        return Err(ambiguous(match text {
            "=" | "<<" => {
                format!("`{text}` is a plain word to some YAML readers and has a meaning to others")
            }
            _ => format!("`{text}` is a boolean to YAML 1.1 readers such as kubectl and a word to others"),
        }));
    }
    if !matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.') {
        return Ok(Value::String(text.to_owned()));
    }
    resolve_number(text)
}

/// Says whether `text`, written plain, may be anything but a string to some reader of YAML 1.1 or 1.2.
///
/// It errs on the side of "yes": whatever looks like a number or a time is not trusted.
pub(super) fn needs_quotes(text: &str) -> bool {
    let Some(&first) = text.as_bytes().first() else { return true };
    if matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.' | b'~' | b'=' | b'<') {
        return true;
    }
    let lower = text.to_ascii_lowercase();
    matches!(lower.as_str(), "true" | "false" | "null" | "y" | "yes" | "on" | "n" | "no" | "off")
}

/// The words that only YAML 1.1 takes for booleans, in the spellings that it knows; and its two special keys.
fn is_boolean_word(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "on"
            | "On"
            | "ON"
            | "off"
            | "Off"
            | "OFF"
    ) || matches!(text, "=" | "<<")
}

fn resolve_number(text: &str) -> Result<Value, Refusal> {
    let (sign, body) = match text.as_bytes().first() {
        Some(b'+' | b'-') => text.split_at(1),
        _ => ("", text),
    };
    if matches!(body, ".inf" | ".Inf" | ".INF")
        || (sign.is_empty() && matches!(body, ".nan" | ".NaN" | ".NAN"))
    {
        return Err(Refusal {
            code: FaultCode::NumberRange,
            message: format!("`{text}` is a number that JSON cannot hold"),
        });
    }
    if let Some(digits) = body.strip_prefix("0x") {
        return radix(text, sign, digits, 16, "hexadecimal");
    }
    if let Some(digits) = body.strip_prefix("0o") {
        if is_digits(digits, 8) {
            return Err(ambiguous(format!("`{text}` is an octal number to YAML 1.2 readers only")));
        }
        return string(text);
    }
    if let Some(digits) = body.strip_prefix("0b") {
        if is_digits(&without_underscores(digits), 2) {
            return Err(ambiguous(format!("`{text}` is a binary number to YAML 1.1 readers only")));
        }
        return string(text);
    }
    if body.contains('_') && looks_numeric(&without_underscores(body)) && !body.starts_with('_') {
        return Err(ambiguous(format!("`{text}` is a number to YAML 1.1 readers only")));
    }
    if is_sexagesimal(body) {
        return Err(ambiguous(format!("`{text}` is a base-60 number to YAML 1.1 readers such as PyYAML")));
    }
    if is_digits(body, 10) { integer(text, body) } else { float(text, body) }
}

fn integer(text: &str, body: &str) -> Result<Value, Refusal> {
    if body.len() > 1 && body.starts_with('0') {
        return Err(ambiguous(format!(
            "`{text}` has a leading zero: octal to YAML 1.1 readers, decimal to others"
        )));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(number.into());
    }
    match text.parse::<u64>() {
        Ok(number) => Ok(number.into()),
        Err(_) => Err(out_of_range(text)),
    }
}

fn radix(text: &str, sign: &str, digits: &str, radix: u32, name: &str) -> Result<Value, Refusal> {
    let plain = without_underscores(digits);
    if !is_digits(&plain, radix) {
        return string(text);
    }
    if !sign.is_empty() || plain.len() != digits.len() {
        return Err(ambiguous(format!("`{text}` is a {name} number to YAML 1.1 readers only")));
    }
    u64::from_str_radix(&plain, radix).map(Value::from).map_err(|_| out_of_range(text))
}

fn float(text: &str, body: &str) -> Result<Value, Refusal> {
    if !is_float(body) {
        // More than one dot, as in `1.2.3`: YAML 1.1 allows it by the letter, no reader does.
        return string(text);
    }
    if let Some((mantissa, exponent)) = body.split_once(['e', 'E'])
        && (!mantissa.contains('.') || !exponent.starts_with(['+', '-']))
    {
        return Err(ambiguous(format!("`{text}` is a number to YAML 1.2 readers and a string to others")));
    }
    let number: f64 = text.parse().map_err(|_| out_of_range(text))?;
    if !number.is_finite() {
        return Err(out_of_range(text));
    }
    if number.fract() == 0.0 && number.abs() < EXACT_FLOAT {
        #[expect(clippy::cast_possible_truncation, reason = "the number is whole and below 2^53")]
        return Ok(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number).ok_or_else(|| out_of_range(text))
}

/// The float of the core schema: `[.][0-9]+` or `[0-9]+(.[0-9]*)?`, then an exponent or nothing.
fn is_float(body: &str) -> bool {
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    if exponent.is_some_and(|exponent| !is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent), 10))
    {
        return false;
    }
    match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction, 10),
        Some((whole, fraction)) => is_digits(whole, 10) && (fraction.is_empty() || is_digits(fraction, 10)),
        None => is_digits(mantissa, 10),
    }
}

fn looks_numeric(body: &str) -> bool {
    is_digits(body, 10) || is_float(body) || is_sexagesimal(body)
}

/// `12:30:00` and `1:30.5`: groups of two digits below 60, the last one may have a fraction.
fn is_sexagesimal(body: &str) -> bool {
    let whole = body.split_once('.').map_or(body, |(whole, fraction)| {
        if fraction.is_empty() || is_digits(fraction, 10) { whole } else { "" }
    });
    let mut groups = whole.split(':');
    let Some(first) = groups.next() else { return false };
    let mut count = 0;
    let rest = groups.all(|group| {
        count += 1;
        is_digits(group, 10)
            && (group.len() == 1 || (group.len() == 2 && group.as_bytes().first() < Some(&b'6')))
    });
    is_digits(first, 10) && rest && count > 0
}

fn is_digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_digit(radix))
}

fn without_underscores(text: &str) -> String {
    text.replace('_', "")
}

#[expect(clippy::unnecessary_wraps, reason = "the callers return it as one of several outcomes")]
fn string(text: &str) -> Result<Value, Refusal> {
    Ok(Value::String(text.to_owned()))
}

fn ambiguous(message: String) -> Refusal {
    Refusal { code: FaultCode::AmbiguousScalar, message }
}

fn out_of_range(text: &str) -> Refusal {
    Refusal {
        code: FaultCode::NumberRange,
        message: format!("the number `{text}` does not fit into 64 bits"),
    }
}
