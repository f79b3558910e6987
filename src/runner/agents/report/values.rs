//! Events, and the numbers and texts in them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::run::Usage;

/// The longest final answer that is kept, in bytes.
pub(super) const LONGEST_ANSWER: usize = 16 * 1024;

/// Returns the usage that stands in the results of an agent of the operator's own.
pub fn usage_in_results(results: &BTreeMap<String, String>) -> Usage {
    let tokens = |key| {
        results.get(key).and_then(|text| text.parse::<i64>().ok()).and_then(|count| u64::try_from(count).ok())
    };
    Usage {
        cost_usd: results.get("cost-usd").filter(|text| is_amount(text)).cloned(),
        input_tokens: tokens("input-tokens"),
        output_tokens: tokens("output-tokens"),
    }
}

// A Kubernetes quantity of at least zero: a decimal number with an exponent or a suffix.
fn is_amount(text: &str) -> bool {
    let number = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "n", "u", "m", "k", "M", "G", "T", "P", "E"]
        .iter()
        .find_map(|suffix| text.strip_suffix(suffix))
        .unwrap_or(text);
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (1..=40).contains(&text.len())
        && !(whole.is_empty() && fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        && exponent.parse::<i16>().is_ok()
}

/// Returns the object that a line is, if it is one.
pub(super) fn any_event(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(Value::is_object)
}

/// Returns the event that a line is, if it is of this type.
pub(super) fn event(line: &str, kind: &str) -> Option<Value> {
    any_event(line).filter(|event| event["type"] == kind)
}

/// Returns a count of things, whether written as a number or as a text.
pub(super) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

/// Adds a count to a sum, which is there from the first count on.
pub(super) fn add(sum: &mut Option<u64>, value: &Value) {
    if let Some(more) = count(value) {
        *sum = Some(sum.unwrap_or(0).saturating_add(more));
    }
}

/// Returns a price as a plain decimal number.
pub(super) fn amount(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    // JSON writes small numbers with an exponent, which is no way to write a price.
    if text.contains(['e', 'E'])
        && let Ok(price) = text.parse()
    {
        return dollars(price);
    }
    is_amount(&text).then_some(text)
}

/// Returns a price, or a sum of prices, as a plain decimal number: more digits than nine are an artefact of adding.
pub(super) fn dollars(price: f64) -> Option<String> {
    let text = format!("{price:.9}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    is_amount(text).then(|| text.to_owned())
}

/// Returns a text as an answer, cut to the length that is kept; nothing for an empty one.
pub(super) fn answer(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    let mut end = text.len().min(LONGEST_ANSWER);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).map(str::to_owned)
}
