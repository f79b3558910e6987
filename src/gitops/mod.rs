//! A commit in, the cluster as it says: load, render, validate, plan, apply, prune.
//!
//! ```text
//! tree --load, render--> documents --judge--> findings
//!                            |
//!                            +--> desired --domain::plan--> actions --apply--> cluster
//!                                              ^
//!                                     observed --watches-- cluster
//! ```

pub mod apply;
pub mod cache;
pub mod diff;
pub mod evaluate;
pub mod finding;
pub mod layout;
pub mod observed;
pub mod pass;
pub mod render;
pub mod wanted;

mod judge;
mod load;
mod parallel;
mod pull_in;
mod requests;
#[cfg(test)]
mod tests;
