//! From JSON pointers back to places in the text.

use std::collections::HashMap;

use granit_parser::{Event, ScalarStyle};
use serde_json::Value;

use super::fault::Position;
use super::{read, scalar};

/// Which part of a mapping's entry is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// Knows where the values of a text stand. It costs a second reading, so make it when there is something to report.
#[derive(Debug, Default)]
pub struct Locator {
    nodes: Vec<Node>,
    /// The roots of the documents that are not empty: those that `parse` returns.
    documents: Vec<usize>,
}

#[derive(Debug)]
struct Node {
    /// Where the key stands, for a value in a mapping.
    key: Option<Position>,
    /// Where the value begins; nothing for a value that is left out (`key:`).
    value: Option<Position>,
    children: Children,
}

#[derive(Debug)]
enum Children {
    None,
    Items(Vec<usize>),
    Entries {
        entries: Vec<(String, usize)>,
        /// Values of merge keys.
        merges: Vec<usize>,
    },
    /// The node that an alias stands for.
    Alias(usize),
}

/// A collection that has begun.
struct Open {
    node: usize,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<Key>,
}

struct Key {
    text: String,
    position: Position,
    merges: bool,
}

impl Locator {
    /// Reads the places of all values in `text`. A text with syntax faults gives the places of the documents before it.
    pub fn new(text: &str) -> Self {
        let mut parser = read::parser(text, read::Limits::default().depth);
        let mut builder = Builder::default();
        while let Some(Ok((event, span))) = parser.next_event() {
            builder.event(event, Position::of(&span.start), span.is_empty());
        }
        builder.locator
    }

    /// Returns where the value at `pointer` (a JSON pointer) of a document stands, or its key.
    ///
    /// `document` counts the documents that [`parse`](super::parse) returns. What is not there, such as a property that is
    /// missing, stands at its nearest ancestor (the ancestor's key, if it has one); a value that is left out at its key;
    /// what an alias or a merge key brings in, where it was written.
    pub fn locate(&self, document: usize, pointer: &str, side: Side) -> Position {
        let Some(mut node) = self.documents.get(document).copied() else { return Position::START };
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            match self.child(node, &token) {
                Some(child) => node = child,
                None => return self.position(node, Side::Key),
            }
        }
        self.position(node, side)
    }

    fn position(&self, node: usize, side: Side) -> Position {
        let Some(node) = self.nodes.get(node) else { return Position::START };
        let (first, second) = match side {
            Side::Key => (node.key, node.value),
            Side::Value => (node.value, node.key),
        };
        first.or(second).unwrap_or(Position::START)
    }

    fn child(&self, node: usize, token: &str) -> Option<usize> {
        match &self.nodes.get(node)?.children {
            Children::None => None,
            Children::Alias(target) => self.child(*target, token),
            Children::Items(items) => items.get(token.parse::<usize>().ok()?).copied(),
            Children::Entries { entries, merges } => {
                let written = entries.iter().find(|(key, _)| key == token).map(|(_, child)| *child);
                written.or_else(|| merges.iter().find_map(|merge| self.merged(*merge, token)))
            }
        }
    }

    /// Looks `token` up in the value of a merge key: a mapping, an alias of one, or a list of these.
    fn merged(&self, node: usize, token: &str) -> Option<usize> {
        match &self.nodes.get(node)?.children {
            Children::Items(sources) => sources.iter().find_map(|source| self.child(*source, token)),
            Children::Alias(target) => self.merged(*target, token),
            _ => self.child(node, token),
        }
    }
}

#[derive(Default)]
struct Builder {
    locator: Locator,
    open: Vec<Open>,
    /// Finished nodes by anchor. An alias inside its own anchor finds nothing, so nodes form no circle.
    anchors: HashMap<usize, usize>,
    root: Option<usize>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, position: Position, is_empty: bool) {
        match event {
            Event::DocumentStart(..) => {
                self.root = None;
                self.anchors.clear();
            }
            Event::DocumentEnd => self.locator.documents.extend(self.root.take()),
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                if self.takes_key() {
                    self.key(text.into_owned(), position, plain);
                    return;
                }
                let value = (!plain || !is_empty).then_some(position);
                let node = self.add(value, Children::None);
                self.anchors.insert(anchor, node);
                if self.open.is_empty() && plain && matches!(scalar::resolve(&text), Ok(Value::Null)) {
                    self.root = None;
                }
            }
            Event::SequenceStart(_, anchor, _) => self.open(anchor, position, Children::Items(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.open(anchor, position, Children::Entries { entries: Vec::new(), merges: Vec::new() });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { node, anchor, .. }) = self.open.pop() {
                    self.anchors.insert(anchor, node);
                }
            }
            Event::Alias(anchor) => {
                let children =
                    self.anchors.get(&anchor).map_or(Children::None, |node| Children::Alias(*node));
                self.add(Some(position), children);
            }
            _ => {}
        }
    }

    fn open(&mut self, anchor: usize, position: Position, children: Children) {
        let node = self.add(Some(position), children);
        self.open.push(Open { node, anchor, key: None });
    }

    fn takes_key(&self) -> bool {
        self.open.last().is_some_and(|open| {
            let node = self.locator.nodes.get(open.node);
            open.key.is_none() && matches!(node, Some(Node { children: Children::Entries { .. }, .. }))
        })
    }

    fn key(&mut self, text: String, position: Position, plain: bool) {
        let merges = plain && text == "<<";
        if let Some(open) = self.open.last_mut() {
            open.key = Some(Key { text, position, merges });
        }
    }

    /// Adds a node to the collection that is open.
    fn add(&mut self, value: Option<Position>, children: Children) -> usize {
        let node = self.locator.nodes.len();
        if self.takes_key() {
            // A key that is no scalar: an alias, or a collection, which `parse` refuses. Nothing is found under it.
            self.key(String::new(), value.unwrap_or(Position::START), false);
            self.locator.nodes.push(Node { key: None, value, children });
            return node;
        }
        let key = self.open.last_mut().and_then(|open| open.key.take());
        self.locator.nodes.push(Node { key: key.as_ref().map(|key| key.position), value, children });
        match self.open.last().and_then(|open| self.locator.nodes.get_mut(open.node)) {
            None => self.root = Some(node),
            Some(parent) => match (&mut parent.children, key) {
                (Children::Items(items), _) => items.push(node),
                (Children::Entries { merges, .. }, Some(Key { merges: true, .. })) => merges.push(node),
                (Children::Entries { entries, .. }, Some(key)) => entries.push((key.text, node)),
                _ => {}
            },
        }
        node
    }
}
