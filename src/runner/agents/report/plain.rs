//! Agents without a model, and programs around those with one.

use crate::api::run::Usage;
use crate::runner::agents::report::{Completion, Reader, Report};
use crate::runner::outputs::Scanner;

/// Results between markers, of agents without a model.
#[derive(Debug, Default)]
pub struct Plain {
    scanner: Scanner,
}

impl Reader for Plain {
    fn line(&mut self, line: &str) {
        self.scanner.line(line);
    }

    fn report(&self) -> Report {
        let completion = if self.scanner.is_incomplete() {
            Completion::Incomplete("the agent ended within its block of results".to_owned())
        } else {
            Completion::Complete
        };
        Report {
            outputs: self.scanner.lines(),
            is_cut: self.scanner.is_cut(),
            ..Report::new(completion, Usage::default(), None)
        }
    }
}

/// A program around that of a known agent: results stand between markers, and what the known one says counts as well.
pub struct Wrapped {
    plain: Plain,
    inner: Box<dyn Reader>,
}

impl Wrapped {
    /// Returns a reader of a program whose output may hold what `inner` reads.
    pub fn around(inner: Box<dyn Reader>) -> Self {
        Self { plain: Plain::default(), inner }
    }
}

impl Reader for Wrapped {
    fn line(&mut self, line: &str) {
        self.plain.line(line);
        self.inner.line(line);
    }

    fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    fn report(&self) -> Report {
        let (plain, inner) = (self.plain.report(), self.inner.report());
        // It may print what it likes: that it does not print the report of the agent inside says nothing.
        let completion = match inner.completion {
            Completion::Absent => Completion::Complete,
            said => said,
        };
        Report { completion, usage: inner.usage, answer: inner.answer, ..plain }
    }
}
