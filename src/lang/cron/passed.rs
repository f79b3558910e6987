//! Which ticks lie in a span of time that is past, however long it is.
//!
//! They are counted by days and not one by one: a schedule of every minute that slept for a year has half a million.

use std::collections::VecDeque;

use chrono::{DateTime, Datelike as _, Days, Duration, NaiveDate, NaiveDateTime, Timelike as _, Utc};
use jiff::{SignedDuration, Timestamp};

use super::expression::{Expression, Numbers};
use super::schedule::{Schedule, second_of};

/// The ticks of a span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passed {
    /// How many there are.
    pub count: u64,
    /// The newest of them, oldest first.
    pub newest: Vec<Timestamp>,
}

/// Spans that are looked at for the newest ticks, the shortest first: a walk then passes few that nobody asks for.
const SPANS: [SignedDuration; 4] = [
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(24),
    SignedDuration::from_hours(24 * 31),
    SignedDuration::from_hours(24 * 366),
];

impl Schedule {
    /// Returns how many ticks lie after `after` and not after `through`, and the newest `keep` of them.
    pub fn passed(&self, after: Timestamp, through: Timestamp, keep: usize) -> Passed {
        if through <= after {
            return Passed::default();
        }
        let count = self.count(after, through);
        let wanted = u64::try_from(keep).unwrap_or(u64::MAX).min(count);
        let mut start = after;
        for span in SPANS {
            let shorter = through.checked_sub(span).unwrap_or(after).max(after);
            if self.count(shorter, through) >= wanted {
                start = shorter;
                break;
            }
        }
        let mut newest = VecDeque::with_capacity(keep.min(1_000));
        let ticks = std::iter::successors(self.next_after(start), |tick| self.next_after(*tick));
        for tick in ticks.take_while(|tick| *tick <= through) {
            if newest.len() == keep {
                newest.pop_front();
            }
            if keep > 0 {
                newest.push_back(tick);
            }
        }
        Passed { count, newest: newest.into() }
    }

    fn count(&self, after: Timestamp, through: Timestamp) -> u64 {
        let (Some(mut from), Some(to)) = (second_of(after), second_of(through)) else { return 0 };
        let mut wall = from.naive_utc() + self.offset(from);
        let mut count = 0;
        // Each turn passes one change of the offset; what is on the wall at the change counts by the new one.
        while from < to {
            let offset = self.offset(from);
            let Some(change) = self.change(from, to) else {
                return count + self.count_on_wall(wall, to.naive_utc() + offset);
            };
            count += self.count_on_wall(wall, change.naive_utc() + offset - Duration::seconds(1));
            (from, wall) = self.at_change(change);
        }
        // The change was at the last second: its own minute may be a tick.
        count + self.count_on_wall(wall, from.naive_utc() + self.offset(from))
    }

    fn at_change(&self, change: DateTime<Utc>) -> (DateTime<Utc>, NaiveDateTime) {
        (change, change.naive_utc() + self.offset(change) - Duration::seconds(1))
    }

    /// Counts the ticks after `after` and not after `through` on a clock on the wall that nobody turns.
    fn count_on_wall(&self, after: NaiveDateTime, through: NaiveDateTime) -> u64 {
        // Ticks have no seconds.
        let first = after.with_second(0).unwrap_or(after) + Duration::minutes(1);
        if first > through {
            return 0;
        }
        let Expression { minutes, hours, .. } = *self.expression();
        let whole_day = u64::from(minutes.bits.count_ones()) * u64::from(hours.bits.count_ones());
        let mut count = 0;
        let mut date = first.date();
        while date <= through.date() {
            if self.matches_date(date) {
                let low = if date == first.date() { (first.hour(), first.minute()) } else { (0, 0) };
                let high = if date == through.date() { (through.hour(), through.minute()) } else { (23, 59) };
                count += if (low, high) == ((0, 0), (23, 59)) {
                    whole_day
                } else {
                    count_in_day(hours, minutes, low, high)
                };
            }
            let Some(next) = date.checked_add_days(Days::new(1)) else { break };
            date = next;
        }
        count
    }

    pub(super) fn matches_date(&self, date: NaiveDate) -> bool {
        let has = |numbers: Numbers, number: u32| numbers.bits & (1 << number) != 0;
        let Expression { days, months, weekdays, .. } = *self.expression();
        let (day, weekday) = (has(days, date.day()), has(weekdays, date.weekday().num_days_from_sunday()));
        has(months, date.month()) && if days.star || weekdays.star { day && weekday } else { day || weekday }
    }
}

fn count_in_day(hours: Numbers, minutes: Numbers, low: (u32, u32), high: (u32, u32)) -> u64 {
    let in_hour = |hour: u32| {
        let from = if hour == low.0 { low.1 } else { 0 };
        let to = if hour == high.0 { high.1 } else { 59 };
        let span = (from..=to).fold(0_u64, |bits, minute| bits | (1 << minute));
        u64::from((minutes.bits & span).count_ones())
    };
    (low.0..=high.0).filter(|hour| hours.bits & (1 << hour) != 0).map(in_hour).sum()
}
