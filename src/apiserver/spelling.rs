//! How the real server, which is written in Go, spells values inside messages.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

/// Returns `text` in double quotes, escaped as Go does (`%q`).
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            printable if is_printable(printable) => quoted.push(printable),
            other => push_escaped(&mut quoted, u32::from(other)),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a number as Go prints it (`%v`): integers as they are, others in the shortest form that reads back.
pub(super) fn number(number: &Number) -> String {
    match number.as_i64() {
        Some(integer) => integer.to_string(),
        None => float(number.as_f64().unwrap_or(0.0)),
    }
}

/// Returns a float as Go prints it: with an exponent below 1e-4 and from 1e21.
pub(super) fn float(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let Some((mantissa, exponent)) = text.split_once('e') else { return text };
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    value.to_string()
}

/// Returns compact JSON as Go's encoder writes it, which escapes characters that matter in HTML.
pub(super) fn json(value: &Value) -> String {
    let mut text = String::new();
    push_json(&mut text, value);
    text
}

/// Returns the name that Go gives to the type of a decoded value (`%T`).
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Returns the name that Go's JSON decoder gives to a value in its errors.
pub(super) fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns how Go prints the wrapper in which the merge library keeps a value (`%v`).
pub(super) fn wrapped(value: &Value) -> String {
    format!("&{{{}}}", plain(value))
}

/// Returns how Go prints the wrapper in which the merge library keeps a value as an expression (`%#v`).
pub(super) fn wrapped_syntax(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{}}}", syntax(value))
}

/// Returns how Go prints a decoded value (`%v`).
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(value) => number(value),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> =
                sorted(fields).into_iter().map(|(name, value)| format!("{name}:{}", plain(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// Go's `%#v`.
fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(_) | Value::Number(_) => plain(value),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = sorted(fields)
                .into_iter()
                .map(|(name, value)| format!("{}:{}", quoted(name), syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
    }
}

/// Go prints and encodes maps in the order of their keys.
fn sorted(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    fields
}

fn push_json(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Number(value) => text.push_str(&json_number(value)),
        Value::String(value) => push_json_text(text, value),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_json(text, item);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (index, (name, value)) in sorted(fields).into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_json_text(text, name);
                text.push(':');
                push_json(text, value);
            }
            text.push('}');
        }
    }
}

/// Go's JSON encoder turns to exponents below 1e-6 and cleans `e-09` to `e-9`.
fn json_number(value: &Number) -> String {
    if let Some(integer) = value.as_i64() {
        return integer.to_string();
    }
    let value = value.as_f64().unwrap_or(0.0);
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        return if text.contains("e-") { text } else { text.replacen('e', "e+", 1) };
    }
    value.to_string()
}

fn push_json_text(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{0}'..='\u{1f}' => {
                let code = u32::from(character);
                // Writing to a string cannot fail.
                write!(text, "\\u{code:04x}").unwrap_or_default();
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

fn push_escaped(quoted: &mut String, code: u32) {
    let written = match code {
        0..=0x7f => write!(quoted, "\\x{code:02x}"),
        0x80..=0xffff => write!(quoted, "\\u{code:04x}"),
        _ => write!(quoted, "\\U{code:08x}"),
    };
    // Writing to a string cannot fail.
    written.unwrap_or_default();
}

/// Returns whether Go prints the character as it is: letters, marks, numbers, punctuation, symbols and the space.
pub(super) fn is_printable(character: char) -> bool {
    if character == ' ' {
        return true;
    }
    let is_format = matches!(
        u32::from(character),
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e
            | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xfffe..=0xffff
            | 0xe0000..=0xe007f | 0xf0000..=0x10_ffff
    );
    !is_format && !character.is_control() && !character.is_whitespace()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_quoted_as_go_does() {
        for (text, expected) in [
            ("plain", r#""plain""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("tab\there", r#""tab\there""#),
            ("\u{0}\u{7f}", r#""\x00\x7f""#),
            ("grüße ☃", "\"grüße ☃\""),
            ("\u{200b}", r#""\u200b""#),
            ("\u{a0}", r#""\u00a0""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn floats_are_printed_as_go_does() {
        for (value, expected) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e-7, "1.25e-07"),
            (0.0001, "0.0001"),
            (-2.5e30, "-2.5e+30"),
            (0.0, "0"),
        ] {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn json_is_written_as_go_does() {
        let value = json!({"b": "<&>\u{2028}\u{1}", "a": [1.0, 1e-7, 1e21, null, true]});
        assert_eq!(
            super::json(&value),
            r#"{"a":[1,1e-7,1e+21,null,true],"b":"\u003c\u0026\u003e\u2028\u0001"}"#
        );
    }
}
