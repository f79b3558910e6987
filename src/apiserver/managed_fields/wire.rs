//! `metadata.managedFields`: reading, checking and writing the entries.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::path::PathElementError;
use super::set::FieldSet;

/// Who owns which fields of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    pub(super) sets: BTreeMap<ManagerId, Owned>,
    /// When each manager's set last changed. Kept apart, since a set may vanish and come back within one write.
    pub(super) times: BTreeMap<ManagerId, Timestamp>,
}

/// What tells the entries of two managers apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManagerId {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for appliers, which have one entry whatever version they use.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

/// How a manager came to its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// The fields of one manager, in the terms of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) api_version: String,
    pub(super) set: FieldSet,
}

/// Why stored or given managed fields cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("expected a list")]
    NotAList,
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    MissingFieldsType(usize),
    #[error("invalid fieldsType {1:?} in managed fields entry {0}")]
    FieldsType(usize, String),
    #[error("invalid time {0:?}")]
    Time(String),
    #[error("error decoding set")]
    Set(#[source] PathElementError),
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

impl ManagerId {
    /// Returns the identity of a manager; a nameless one is called `unknown`.
    pub(super) fn new(manager: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let manager = if manager.is_empty() { "unknown" } else { manager };
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }
}

impl Owners {
    /// Reads the entries of an object; absent ones are none.
    pub(super) fn decode(object: &Value) -> Result<Self, WireError> {
        let mut owners = Self::default();
        let entries = match entries(object) {
            None | Some(Value::Null) => return Ok(owners),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(WireError::NotAList),
        };
        for (index, entry) in entries.iter().enumerate() {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err(WireError::Operation),
            };
            let api_version = text("apiVersion");
            if api_version.is_empty() {
                return Err(WireError::ApiVersion);
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => return Err(WireError::MissingFieldsType(index)),
                other => return Err(WireError::FieldsType(index, other.to_owned())),
            }
            let set = match entry.get("fieldsV1") {
                None => FieldSet::default(),
                Some(fields) => FieldSet::from_fields_v1(fields).map_err(WireError::Set)?,
            };
            let id = ManagerId {
                manager: text("manager").to_owned(),
                ..ManagerId::new("-", operation, api_version, text("subresource"))
            };
            if let Some(time) = entry.get("time").filter(|time| !time.is_null()) {
                owners.times.insert(id.clone(), read_time(time)?);
            }
            owners.sets.insert(id, Owned { api_version: api_version.to_owned(), set });
        }
        Ok(owners)
    }

    /// Puts the entries into `object`, in the order of the real server; without any the field is taken out.
    pub(super) fn encode_into(&self, object: &mut Value) {
        clear(object);
        if self.sets.is_empty() {
            return;
        }
        let mut ids: Vec<&ManagerId> = self.sets.keys().collect();
        ids.sort_by_key(|id| {
            let seconds = self.times.get(*id).map_or(0, |time| time.as_second());
            (id.operation, seconds, &id.manager, &self.sets[*id].api_version, &id.subresource)
        });
        let entries = ids.into_iter().map(|id| self.encode_entry(id)).collect();
        if let Value::Object(fields) = object
            && let Value::Object(metadata) =
                fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()))
        {
            metadata.insert("managedFields".to_owned(), Value::Array(entries));
        }
    }

    fn encode_entry(&self, id: &ManagerId) -> Value {
        let owned = &self.sets[id];
        let mut entry = Map::new();
        let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
        if !id.manager.is_empty() {
            put("manager", Value::from(id.manager.as_str()));
        }
        put("operation", Value::from(id.operation.as_str()));
        put("apiVersion", Value::from(owned.api_version.as_str()));
        if let Some(time) = self.times.get(id) {
            put("time", Value::from(write_time(*time)));
        }
        put("fieldsType", Value::from("FieldsV1"));
        put("fieldsV1", owned.set.to_fields_v1());
        if !id.subresource.is_empty() {
            put("subresource", Value::from(id.subresource.as_str()));
        }
        Value::Object(entry)
    }
}

/// Returns what stands in the place of the entries.
pub(super) fn entries(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// Returns whether `object` asks to forget all owners: an empty list, or a list of one empty entry.
pub(super) fn asks_for_reset(object: &Value) -> bool {
    match entries(object).and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([entry]) => entry.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// Takes the entries out of `object`.
pub(super) fn clear(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Returns a time as Kubernetes writes it: UTC, whole seconds.
pub(super) fn write_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn read_time(time: &Value) -> Result<Timestamp, WireError> {
    let text = time.as_str().unwrap_or_default();
    text.parse().map_err(|_| WireError::Time(time.to_string()))
}
