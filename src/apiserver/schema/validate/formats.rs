//! The `format`s that the real server checks; it ignores all others.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

use super::outcome::Outcome;
use super::type_error;
use crate::apiserver::schema::structural::Node;

/// Formats of strings, without the dashes that a schema may put into their names.
const TEXT_FORMATS: &[&str] = &[
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Returns the format of a schema, if it is one that is checked for its type.
pub(super) fn effective(schema: &Node) -> Option<&str> {
    let format = schema.validation.format.as_deref()?;
    let is_checked = match schema.type_names() {
        [] | ["string"] | [_, _, ..] => is_text_format(format),
        ["integer"] => matches!(format, "int32" | "int64"),
        ["number"] => matches!(format, "float" | "double"),
        [_] => false,
    };
    is_checked.then_some(format)
}

/// Returns whether strings are checked against the format.
pub(super) fn is_text_format(format: &str) -> bool {
    TEXT_FORMATS.contains(&format.replace('-', "").as_str())
}

/// Checks a string against one of the text formats.
pub(super) fn check(text: &str, format: &str, path: &str) -> Outcome {
    if matches_format(text, &format.replace('-', "")) {
        Outcome::default()
    } else {
        Outcome::of(type_error(path, format, text))
    }
}

macro_rules! expression {
    ($name:ident, $pattern:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new($pattern).expect("because the pattern is a constant that tests compile")
        });
    };
}

expression!(TIME, r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$");
expression!(GO_DURATION, r"^[+-]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$");
expression!(WORDY_DURATION, r"(\d+)\s*([A-Za-zµ]+)");
expression!(
    BASE64,
    r"^(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+\\/]{3}=|[A-Za-z0-9+\\/]{4})$"
);
expression!(
    HOSTNAME,
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9\-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
);
expression!(
    MAC,
    r"^(?i)([0-9a-f]{2}([:-][0-9a-f]{2}){5}|[0-9a-f]{2}([:-][0-9a-f]{2}){7}|[0-9a-f]{4}(\.[0-9a-f]{4}){2,3})$"
);
expression!(
    EMAIL,
    r#"^(?:[^<>@"]*<)?[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10ffff}-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10ffff}-]+)*@[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10ffff}-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u{80}-\u{10ffff}-]+)*>?$"#
);
expression!(UUID, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
expression!(UUID3, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
expression!(UUID4, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
expression!(UUID5, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
expression!(
    CREDIT_CARD,
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$"
);
expression!(SSN, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$");
expression!(HEX_COLOR, r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$");
expression!(
    RGB_COLOR,
    r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$"
);
expression!(OBJECT_ID, r"^[0-9a-fA-F]{24}$");
expression!(SHORT_NAME, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$");
expression!(LONG_NAME, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$");

fn matches_format(text: &str, format: &str) -> bool {
    match format {
        "bsonobjectid" => OBJECT_ID.is_match(text),
        "byte" => BASE64.is_match(text),
        "cidr" => is_cidr(text),
        "creditcard" => is_credit_card(text),
        "date" => is_date(text),
        "datetime" => is_date_time(text),
        "duration" => is_duration(text),
        "email" => EMAIL.is_match(text) && text.contains('<') == text.ends_with('>'),
        "hexcolor" => HEX_COLOR.is_match(text),
        "hostname" => {
            HOSTNAME.is_match(text) && text.len() <= 255 && text.split('.').all(|label| label.len() <= 63)
        }
        "ipv4" => text.contains('.') && parse_address(text).is_some(),
        "ipv6" => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "k8slongname" => text.len() <= 253 && LONG_NAME.is_match(text),
        "k8sshortname" => text.len() <= 63 && SHORT_NAME.is_match(text),
        "mac" => MAC.is_match(text),
        "rgbcolor" => RGB_COLOR.is_match(text),
        "ssn" => SSN.is_match(text),
        "uri" => is_request_uri(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => UUID3.is_match(text),
        "uuid4" => UUID4.is_match(text),
        "uuid5" => UUID5.is_match(text),
        // A password is any string.
        _ => true,
    }
}

fn is_date(text: &str) -> bool {
    let digits =
        |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    digits(year, 4) && digits(month, 2) && digits(day, 2) && text.parse::<jiff::civil::Date>().is_ok()
}

/// A date, a `T`, a time with an offset. Leap seconds are refused, and any character may stand before the fraction.
fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    let Some(found) = TIME.captures(time).filter(|_| is_date(date)) else { return false };
    &found[1] <= "23" && &found[2] <= "59" && &found[3] <= "59"
}

/// A Go duration, or any text with a number and a unit somewhere in it.
fn is_duration(text: &str) -> bool {
    const EXACT: &[&str] = &["ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"];
    const PREFIXES: &[&str] = &["nano", "micro", "milli", "sec", "min", "hour", "day", "week"];
    if GO_DURATION.is_match(text) {
        return true;
    }
    let mut is_found = false;
    for found in WORDY_DURATION.captures_iter(text) {
        if found[1].parse::<i64>().is_err() {
            return false;
        }
        let unit = found[2].to_lowercase();
        is_found |= EXACT.contains(&unit.as_str()) || PREFIXES.iter().any(|prefix| unit.starts_with(prefix));
    }
    is_found
}

/// Reads an address; leading zeros in IPv4 parts are tolerated, as the real server does.
fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse().ok();
    }
    let parts: Vec<&str> = text.split('.').collect();
    let plain: Option<Vec<String>> = parts
        .iter()
        .map(|part| {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| part.parse::<u8>().ok()).flatten().map(|byte| byte.to_string())
        })
        .collect();
    plain?.join(".").parse().ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let limit = match parse_address(address) {
        Some(IpAddr::V4(_)) => 32,
        Some(IpAddr::V6(_)) => 128,
        None => return false,
    };
    length.bytes().all(|byte| byte.is_ascii_digit())
        && length.parse::<u8>().is_ok_and(|length| length <= limit)
}

/// An absolute path, or a URI with a scheme.
fn is_request_uri(text: &str) -> bool {
    let is_clean = text.bytes().all(|byte| byte > 0x20 && byte != 0x7f) && has_valid_escapes(text);
    if text.starts_with('/') {
        return is_clean;
    }
    let Some((scheme, _)) = text.split_once(':') else { return false };
    let mut characters = scheme.chars();
    let is_scheme = characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|other| other.is_ascii_alphanumeric() || "+-.".contains(other));
    is_clean && is_scheme
}

fn has_valid_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let mut bytes = rest.bytes();
        let mut is_hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        is_hex() && is_hex()
    })
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0');
            let doubled = if index % 2 == 1 { digit * 2 } else { digit };
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    CREDIT_CARD.is_match(&digits) && sum.is_multiple_of(10)
}

fn is_isbn10(text: &str) -> bool {
    let plain: Vec<u8> = text.bytes().filter(|byte| !b" -".contains(byte)).collect();
    let sum: Option<u32> = plain
        .iter()
        .zip(1..)
        .map(|(byte, weight)| match byte {
            b'0'..=b'9' => Some(u32::from(byte - b'0') * weight),
            b'X' if weight == 10 => Some(100),
            _ => None,
        })
        .sum();
    plain.len() == 10 && sum.is_some_and(|sum| sum.is_multiple_of(11))
}

fn is_isbn13(text: &str) -> bool {
    let plain: Vec<u8> = text.bytes().filter(|byte| !b" -".contains(byte)).collect();
    let is_number = plain.len() == 13 && plain.iter().all(u8::is_ascii_digit);
    let weights = [1, 3].into_iter().cycle();
    is_number
        && plain
            .iter()
            .zip(weights)
            .map(|(byte, weight)| u32::from(byte - b'0') * weight)
            .sum::<u32>()
            .is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_the_real_server_takes() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "datetime",
                &["2026-01-02T03:04:05Z", "2026-01-02t03:04:05.123+01:00", "2026-01-02T03:04:05,5Z"],
                &[
                    "2026-01-02",
                    "2026-13-02T03:04:05Z",
                    "2026-01-02T24:04:05Z",
                    "2026-01-02T03:04:05",
                    "2026-01-02T03:04:60Z",
                ],
            ),
            ("date", &["2026-02-28"], &["2026-02-29", "26-01-01", "2026-1-1"]),
            ("duration", &["1h30m", "22 ns", "3 weeks", "0", "-1.5h"], &["", "1", "h", "1 parsec"]),
            ("byte", &["YQ==", "YWJj"], &["", "a", "YQ="]),
            ("hostname", &["a.example", "localhost", "1a"], &["", "-a", "a.b-.c", "a..b"]),
            ("ipv4", &["10.0.0.1", "010.0.0.1"], &["10.0.0", "256.0.0.1", "::1"]),
            ("ipv6", &["::1", "fe80::1"], &["10.0.0.1", "g::1"]),
            ("cidr", &["10.0.0.0/8", "::/0"], &["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8"]),
            ("mac", &["01:02:03:04:ab:cd", "0102.0304.abcd"], &["01:02:03:04:ab", "x"]),
            ("uuid", &["123E4567-e89b-12d3-a456-426614174000"], &["123"]),
            ("uuid4", &["123e4567-e89b-42d3-a456-426614174000"], &["123e4567-e89b-12d3-a456-426614174000"]),
            (
                "uri",
                &["https://example.com/a?b#c", "/a", "urn:x"],
                &["", "example.com", "http://a b", "/%zz"],
            ),
            ("email", &["a@example.com", "A B <a@b.c>"], &["a", "a@", "@b", "<a@b.c"]),
            ("hexcolor", &["#fff", "a0b1c2"], &["#ff"]),
            ("rgbcolor", &["rgb(0, 12,255)"], &["rgb(256,0,0)"]),
            ("ssn", &["111-22-3333"], &["11-22-3333"]),
            ("isbn10", &["0321751043"], &["0321751044"]),
            ("isbn13", &["978-0321751041"], &["978-0321751042"]),
            ("creditcard", &["4111 1111 1111 1111"], &["4111 1111 1111 1112"]),
            ("k8sshortname", &["a-b"], &["A", "-a", "a.b"]),
            ("k8slongname", &["a-b.c"], &["a..b"]),
            ("bsonobjectid", &["507f1f77bcf86cd799439011"], &["507f"]),
            ("password", &["", "x"], &[]),
        ];
        for (format, good, bad) in cases {
            assert!(TEXT_FORMATS.contains(format));
            for text in *good {
                assert!(matches_format(text, format), "{format}: {text:?}");
            }
            for text in *bad {
                assert!(!matches_format(text, format), "{format}: {text:?}");
            }
        }
    }
}
