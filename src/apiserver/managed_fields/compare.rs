//! What differs between two versions of an object, as sets of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::contents::{grouped, scalar_misfit};
use super::path::{PathElement, same_value};
use super::set::FieldSet;
use super::shape::{Choice, Fields, Identity, List, Ref};

/// The fields by which two versions of an object differ; none is in two of the sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

/// Compares two versions of an object. New fields, and the objects that were made to hold them, are added.
pub(super) fn compare(old: &Value, new: &Value, shape: &Ref) -> Comparison {
    let mut walk = Walk { path: Vec::new(), found: Comparison::default() };
    walk.value(Some(old), Some(new), shape);
    walk.found
}

impl Comparison {
    /// Leaves out the fields of `reset` and all below them.
    pub(super) fn without(self, reset: &FieldSet) -> Self {
        if reset.is_empty() {
            return self;
        }
        Self {
            removed: self.removed.without_subtrees(reset),
            modified: self.modified.without_subtrees(reset),
            added: self.added.without_subtrees(reset),
        }
    }
}

/// Whether a value was treated as one leaf.
#[derive(PartialEq, Eq)]
enum Leaf {
    Yes,
    No,
}

struct Walk {
    path: Vec<PathElement>,
    found: Comparison,
}

impl Walk {
    fn value(&mut self, old: Option<&Value>, new: Option<&Value>, shape: &Ref) {
        let atom = shape.atom();
        let leaf = match (old, new) {
            (None, None) => return,
            (_, None) => self.choice(atom.choose(old), old, new),
            (None, Some(_)) => self.choice(atom.choose(new), old, new),
            (Some(before), Some(after)) if atom.agree(before, after) => {
                self.choice(atom.choose(new), old, new)
            }
            (Some(_), Some(_)) => {
                // The value changed its type: both readings count.
                self.choice(atom.choose(old), old, new);
                self.choice(atom.choose(new), old, new)
            }
        };
        if leaf == Leaf::No {
            match (old, new) {
                (None, _) => self.found.added.insert(&self.path),
                (_, None) => self.found.removed.insert(&self.path),
                _ => {}
            }
        }
    }

    fn choice(&mut self, choice: Choice<'_>, old: Option<&Value>, new: Option<&Value>) -> Leaf {
        match choice {
            Choice::Scalar(scalar) => {
                let fits =
                    |value: Option<&Value>| value.is_none_or(|value| scalar_misfit(scalar, value).is_none());
                if fits(old) || fits(new) { self.leaf(old, new) } else { Leaf::No }
            }
            Choice::List(list) => self.list(list, old, new),
            Choice::Map(map) => self.map(map, old, new),
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) -> Leaf {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (Some(before), Some(after)) if !same_value(before, after) => {
                self.found.modified.insert(&self.path);
            }
            _ => {}
        }
        Leaf::Yes
    }

    fn map(&mut self, map: &Fields, old: Option<&Value>, new: Option<&Value>) -> Leaf {
        let (before, after) = (fields_in(old), fields_in(new));
        let is_empty = |fields: Option<&Map<String, Value>>| fields.is_none_or(Map::is_empty);
        // Two empty objects are one leaf, so that null and empty stay apart.
        if map.atomic || (is_empty(before) && is_empty(after)) {
            return self.leaf(old, new);
        }
        for name in before.into_iter().flat_map(Map::keys) {
            self.field(map, name, before, after);
        }
        for name in after.into_iter().flat_map(Map::keys) {
            if before.is_none_or(|before| !before.contains_key(name)) {
                self.field(map, name, before, after);
            }
        }
        Leaf::No
    }

    fn field(
        &mut self,
        map: &Fields,
        name: &str,
        before: Option<&Map<String, Value>>,
        after: Option<&Map<String, Value>>,
    ) {
        let old = before.and_then(|fields| fields.get(name));
        let new = after.and_then(|fields| fields.get(name));
        if let (Some(old), Some(new)) = (old, new)
            && same_value(old, new)
        {
            return;
        }
        let shape = map.field(name).unwrap_or(&Ref::Deduced);
        self.path.push(PathElement::field(name));
        self.value(old, new, shape);
        self.path.pop();
    }

    fn list<'v>(&mut self, list: &List, old: Option<&'v Value>, new: Option<&'v Value>) -> Leaf {
        let (before, after) = (items_in(old), items_in(new));
        if list.identity == Identity::Atomic || (before.is_empty() && after.is_empty()) {
            return self.leaf(old, new);
        }
        let (before, after) = (grouped(list, before), grouped(list, after));
        let by_identity =
            |groups: Vec<(PathElement, Vec<&'v Value>)>| groups.into_iter().collect::<BTreeMap<_, _>>();
        let (before, after) = (by_identity(before), by_identity(after));
        for (element, old_items) in &before {
            self.items(list, element, old_items, after.get(element).map_or(&[], Vec::as_slice));
        }
        for (element, new_items) in &after {
            if !before.contains_key(element) {
                self.items(list, element, &[], new_items);
            }
        }
        Leaf::No
    }

    /// Compares the items of one identity: items that stand twice are a leaf together.
    fn items(&mut self, list: &List, element: &PathElement, old: &[&Value], new: &[&Value]) {
        self.path.push(element.clone());
        match (old, new) {
            ([_, _, ..], [_, _, ..]) => {
                let is_same = old.len() == new.len()
                    && old.iter().zip(new).all(|(before, after)| same_value(before, after));
                if !is_same {
                    self.found.modified.insert(&self.path);
                }
            }
            ([_, _, ..], _) => {
                self.value(None, new.first().copied(), &list.items);
                self.found.removed.insert(&self.path);
            }
            (_, [_, _, ..]) => {
                self.value(old.first().copied(), None, &list.items);
                self.found.added.insert(&self.path);
            }
            _ => self.value(old.first().copied(), new.first().copied(), &list.items),
        }
        self.path.pop();
    }
}

fn fields_in(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn items_in(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
