//! What the tests stand on.

pub(crate) mod api;
pub(crate) mod clients;
pub(crate) mod env;
mod filter;
pub(crate) mod real_api_server;
pub(crate) mod transcript;
