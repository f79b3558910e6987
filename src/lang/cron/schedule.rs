//! When a schedule is due.
//!
//! The crate `cron` walks dates; everything about clocks that change is done here, by walking the clock on the wall with
//! a fixed offset up to the next change of the offset and going on from there.

use std::str::FromStr as _;

use chrono::{DateTime, Datelike as _, Duration, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;
use jiff::Timestamp;

use super::expression::{self, CronError, Dialect, Expression, Numbers};

/// A schedule that is not due for so long never is (robfig/cron gives up after the same time).
const HORIZON_YEARS: i32 = 5;

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    expression: Expression,
    zone: Tz,
    /// What is due is the union of these: one, or two where a day matches by date or by weekday.
    dates: Vec<cron::Schedule>,
}

impl Schedule {
    /// Reads `expression`, or a macro. `zone` is a name of the IANA database; without one, and without a prefix `TZ=` or
    /// `CRON_TZ=` in the expression, times are UTC. The zone may be given in one place only.
    pub fn parse(expression: &str, zone: Option<&str>) -> Result<Self, CronError> {
        Self::parse_as(expression, zone, Dialect::Macros)
    }

    /// As [`Schedule::parse`], in the given dialect.
    pub fn parse_as(expression: &str, zone: Option<&str>, dialect: Dialect) -> Result<Self, CronError> {
        let expression = Expression::parse(expression, dialect)?;
        let dates = dates(&expression);
        let schedule = Self { zone: expression.zone.unwrap_or(Tz::UTC), expression, dates };
        match zone {
            Some(zone) => schedule.in_zone(zone),
            None => Ok(schedule),
        }
    }

    /// Returns the same schedule with times in `zone`, a name of the IANA database.
    ///
    /// # Errors
    /// When there is no such zone, or when the expression names one itself.
    pub fn in_zone(self, zone: &str) -> Result<Self, CronError> {
        if let Some(prefix) = self.expression.zone {
            let message = format!("the time zone is given twice: `{prefix}` here, and beside the schedule");
            return Err(CronError::new(1, message).hint("remove the prefix"));
        }
        Ok(Self { zone: expression::zone(zone, 1)?, ..self })
    }

    /// Returns the name of the time zone.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// Returns the first instant after `instant` at which the schedule is due, or `None` if that is not within five years
    /// (then it never is: `0 0 30 2 *`).
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let mut from = second_of(instant)?;
        let mut offset = self.offset(from);
        let mut wall = from.naive_utc() + offset;
        let last_year = wall.year() + HORIZON_YEARS;
        // Each turn passes one change of the offset.
        loop {
            let due_on_wall =
                self.dates.iter().filter_map(|dates| dates.after(&wall.and_utc()).next()).min()?;
            if due_on_wall.year() > last_year {
                return None;
            }
            let due = due_on_wall - offset;
            let Some(change) = self.change(from, due) else {
                return Timestamp::from_second(due.timestamp()).ok();
            };
            // Before the change nothing is due. At it the clock on the wall jumps, and its own time counts.
            from = change;
            offset = self.offset(change);
            wall = change.naive_utc() + offset - Duration::seconds(1);
        }
    }

    pub(super) fn expression(&self) -> &Expression {
        &self.expression
    }

    pub(super) fn offset(&self, instant: DateTime<Utc>) -> Duration {
        let offset = self.zone.offset_from_utc_datetime(&instant.naive_utc());
        Duration::seconds(i64::from(offset.fix().local_minus_utc()))
    }

    /// Returns the first second after `from` and up to `to` at which the offset is another one.
    ///
    /// Looks day by day, so that two changes that cancel each other (summer time, over a year) are not overlooked.
    pub(super) fn change(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.zone == Tz::UTC {
            return None;
        }
        let offset = self.offset(from);
        let mut same = from;
        while same < to {
            let later = to.min(same + Duration::days(1));
            if self.offset(later) == offset {
                same = later;
                continue;
            }
            let mut other = later;
            while other - same > Duration::seconds(1) {
                let middle = same + Duration::seconds((other - same).num_seconds() / 2);
                if self.offset(middle) == offset { same = middle } else { other = middle }
            }
            return Some(other);
        }
        None
    }
}

/// Returns the instant in whole seconds, rounded down: what is due at 9:00:00 is not due again after 9:00:00.5.
pub(super) fn second_of(instant: Timestamp) -> Option<DateTime<Utc>> {
    let second = if instant.subsec_nanosecond() < 0 { instant.as_second() - 1 } else { instant.as_second() };
    DateTime::from_timestamp(second, 0)
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.zone == other.zone
    }
}

/// Puts an expression into the terms of the crate `cron`: plain lists, and Sunday is 1.
fn dates(expression: &Expression) -> Vec<cron::Schedule> {
    let Expression { minutes, hours, days, months, weekdays, .. } = *expression;
    let list = |numbers: Numbers, add: u8| {
        numbers.iter().map(|number| (number + add).to_string()).collect::<Vec<_>>().join(",")
    };
    let (days_text, weekdays_text) = (list(days, 0), list(weekdays, 1));
    let pairs = if days.star || weekdays.star {
        vec![(days_text.as_str(), weekdays_text.as_str())]
    } else {
        vec![(days_text.as_str(), "*"), ("*", weekdays_text.as_str())]
    };
    let (minutes, hours, months) = (list(minutes, 0), list(hours, 0), list(months, 0));
    pairs
        .into_iter()
        .map(|(days, weekdays)| {
            let text = format!("0 {minutes} {hours} {days} {months} {weekdays}");
            cron::Schedule::from_str(&text).expect("because lists of numbers in range are valid")
        })
        .collect()
}
