//! A set of paths into an object: who owns what.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::{PathElement, PathElementError};

/// A set of paths, as a tree.
///
/// Invariant: no entry is both unowned and without owned paths below, so an empty map is the empty set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    entries: BTreeMap<PathElement, Entry>,
}

/// What the set says of one step: whether the path that ends here is in the set, and which longer ones are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    owned: bool,
    below: FieldSet,
}

impl FieldSet {
    /// Returns whether no path is in the set.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a path; the empty path, the object itself, is owned by nobody and left out.
    pub(super) fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => self.entries.entry(last.clone()).or_default().owned = true,
            [first, rest @ ..] => self.entries.entry(first.clone()).or_default().below.insert(rest),
        }
    }

    /// Returns the set of these paths of field names.
    pub(super) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<_> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    /// Returns whether the path that consists of this one step is in the set.
    pub(super) fn owns(&self, element: &PathElement) -> bool {
        self.entries.get(element).is_some_and(|entry| entry.owned)
    }

    /// Returns whether this path is in the set.
    pub(super) fn contains(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.owns(last),
            [first, rest @ ..] => self.entries.get(first).is_some_and(|entry| entry.below.contains(rest)),
        }
    }

    /// Returns the paths that begin with `element`, without it.
    pub(super) fn below(&self, element: &PathElement) -> Option<&Self> {
        self.entries.get(element).map(|entry| &entry.below).filter(|below| !below.is_empty())
    }

    /// Returns whether every path of this set is in the other.
    pub(super) fn is_subset(&self, other: &Self) -> bool {
        self.all(|element, owned, below| {
            let theirs = other.entries.get(element);
            theirs.is_some_and(|theirs| (theirs.owned || !owned) && below.is_subset(&theirs.below))
        })
    }

    /// Returns whether `holds` is true of each entry: its step, whether its path is in the set, and what lies below.
    pub(super) fn all(&self, mut holds: impl FnMut(&PathElement, bool, &Self) -> bool) -> bool {
        self.entries.iter().all(|(element, entry)| holds(element, entry.owned, &entry.below))
    }

    /// Returns the paths that are in either set.
    pub(super) fn union(&self, other: &Self) -> Self {
        if other.is_empty() || self.is_empty() {
            return if self.is_empty() { other.clone() } else { self.clone() };
        }
        let mut entries = self.entries.clone();
        for (element, entry) in &other.entries {
            let mine = entries.entry(element.clone()).or_default();
            mine.owned |= entry.owned;
            mine.below = mine.below.union(&entry.below);
        }
        Self { entries }
    }

    /// Returns the paths that are in both sets.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.map_entries(|element, entry| {
            let theirs = other.entries.get(element)?;
            Some(Entry { owned: entry.owned && theirs.owned, below: entry.below.intersection(&theirs.below) })
        })
    }

    /// Returns the paths that are in this set and not in the other. A parent in `other` does not take its children.
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.map_entries(|element, entry| {
            let Some(theirs) = other.entries.get(element) else { return Some(entry.clone()) };
            Some(Entry { owned: entry.owned && !theirs.owned, below: entry.below.difference(&theirs.below) })
        })
    }

    /// Returns the paths that are in this set and neither in the other nor below a path of the other.
    pub(super) fn without_subtrees(&self, other: &Self) -> Self {
        self.map_entries(|element, entry| {
            let Some(theirs) = other.entries.get(element) else { return Some(entry.clone()) };
            if theirs.owned {
                return None;
            }
            Some(Entry { owned: entry.owned, below: entry.below.without_subtrees(&theirs.below) })
        })
    }

    /// Returns a set with each entry replaced; entries that end up empty are left out.
    pub(super) fn rebuild(&self, mut step: impl FnMut(&PathElement, bool, &Self) -> (bool, Self)) -> Self {
        self.map_entries(|element, entry| {
            let (owned, below) = step(element, entry.owned, &entry.below);
            Some(Entry { owned, below })
        })
    }

    /// Returns all paths in the order of the real server: the members of a level, then what lies below each.
    pub(super) fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    /// Returns the `FieldsV1` form: an object whose keys are steps and where `.` marks a member with children.
    pub(super) fn to_fields_v1(&self) -> Value {
        let mut fields = Map::new();
        for (element, entry) in &self.entries {
            let mut below = match entry.below.to_fields_v1() {
                Value::Object(below) => below,
                _ => Map::new(),
            };
            if entry.owned && !below.is_empty() {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            fields.insert(element.encode(), Value::Object(below));
        }
        Value::Object(fields)
    }

    /// Reads the `FieldsV1` form. Steps of an unknown type are left out, others that cannot be read are an error.
    pub(super) fn from_fields_v1(fields: &Value) -> Result<Self, PathElementError> {
        Ok(Self::read(fields)?.0)
    }

    fn read(fields: &Value) -> Result<(Self, bool), PathElementError> {
        let mut set = Self::default();
        let mut is_member = false;
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => return Ok((set, true)),
            other => {
                return Err(PathElementError::Malformed(format!("expected an object, got {other}")));
            }
        };
        for (key, value) in fields {
            if key == "." {
                is_member = true;
                continue;
            }
            let element = match PathElement::parse(key) {
                Ok(element) => element,
                Err(PathElementError::UnknownType) => continue,
                Err(error) => return Err(error),
            };
            let (below, owned) = Self::read(value)?;
            if owned || !below.is_empty() {
                set.entries.insert(element, Entry { owned, below });
            }
        }
        let is_member = is_member || set.is_empty();
        Ok((set, is_member))
    }

    fn map_entries(&self, mut change: impl FnMut(&PathElement, &Entry) -> Option<Entry>) -> Self {
        let entries = self
            .entries
            .iter()
            .filter_map(|(element, entry)| {
                change(element, entry)
                    .filter(|entry| entry.owned || !entry.below.is_empty())
                    .map(|entry| (element.clone(), entry))
            })
            .collect();
        Self { entries }
    }

    fn collect_paths(&self, prefix: &mut Vec<PathElement>, paths: &mut Vec<Vec<PathElement>>) {
        for (element, entry) in &self.entries {
            if entry.owned {
                let mut path = prefix.clone();
                path.push(element.clone());
                paths.push(path);
            }
        }
        for (element, entry) in &self.entries {
            prefix.push(element.clone());
            entry.below.collect_paths(prefix, paths);
            prefix.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(paths: &[&[&str]]) -> FieldSet {
        FieldSet::of_fields(paths)
    }

    #[test]
    fn a_parent_and_its_children_are_separate_members() {
        let parent = set(&[&["a"]]);
        let child = set(&[&["a", "b"]]);
        assert_eq!(parent.difference(&child), parent);
        assert_eq!(child.difference(&parent), child);
        assert!(child.without_subtrees(&parent).is_empty());
        assert!(parent.intersection(&child).is_empty());
        assert_eq!(parent.union(&child), set(&[&["a"], &["a", "b"]]));
        assert!(child.is_subset(&parent.union(&child)) && parent.is_subset(&parent.union(&child)));
        assert!(!child.is_subset(&parent) && !parent.is_subset(&child) && parent.is_subset(&parent));
        assert!(FieldSet::default().is_subset(&child) && !child.is_subset(&FieldSet::default()));
    }

    #[test]
    fn the_wire_form_marks_members_that_have_children() {
        let both = set(&[&["a"], &["a", "b"], &["c"]]);
        let wire = json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}});
        assert_eq!(both.to_fields_v1(), wire);
        assert_eq!(FieldSet::from_fields_v1(&wire).unwrap(), both);
        assert_eq!(FieldSet::from_fields_v1(&json!({"x:new": {}, "f:a": {}})).unwrap(), set(&[&["a"]]));
        assert!(FieldSet::from_fields_v1(&json!({"bad": {}})).is_err());
        assert!(FieldSet::from_fields_v1(&json!([])).is_err());
    }

    #[test]
    fn members_of_a_level_come_before_what_lies_below() {
        let paths = set(&[&["a", "b"], &["c"], &["a"]]).paths();
        let shown: Vec<String> =
            paths.iter().map(|path| path.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(shown, [".a", ".c", ".a.b"]);
    }
}
