//! Languages inside manifests: text in, tree or error out.
//!
//! Everything here is pure: no clock, no files, no environment. What is rendered is bounded in time and size, because
//! the texts come from people and, through work items, from strangers.

pub mod cron;
pub mod gotemplate;
