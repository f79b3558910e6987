//! What the tests stand on.

pub(crate) mod real_api_server;
