//! Amounts of US dollars, as agents report them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits after the point that are kept.
const PLACES: i32 = 9;

/// Suffixes of Kubernetes quantities that make sense for money, with the power of ten that they stand for.
const SUFFIXES: [(char, i32); 5] = [('n', -9), ('u', -6), ('m', -3), ('k', 3), ('M', 6)];

/// An amount of at least zero, to the billionth of a dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dollars {
    billionths: u128,
}

impl Dollars {
    /// Reads a Kubernetes quantity such as `0.42`, `420m` or `4.2e-1`; what lies below a billionth is dropped.
    ///
    /// Nothing comes back for what is no such quantity or beyond all measure.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, shift) = SUFFIXES
            .iter()
            .find_map(|(suffix, power)| Some((text.strip_suffix(*suffix)?, *power)))
            .unwrap_or((text, 0));
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let exponent = i32::from(exponent.parse::<i16>().ok()?);
        let power = PLACES + shift + exponent - i32::try_from(fraction.len()).ok()?;
        let value = digits.parse::<u128>().ok()?;
        let scale = 10_u128.checked_pow(power.unsigned_abs());
        let billionths = match (power < 0, scale) {
            (true, scale) => scale.map_or(0, |scale| value / scale),
            (false, Some(scale)) => value.checked_mul(scale)?,
            (false, None) if value == 0 => 0,
            (false, None) => return None,
        };
        Some(Self { billionths })
    }

    /// Returns the sum, or the largest amount when it is beyond that.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { billionths: self.billionths.saturating_add(other.billionths) }
    }

    /// Returns an equal share of `count`; nothing for no shares.
    pub fn shared_by(self, count: u64) -> Option<Self> {
        Some(Self { billionths: self.billionths.checked_div(u128::from(count))? })
    }
}

/// Writes a decimal number: exact, or rounded to the places that are asked for.
impl fmt::Display for Dollars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = PLACES.unsigned_abs() as usize;
        let places = formatter.precision().map_or(most, |places| places.min(most));
        let dropped = 10_u128.pow(u32::try_from(most - places).unwrap_or_default());
        let rounded = self.billionths.saturating_add(dropped / 2) / dropped;
        let unit = 10_u128.pow(u32::try_from(places).unwrap_or_default());
        let (whole, fraction) = (rounded / unit, rounded % unit);
        let mut text = if places == 0 { whole.to_string() } else { format!("{whole}.{fraction:0places$}") };
        if formatter.precision().is_none() {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        formatter.write_str(&text)
    }
}

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no amount of dollars"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written_exactly() {
        let written = |text: &str| Dollars::parse(text).map(|dollars| dollars.to_string());
        for (text, wanted) in [
            ("0", "0"),
            ("0.42", "0.42"),
            ("100", "100"),
            (".5", "0.5"),
            ("420m", "0.42"),
            ("4.2e-1", "0.42"),
            ("1E2", "100"),
            ("2k", "2000"),
            ("0.0000000019", "0.000000001"),
            ("1e-300", "0"),
            ("0e300", "0"),
        ] {
            assert_eq!(written(text).as_deref(), Some(wanted), "{text}");
        }
        for wrong in ["", "-1", "x", "1.2.3", "e5", ".", "1e", "1e300", "1 ", "１", &"9".repeat(31)] {
            assert_eq!(written(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn amounts_are_rounded_for_people() {
        let dollars = |text: &str| Dollars::parse(text).unwrap();
        assert_eq!(format!("{:.2}", dollars("0.455")), "0.46");
        assert_eq!(format!("{:.2}", dollars("1.999")), "2.00");
        assert_eq!(format!("{:.0}", dollars("0.5")), "1");
        assert_eq!(dollars("0.1").plus(dollars("0.2")), dollars("0.3"));
        assert_eq!(dollars("1").shared_by(4), Some(dollars("0.25")));
        assert_eq!(dollars("1").shared_by(0), None);
    }

    #[test]
    fn amounts_are_text_on_the_wire() {
        let dollars = Dollars::parse("0.42").unwrap();
        assert_eq!(serde_json::to_string(&dollars).unwrap(), "\"0.42\"");
        assert_eq!(serde_json::from_str::<Dollars>("\"0.42\"").unwrap(), dollars);
        assert!(serde_json::from_str::<Dollars>("\"much\"").is_err());
    }
}
