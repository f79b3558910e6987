//! JSON pointers (RFC 6901), and the same paths as people write them.

use std::fmt::Write as _;

use serde_json::Value;

/// Returns the pointer to a field or item of the value at `base`.
pub(super) fn join(base: &str, key: &str) -> String {
    format!("{base}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Returns the pointer to an item of the list at `base`.
pub(super) fn item(base: &str, index: usize) -> String {
    format!("{base}/{index}")
}

/// Returns the value at `pointer`, as [`Value::pointer`] does, which copies every part of it.
pub(super) fn lookup<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    if pointer.contains('~') {
        return value.pointer(pointer);
    }
    pointer.split('/').skip(1).try_fold(value, |value, part| match value {
        Value::Object(fields) => fields.get(part),
        Value::Array(_) => value.pointer(&format!("/{part}")),
        _ => None,
    })
}

/// Returns the path as people write it: `/spec/env/0/name` is `spec.env[0].name`.
pub fn readable(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            let _infallible = write!(path, "[{part}]");
        } else if part.contains(['.', '/', '[', ' ']) {
            let _infallible = write!(path, "[{part:?}]");
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_where_its_pointer_says() {
        let value = serde_json::json!({"a": [{"b/c": 1}, null], "": {"0": 2}});
        for pointer in
            ["", "/a", "/a/0", "/a/0/b~1c", "/a/1", "/a/01", "/a/+1", "/a/2", "//0", "/x", "/a/0/b/c"]
        {
            assert_eq!(lookup(&value, pointer), value.pointer(pointer), "{pointer}");
        }
    }

    #[test]
    fn paths_are_readable() {
        assert_eq!(readable(&item(&join("/spec", "env"), 0)), "spec.env[0]");
        assert_eq!(
            readable(&join("/metadata/labels", "kelos.dev/a~b")),
            "metadata.labels[\"kelos.dev/a~b\"]"
        );
        assert_eq!(readable(""), "");
    }
}
