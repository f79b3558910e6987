//! From what schemars writes to what both outputs share: no nulls, no alternatives, no titles.

use schemars::Schema;
use serde_json::{Map, Value};

/// Returns the cleaned schema; its definitions stay under `$defs`.
pub(super) fn schema(schema: Schema) -> Value {
    let mut value = schema.to_value();
    walk(&mut value);
    value
}

/// Replaces every reference by its definition. The types have no cycles, so this ends.
pub(super) fn inline(schema: &mut Value, definitions: &Map<String, Value>) {
    let referred =
        schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix("#/$defs/"));
    if let Some(definition) = referred.and_then(|name| definitions.get(name)).cloned() {
        let own = std::mem::replace(schema, definition);
        if let (Some(schema), Value::Object(mut own)) = (schema.as_object_mut(), own) {
            own.remove("$ref");
            // What the field says of itself wins over what its type says.
            schema.extend(own);
        }
    }
    each_child(schema, &mut |child| inline(child, definitions));
}

/// Makes every object refuse fields that it does not list, unless it keeps unknown ones.
pub(super) fn refuse_unknown_fields(schema: &mut Value) {
    if let Some(node) = schema.as_object_mut() {
        let keeps = node.remove("x-kubernetes-preserve-unknown-fields").is_some();
        if !keeps && node.contains_key("properties") {
            node.entry("additionalProperties").or_insert(Value::Bool(false));
        }
    }
    each_child(schema, &mut refuse_unknown_fields);
}

fn walk(schema: &mut Value) {
    without_null(schema);
    if let Some(node) = schema.as_object_mut() {
        node.remove("title");
        node.remove("$schema");
        if node.get("default").is_some_and(Value::is_null) {
            node.remove("default");
        }
        // API servers warn about formats that they do not know.
        let unsigned =
            node.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint"));
        if unsigned {
            node.remove("format");
        }
        if let Some(Value::String(description)) = node.get_mut("description") {
            *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }
    each_child(schema, &mut walk);
}

/// An optional field is absent or has a value; null is neither.
fn without_null(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = node.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            node.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(members)) = node.get_mut("enum") {
        members.retain(|member| !member.is_null());
    }
    let Some(Value::Array(mut branches)) = node.remove("anyOf") else { return };
    branches.retain(|branch| branch.get("type").is_none_or(|kind| kind != "null"));
    if branches.len() != 1 {
        node.insert("anyOf".to_owned(), Value::Array(branches));
        return;
    }
    if let Some(Value::Object(branch)) = branches.pop() {
        for (key, value) in branch {
            node.entry(key).or_insert(value);
        }
    }
}

fn each_child(schema: &mut Value, act: &mut dyn FnMut(&mut Value)) {
    let Some(node) = schema.as_object_mut() else { return };
    for (key, value) in node.iter_mut() {
        match key.as_str() {
            "properties" | "$defs" => {
                if let Some(children) = value.as_object_mut() {
                    children.values_mut().for_each(&mut *act);
                }
            }
            "items" | "additionalProperties" if value.is_object() => act(value),
            _ => {}
        }
    }
}
