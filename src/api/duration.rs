//! Durations as manifests have them: what Go's `time.ParseDuration` reads, or whole seconds without a unit.

use std::time::Duration;

/// Why a duration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not a duration.
    #[error("{0:?} is not a duration")]
    Malformed(String),
    /// It is below zero.
    #[error("the duration {0:?} is negative")]
    Negative(String),
    /// It does not fit.
    #[error("the duration {0:?} is longer than 100 years")]
    TooLong(String),
}

/// Longest duration that is read. Longer ones are mistakes, and would overflow when added to a time.
const LONGEST: Duration = Duration::from_hours(100 * 366 * 24);

/// Reads `1h30m`, `1.5s`, `250ms`, or a bare number of seconds.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    if text.len() > 64 {
        return Err(malformed());
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.starts_with('-') {
        return Err(DurationError::Negative(text.to_owned()));
    }
    if unsigned.is_empty() {
        return Err(malformed());
    }
    let too_long = || DurationError::TooLong(text.to_owned());
    let nanoseconds = if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        scaled(unsigned, "", 1_000_000_000).ok_or_else(too_long)?
    } else {
        let parts = parts(unsigned).ok_or_else(malformed)?;
        let add =
            |total: u128, part: &Part<'_>| total.checked_add(scaled(part.whole, part.fraction, part.scale)?);
        parts.iter().try_fold(0, add).ok_or_else(too_long)?
    };
    if nanoseconds > LONGEST.as_nanos() {
        return Err(too_long());
    }
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    match (u64::try_from(seconds), u32::try_from(rest)) {
        (Ok(seconds), Ok(rest)) => Ok(Duration::new(seconds, rest)),
        _ => Err(too_long()),
    }
}

/// A number with its unit: `1.5s`.
struct Part<'a> {
    whole: &'a str,
    fraction: &'a str,
    scale: u128,
}

/// Takes a duration apart; `None` when it is malformed.
fn parts(mut rest: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let whole = digits(rest);
        rest = rest.get(whole.len()..)?;
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            fraction = digits(after);
            rest = after.get(fraction.len()..)?;
        }
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, scale) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = rest.get(unit.len()..)?;
        parts.push(Part { whole, fraction, scale: *scale });
    }
    Some(parts)
}

/// Units and their nanoseconds; `ms` stands before `m`, so that the longer one is found.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn digits(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Returns nanoseconds; `None` when they do not fit. Digits below a nanosecond are dropped.
fn scaled(whole: &str, fraction: &str, scale: u128) -> Option<u128> {
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    let mut nanoseconds = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        nanoseconds = nanoseconds.checked_add(place.checked_mul(u128::from(digit - b'0'))?)?;
    }
    Some(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them_or_as_seconds() {
        for (text, milliseconds) in [
            ("60", 60_000),
            ("0", 0),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("250ms", 250),
            ("+2s", 2_000),
            ("1h1s", 3_601_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("1µs"), Ok(Duration::from_micros(1)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "abc", "5 m", "5d", "1.s.", "s", ".s", "1m ", "+", "m5"] {
            assert_eq!(parse(text), Err(DurationError::Malformed(text.to_owned())));
        }
        assert_eq!(parse("-5m"), Err(DurationError::Negative("-5m".to_owned())));
        for text in ["9999999999999999h", "99999999999999999999999999999999999999999999", "900001h"] {
            assert_eq!(parse(text), Err(DurationError::TooLong(text.to_owned())), "{text}");
        }
        assert!(matches!(parse(&"1s".repeat(40)), Err(DurationError::Malformed(_))));
    }
}
