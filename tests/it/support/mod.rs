//! What the tests stand on.

pub(crate) mod agents;
pub(crate) mod api;
pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod env;
mod filter;
pub(crate) mod forge;
pub(crate) mod github_app;
pub(crate) mod model_endpoint;
pub(crate) mod real_api_server;
pub(crate) mod server_programs;
pub(crate) mod small_disk;
pub(crate) mod ssh;
pub(crate) mod transcript;
pub(crate) mod web;
pub(crate) mod wire;

/// Says something on standard error, past the harness, which keeps what a passing test prints to itself.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    // Nobody listening is no reason to fail.
    drop(writeln!(std::io::stderr(), "{text}"));
}
