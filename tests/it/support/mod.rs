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

/// Notes that this host does not reach `level` of the sandbox, because of `why`. With `KELOS_REQUIRE_SANDBOX=LEVEL` that is a
/// failure for `LEVEL` and all below.
pub(crate) fn no_sandbox(level: kelos::api::run::SandboxLevel, why: &str) {
    use kelos::api::run::SandboxLevel as Level;
    #[expect(clippy::disallowed_methods, reason = "the test reads here what the machine has to reach")]
    let required = std::env::var("KELOS_REQUIRE_SANDBOX").ok().map(|required| {
        let levels = [Level::Limited, Level::Files, Level::Isolated, Level::Enclosed];
        let found = levels.into_iter().find(|level| level.as_str() == required);
        found.unwrap_or_else(|| panic!("KELOS_REQUIRE_SANDBOX is no level: {required}"))
    });
    assert!(required.is_none_or(|required| level > required), "{} is required: {why}", level.as_str());
    say(&format!("SKIPPED: this host does not reach {}: {why}", level.as_str()));
}

/// Says something on standard error, past the harness, which keeps what a passing test prints to itself.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    // Nobody listening is no reason to fail.
    drop(writeln!(std::io::stderr(), "{text}"));
}
