//! The live entries: those that changed lately as they are, all others packed.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::pack::{Packed, Packer};
use crate::store::Entry;

/// The live entries in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Entries {
    held: BTreeMap<Arc<str>, Held>,
    /// By the first two parts of a key: what lies there is of one sort.
    packers: HashMap<Box<str>, Packer>,
}

/// An entry as it is kept; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Held {
    value: Packed,
    revision: u64,
    created: u64,
}

impl Held {
    pub(super) fn with_key(&self, key: Arc<str>) -> Entry {
        Entry { key, value: self.value.to_bytes(), revision: self.revision, created: self.created }
    }
}

impl From<&Entry> for Held {
    fn from(entry: &Entry) -> Self {
        let Entry { key: _, value, revision, created } = entry;
        Self { value: Packed::whole(value.clone()), revision: *revision, created: *created }
    }
}

impl From<&Self> for Held {
    fn from(held: &Self) -> Self {
        held.clone()
    }
}

impl Entries {
    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.held.get_key_value(key).map(|(key, held)| held.with_key(Arc::clone(key)))
    }

    /// Puts `entry` in, and returns the one that it replaces.
    pub(super) fn insert(&mut self, entry: &Entry) -> Option<Entry> {
        let before = self.held.insert(Arc::clone(&entry.key), Held::from(entry));
        before.map(|held| held.with_key(Arc::clone(&entry.key)))
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        self.held.remove_entry(key).map(|(key, held)| held.with_key(key))
    }

    /// Packs the entry of `key` if `revision` wrote it. That is worth it when nothing else holds its value any more.
    ///
    /// What others are packed by stays in memory with them, so values that have to go when they are replaced are not
    /// for packing.
    pub(super) fn pack(&mut self, key: &str, revision: u64) {
        if let Some(held) = self.held.get_mut(key).filter(|held| held.revision == revision) {
            pack(&mut self.packers, key, held);
        }
    }

    /// Packs all entries that `floor` or an earlier revision wrote, but not those that `stay`.
    pub(super) fn pack_up_to(&mut self, floor: u64, stay: impl Fn(&str) -> bool) {
        for (key, held) in self.held.iter_mut().filter(|(key, held)| held.revision <= floor && !stay(key)) {
            pack(&mut self.packers, key, held);
        }
    }

    /// Returns the entries whose keys begin with `prefix` and lie after the key `after`.
    pub(super) fn under<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Held)> {
        let start = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        self.held
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }
}

fn pack(packers: &mut HashMap<Box<str>, Packer>, key: &str, held: &mut Held) {
    if !held.value.is_whole() {
        return;
    }
    let sort = key.match_indices('/').nth(1).map_or(key, |(end, _)| key.split_at(end).0);
    if !packers.contains_key(sort) {
        packers.insert(sort.into(), Packer::default());
    }
    if let Some(packer) = packers.get(sort) {
        held.value = packer.pack(&held.value.to_bytes());
    }
}
