//! What agents say about their own run: the lines they print, and what follows from them.
//!
//! Each agent prints one JSON object a line. The readers take what is known and leave the rest alone; a line that is
//! too long or is no JSON says nothing. Numbers are claims: a count that is no whole number of at least zero is not
//! taken, sums do not wrap.

pub mod claude_code;
pub mod codex;
pub mod cursor;
pub mod gemini;
pub mod opencode;
pub mod plain;
pub mod values;
mod words;

use serde_json::Value;

use crate::api::run::Usage;

/// Whether an agent's report says that the work was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// It says so, or this kind of agent makes no report.
    Complete,
    /// It says that it was not; the reason is in our words, around the agent's own keywords.
    Incomplete(String),
    /// There is no report: it was cut off before the end.
    Absent,
}

/// What was found in the lines of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the work was done.
    pub completion: Completion,
    /// What was used.
    pub usage: Usage,
    /// The final answer, at most 16 KiB of it.
    pub answer: Option<String>,
    /// Lines of results between markers; only agents without a model print them.
    pub outputs: Vec<String>,
    /// Whether results were left out because there were too many.
    pub is_cut: bool,
}

impl Report {
    fn new(completion: Completion, usage: Usage, answer: Option<String>) -> Self {
        Self { completion, usage, answer, outputs: Vec::new(), is_cut: false }
    }
}

/// Reads the lines of an agent, one after the other.
pub trait Reader: Send {
    /// Takes the next line.
    fn line(&mut self, line: &str);

    /// Takes the next line of the side channel, if the agent has one.
    fn aside(&mut self, line: &str) {
        let _ = line;
    }

    /// Tells whether the agent asks its model again and again for nothing and would not end by itself.
    fn is_lost(&self) -> bool {
        false
    }

    /// Returns what was found, after the last line.
    fn report(&self) -> Report;
}

/// Reads an agent whose last `result` tells all.
#[derive(Debug)]
pub struct LastResult {
    result: Option<Value>,
    report: fn(&Value) -> Report,
}

impl LastResult {
    /// Returns a reader that makes a report of the last result with `report`.
    pub fn new(report: fn(&Value) -> Report) -> Self {
        Self { result: None, report }
    }
}

impl Reader for LastResult {
    fn line(&mut self, line: &str) {
        if let Some(event) = values::event(line, "result") {
            self.result = Some(event);
        }
    }

    fn report(&self) -> Report {
        let absent = || Report::new(Completion::Absent, Usage::default(), None);
        self.result.as_ref().map_or_else(absent, self.report)
    }
}
