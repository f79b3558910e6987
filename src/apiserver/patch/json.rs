//! JSON patch (RFC 6902), with the liberties of the real server's library: `replace` may add a field, indexes may count
//! from the end, an absent value equals null in a test.

use serde_json::Value;

use super::PatchError;
use crate::apiserver::schema::DEPTH_LIMIT;
use crate::apiserver::spelling;

/// More operations in one patch are refused.
const MAX_OPERATIONS: usize = 10_000;

/// All that `copy` operations of one patch may add, in bytes of JSON.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Returns `target` with the operations of `patch` applied in order; when one fails, none has happened.
pub fn json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations.as_slice(),
        Value::Null => &[],
        other => return Err(PatchError::mistyped(other, "[]handlers.jsonPatchOp")),
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations { max: MAX_OPERATIONS, count: operations.len() });
    }
    if let Some(odd) = operations.iter().find(|operation| !operation.is_object() && !operation.is_null()) {
        return Err(PatchError::mistyped(odd, "handlers.jsonPatchOp"));
    }
    for operation in operations {
        for name in ["op", "from", "path"] {
            if let Some(value) = operation.get(name).filter(|value| !value.is_string() && !value.is_null()) {
                let found = spelling::json_name(value);
                return Err(PatchError::Malformed(format!(
                    "error decoding patch: json: cannot unmarshal {found} into Go struct field jsonPatchOp.{name} of \
                     type string"
                )));
            }
        }
    }
    let mut patched = target.clone();
    let mut budget = Budget { copied: 0, depth: depth(target) };
    for operation in operations {
        apply(&mut patched, operation, &mut budget)?;
    }
    if depth(&patched) > DEPTH_LIMIT { Err(PatchError::inapplicable(TOO_DEEP)) } else { Ok(patched) }
}

/// What operations may still do.
struct Budget {
    /// How many bytes of JSON were copied.
    copied: usize,
    /// How deep the document can be at most by now. Exact for one that was not touched; every move can nest one part
    /// in another, so that few short operations could make a document which no stack holds.
    depth: usize,
}

impl Budget {
    fn insert(&mut self, path: &str, depth: usize) -> Result<(), PatchError> {
        self.depth = self.depth.max(path.matches('/').count() + depth);
        if self.depth > WORKING_DEPTH { Err(PatchError::inapplicable(TOO_DEEP)) } else { Ok(()) }
    }

    fn carry(&mut self, from: &str, path: &str) -> Result<(), PatchError> {
        self.insert(path, self.depth.saturating_sub(from.matches('/').count()))
    }
}

/// How deep a document may become between two operations, as far as can be told without looking.
const WORKING_DEPTH: usize = 4 * DEPTH_LIMIT;

const TOO_DEEP: &str = "the result is nested too deeply";

/// Returns how many objects and lists lie in each other, at most one more than a document may have.
fn depth(value: &Value) -> usize {
    fn look(value: &Value, left: usize) -> usize {
        if left == 0 {
            return 0;
        }
        let inside = |values: &mut dyn Iterator<Item = &Value>| {
            1 + values.map(|value| look(value, left - 1)).max().unwrap_or(0)
        };
        match value {
            Value::Array(items) => inside(&mut items.iter()),
            Value::Object(fields) => inside(&mut fields.values()),
            _ => 0,
        }
    }
    look(value, DEPTH_LIMIT + 1)
}

fn apply(document: &mut Value, operation: &Value, budget: &mut Budget) -> Result<(), PatchError> {
    let text = |name: &str| {
        operation
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| PatchError::inapplicable(format!("operation without {name}")))
    };
    let value = || operation.get("value").cloned().unwrap_or_default();
    match operation.get("op").and_then(Value::as_str).unwrap_or("unknown") {
        "add" => {
            let value = value();
            budget.insert(text("path")?, depth(&value))?;
            add(document, text("path")?, value)
        }
        "remove" => remove(document, text("path")?).map(drop),
        "replace" => {
            let value = value();
            budget.insert(text("path")?, depth(&value))?;
            replace(document, text("path")?, value)
        }
        "test" => test(document, text("path")?, &value()),
        "move" => {
            budget.carry(text("from")?, text("path")?)?;
            let moved = remove(document, text("from")?)?;
            add(document, text("path")?, moved)
        }
        "copy" => {
            let found = get(document, text("from")?)?.cloned().unwrap_or_default();
            budget.copied += found.to_string().len();
            budget.carry(text("from")?, text("path")?)?;
            if budget.copied > MAX_COPIED_BYTES {
                return Err(PatchError::inapplicable("copies are too large"));
            }
            add(document, text("path")?, found)
        }
        other => Err(PatchError::inapplicable(format!("unexpected kind: {other}"))),
    }
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    let (parent, key) = parent_of(document, path)?;
    match parent {
        Value::Object(fields) => drop(fields.insert(key, value)),
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let index = index_of(&key, items.len() + 1, path)?;
            items.insert(index, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, PatchError> {
    let (parent, key) = parent_of(document, path)?;
    match parent {
        Value::Object(fields) => fields.remove(&key).ok_or_else(|| missing(path)),
        Value::Array(items) => {
            let index = index_of(&key, items.len(), path)?;
            Ok(items.remove(index))
        }
        _ => Err(missing(path)),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err(PatchError::inapplicable("the whole can only be replaced by an object or a list"));
        }
        *document = value;
        return Ok(());
    }
    let (parent, key) = parent_of(document, path)?;
    match parent {
        Value::Object(fields) => drop(fields.insert(key, value)),
        Value::Array(items) => {
            let index = index_of(&key, items.len(), path)?;
            items[index] = value;
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn test(document: &mut Value, path: &str, value: &Value) -> Result<(), PatchError> {
    let is_equal = if path.is_empty() {
        document == value
    } else {
        get(document, path)?.unwrap_or(&Value::Null) == value
    };
    if is_equal { Ok(()) } else { Err(PatchError::inapplicable(format!("testing value {path} failed"))) }
}

fn get<'a>(document: &'a mut Value, path: &str) -> Result<Option<&'a Value>, PatchError> {
    let (parent, key) = parent_of(document, path)?;
    match &*parent {
        Value::Object(fields) => Ok(fields.get(&key)),
        Value::Array(items) => {
            let index = index_of(&key, items.len(), path)?;
            Ok(items.get(index))
        }
        _ => Err(missing(path)),
    }
}

/// Returns the container that a path ends in, and its key there.
fn parent_of<'a>(document: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), PatchError> {
    let mut parts = path.split('/').skip(1).map(decoded).collect::<Vec<_>>();
    let key = parts.pop().ok_or_else(|| missing(path))?;
    let mut place = document;
    for part in parts {
        place = match place {
            Value::Object(fields) => fields.get_mut(&part).ok_or_else(|| missing(path))?,
            Value::Array(items) => {
                let index = index_of(&part, items.len(), path)?;
                items.get_mut(index).ok_or_else(|| missing(path))?
            }
            _ => return Err(missing(path)),
        };
    }
    if place.is_object() || place.is_array() { Ok((place, key)) } else { Err(missing(path)) }
}

fn decoded(part: &str) -> String {
    // In one pass, as Go's replacer does: `~01` is `~1`.
    let mut decoded = String::with_capacity(part.len());
    let mut characters = part.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('~', Some('1')) => {
                characters.next();
                decoded.push('/');
            }
            ('~', Some('0')) => {
                characters.next();
                decoded.push('~');
            }
            (other, _) => decoded.push(other),
        }
    }
    decoded
}

/// Returns the index that `key` means in a list with room for `length` items; negative ones count from its end.
fn index_of(key: &str, length: usize, path: &str) -> Result<usize, PatchError> {
    let invalid = || PatchError::inapplicable(format!("{path}: unable to access invalid index: {key}"));
    let index: i64 = key.parse().map_err(|_| invalid())?;
    let length = i64::try_from(length).map_err(|_| invalid())?;
    let index = if index < 0 { index + length } else { index };
    if index < 0 || index >= length {
        return Err(invalid());
    }
    usize::try_from(index).map_err(|_| invalid())
}

fn missing(path: &str) -> PatchError {
    PatchError::inapplicable(format!("doc is missing path: {path}"))
}
