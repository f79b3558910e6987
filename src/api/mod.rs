//! The wire contract: what the API server stores, clients send and a config repository holds.
//!
//! One file per kind, and beside them what all kinds share: conditions, label and annotation keys, phases, parsed
//! names, the rules between fields, and the schemas rendered from the Rust types. Nothing here decides or does I/O.
//!
//! Status types tolerate fields they do not know, so that an older binary can read what a newer one wrote.

pub(crate) mod closed_set;

pub mod agent_config;
pub mod condition;
pub mod config_repository;
pub mod duration;
pub mod kind;
pub mod labels;
pub mod names;
pub mod phase;
pub mod pod;
pub mod quantity;
pub mod reference;
pub mod rule;
pub mod run;
pub mod run_record;
pub mod schema;
pub mod task;
pub mod task_spawner;
pub mod workspace;

/// The API group of the kinds that upstream Kelos defines.
pub const KELOS_GROUP: &str = "kelos.dev";

/// The API group of the kinds that only this program defines.
pub const GITOPS_GROUP: &str = "gitops.kelos.dev";

/// The one version that is served, of both groups.
pub const VERSION: &str = "v1alpha1";
