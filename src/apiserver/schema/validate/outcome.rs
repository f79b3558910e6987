//! What a check found, and how much of a value it liked.

use std::collections::BTreeSet;

use crate::apiserver::schema::error::{FieldError, TEXTS_LIMIT};

/// The faults of a value, and how many checks were made; among alternatives that all fail, the one with most checks
/// made tells its faults.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Each with the message by which repeated faults are recognised.
    faults: Vec<(String, FieldError)>,
    /// The messages of all faults, so that a document full of faults is not searched for each.
    messages: BTreeSet<String>,
    /// How much there is to say about the faults, in bytes.
    bytes: usize,
    matches: usize,
}

impl Outcome {
    /// Returns an outcome without faults that counts as one check.
    pub(super) fn counted() -> Self {
        Self { matches: 1, ..Self::default() }
    }

    /// Returns an outcome with one fault.
    pub(super) fn of(fault: (String, FieldError)) -> Self {
        let mut outcome = Self::default();
        outcome.add(fault);
        outcome
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

    /// Adds a fault, unless one with the same message is there, or more than an answer holds.
    pub(super) fn add(&mut self, fault: (String, FieldError)) {
        if self.bytes <= TEXTS_LIMIT && self.messages.insert(fault.0.clone()) {
            self.bytes += fault.1.path.len() + fault.1.detail.len();
            self.faults.push(fault);
        }
    }

    /// Adds a fault that names no field.
    pub(super) fn add_loose(&mut self, message: String) {
        self.add((message.clone(), FieldError::invalid("", "", message)));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.matches += other.matches;
        if self.faults.is_empty() {
            (self.faults, self.messages, self.bytes) = (other.faults, other.messages, other.bytes);
            return;
        }
        for fault in other.faults {
            self.add(fault);
        }
    }

    /// Returns the outcome with its faults let pass.
    pub(super) fn forgiven(self) -> Self {
        Self { matches: self.matches, ..Self::default() }
    }

    pub(super) fn into_errors(self) -> Vec<FieldError> {
        self.faults.into_iter().map(|(_, error)| error).collect()
    }
}
