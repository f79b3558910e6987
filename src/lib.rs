//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`process`], [`secret`].
//! - [`store`]: a revisioned log of keys and bytes over `SQLite`.
//! - [`apiserver`]: a Kubernetes-compatible API.

pub mod apiserver;
pub mod clock;
pub mod digest;
pub mod process;
pub mod secret;
pub mod store;
