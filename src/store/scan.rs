//! Looking through many entries of one state for a few.

use std::sync::Arc;
use std::vec;

use crate::store::Entry;
use crate::store::entries::Held;
use crate::store::published::Found;

/// Entries of one state in the order of their keys. Each gets its value when its turn comes; until then it is held as the
/// store holds it.
#[derive(Debug)]
pub struct Scan {
    revision: u64,
    entries: vec::IntoIter<(Arc<str>, Held)>,
}

impl Scan {
    /// Returns the revision whose state this is.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Passes over the entries with other keys than `is_meant` says, without a look at their values.
    #[must_use]
    pub fn with_keys(self, is_meant: impl Fn(&str) -> bool) -> Self {
        let Self { revision, entries } = self;
        let meant: Vec<_> = entries.filter(|(key, _)| is_meant(key)).collect();
        Self { revision, entries: meant.into_iter() }
    }
}

impl From<Found> for Scan {
    fn from(found: Found) -> Self {
        Self { revision: found.revision, entries: found.entries.into_iter() }
    }
}

impl Iterator for Scan {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.entries.next().map(|(key, held)| held.with_key(key))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Scan {}
