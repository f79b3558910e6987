//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`].
//! - [`api`]: the wire contract, one file per kind.
//! - [`domain`]: decisions, without effects.
//! - [`daemon`] is the composition root: it puts everything that runs for long together.
//! - [`git`]: reads config repositories, writes status commits, pushes, clones.
//! - [`validate`]: what is wrong with an object or a config repository.
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`], [`yaml`].
//! - [`store`]: a revisioned log of keys and bytes over `SQLite`.

pub mod api;
//! - [`apiserver`]: a Kubernetes-compatible API.

pub mod apiserver;
pub mod clock;
pub mod daemon;
pub mod digest;
pub mod domain;
pub mod git;
pub mod process;
pub mod secret;
pub mod validate;
pub mod yaml;
pub mod store;
