//! Objects as text, for keeping many of them.

use std::sync::Arc;

use serde_json::Value;

/// An object as its JSON text, keys in order: it takes a tenth of the memory of the tree of its values, and texts of
/// equal objects are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectText(Arc<str>);

impl ObjectText {
    /// Returns the text of an object.
    pub fn of(object: &Value) -> Self {
        Self(Arc::from(object.to_string()))
    }

    /// Returns the object.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).expect("because it was written from a value")
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
