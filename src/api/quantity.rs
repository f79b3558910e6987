//! Quantities as Kubernetes writes them: `1500m`, `512Mi`, `2`, `1e9`.

/// The longest text that is read.
const LONGEST: usize = 64;
/// The greatest power of ten that is read.
const GREATEST_POWER: i32 = 24;

/// Returns a quantity in thousandths, rounded up. `None` when it is none, or is negative or too great to mean anything.
pub fn thousandths(text: &str) -> Option<u64> {
    scaled(text, 3)
}

/// Returns a quantity in ones, rounded up; see [`thousandths`].
pub fn ones(text: &str) -> Option<u64> {
    scaled(text, 0)
}

// The quantity times ten to the power.
fn scaled(text: &str, power: i32) -> Option<u64> {
    if text.len() > LONGEST {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return None;
    }
    let digits: u128 = format!("0{whole}{part}").parse().ok()?;
    let (factor, own_power) = scale(suffix)?;
    let power = power + own_power - i32::try_from(part.len()).ok()?;
    let product = digits.checked_mul(factor)?;
    let ten = |power: i32| 10_u128.checked_pow(u32::try_from(power).ok()?);
    let value = if power >= 0 { product.checked_mul(ten(power)?)? } else { product.div_ceil(ten(-power)?) };
    u64::try_from(value).ok()
}

// A factor, and a power of ten.
fn scale(suffix: &str) -> Option<(u128, i32)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(index) = binary.iter().position(|known| *known == suffix) {
        return Some((1_u128 << (10 * (index + 1)), 0));
    }
    let decimal = [
        ("n", -9),
        ("u", -6),
        ("m", -3),
        ("", 0),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
    ];
    if let Some((_, power)) = decimal.iter().find(|(known, _)| *known == suffix) {
        return Some((1, *power));
    }
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-GREATEST_POWER..=GREATEST_POWER).contains(&power).then_some((1, power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("1500m", Some(1500)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("2.", Some(2000)),
            ("0.0001", Some(1)),
            ("1u", Some(1)),
            ("1e3", Some(1_000_000)),
            ("1E-3", Some(1)),
            ("1Ki", Some(1_024_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1.2.3", None),
            ("1kb", None),
            ("1 Gi", None),
            ("1e99", None),
            ("99999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1Gi", Some(1 << 30)),
            ("100m", Some(1)),
            ("2Ei", Some(2 << 60)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("20Ei", None),
            ("many", None),
        ] {
            assert_eq!(ones(text), expected, "{text}");
        }
    }
}
