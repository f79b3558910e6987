//! JSON values to YAML text that every reader takes for the same values.
//!
//! Block style, two blanks of indentation, lists in the column of their key (as kubectl prints them). A string is plain
//! only where no reader of YAML 1.1 or 1.2 could see anything else in it; a text of several lines is a literal block where
//! that keeps every byte.

use serde_json::{Number, Value};

use super::scalar;

/// YAML readers must not look further than 1,024 characters for the `:` of a key; quotes and escapes included.
const LONGEST_SIMPLE_KEY: usize = 1_000;

/// Returns `value` as a YAML document that ends with a line feed. Keys stay in the order of the mapping.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(mapping) if !mapping.is_empty() => write_mapping(&mut out, mapping, 0),
        Value::Array(items) if !items.is_empty() => write_sequence(&mut out, items, 0),
        // No block scalar here: at the root its text would begin in the first column.
        Value::String(text) => {
            out.push_str(&inline_string(text));
            out.push('\n');
        }
        other => {
            write_leaf(&mut out, other, 0);
        }
    }
    out
}

/// Writes the entries of a mapping; the caller has indented the first one.
fn write_mapping(out: &mut String, mapping: &serde_json::Map<String, Value>, indentation: usize) {
    for (index, (key, value)) in mapping.iter().enumerate() {
        if index > 0 {
            indent(out, indentation);
        }
        let key = inline_string(key);
        if key.chars().count() > LONGEST_SIMPLE_KEY {
            out.push_str("? ");
            out.push_str(&key);
            out.push('\n');
            indent(out, indentation);
        } else {
            out.push_str(&key);
        }
        out.push(':');
        match value {
            Value::Object(mapping) if !mapping.is_empty() => {
                out.push('\n');
                indent(out, indentation + 2);
                write_mapping(out, mapping, indentation + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                indent(out, indentation);
                write_sequence(out, items, indentation);
            }
            leaf => {
                out.push(' ');
                write_leaf(out, leaf, indentation + 2);
            }
        }
    }
}

/// Writes the items of a sequence; the caller has indented the first one.
fn write_sequence(out: &mut String, items: &[Value], indentation: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            indent(out, indentation);
        }
        out.push_str("- ");
        match item {
            Value::Object(mapping) if !mapping.is_empty() => write_mapping(out, mapping, indentation + 2),
            Value::Array(items) if !items.is_empty() => write_sequence(out, items, indentation + 2),
            leaf => write_leaf(out, leaf, indentation + 2),
        }
    }
}

/// Writes a scalar or an empty collection, and the line end. `indentation` is that of a block scalar's lines.
fn write_leaf(out: &mut String, value: &Value, indentation: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) if is_literal_safe(text) => {
            write_literal(out, text, indentation);
            return;
        }
        Value::String(text) => out.push_str(&inline_string(text)),
    }
    out.push('\n');
}

fn write_literal(out: &mut String, text: &str, indentation: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    for line in body.split('\n') {
        if !line.is_empty() {
            indent(out, indentation);
            out.push_str(line);
        }
        out.push('\n');
    }
    for _ in 1..text.len() - body.len() {
        out.push('\n');
    }
}

/// Says whether a literal block keeps every byte of `text`, whoever reads it.
fn is_literal_safe(text: &str) -> bool {
    // Leading blanks would need an indentation indicator, and lines of blanks only are read in several ways.
    text.contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && text.split('\n').all(|line| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty())
        && text.chars().all(|character| matches!(character, '\n' | '\t') || is_printable(character))
}

/// Returns a string as a scalar on one line: plain, in single or in double quotes.
fn inline_string(text: &str) -> String {
    if is_plain_safe(text) {
        return text.to_owned();
    }
    if text.chars().all(is_printable) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    double_quoted(text)
}

fn is_plain_safe(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || matches!(first, '_' | '/'))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(is_printable)
        && !scalar::needs_quotes(text)
}

/// Says whether every YAML reader takes the character as it is, on one line.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        // Blanks other than U+0020 are content, but not to be seen: escaped, they are.
        && (character == ' ' || !character.is_whitespace())
}

fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            other if is_printable(other) => out.push(other),
            other => {
                // All that is not printable lies below U+10000.
                let digits = format!("{:04X}", u32::from(other));
                out.push_str("\\u");
                out.push_str(&digits);
            }
        }
    }
    out.push('"');
    out
}

/// Returns a number so that YAML 1.1 takes it for one: a float has a dot, and a sign in its exponent.
fn number_text(number: &Number) -> String {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let dot = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
    format!("{mantissa}{dot}e{sign}{exponent}")
}

fn indent(out: &mut String, indentation: usize) {
    out.extend(std::iter::repeat_n(' ', indentation));
}
