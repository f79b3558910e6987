//! The text of a cron expression, to sets of numbers.

use std::fmt;

use chrono_tz::Tz;

/// Nobody writes more; reading a list takes time in proportion to its length.
const MAX_BYTES: usize = 512;

/// Why an expression is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronError {
    /// The column of the field or part that is wrong, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it, if that can be said.
    pub hint: Option<String>,
}

impl CronError {
    pub(super) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for CronError {}

/// Which expressions are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Five fields or a macro such as `@daily`.
    #[default]
    Macros,
    /// Five fields only, as upstream's cron source.
    Upstream,
}

/// The macros and what they stand for.
const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A field of an expression: its name and what it may hold.
struct Field {
    name: &'static str,
    minimum: u8,
    maximum: u8,
    /// Names of the numbers from `minimum` on.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", minimum: 0, maximum: 59, names: &[] },
    Field { name: "hour", minimum: 0, maximum: 23, names: &[] },
    Field { name: "day of month", minimum: 1, maximum: 31, names: &[] },
    Field { name: "month", minimum: 1, maximum: 12, names: &MONTHS },
    Field { name: "day of week", minimum: 0, maximum: 6, names: &WEEKDAYS },
];

/// The numbers that a field matches, as bits, and whether it is a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Numbers {
    pub(super) bits: u64,
    pub(super) star: bool,
}

impl Numbers {
    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        (0..60).filter(move |number| self.bits & (1 << number) != 0)
    }
}

/// An expression that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) zone: Option<Tz>,
    pub(super) minutes: Numbers,
    pub(super) hours: Numbers,
    pub(super) days: Numbers,
    pub(super) months: Numbers,
    pub(super) weekdays: Numbers,
}

/// A part of the expression and the column of its first character.
#[derive(Clone, Copy)]
struct Part<'text> {
    text: &'text str,
    column: usize,
}

impl<'text> Part<'text> {
    /// Splits at every `separator`; each piece knows its column.
    fn split(self, separator: char) -> impl Iterator<Item = Self> + 'text {
        let mut column = self.column;
        self.text.split(separator).map(move |text| {
            let part = Self { text, column };
            column += text.chars().count() + 1;
            part
        })
    }
}

impl Expression {
    pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Self, CronError> {
        if text.len() > MAX_BYTES {
            return Err(CronError::new(1, format!("the schedule has more than {MAX_BYTES} bytes")));
        }
        let mut words = words(text);
        let zone = words.first().copied().map(zone_prefix).transpose()?.flatten();
        if zone.is_some() {
            words.remove(0);
        }
        let end = text.trim_end().chars().count() + 1;
        let Some(first) = words.first() else {
            let error = CronError::new(end, "the schedule is empty");
            return Err(error.hint("write five fields, such as `0 9 * * MON-FRI`"));
        };
        if first.text.starts_with('@') {
            let fields = expand_macro(*first, words.get(1).copied(), dialect)?;
            return Ok(Self { zone, ..Self::parse(fields, dialect)? });
        }
        let &[minutes, hours, days, months, weekdays] = words.as_slice() else {
            return Err(wrong_count(&words, end));
        };
        let [minute, hour, day, month, weekday] = &FIELDS;
        Ok(Self {
            zone,
            minutes: minute.parse(minutes)?,
            hours: hour.parse(hours)?,
            days: day.parse(days)?,
            months: month.parse(months)?,
            weekdays: weekday.parse(weekdays)?,
        })
    }
}

/// Reads the name of a time zone from the IANA database.
pub(super) fn zone(name: &str, column: usize) -> Result<Tz, CronError> {
    name.parse().map_err(|_| {
        let error = CronError::new(column, format!("the time zone `{name}` is not known"));
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        match closest(name, names) {
            Some(closest) => error.hint(format!("did you mean `{closest}`?")),
            None => error.hint("write a name of the IANA database, such as `Europe/Berlin` or `UTC`"),
        }
    })
}

fn words(text: &str) -> Vec<Part<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    for (column, (index, character)) in text.char_indices().chain([(text.len(), ' ')]).enumerate() {
        match (character.is_whitespace(), start) {
            (false, None) => start = Some((index, column + 1)),
            (true, Some((from, column))) => {
                words.push(Part { text: text.get(from..index).unwrap_or_default(), column });
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn zone_prefix(word: Part<'_>) -> Result<Option<Tz>, CronError> {
    let Some((prefix, name)) = word.text.split_once('=') else { return Ok(None) };
    if prefix != "TZ" && prefix != "CRON_TZ" {
        return Ok(None);
    }
    zone(name, word.column + prefix.len() + 1).map(Some)
}

fn expand_macro(
    word: Part<'_>,
    after: Option<Part<'_>>,
    dialect: Dialect,
) -> Result<&'static str, CronError> {
    let known = MACROS.iter().find(|(name, _)| *name == word.text);
    let error = |message: String| CronError::new(word.column, message);
    match (known, after) {
        (Some((name, fields)), _) if dialect == Dialect::Upstream => {
            Err(error(format!("the macro `{name}` is not accepted here")).hint(format!("write `{fields}`")))
        }
        (Some((name, _)), Some(after)) => {
            Err(CronError::new(after.column, format!("nothing may follow the macro `{name}`")))
        }
        (Some((_, fields)), None) => Ok(fields),
        (None, _) if word.text == "@every" => {
            let message = "`@every` is not supported: it has no fixed times, so a restart would move it";
            Err(error(message.to_owned()).hint("write fields, such as `*/15 * * * *` or `0 */6 * * *`"))
        }
        (None, _) => {
            let error = error(format!("the macro `{}` is not known", word.text));
            match closest(word.text, MACROS.iter().map(|(name, _)| *name)) {
                Some(closest) => Err(error.hint(format!("did you mean `{closest}`?"))),
                None => Err(error.hint("the macros are @hourly, @daily, @weekly, @monthly and @yearly")),
            }
        }
    }
}

fn wrong_count(words: &[Part<'_>], end: usize) -> CronError {
    let column = words.get(FIELDS.len()).map_or(end, |word| word.column);
    let names = FIELDS.map(|field| field.name).join(", ");
    let plural = if words.len() == 1 { "" } else { "s" };
    let message = format!("the schedule has {} field{plural}, not five: {names}", words.len());
    let error = CronError::new(column, message);
    match words.len() {
        6 => error.hint("there is no field for seconds or years, and lists have no blanks"),
        0..=4 => error.hint("write `*` for a field that does not matter"),
        _ => error,
    }
}

impl Field {
    fn parse(&self, part: Part<'_>) -> Result<Numbers, CronError> {
        let mut numbers = Numbers::default();
        for item in part.split(',').filter(|item| !item.text.is_empty()) {
            let Numbers { bits, star } = self.item(item)?;
            numbers = Numbers { bits: numbers.bits | bits, star: numbers.star || star };
        }
        if numbers.bits == 0 {
            return Err(CronError::new(part.column, format!("the {} has no value", self.name)));
        }
        Ok(numbers)
    }

    /// Reads `*`, `?`, `N`, `N-M`, each with `/STEP` or without.
    fn item(&self, item: Part<'_>) -> Result<Numbers, CronError> {
        let mut parts = item.split('/');
        let range = parts.next().unwrap_or(item);
        let step = match parts.next() {
            None => None,
            Some(step) => Some((self.step(step)?, step.column)),
        };
        if let Some(third) = parts.next() {
            return Err(CronError::new(third.column, format!("the {} has a second `/`", self.name)));
        }
        if matches!(range.text, "*" | "?") {
            let step = step.map_or(1, |(step, _)| step);
            return Ok(Numbers { bits: bits(self.minimum, self.maximum, step), star: step == 1 });
        }
        let mut bounds = range.split('-');
        let first = bounds.next().unwrap_or(range);
        if matches!(first.text, "*" | "?") {
            let message = format!("the {} mixes `{}` with a range", self.name, first.text);
            return Err(CronError::new(range.column, message).hint("write either `*` or `N-M`"));
        }
        let low = self.number(first)?;
        let high = match bounds.next() {
            Some(bound) => self.number(bound)?,
            // "5/15" is every 15 from 5 on.
            None if step.is_some() => self.maximum,
            None => low,
        };
        if let Some(third) = bounds.next() {
            return Err(CronError::new(third.column, format!("the {} has a second `-`", self.name)));
        }
        if low > high {
            let message = format!("the {} range {} runs backwards", self.name, range.text);
            let hint = format!("split it: `{low}-{},{}-{high}`", self.maximum, self.minimum);
            return Err(CronError::new(range.column, message).hint(hint));
        }
        Ok(Numbers { bits: bits(low, high, step.map_or(1, |(step, _)| step)), star: false })
    }

    fn step(&self, part: Part<'_>) -> Result<u32, CronError> {
        match integer(part.text) {
            Some(0) | None => {
                let message =
                    format!("the step `{}` of the {} is not a positive number", part.text, self.name);
                Err(CronError::new(part.column, message))
            }
            Some(step) => Ok(step),
        }
    }

    fn number(&self, part: Part<'_>) -> Result<u8, CronError> {
        let Self { name, minimum, maximum, names } = self;
        let lower = part.text.to_ascii_lowercase();
        if let Some(index) = names.iter().position(|known| *known == lower)
            && let Ok(index) = u8::try_from(index)
        {
            return Ok(minimum + index);
        }
        let Some(number) = integer(part.text) else {
            return Err(self.not_a_number(part, &lower));
        };
        match u8::try_from(number) {
            Ok(number) if (*minimum..=*maximum).contains(&number) => Ok(number),
            _ => {
                let message = format!("the {name} {number} is not in {minimum}-{maximum}");
                let error = CronError::new(part.column, message);
                Err(if *name == "day of week" && number == 7 { error.hint("Sunday is 0") } else { error })
            }
        }
    }

    fn not_a_number(&self, part: Part<'_>, lower: &str) -> CronError {
        let Self { name, minimum, maximum, names } = self;
        if part.text.is_empty() {
            let error = CronError::new(part.column, format!("a number is missing in the {name}"));
            return error.hint("a range is written `N-M`, and numbers have no sign");
        }
        let allowed = match names {
            [first, .., last] => {
                let (first, last) = (first.to_ascii_uppercase(), last.to_ascii_uppercase());
                format!("{minimum}-{maximum} or {first}-{last}")
            }
            _ => format!("{minimum}-{maximum}"),
        };
        let error = CronError::new(part.column, format!("the {name} `{}` is not {allowed}", part.text));
        // "monday" and "sept" begin with the name, "mno" is close to it.
        let begun = names.iter().find(|known| lower.starts_with(**known)).copied();
        if let Some(known) = begun.or_else(|| closest(lower, names.iter().copied())) {
            return error.hint(format!("did you mean `{}`?", known.to_ascii_uppercase()));
        }
        if lower.contains(['l', 'w', '#'])
            && lower.bytes().all(|byte| byte.is_ascii_digit() || b"lw#".contains(&byte))
        {
            return error.hint("`L`, `W` and `#` are extensions of other cron dialects");
        }
        error
    }
}

/// Reads a number as Go's `Atoi` does, without the negative ones.
fn integer(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}

fn bits(low: u8, high: u8, step: u32) -> u64 {
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    (low..=high).step_by(step).fold(0, |bits, number| bits | (1 << number))
}

/// Returns the name that a typing error may have been meant for.
fn closest<'name>(text: &str, names: impl Iterator<Item = &'name str>) -> Option<&'name str> {
    let lower = text.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    let near = text.chars().count().div_ceil(4).max(1);
    names
        .map(|name| (distance(name), name))
        .filter(|(distance, _)| *distance <= near)
        .min()
        .map(|(_, name)| name)
}
