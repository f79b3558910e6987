//! Bounds of numbers; lengths and patterns of strings.

use serde_json::{Number, Value};

use super::outcome::Outcome;
use super::{formats, invalid, trimmed};
use crate::apiserver::schema::error::FieldError;
use crate::apiserver::schema::structural::Node;
use crate::apiserver::spelling;

/// Checks lengths, in characters, and the pattern of a string; the first fault is the only one told.
pub(super) fn check_text(text: &str, schema: &Node, path: &str) -> Outcome {
    let rules = &schema.validation;
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = rules.max_length.filter(|max| length > *max) {
        // The real server counts characters and says bytes.
        let error = FieldError::too_long(trimmed(path), usize::try_from(max).unwrap_or_default());
        return Outcome::of((format!("{path} in body should be at most {max} chars long"), error));
    }
    if let Some(min) = rules.min_length.filter(|min| length < *min) {
        return Outcome::of(invalid(path, text, &format!("should be at least {min} chars long")));
    }
    if let Some(pattern) = &rules.pattern
        && !pattern.regex.is_match(text)
    {
        return Outcome::of(invalid(path, text, &format!("should match '{}'", pattern.text)));
    }
    Outcome::default()
}

/// Checks the range of the format, the factor and the bounds of a number.
pub(super) fn check_number(number: &Number, schema: &Node, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let rules = &schema.validation;
    let range = Range::of(schema);
    let (is_integer, value) = (number.as_i64(), number.as_f64().unwrap_or(0.0));
    if !range.holds(number) {
        outcome.add_loose(range.message("Checked", path));
    }
    let told = || Value::Number(number.clone());
    if let Some(factor) = &rules.multiple_of {
        if !range.holds(factor) {
            outcome.add_loose(range.message("MultipleOf", path));
        }
        let bound = Bound::of(factor, is_integer.is_some() && range.holds(factor));
        if !bound.is_positive() {
            let shown = bound.shown();
            let message = format!("factor MultipleOf declared for {path} must be positive: {shown}");
            outcome.add((message.clone(), FieldError::invalid(trimmed(path), bound.value(), message)));
        } else if !bound.divides(is_integer, value) {
            outcome.add(invalid(path, told(), &format!("should be a multiple of {}", bound.shown())));
        }
    }
    let mut bounds = Outcome::default();
    if let Some(min) = &rules.minimum {
        if !range.holds(min) {
            bounds.add_loose(range.message("Minimum boundary", path));
        }
        let bound = Bound::of(min, is_integer.is_some() && range.holds(min));
        let (is_below, is_at) = bound.compare(is_integer, value);
        if is_below || (rules.exclusive_minimum && is_at) {
            let relation = if rules.exclusive_minimum { "greater than" } else { "greater than or equal to" };
            bounds.add(invalid(path, told(), &format!("should be {relation} {}", bound.shown())));
        }
    }
    if let Some(max) = &rules.maximum {
        if !range.holds(max) {
            bounds.add_loose(range.message("Maximum boundary", path));
        }
        let bound = Bound::of(max, is_integer.is_some() && range.holds(max));
        let (is_below, is_at) = bound.compare(is_integer, value);
        if !(is_below || is_at) || (rules.exclusive_maximum && is_at) {
            let relation = if rules.exclusive_maximum { "less than" } else { "less than or equal to" };
            bounds.add(invalid(path, told(), &format!("should be {relation} {}", bound.shown())));
        }
    }
    outcome.merge(bounds);
    outcome.count();
    outcome
}

/// Returns whether a float stands for an integer, as far as JSON carries integers exactly.
pub(super) fn is_integral(value: f64) -> bool {
    const LIMIT: f64 = 9_007_199_254_740_991.0;
    const TOLERANCE: f64 = 1e-9;
    if !value.is_finite() || value.abs() > LIMIT {
        return false;
    }
    let integral = value.trunc();
    let difference = (value - integral).abs();
    difference == 0.0 || (integral != 0.0 && difference / (value.abs() + integral.abs()) < TOLERANCE)
}

/// The numbers that a type with its format can hold.
enum Range {
    Int32,
    Int64 { format: bool },
    Float32,
    Any,
}

impl Range {
    fn of(schema: &Node) -> Self {
        match (schema.type_names(), formats::effective(schema)) {
            (["integer"], Some("int32")) => Self::Int32,
            (["integer"], format) => Self::Int64 { format: format.is_some() },
            (["number"], Some("float")) => Self::Float32,
            _ => Self::Any,
        }
    }

    fn holds(&self, number: &Number) -> bool {
        let integer = number.as_i64().or_else(|| number.as_f64().and_then(exact_integer));
        match self {
            Self::Int32 => integer.is_some_and(|integer| i32::try_from(integer).is_ok()),
            Self::Int64 { .. } => integer.is_some(),
            Self::Float32 => number.as_f64().is_some_and(|value| value.abs() <= f64::from(f32::MAX)),
            Self::Any => true,
        }
    }

    fn message(&self, what: &str, path: &str) -> String {
        let wanted = match self {
            Self::Int32 => "integer with format int32",
            Self::Int64 { format: true } => "integer with format int64",
            Self::Int64 { format: false } => "integer (default format)",
            Self::Float32 => "number with format float",
            Self::Any => "number (default format)",
        };
        format!("{what} value must be of type {wanted} in {path}")
    }
}

/// A bound in the type of the number that it is compared with.
enum Bound {
    Integer(i64),
    Float(f64),
}

impl Bound {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the real server cuts bounds of integers to integers"
    )]
    fn of(bound: &Number, for_integer: bool) -> Self {
        let float = bound.as_f64().unwrap_or(0.0);
        if for_integer { Self::Integer(bound.as_i64().unwrap_or(float as i64)) } else { Self::Float(float) }
    }

    /// Returns whether the number is below the bound, and whether it is equal.
    #[expect(clippy::float_cmp, reason = "bounds are met exactly or not at all")]
    fn compare(&self, integer: Option<i64>, float: f64) -> (bool, bool) {
        match (self, integer) {
            (Self::Integer(bound), Some(integer)) => (integer < *bound, integer == *bound),
            (Self::Float(bound), _) => (float < *bound, float == *bound),
            (Self::Integer(_), None) => (false, true),
        }
    }

    fn is_positive(&self) -> bool {
        match self {
            Self::Integer(bound) => *bound > 0,
            Self::Float(bound) => *bound > 0.0,
        }
    }

    /// Returns whether the number is a multiple of the bound, which must be positive.
    fn divides(&self, integer: Option<i64>, float: f64) -> bool {
        match (self, integer) {
            (Self::Integer(bound), Some(integer)) => integer % bound == 0,
            (Self::Float(bound), _) => {
                is_integral(if *bound < 1.0 { 1.0 / bound * float } else { float / bound })
            }
            (Self::Integer(_), None) => true,
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Integer(bound) => Value::from(*bound),
            Self::Float(bound) => Value::from(*bound),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Integer(bound) => bound.to_string(),
            Self::Float(bound) => spelling::float(*bound),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be integral and inside the range")]
#[expect(clippy::float_cmp, reason = "an integral float is equal to its integral part, exactly")]
fn exact_integer(value: f64) -> Option<i64> {
    (value.trunc() == value && value.abs() < 9.2e18).then_some(value as i64)
}
