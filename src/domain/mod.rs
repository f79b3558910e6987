//! Decisions: no async, no I/O, no clock, no client. Everything that is known comes in, what is to be done goes out.

pub mod admission;
pub mod dollars;
pub mod graph;
pub mod history;
pub mod names;
pub mod outcome;
pub mod phase;
pub mod plan;
pub mod retention;
pub mod schedule;
pub mod spawn;
pub mod variables;
pub mod verdict;
