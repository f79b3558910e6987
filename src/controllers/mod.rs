//! Controllers: one folder for each kind that has one.
//!
//! A controller fetches what its object names, decides purely, acts, and writes the status; it knows the cluster as
//! a `kube::Client` and nothing else, so that one machine and a cluster run the same code.

mod app_secret;
pub mod config_repository;
pub mod context;
mod objects;
pub mod report;
pub mod run_record;
pub mod task;
pub mod task_spawner;
