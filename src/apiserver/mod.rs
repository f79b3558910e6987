//! A Kubernetes-compatible API over the store: an axum `Router` for the [`Resource`]s that it is given.
//!
//! It serves those, and the few kinds of Kubernetes itself that they need, as kube-apiserver does: kubectl and every
//! client library work against it. It knows nothing of what our kinds mean.
//!
//! ```text
//! request -> path, negotiation, options -> read: stored bytes are served bytes
//!                                       -> write: body, patch, owners, rules -> one decision in the store
//! ```

mod answer;
mod body;
mod call;
mod cause;
mod core_kinds;
mod counting;
mod credentials;
mod delete;
mod discovery;
mod encode;
pub mod events;
mod garbage;
mod go_json;
mod in_process;
mod jsonpath;
mod judging;
mod list;
mod listen;
pub mod managed_fields;
mod metadata;
mod names;
mod negotiate;
mod openapi;
mod openapi_v2;
mod options;
mod output;
pub mod patch;
mod patching;
mod path;
pub mod protobuf;
mod resource;
mod reviews;
pub mod schema;
mod selector;
mod server;
mod spelling;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod watch;
mod write;

pub use crate::apiserver::cause::Cause;
pub use crate::apiserver::core_kinds::secret_prefixes;
pub use crate::apiserver::credentials::{Credentials, CredentialsError};
pub use crate::apiserver::in_process::{InProcess, in_process};
pub use crate::apiserver::listen::serve;
pub use crate::apiserver::resource::{
    DefinitionError, Resource, Rules, SubresourceHandler, SubresourceRequest, Violation, ViolationReason,
};
pub use crate::apiserver::server::{ApiServer, Options, ServedKind};
pub use crate::apiserver::status::{ApiError, Details};
