//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`].
//! - [`api`]: the wire contract, one file per kind.
//! - [`validate`]: what is wrong with an object or a config repository.
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`], [`yaml`].

pub mod api;
pub mod clock;
pub mod digest;
pub mod process;
pub mod secret;
pub mod validate;
pub mod yaml;
