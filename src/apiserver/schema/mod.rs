//! The schemas of custom resources: what of an object is unknown, missing or wrong.
//!
//! All of it is pure. The order in which the real server does things, and the pipeline has to: [`decode`], then
//! [`Structural::prune`] (whose paths, with the duplicates of [`decode`], are the faults of strict field validation),
//! [`Structural::fill_defaults`], [`Structural::validate`], then rules over several fields, joined by
//! [`with_rules`]. [`Structural::admit`] does all of it for a parsed object.

mod decode;
mod defaults;
mod error;
mod prune;
pub(in crate::apiserver) mod structural;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::Value;

pub use self::decode::{Decoded, decode};
pub use self::error::{FieldError, FieldErrorKind, invalid_message, with_rules};
pub use self::structural::{SchemaError, Structural};

/// What became of an object on its way to the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// The object as it would be stored: pruned, with defaults.
    pub object: Value,
    /// The paths of the fields that were pruned, sorted; strict field validation refuses them.
    pub unknown: Vec<String>,
    /// What is wrong; an object without errors may be stored.
    pub errors: Vec<FieldError>,
}

impl Structural {
    /// Takes unknown fields out of `object`, and nulls that are neither allowed nor replaced by a default.
    ///
    /// Returns the paths of the unknown fields, sorted. The metadata is left alone: it is not the schema's.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let unknown = prune::prune_unknown(object, self.root());
        prune::prune_nulls(object, Some(self.root()));
        unknown
    }

    /// Puts the defaults of the schema where values are missing.
    pub fn fill_defaults(&self, object: &mut Value) {
        defaults::fill(object, self.root());
    }

    /// Checks `object` against the schema. Faults of parts that are the same in `old`, the object that it replaces,
    /// are let pass, except in items of lists without keys, which are the same only all together.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        validate::check(object, old, self.root(), "")
    }

    /// Checks the `status` of `object` alone, for writes through the status subresource.
    ///
    /// `old` is the object that it replaces.
    pub fn validate_status(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let (Some(schema), Some(status)) = (self.root().properties.get("status"), object.get("status"))
        else {
            return Vec::new();
        };
        let old = old.and_then(|old| old.get("status"));
        let mut errors = validate::check(status, old, schema, "");
        for error in &mut errors {
            error.path = match error.path.as_str() {
                "<nil>" => "status".to_owned(),
                path => format!("status.{path}"),
            };
        }
        errors
    }

    /// Takes an object through pruning, defaults, validation and `rules` (which gets the object with its defaults).
    pub fn admit(
        &self,
        mut object: Value,
        old: Option<&Value>,
        rules: impl FnOnce(&Value, Option<&Value>) -> Vec<FieldError>,
    ) -> Admission {
        let unknown = self.prune(&mut object);
        self.fill_defaults(&mut object);
        let errors = with_rules(self.validate(&object, old), || rules(&object, old));
        Admission { object, unknown, errors }
    }
}
