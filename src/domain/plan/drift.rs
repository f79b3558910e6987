//! Drift: what somebody changed on the cluster alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::domain::plan::ObjectText;

/// In which fields a live object is not as the manifest says that it was applied from: worked out once, when somebody
/// asks, and the object is not kept after that.
#[derive(Debug)]
pub struct Drift {
    // Held while two objects are compared.
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The live object; nobody asked yet.
    Unknown(ObjectText),
    /// JSON pointers of the fields.
    Known(Vec<String>),
}

impl Drift {
    /// Returns the drift of a live object that nobody compared yet.
    pub fn of(object: ObjectText) -> Self {
        Self { state: Mutex::new(State::Unknown(object)) }
    }

    /// Returns the drift of an object that is as its manifest says, or that cannot drift.
    pub fn none() -> Self {
        Self { state: Mutex::new(State::Known(Vec::new())) }
    }

    /// Takes note that the object is as its manifest says. Who compared it knows as much.
    pub fn settle(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Unknown(_)) {
            *state = State::Known(Vec::new());
        }
    }

    /// Returns the fields (JSON pointers) of `manifest`, the one that the object was applied from, whose live value
    /// differs.
    pub(super) fn from(&self, manifest: &ObjectText) -> Vec<String> {
        let mut state = self.lock();
        if let State::Unknown(object) = &*state {
            *state = State::Known(drifted_fields(&manifest.to_value(), &object.to_value()));
        }
        match &*state {
            State::Known(fields) => fields.clone(),
            State::Unknown(_) => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the JSON pointers of the fields of `desired` whose live value differs.
///
/// Fields that git does not mention never count: defaults and other managers' fields are no drift. Lists are
/// compared as a whole, as the API owns them as a whole. A null in git mentions nothing, nor does a mapping of nothing else.
pub fn drifted_fields(desired: &Value, live: &Value) -> Vec<String> {
    let mut fields = Vec::new();
    collect_drift(desired, Some(live), &mut String::new(), &mut fields);
    fields
}

fn collect_drift(desired: &Value, live: Option<&Value>, path: &mut String, fields: &mut Vec<String>) {
    match (desired, live) {
        (Value::Object(wanted), Some(Value::Object(found))) => {
            for (name, value) in wanted {
                let length = path.len();
                path.push('/');
                path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                collect_drift(value, found.get(name), path, fields);
                path.truncate(length);
            }
        }
        (Value::Null, _) => {}
        (wanted, None) if says_nothing(wanted) => {}
        (wanted, Some(found)) if wanted == found => {}
        _ => fields.push(path.clone()),
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}
