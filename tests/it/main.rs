//! The integration tests: one file per promise to users.
