//! What holds for any writes: properties of random sequences, and of a schema that changes under stored entries.

use serde_json::{Value, json};

use super::*;
use crate::apiserver::schema::Structural;

const API_VERSION: &str = "fields.example.com/v1";

fn writer(manager: &str, second: i64) -> Writer<'_> {
    let now = Timestamp::from_second(1_800_000_000 + second).unwrap();
    Writer { manager, api_version: API_VERSION, subresource: "", reset: &[], now }
}

fn shape_of(spec: &Value) -> Shape {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    Shape::of_custom_resource(&Structural::parse(&schema).unwrap())
}

/// A kind with a split object, a leaf object, a list, a region without schema, and a map.
fn kind() -> Shape {
    let text = json!({"type": "string"});
    shape_of(&json!({"type": "object", "properties": {
        "name": text,
        "nested": {"type": "object", "properties": {"a": text, "deep": {"type": "object", "properties": {"x": text}}}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": text}},
        "list": {"type": "array", "items": text},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "labels": {"type": "object", "additionalProperties": text},
    }}))
}

fn random_spec(random: &mut fastrand::Rng) -> Value {
    let mut spec = json!({});
    let mut maybe = |name: &str, values: &[Value]| {
        if random.u8(..3) == 0 {
            spec[name] = values[random.usize(..values.len())].clone();
        }
    };
    maybe("name", &[json!("x"), json!("y")]);
    maybe(
        "nested",
        &[json!({}), json!({"a": "1"}), json!({"a": "2", "deep": {"x": "1"}}), json!({"deep": {}})],
    );
    maybe("whole", &[json!({}), json!({"a": "1"})]);
    maybe("list", &[json!([]), json!(["a"]), json!(["b", "a"])]);
    maybe("free", &[json!({}), json!({"p": 1}), json!({"p": {"q": [1]}}), json!({"r": "s"})]);
    maybe("labels", &[json!({}), json!({"k": "1"}), json!({"k": "2", "l": "1"})]);
    spec
}

fn object(random: &mut fastrand::Rng) -> Value {
    let mut object = json!({"apiVersion": API_VERSION, "kind": "K", "metadata": {"name": "x"}});
    object["spec"] = random_spec(random);
    if random.bool() {
        let finalizers = [json!([]), json!(["f/1"]), json!(["f/2", "f/1"])];
        object["metadata"]["finalizers"] = finalizers[random.usize(..3)].clone();
    }
    object
}

/// Returns whether the path leads to something in `value`.
fn exists(value: &Value, path: &[PathElement]) -> bool {
    let [first, rest @ ..] = path else { return true };
    match first {
        PathElement::Field(name) => value.get(name).is_some_and(|field| exists(field, rest)),
        PathElement::Item(item) => value.as_array().is_some_and(|items| items.contains(&item.0)),
        PathElement::Key(_) | PathElement::Index(_) => false,
    }
}

/// Returns whether all that `part` says holds in `whole`; lists of strings are sets only in the metadata.
fn holds(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|other| holds(value, other)))
        }
        (Value::Array(part), Value::Array(whole)) => part.iter().all(|item| whole.contains(item)),
        (part, whole) => part == whole,
    }
}

#[test]
fn random_writes_keep_the_books_straight() {
    let shape = kind();
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut live: Option<Value> = None;
        for second in 0..30 {
            let manager = ["a", "b", "c"][random.usize(..3)];
            let writer = writer(manager, second);
            let given = object(&mut random);
            let place = format!("seed {seed}, write {second} by {manager}: {given}");
            let result = match (&live, random.u8(..3)) {
                (Some(before), 0) => {
                    // A client sends back what it read with its changes, entries included.
                    let mut new = before.clone();
                    new["spec"] = given["spec"].clone();
                    Ok(update(&shape, live.as_ref(), new, &writer))
                }
                (None, 0) => Ok(update(&shape, None, given.clone(), &writer)),
                (_, force) => apply(&shape, live.as_ref(), &given, &writer, force == 1),
            };
            let after = match result {
                Ok(after) => after,
                Err(ApplyError::Conflicts(conflicts)) => {
                    assert!(!conflicts.causes().is_empty(), "{place}");
                    continue;
                }
                Err(other) => panic!("{place}: {other}"),
            };
            let owners = Owners::decode(&after).unwrap();
            for (id, owned) in &owners.sets {
                assert!(!owned.set.is_empty(), "{place}: {id:?} owns nothing");
                for path in owned.set.paths() {
                    assert!(exists(&after, &path), "{place}: {} of {id:?} is gone", shown_path(&path));
                }
                assert_eq!(FieldSet::from_fields_v1(&owned.set.to_fields_v1()).unwrap(), owned.set);
            }
            live = Some(after);
        }
    }
}

#[test]
fn a_forced_apply_holds_and_repeating_it_changes_nothing() {
    let shape = kind();
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let start = update(&shape, None, object(&mut random), &writer("start", 0));
        let before = apply(&shape, Some(&start), &object(&mut random), &writer("b", 1), true).unwrap();
        let given = object(&mut random);
        let after = apply(&shape, Some(&before), &given, &writer("a", 2), true).unwrap();
        assert!(holds(&given, &after), "seed {seed}: {given} is not in {after}");
        let again = apply(&shape, Some(&after), &given, &writer("a", 9), false).unwrap();
        assert_eq!(again, after, "seed {seed}");
        let untouched = update(&shape, Some(&after), after.clone(), &writer("c", 9));
        assert_eq!(untouched, after, "seed {seed}");
    }
}

/// The entries of an object, as manager and fields.
fn entries(object: &Value) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries.iter().map(|entry| json!([entry["manager"], entry["fieldsV1"]])).collect()
}

fn flip(
    manager: &str,
    spec: &Value,
    live: Option<&Value>,
    shape: &Shape,
    force: bool,
) -> Result<Value, ApplyError> {
    let given = json!({"apiVersion": API_VERSION, "kind": "K", "metadata": {"name": "x"}, "spec": spec});
    apply(shape, live, &given, &writer(manager, 0), force)
}

/// Recorded from kube-apiserver v1.37.1, where the definition was changed between the writes.
#[test]
fn entries_follow_a_schema_that_changes() {
    let text = json!({"type": "string"});
    let split = shape_of(&json!({"type": "object", "properties": {
        "n": {"type": "object", "properties": {"a": text, "b": text}},
        "l": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "s": text,
    }}));
    let whole = shape_of(&json!({"type": "object", "properties": {
        "n": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": text, "b": text}},
        "l": {"type": "array", "items": text, "x-kubernetes-list-type": "atomic"},
        "s": text,
    }}));
    let (first, second) = (json!({"n": {"a": "1"}, "l": ["x"]}), json!({"n": {"b": "2"}, "l": ["y"]}));

    let live = flip("a", &first, None, &split, false).unwrap();
    let live = flip("b", &second, Some(&live), &split, true).unwrap();
    let live = flip("c", &json!({"s": "1"}), Some(&live), &whole, false).unwrap();
    let all = json!({"f:spec": {"f:l": {}, "f:n": {}}});
    assert_eq!(entries(&live), json!([["a", all], ["b", all], ["c", {"f:spec": {"f:s": {}}}]]));
    let error = flip("a", &first, Some(&live), &whole, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"b\":\n- .spec.l\n- .spec.n"
    );
    let live = flip("a", &json!({"n": {"a": "2"}, "l": ["x", "z"]}), Some(&live), &whole, true).unwrap();
    assert_eq!(entries(&live), json!([["a", all], ["c", {"f:spec": {"f:s": {}}}]]));

    let live = flip("a", &first, None, &whole, false).unwrap();
    let live = flip("b", &second, Some(&live), &whole, true).unwrap();
    let live = flip("c", &json!({"s": "1"}), Some(&live), &split, false).unwrap();
    assert_eq!(entries(&live), json!([["b", all], ["c", {"f:spec": {"f:s": {}}}]]));
    let live = flip("a", &first, Some(&live), &split, false).unwrap();
    assert_eq!(live["spec"], json!({"l": ["y", "x"], "n": {"a": "1", "b": "2"}, "s": "1"}));
    assert_eq!(
        entries(&live),
        json!([
            ["a", {"f:spec": {"f:l": {"v:\"x\"": {}}, "f:n": {"f:a": {}}}}],
            ["b", all],
            ["c", {"f:spec": {"f:s": {}}}],
        ])
    );
}

#[test]
fn unreadable_stored_entries_fail_an_apply_and_are_forgotten_by_an_update() {
    let shape = kind();
    let mut live =
        json!({"apiVersion": API_VERSION, "kind": "K", "metadata": {"name": "x"}, "spec": {"name": "a"}});
    live["metadata"]["managedFields"] =
        json!([{"operation": "Delete", "apiVersion": "v1", "fieldsType": "FieldsV1"}]);
    let error = flip("a", &json!({}), Some(&live), &shape, true).unwrap_err();
    assert_eq!(error.to_string(), "failed to decode managed fields: operation must be `Apply` or `Update`");
    let updated = update(&shape, Some(&live), live.clone(), &writer("u", 0));
    assert_eq!(updated["metadata"], json!({"name": "x"}));
}
