//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`].
//! - [`store`]: a revisioned log of keys and bytes over `SQLite`.
//! - [`apiserver`]: a Kubernetes-compatible API.
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`], [`yaml`].
//! - [`lang`]: languages inside manifests, text in, tree or error out.
//! - [`domain`]: decisions, without effects.

pub mod apiserver;
pub mod clock;
pub mod digest;
pub mod domain;
pub mod lang;
pub mod process;
pub mod secret;
pub mod store;
pub mod yaml;
