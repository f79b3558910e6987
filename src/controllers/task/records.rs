//! The latest record of each Task name: by it a Task that depends on one that expired finds how that one ended.
//!
//! Only where to look is kept, because records outnumber everything else; the record itself is read when it is needed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::run_record::RunRecord;
use crate::digest;

/// Where the latest record of each Task name is.
#[derive(Debug, Default)]
pub(super) struct LatestRecords {
    // By a digest of namespace and name. Held for map operations only, never across an await.
    latest: Mutex<HashMap<String, (Timestamp, Box<str>)>>,
}

impl LatestRecords {
    /// Takes note of a record.
    pub(super) fn put(&self, record: &RunRecord) {
        let key = key(&record.namespace().unwrap_or_default(), &record.spec.task_name);
        let found = (record.spec.completion_time.0, record.name_any().into_boxed_str());
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match latest.get_mut(&key) {
            Some(known) if *known > found => {}
            Some(known) => *known = found,
            None => drop(latest.insert(key, found)),
        }
    }

    /// Takes note that a record is gone. An earlier one of the same name does not take its place: it says nothing about
    /// the Task that came after it.
    pub(super) fn remove(&self, record: &RunRecord) {
        let key = key(&record.namespace().unwrap_or_default(), &record.spec.task_name);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.get(&key).is_some_and(|(_, name)| **name == *record.name_any()) {
            latest.remove(&key);
        }
    }

    /// Returns the name of the latest record of a Task name.
    pub(super) fn of(&self, namespace: &str, task: &str) -> Option<String> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.get(&key(namespace, task)).map(|(_, name)| name.to_string())
    }
}

fn key(namespace: &str, task: &str) -> String {
    digest::short_hex(format!("{namespace}/{task}"), 16)
}
