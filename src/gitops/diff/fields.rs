//! Which fields of two values differ.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::gitops::finding::json_path;

/// One field that differs. An absent value is a field that is not there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// JSON path of the field, such as `$.spec.when.cron.schedule`.
    pub path: String,
    /// What it was.
    pub before: Option<Value>,
    /// What it becomes.
    pub after: Option<Value>,
}

/// Returns the fields that differ, in the order of their paths.
///
/// Lists of the same length are compared item by item, other lists as a whole.
pub fn changes(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    collect(Some(before), Some(after), &mut String::new(), &mut found);
    found
}

fn collect(
    before: Option<&Value>,
    after: Option<&Value>,
    pointer: &mut String,
    found: &mut Vec<FieldChange>,
) {
    // A null in git stands for an absent field.
    let (before, after) = (before.filter(|value| !value.is_null()), after.filter(|value| !value.is_null()));
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (None, None) => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let token = name.replace('~', "~0").replace('/', "~1");
                descend(old.get(name), new.get(name), &token, pointer, found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                descend(Some(old), Some(new), &index.to_string(), pointer, found);
            }
        }
        (before, after) => found.push(FieldChange {
            path: json_path(pointer),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn descend(
    before: Option<&Value>,
    after: Option<&Value>,
    token: &str,
    pointer: &mut String,
    found: &mut Vec<FieldChange>,
) {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(token);
    collect(before, after, pointer, found);
    pointer.truncate(length);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(before: &Value, after: &Value, expected: &[(&str, Option<Value>, Option<Value>)]) {
        let found: Vec<_> = changes(before, after)
            .into_iter()
            .map(|change| (change.path, change.before, change.after))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(path, before, after)| ((*path).to_owned(), before.clone(), after.clone()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_what_differs_is_named() {
        check(
            &json!({"spec": {"a": 1, "b": {"c": "x"}, "gone": true, "list": [1, 2]}}),
            &json!({"spec": {"a": 1, "b": {"c": "y"}, "new": {"d": 1}, "list": [1, 3]}}),
            &[
                ("$.spec.b.c", Some(json!("x")), Some(json!("y"))),
                ("$.spec.gone", Some(json!(true)), None),
                ("$.spec.list[1]", Some(json!(2)), Some(json!(3))),
                ("$.spec.new", None, Some(json!({"d": 1}))),
            ],
        );
    }

    #[test]
    fn lists_of_other_lengths_differ_as_a_whole_and_nulls_are_absent() {
        check(
            &json!({"l": ["a"], "n": null}),
            &json!({"l": ["a", "b"]}),
            &[("$.l", Some(json!(["a"])), Some(json!(["a", "b"])))],
        );
    }
}
