//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`], [`yaml`].
//! - [`api`]: the wire contract, one file per kind.
//! - [`domain`]: decisions, without effects.
//! - [`validate`]: what is wrong with an object or a config repository.

pub mod api;
pub mod clock;
pub mod digest;
pub mod domain;
pub mod process;
pub mod secret;
pub mod validate;
pub mod yaml;
