//! JSON pointers (RFC 6901), and the same paths as people write them.

use std::fmt::Write as _;

/// Returns the pointer to a field or item of the value at `base`.
pub(super) fn join(base: &str, key: &str) -> String {
    format!("{base}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Returns the pointer to an item of the list at `base`.
pub(super) fn item(base: &str, index: usize) -> String {
    format!("{base}/{index}")
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
    fn paths_are_readable() {
        assert_eq!(readable(&item(&join("/spec", "env"), 0)), "spec.env[0]");
        assert_eq!(
            readable(&join("/metadata/labels", "kelos.dev/a~b")),
            "metadata.labels[\"kelos.dev/a~b\"]"
        );
        assert_eq!(readable(""), "");
    }
}
