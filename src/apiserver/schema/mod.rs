//! The schemas of custom resources: what is pruned, filled in and refused.

pub(in crate::apiserver) mod structural;

pub use self::structural::{SchemaError, Structural};
