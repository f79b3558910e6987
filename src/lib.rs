//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`].
//! - [`api`]: the wire contract.

pub mod api;
pub mod clock;
pub mod digest;
pub mod process;
pub mod secret;
