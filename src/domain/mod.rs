//! Decisions: no async, no I/O, no clock, no client.

pub mod names;
