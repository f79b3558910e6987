//! JSON as the Kubernetes API server writes it.
//!
//! Go's encoder differs from `serde_json` in two ways that clients can see: it escapes `<`, `>`, `&` and the two
//! Unicode line separators inside strings, and it writes floating point numbers in its own form. Everything that
//! leaves the server or enters the store goes through here, so that stored bytes are served bytes.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// Writes compact JSON in Go's form.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(go_float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut written = 0;
        let mut index = 0;
        while index < bytes.len() {
            let (escape, length): (&[u8], usize) = match bytes[index] {
                b'<' => (b"\\u003c", 1),
                b'>' => (b"\\u003e", 1),
                b'&' => (b"\\u0026", 1),
                // U+2028 and U+2029 are E2 80 A8 and E2 80 A9 in UTF-8.
                0xe2 if bytes[index..].starts_with(&[0xe2, 0x80, 0xa8]) => (b"\\u2028", 3),
                0xe2 if bytes[index..].starts_with(&[0xe2, 0x80, 0xa9]) => (b"\\u2029", 3),
                _ => {
                    index += 1;
                    continue;
                }
            };
            writer.write_all(&bytes[written..index])?;
            writer.write_all(escape)?;
            index += length;
            written = index;
        }
        writer.write_all(&bytes[written..])
    }
}

/// Returns `value` as compact JSON without a line end.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::with_formatter(&mut buffer, GoFormatter);
    value.serialize(&mut serializer).expect("because JSON values and our own structs always serialize");
    buffer
}

/// Returns `value` as compact JSON without a line end.
pub(crate) fn to_text<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(to_vec(value)).expect("because the encoder writes UTF-8")
}

/// Returns `value` as compact JSON with the line end that every answer carries.
pub(crate) fn to_line<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut buffer = to_vec(value);
    buffer.push(b'\n');
    buffer
}

/// Returns a number as `encoding/json` writes a float64: the shortest digits, an exponent only for very small and
/// very large magnitudes.
pub(crate) fn go_float(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
            _ => text,
        };
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let value = json!({"a": "<b> & \u{2028}\u{2029}\u{2030}\u{7f}\t\u{1}é"});
        assert_eq!(
            to_text(&value),
            "{\"a\":\"\\u003cb\\u003e \\u0026 \\u2028\\u2029\u{2030}\u{7f}\\t\\u0001é\"}"
        );
    }

    #[test]
    fn floats_are_written_as_go_writes_them() {
        let cases = [
            (1.0, "1"),
            (0.5, "0.5"),
            (-0.0, "-0"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-7"),
            (0.000_001, "0.000001"),
        ];
        for (value, expected) in cases {
            assert_eq!(go_float(value), expected);
        }
    }

    #[test]
    fn keys_are_sorted_and_answers_end_their_line() {
        assert_eq!(to_line(&json!({"b": 1, "a": [true, null]})), b"{\"a\":[true,null],\"b\":1}\n");
    }
}
