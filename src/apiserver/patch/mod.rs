//! Patches of the three kinds that clients send: what an object becomes by them, and how the real server refuses.
//!
//! All of it is pure and works on decoded JSON; which kind a request carries, and reading its body, is the server's.

mod json;
mod merge;
mod strategic;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use self::json::json_patch;
pub use self::merge::merge_patch;
pub use self::strategic::strategic_patch;

use crate::apiserver::spelling;

/// Why a patch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is malformed: status 400, reason `BadRequest`, this message.
    #[error("{0}")]
    Malformed(String),
    /// The patch has too many operations: status 413, reason `RequestEntityTooLarge`, this message.
    #[error("The allowed maximum operations in a JSON patch is {max}, got {count}")]
    TooManyOperations {
        /// How many are allowed.
        max: usize,
        /// How many there are.
        count: usize,
    },
    /// The patch does not fit the object: status 422, reason `Invalid`, empty details. The real server does not say
    /// why; the field does, for logs.
    #[error("the server rejected our request due to an error in our request")]
    Inapplicable {
        /// What did not fit.
        reason: String,
    },
    /// The patch cannot be merged: status 500, this message.
    #[error("{0}")]
    Failed(String),
}

impl PatchError {
    fn inapplicable(reason: impl Into<String>) -> Self {
        Self::Inapplicable { reason: reason.into() }
    }

    /// Returns the error that a body is not of the Go type in which the real server reads it.
    fn mistyped(body: &Value, wanted: &str) -> Self {
        let found = spelling::json_name(body);
        Self::Malformed(format!(
            "error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"
        ))
    }
}
