//! What a check found, and how much of a value it liked.

use crate::apiserver::schema::error::FieldError;

/// The faults of a value, and how many checks were made; among alternatives that all fail, the one with most checks
/// made tells its faults.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Each with the message by which repeated faults are recognised.
    faults: Vec<(String, FieldError)>,
    matches: usize,
}

impl Outcome {
    /// Returns an outcome without faults that counts as one check.
    pub(super) fn counted() -> Self {
        Self { faults: Vec::new(), matches: 1 }
    }

    /// Returns an outcome with one fault.
    pub(super) fn of(fault: (String, FieldError)) -> Self {
        Self { faults: vec![fault], matches: 0 }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn matches(&self) -> usize {
        self.matches
    }

    /// Counts one check as made.
    pub(super) fn count(&mut self) {
        self.matches += 1;
    }

    /// Adds a fault, unless one with the same message is there.
    pub(super) fn add(&mut self, fault: (String, FieldError)) {
        if !self.faults.iter().any(|(message, _)| *message == fault.0) {
            self.faults.push(fault);
        }
    }

    /// Adds a fault that names no field.
    pub(super) fn add_loose(&mut self, message: String) {
        self.add((message.clone(), FieldError::invalid("", "", message)));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.matches += other.matches;
        for fault in other.faults {
            self.add(fault);
        }
    }

    /// Returns the outcome with its faults let pass.
    pub(super) fn forgiven(self) -> Self {
        Self { faults: Vec::new(), matches: self.matches }
    }

    pub(super) fn into_errors(self) -> Vec<FieldError> {
        self.faults.into_iter().map(|(_, error)| error).collect()
    }
}
