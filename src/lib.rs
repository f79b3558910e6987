//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`file`], [`process`], [`secret`].
//! - [`api`]: the wire contract.
//! - [`git`]: reads config repositories, writes status commits, pushes, clones.
//! - [`runner`]: what happens inside a run.
//! - [`executor`]: where a run happens.

pub mod api;
pub mod clock;
pub mod digest;
pub mod executor;
pub mod file;
pub mod git;
pub mod process;
pub mod runner;
pub mod secret;
