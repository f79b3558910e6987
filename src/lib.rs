//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`].
//! - [`git`]: reads config repositories, writes status commits, pushes, clones.
//! - [`ledger`]: what ran and what runs, written back into git.

pub mod clock;
pub mod digest;
pub mod git;
pub mod ledger;
pub mod process;
pub mod secret;
