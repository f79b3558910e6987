//! A Kubernetes-compatible API over the store.

pub mod events;
pub mod managed_fields;
pub mod protobuf;
pub mod schema;
