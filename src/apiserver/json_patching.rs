//! JSON patch (RFC 6902) with the latitude of the real server's library.
//!
//! That library replaces fields that are not there, counts list positions from the end when they are negative, and
//! takes unknown members of an operation for nothing.

use serde_json::Value;

/// A patch that does not apply. The real server keeps the reason to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the patch does not apply")]
pub(crate) struct Refused;

/// The most operations of one patch.
pub(crate) const OPERATION_LIMIT: usize = 10_000;

/// How large a patched document may grow by copies, in nodes: a patch that doubles a field twenty times is hostile.
const NODE_LIMIT: usize = 1_000_000;

/// The members of an operation.
const MEMBERS: [&str; 4] = ["op", "path", "from", "value"];

/// Applies the operations in their order.
pub(crate) fn apply(document: &mut Value, operations: &[Value]) -> Result<(), Refused> {
    let mut copied = 0;
    for operation in operations {
        let text = |member: &str| operation[member].as_str();
        let path = text("path").ok_or(Refused)?;
        let value = || operation.get("value").cloned().unwrap_or_default();
        match text("op").unwrap_or_default() {
            "add" => add(document, path, value())?,
            "remove" => drop(remove(document, path)?),
            "replace" => replace(document, path, value())?,
            "move" => {
                let moved = remove(document, text("from").ok_or(Refused)?)?;
                add(document, path, moved)?;
            }
            "copy" => {
                let (container, key) = container(document, text("from").ok_or(Refused)?)?;
                let value = get(container, &key)?.cloned().unwrap_or_default();
                copied += nodes(&value);
                if copied > NODE_LIMIT {
                    return Err(Refused);
                }
                add(document, path, value)?;
            }
            "test" => {
                let (container, key) = container(document, path)?;
                let found = get(container, &key)?.cloned().unwrap_or_default();
                if found != value() {
                    return Err(Refused);
                }
            }
            _ => return Err(Refused),
        }
    }
    if document.is_object() { Ok(()) } else { Err(Refused) }
}

/// Returns what strict reading refuses about the operations themselves.
pub(crate) fn strict_errors(operations: &[Value]) -> Vec<String> {
    let mut errors = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        for member in operation.as_object().into_iter().flatten().map(|(member, _)| member) {
            if !MEMBERS.contains(&member.as_str()) {
                errors.push(format!("json patch unknown field \"[{index}].{member}\""));
            }
        }
    }
    errors
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}

/// Returns the container that the path leads into, and the last part of the path.
fn container<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), Refused> {
    let mut parts: Vec<String> =
        path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let last = parts.pop().ok_or(Refused)?;
    let mut place = document;
    for part in parts {
        place = match place {
            Value::Object(map) => map.get_mut(&part).ok_or(Refused)?,
            Value::Array(items) => {
                let index = position(&part, items.len()).ok_or(Refused)?;
                items.get_mut(index).ok_or(Refused)?
            }
            _ => return Err(Refused),
        };
    }
    if place.is_object() || place.is_array() { Ok((place, last)) } else { Err(Refused) }
}

/// Returns a list position; a negative one counts from the end.
fn position(text: &str, length: usize) -> Option<usize> {
    let number: i64 = text.parse().ok()?;
    if number < 0 {
        length.checked_sub(usize::try_from(number.checked_neg()?).ok()?)
    } else {
        usize::try_from(number).ok()
    }
}

fn get<'a>(container: &'a Value, key: &str) -> Result<Option<&'a Value>, Refused> {
    match container {
        Value::Object(map) => Ok(map.get(key)),
        Value::Array(items) => {
            position(key, items.len()).and_then(|index| items.get(index)).map(Some).ok_or(Refused)
        }
        _ => Err(Refused),
    }
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), Refused> {
    let (container, key) = container(document, path)?;
    match container {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let index = position(&key, items.len() + 1).ok_or(Refused)?;
            if index > items.len() {
                return Err(Refused);
            }
            items.insert(index, value);
        }
        _ => return Err(Refused),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, Refused> {
    let (container, key) = container(document, path)?;
    match container {
        Value::Object(map) => map.remove(&key).ok_or(Refused),
        Value::Array(items) => {
            let index = position(&key, items.len()).ok_or(Refused)?;
            if index < items.len() { Ok(items.remove(index)) } else { Err(Refused) }
        }
        _ => Err(Refused),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), Refused> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (container, key) = container(document, path)?;
    match container {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(items) => {
            let index = position(&key, items.len()).ok_or(Refused)?;
            *items.get_mut(index).ok_or(Refused)? = value;
        }
        _ => return Err(Refused),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(operations: &Value, expected: Option<Value>) {
        let mut document = json!({"a": {"b": 1, "c/d": 2}, "l": [1, 2, 3]});
        let result = apply(&mut document, operations.as_array().unwrap());
        assert_eq!(result.ok().map(|()| document), expected, "{operations}");
    }

    #[test]
    fn operations_apply_as_the_real_server_applies_them() {
        check(
            &json!([{"op": "add", "path": "/l/1", "value": 9}, {"op": "remove", "path": "/a/c~1d"}]),
            Some(json!({"a": {"b": 1}, "l": [1, 9, 2, 3]})),
        );
        check(
            &json!([{"op": "replace", "path": "/a/new", "value": 3}, {"op": "add", "path": "/l/-", "value": 4}]),
            Some(json!({"a": {"b": 1, "c/d": 2, "new": 3}, "l": [1, 2, 3, 4]})),
        );
        check(
            &json!([{"op": "move", "from": "/a/b", "path": "/b"}, {"op": "copy", "from": "/l", "path": "/m"}]),
            Some(json!({"a": {"c/d": 2}, "b": 1, "l": [1, 2, 3], "m": [1, 2, 3]})),
        );
        check(
            &json!([{"op": "remove", "path": "/l/-1"}]),
            Some(json!({"a": {"b": 1, "c/d": 2}, "l": [1, 2]})),
        );
    }

    #[test]
    fn what_does_not_apply_is_refused() {
        for operation in [
            json!({"op": "test", "path": "/a/b", "value": 2}),
            json!({"op": "remove", "path": "/a/none"}),
            json!({"op": "add", "path": "/none/deep", "value": 1}),
            json!({"op": "add", "path": "/l/9", "value": 1}),
            json!({"op": "foo", "path": "/a"}),
            json!({"op": "replace", "path": "", "value": 1}),
            json!({"op": "add", "path": "a", "value": 1}),
            json!(1),
        ] {
            check(&json!([operation]), None);
        }
    }

    #[test]
    fn copies_cannot_grow_without_end() {
        let mut document = json!({"a": ["x"]});
        let copies: Vec<Value> =
            (0..64).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"})).collect();
        assert_eq!(apply(&mut document, &copies), Err(Refused));
    }
}
