//! Cron expressions: five fields, read as robfig/cron v3 reads them (which is what upstream Kelos and Kubernetes use).
//!
//! The rules, where dialects differ:
//!
//! - Minute, hour, day of month, month, day of week; 0 is Sunday and 7 is refused. Months and weekdays have names of three
//!   letters in any case. `N/S` means from N to the end in steps of S.
//! - A day matches when day of month *or* day of week matches, if neither field begins with a star; else when both do.
//!   `*/1` and `*,5` count as stars, `*/2` does not.
//! - Local times that a change of the clocks skips do not happen, and those that it repeats happen twice.
//!
//! Meant differences from upstream, all at the time of reading: the macros `@hourly`, `@daily` (`@midnight`), `@weekly`,
//! `@monthly`, `@yearly` (`@annually`) are accepted ([`Dialect::Upstream`] refuses them); `,` without any value and `*-5`
//! (which upstream reads as `*`) are refused; expressions have at most 512 bytes. When the clocks change by half an hour or
//! at midnight, upstream skips days or fires on wrong ones; ours does not.

mod expression;
mod passed;
mod schedule;

#[cfg(test)]
mod tests;

pub use expression::{CronError, Dialect};
pub use passed::Passed;
pub use schedule::Schedule;
