//! The composition root: everything that runs for long is put together and owned here.
//!
//! On one machine that is the embedded control plane (store and API server), the controllers that reach it as a
//! `kube::Client` in process, and the listener through which everybody else does.

pub mod config;
mod embedded;
pub mod home;
mod log;
mod logging;
mod metrics;
mod runs;
pub mod supervisor;
mod up;

pub use embedded::rules_of;
pub use logging::{LOG_VARIABLE, start_logging};
pub use up::{Ready, Stop, up};
