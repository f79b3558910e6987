//! Kelos runs coding agents from a git repository of YAML definitions.
//!
//! The modules, bottom first; `docs/architecture.md` says who may name whom.
//!
//! - Leaves, one subject each: [`clock`], [`digest`], [`file`], [`metrics`], [`pack`], [`process`], [`secret`], [`yaml`].
//! - [`api`]: the wire contract, one file per kind.
//! - [`lang`]: languages, text in, tree or error out: cron, Go templates, Tera.
//! - [`domain`]: decisions, without effects.
//! - [`validate`]: the rules of every kind, as findings by JSON pointer.
//! - [`git`]: reads config repositories, writes status commits, pushes, clones.
//! - [`store`]: a revisioned log of keys and bytes over SQLite.
//! - [`apiserver`]: a Kubernetes-compatible API over the store.
//! - [`executor`]: where a run happens.
//! - [`runner`]: what happens inside a run.
//! - [`gitops`]: a commit in, the cluster as it says.
//! - [`ledger`]: the status branch: what ran, written back into git.
//! - [`controllers`]: one folder per kind that has one.
//! - [`daemon`]: the composition root: puts everything that runs for long together.
//! - [`cli`]: one file per command.

pub mod api;
pub mod apiserver;
pub mod cli;
pub mod clock;
pub mod controllers;
pub mod daemon;
pub mod digest;
pub mod domain;
pub mod executor;
pub mod file;
pub mod forge;
pub mod git;
pub mod gitops;
pub mod lang;
pub mod ledger;
pub mod metrics;
pub mod pack;
pub mod process;
pub mod runner;
pub mod secret;
pub mod store;
pub mod validate;
pub mod yaml;

/// Objects are trees of small pieces: with the allocator of the C library, making and dropping them took a quarter of all
/// processor time and left more holes in memory. `.cargo/config.toml` says how it is set.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
