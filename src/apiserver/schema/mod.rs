//! The schemas of custom resources: what of an object is unknown, missing or wrong.
//!
//! All of it is pure. The order in which the real server does things, and the pipeline has to: [`decode`], then
//! [`Structural::coerce`] (whose paths, with the duplicates of [`decode`], are the faults of strict field validation),
//! [`Structural::fill_defaults`], [`Structural::validate`], then rules over several fields, joined by
//! [`with_rules`]. An applied object is merged after decoding and gets its defaults, is validated as it is, and only
//! then coerced.

mod decode;
mod defaults;
mod embedded;
mod error;
mod lists;
mod object_meta;
mod prune;
pub(in crate::apiserver) mod structural;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::{Map, Value};

pub(in crate::apiserver) use self::decode::{DEPTH_LIMIT, decode_at};
pub use self::decode::{Decoded, decode};
pub(in crate::apiserver) use self::error::TEXTS_LIMIT;
pub use self::error::{FieldError, FieldErrorKind, invalid_message, with_rules};
pub use self::structural::{SchemaError, Structural};

impl Structural {
    /// Brings a decoded object into the form in which objects are stored: the metadata is read into its fixed structure
    /// (also that of embedded resources), unknown fields fall away, and nulls that mean nothing too.
    ///
    /// Returns the paths of the unknown fields, in the order in which the real server lists them. An error is the
    /// message of the real server's decoder: status 400, after `KIND in version "VERSION" cannot be handled as a
    /// KIND: `.
    pub fn coerce(&self, object: &mut Map<String, Value>) -> Result<Vec<String>, String> {
        let mut unknown = object_meta::coerce(object, "metadata")?;
        let mut whole = Value::Object(std::mem::take(object));
        unknown.extend(self.prune(&mut whole));
        if self.embeds() {
            let embedded =
                embedded::coerce(&mut whole, self.root(), "").map_err(|error| error.to_string())?;
            unknown.extend(embedded);
        }
        if let Value::Object(fields) = whole {
            *object = fields;
        }
        Ok(unknown)
    }

    /// Takes unknown fields out of `object`, and nulls that are neither allowed nor replaced by a default.
    ///
    /// Returns the paths of the unknown fields, sorted. The metadata is left alone: it is not the schema's.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let unknown = prune::prune_unknown(object, self.root());
        prune::prune_nulls(object, Some(self.root()));
        unknown
    }

    /// Takes out nulls that are neither allowed nor replaced by a default.
    pub fn prune_nulls(&self, object: &mut Value) {
        prune::prune_nulls(object, Some(self.root()));
    }

    /// Puts the defaults of the schema where values are missing.
    pub fn fill_defaults(&self, object: &mut Value) {
        defaults::fill(object, self.root());
    }

    /// Checks `object` against the schema. Faults of parts that are the same in `old`, the object that it replaces,
    /// are let pass, except in items of lists without keys, which are the same only all together.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = validate::check(object, old, self.root(), "");
        if self.embeds() {
            errors.extend(embedded::type_errors(object, self.root(), ""));
        }
        // Lists that were wrong before may stay wrong.
        if self.identifies() && old.is_none_or(|old| lists::duplicates(old, self.root(), "").is_empty()) {
            errors.extend(lists::duplicates(object, self.root(), ""));
        }
        errors
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
        // Lists that were wrong before may stay wrong.
        if self.identifies() && old.is_none_or(|old| lists::duplicates(old, schema, "").is_empty()) {
            errors.extend(lists::duplicates(status, schema, ""));
        }
        for error in &mut errors {
            error.path = match error.path.as_str() {
                "<nil>" => "status".to_owned(),
                path => format!("status.{path}"),
            };
        }
        errors
    }

    /// Reads the metadata of an object of a built-in kind as [`Structural::coerce`] does for custom resources.
    ///
    /// Returns the paths of unknown metadata fields, sorted, or the message of the real server's decoder.
    pub fn coerce_metadata(object: &mut Map<String, Value>) -> Result<Vec<String>, String> {
        object_meta::coerce(object, "metadata")
    }
}
