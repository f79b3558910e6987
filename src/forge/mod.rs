//! HTTP to forges, with the rules that hold for all of it: one origin, time limits, bounded answers, no credential in
//! any text.
//!
//! - [`app`]: tokens of GitHub Apps, for cloning, for pushing reports and for agents.

pub mod app;
mod http;
