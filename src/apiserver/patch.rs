//! Patches of the kinds that clients send: what an object becomes, and how the real server refuses.

use serde_json::Value;

/// Applies a JSON merge patch (RFC 7386) to `target`.
///
/// Only objects are patches for objects: `None` is returned for anything else.
pub fn merge_patch(target: &Value, patch: &Value) -> Option<Value> {
    patch.is_object().then(|| {
        let mut patched = target.clone();
        json_patch::merge(&mut patched, patch);
        patched
    })
}
