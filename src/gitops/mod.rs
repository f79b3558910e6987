//! A commit in, the cluster as it says: load, render, validate, plan, apply, prune.
//!
//! ```text
//! tree --load, render--> documents --validate--> findings
//!                            |
//!                            +--> desired --domain::plan--> actions --apply--> cluster
//!                                              ^
//!                                     observed --watches-- cluster
//! ```

pub mod apply;
pub mod diff;
pub mod evaluate;
pub mod finding;
pub mod layout;
pub mod load;
pub mod observed;
pub mod pass;
pub mod render;
mod requests;
pub mod wanted;
