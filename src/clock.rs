//! The only source of the current time.
//!
//! Whoever decides by time is handed a [`Clock`], so that a test can stand at any instant and move it.

#![expect(clippy::disallowed_methods, reason = "this module is the home of the system clock")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Tells the current instant.
pub trait Clock: Debug + Send + Sync {
    /// Returns the current instant in UTC.
    fn now(&self) -> Timestamp;
}

/// A clock that many owners read.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Returns the clock of the machine, ready to be shared.
pub fn system() -> SharedClock {
    Arc::new(SystemClock)
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    // A plain mutex: it is held for one copy and never across an await.
    now: Mutex<Timestamp>,
}

impl ManualClock {
    /// Returns a clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { now: Mutex::new(now) }
    }

    /// Moves the clock by `step`, which may be negative.
    pub fn advance(&self, step: SignedDuration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now += step;
    }

    /// Puts the clock to `instant`, forward or back.
    pub fn set(&self, instant: Timestamp) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = instant;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at("2026-03-01T09:00:00Z".parse().unwrap());
        assert_eq!(clock.now(), clock.now());
        clock.advance(SignedDuration::from_secs(-60));
        assert_eq!(clock.now().to_string(), "2026-03-01T08:59:00Z");
        clock.set("2027-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(clock.now().to_string(), "2027-01-01T00:00:00Z");
    }
}
