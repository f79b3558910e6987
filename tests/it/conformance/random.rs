//! Sequences of writes that nobody wrote down: several managers create, update, patch, apply and delete a few objects,
//! with and without force and finalizers, and write their status.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::step::{Call, apply, delete, delete_with, force, get, json_patch, merge, post, put};

/// The steps of one sequence. Long enough for managers to meet, short enough to be read when it fails.
const LENGTH: usize = 40;

/// Returns the sequence of a seed, always the same.
pub(crate) fn sequence(seed: u64) -> Vec<Call> {
    let mut random = Random { rng: Rng::with_seed(seed) };
    (0..LENGTH).map(|_| random.call()).collect()
}

struct Random {
    rng: Rng,
}

/// The fields of a spec and what they may hold. What is listed twice comes twice as often.
///
/// Left out is what a real server stores as it was applied and drops when it reads it again, emptied labels and nulls of
/// no type: the next write that changes nothing is then a write after all, which is nobody's promise.
fn menu() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("size", vec![json!(1), json!(2), json!(3), json!(2), json!(0), json!("x")]),
        ("color", vec![json!("red"), json!("blue"), json!(null), json!("pink")]),
        ("code", vec![json!("abc"), json!("xyz"), json!(null)]),
        ("enabled", vec![json!(true), json!(false)]),
        ("port", vec![json!(80), json!("http")]),
        (
            "nested",
            vec![
                json!({}),
                json!({"depth": 4}),
                json!({"inner": {"name": "a"}}),
                json!({"inner": {"name": "b", "note": "c"}}),
                json!(null),
            ],
        ),
        ("tags", vec![json!(["a"]), json!(["a", "b"]), json!([]), json!(null)]),
        ("keys", vec![json!(["a", "b"]), json!(["b", "c"]), json!(["c"]), json!([])]),
        ("parts", vec![json!([{"name": "a"}]), json!([{"name": "b", "count": 2}])]),
        (
            "ports",
            vec![
                json!([{"name": "x", "number": 1}]),
                json!([{"name": "y"}, {"name": "x", "number": 2}]),
                json!([{"name": "y", "protocol": "UDP"}]),
                json!([]),
                json!([{"name": "x"}, {"name": "x"}]),
            ],
        ),
        (
            "settings",
            vec![
                json!({"a": "1"}),
                json!({"a": "2", "b": "1"}),
                json!({"b": null, "c": "1"}),
                json!({}),
                json!(null),
            ],
        ),
        ("selector", vec![json!({"app": "x"}), json!({"tier": "y"}), json!({})]),
        ("blob", vec![json!({"a": {"b": 1}}), json!({"a": {"c": [1, 2]}}), json!({"a": "text"}), json!({})]),
        ("template", vec![json!({"known": "a", "other": 1}), json!({"other": {"deep": 1}})]),
        ("anything", vec![json!(1), json!({"x": 1}), json!(["y"])]),
        ("nothing", vec![json!(null), json!("something")]),
        ("unknown", vec![json!(1)]),
    ]
}

impl Random {
    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.rng.usize(..choices.len())]
    }

    /// Whether something happens that happens once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.rng.usize(..times) == 0
    }

    fn call(&mut self) -> Call {
        if self.once_in(4) { self.config_map_call() } else { self.gadget_call() }
    }

    fn gadget_call(&mut self) -> Call {
        let name = *self.pick(&["a", "b"]);
        let manager = *self.pick(&["one", "two", "three"]);
        let path = format!("{{gadgets}}/{name}");
        let managed = format!("{path}?fieldManager={manager}");
        match self.rng.u32(..20) {
            0..3 => post(&format!("{{gadgets}}?fieldManager={manager}"), self.gadget(name, 3)),
            3..5 => put(&managed, self.gadget(name, 4)),
            5..8 => merge(&managed, json!({"metadata": self.metadata(), "spec": self.spec(3)})),
            8..9 => json_patch(&managed, self.operations()),
            9..13 => apply(manager, &path, self.applied(name, manager)),
            13..15 => force(manager, &path, self.applied(name, manager)),
            15 => merge(
                &format!("{path}/status?fieldManager={manager}"),
                json!({"status": self.status(), "spec": {"size": 9}}),
            ),
            16 => {
                let mut object =
                    json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": name}});
                object["status"] = self.status();
                if self.once_in(2) {
                    force(manager, &format!("{path}/status"), object)
                } else {
                    apply(manager, &format!("{path}/status"), object)
                }
            }
            17 => merge(&managed, json!({"metadata": {"finalizers": null}})),
            18 => {
                if self.once_in(2) {
                    delete(&path)
                } else {
                    delete_with(&path, json!({"propagationPolicy": "Background"}))
                }
            }
            _ => get("{gadgets}"),
        }
    }

    fn config_map_call(&mut self) -> Call {
        let name = *self.pick(&["a", "b"]);
        let manager = *self.pick(&["one", "two"]);
        let path = format!("{{configmaps}}/{name}");
        let managed = format!("{path}?fieldManager={manager}");
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata()});
        object["metadata"]["name"] = json!(name);
        object["data"] = self.data();
        match self.rng.u32(..8) {
            0 | 1 => post(&format!("{{configmaps}}?fieldManager={manager}"), object),
            2 => put(&managed, object),
            3 => merge(&managed, json!({"data": self.data(), "metadata": self.metadata()})),
            4 => apply(manager, &path, labelled(object, manager)),
            5 => force(manager, &path, labelled(object, manager)),
            6 => merge(&managed, json!({"metadata": {"finalizers": null}})),
            _ => delete(&path),
        }
    }

    fn gadget(&mut self, name: &str, fields: usize) -> Value {
        let mut object = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": self.metadata(), "spec": self.spec(fields)});
        object["metadata"]["name"] = json!(name);
        // Nearly always valid: a size is required.
        if object["spec"]["size"].is_null() && !self.once_in(12) {
            object["spec"]["size"] = json!(2);
        }
        object
    }

    /// Returns what `manager` applies.
    fn applied(&mut self, name: &str, manager: &str) -> Value {
        labelled(self.gadget(name, 3), manager)
    }

    fn metadata(&mut self) -> Value {
        let mut metadata = Map::new();
        if self.once_in(3) {
            metadata.insert(
                "labels".to_owned(),
                self.pick(&[json!({"a": "1"}), json!({"a": "2", "b": "1"})]).clone(),
            );
        }
        if self.once_in(6) {
            metadata
                .insert("annotations".to_owned(), self.pick(&[json!({"n": "1"}), json!({"m": "2"})]).clone());
        }
        if self.once_in(6) {
            let finalizers = [
                json!(["example.com/x"]),
                json!(["example.com/y"]),
                json!(["example.com/x", "example.com/y"]),
            ];
            metadata.insert("finalizers".to_owned(), self.pick(&finalizers).clone());
        }
        Value::Object(metadata)
    }

    fn spec(&mut self, fields: usize) -> Value {
        let menu = menu();
        let mut spec = Map::new();
        for _ in 0..self.rng.usize(..=fields) {
            let (field, values) = self.pick(&menu);
            // A value that no schema allows is rare, so that most writes get through.
            let value = self.pick(values).clone();
            let is_odd =
                matches!(value.as_str(), Some("x" | "pink")) || value == json!(0) || *field == "unknown";
            if !is_odd || self.once_in(4) {
                spec.insert((*field).to_owned(), value);
            }
        }
        Value::Object(spec)
    }

    fn status(&mut self) -> Value {
        let conditions = |state: &str| json!([{"type": "Ready", "status": state}]);
        let choices = [
            json!({"phase": "Ready"}),
            json!({"phase": "Pending", "count": 1}),
            json!({"count": 2, "conditions": conditions("True")}),
            json!({"conditions": conditions("False")}),
            json!({"conditions": [{"type": "Other", "status": "True"}]}),
            json!({}),
            json!({"phase": "Nonsense"}),
        ];
        self.pick(&choices).clone()
    }

    fn data(&mut self) -> Value {
        self.pick(&[
            json!({"a": "1"}),
            json!({"a": "2", "b": "1"}),
            json!({"c": "3"}),
            json!({}),
            json!({"a": null, "d": "4"}),
        ])
        .clone()
    }

    fn operations(&mut self) -> Value {
        let choices = [
            json!([{"op": "replace", "path": "/spec/size", "value": 4}]),
            json!([{"op": "add", "path": "/spec/tags", "value": ["z"]}, {"op": "add", "path": "/spec/tags/-", "value": "y"}]),
            json!([{"op": "test", "path": "/spec/size", "value": 2}, {"op": "add", "path": "/spec/code", "value": "test"}]),
            json!([{"op": "add", "path": "/metadata/labels", "value": {"j": "1"}}]),
            json!([{"op": "remove", "path": "/spec/nested"}]),
            json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]),
        ];
        self.pick(&choices).clone()
    }
}

/// Gives an applied object a label of its manager alone, and no annotations, so that neither map is ever emptied by an
/// apply: see [`menu`].
fn labelled(mut object: Value, manager: &str) -> Value {
    object["metadata"]["labels"][manager] = json!("1");
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("annotations");
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        let bodies = |seed| sequence(seed).into_iter().map(|call| call.body).collect::<Vec<_>>();
        assert_eq!(bodies(7), bodies(7));
        assert_ne!(bodies(7), bodies(8));
    }
}
