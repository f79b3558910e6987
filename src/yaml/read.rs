//! Text to JSON values, with all faults of the text at once.
//!
//! One pass over the parser's events. What is wrong with a value is noted and the reading goes on; what is wrong with the
//! syntax ends the document, and the reading goes on at the next `---`.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, StructureStyle};
use serde_json::{Map, Value};

use super::fault::{Fault, FaultCode, Position};
use super::{scalar, syntax};

/// A reader stops collecting here: who has made this many mistakes needs no more of them.
const MAX_FAULTS: usize = 100;

/// What a text may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of text; also the most bytes that aliases may copy.
    pub bytes: usize,
    /// The most nested mappings and sequences.
    pub depth: usize,
    /// The most values, counting what anchors and aliases copy.
    pub nodes: usize,
    /// The most documents, empty ones included.
    pub documents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1024 * 1024, depth: 64, nodes: 100_000, documents: 1_000 }
    }
}

/// One document of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its value.
    pub value: Value,
    /// Where its first value begins.
    pub position: Position,
}

/// What came of reading a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The documents in order; empty ones (nothing, or `null`) are left out.
    ///
    /// There are none when a fault is other than an ambiguous scalar. Where it is such scalars only, they stand as strings,
    /// so that the rest can be looked at.
    pub documents: Vec<Document>,
    /// Every fault that could be found, in the order of the text, at most 100.
    pub faults: Vec<Fault>,
}

impl Reading {
    fn refused(faults: Vec<Fault>) -> Self {
        Self { documents: Vec::new(), faults }
    }

    fn of(text: &str, limits: &Limits) -> Self {
        if text.len() > limits.bytes {
            let message = format!("the text has {} bytes, {} are allowed", text.len(), limits.bytes);
            let fault = Fault::new(FaultCode::TooLarge, Position::START, message);
            return Self::refused(vec![fault.hint("split the file")]);
        }
        let faults = syntax::forbidden_characters(text, MAX_FAULTS);
        if !faults.is_empty() {
            return Self::refused(faults);
        }
        Reader::new(text, limits).read()
    }

    fn whole(self) -> Result<Vec<Document>, Vec<Fault>> {
        if self.faults.is_empty() { Ok(self.documents) } else { Err(self.faults) }
    }
}

/// Reads all documents of `text`; empty ones (nothing, or `null`) are left out.
///
/// # Errors
/// Returns every fault that could be found, in the order of the text, at most 100.
pub fn parse(text: &str, limits: &Limits) -> Result<Vec<Document>, Vec<Fault>> {
    Reading::of(text, limits).whole()
}

/// Reads bytes that should be UTF-8; otherwise as [`parse`].
pub fn parse_bytes(bytes: &[u8], limits: &Limits) -> Result<Vec<Document>, Vec<Fault>> {
    read_bytes(bytes, limits).whole()
}

/// Reads bytes that should be UTF-8, for those who look at what can be read beside the faults.
pub fn read_bytes(bytes: &[u8], limits: &Limits) -> Reading {
    match std::str::from_utf8(bytes) {
        Ok(text) => Reading::of(text, limits),
        Err(error) => Reading::refused(vec![syntax::not_utf8(bytes, error.valid_up_to())]),
    }
}

/// Returns the parser that all readers of this module use, so that they see the same documents.
pub(super) fn parser(text: &str, depth: usize) -> Parser<'_, StrInput<'_>> {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        // The parser counts each kind alone and reads ahead; `Reader::open` counts both together.
        flow_nesting_limit: depth,
        block_nesting_limit: depth,
    };
    options.set_emit_comments(false);
    Parser::new_from_str_with_options(text, options)
}

/// A value with an anchor, and what a copy of it costs.
struct Anchored {
    value: Value,
    cost: Cost,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// A key, its value and where the key stands.
type Entry = (String, Value, Position);

/// A collection that has begun and not ended.
struct Frame {
    collection: Collection,
    /// Whether it is written in brackets.
    is_flow: bool,
    anchor: usize,
    position: Position,
}

enum Collection {
    Sequence(Vec<Value>),
    Mapping { entries: Vec<Entry>, merges: Vec<Map<String, Value>>, pending: Pending },
}

/// What the next node of a mapping is.
enum Pending {
    Key,
    ValueOf(String, Position),
    Merge(Position),
    /// A collection that stands as key and was refused: read and dropped, as is its value.
    RefusedKey,
    /// The value of a key that was refused.
    Dropped,
}

struct Reader<'text> {
    text: &'text str,
    limits: &'text Limits,
    parser: Parser<'text, StrInput<'text>>,
    frames: Vec<Frame>,
    root: Option<Document>,
    anchors: HashMap<usize, Anchored>,
    documents: Vec<Document>,
    document_count: usize,
    nodes: usize,
    copied_bytes: usize,
    faults: Vec<Fault>,
}

/// Why the reading does not simply go on with the next event.
enum Interrupt {
    NextDocument,
    Stop,
}

impl<'text> Reader<'text> {
    fn new(text: &'text str, limits: &'text Limits) -> Self {
        Self {
            text,
            limits,
            parser: parser(text, limits.depth),
            frames: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            documents: Vec::new(),
            document_count: 0,
            nodes: 0,
            copied_bytes: 0,
            faults: Vec::new(),
        }
    }

    fn read(mut self) -> Reading {
        while self.faults.len() < MAX_FAULTS {
            let step = match self.parser.next_event() {
                None | Some(Ok((Event::StreamEnd, _))) => Err(Interrupt::Stop),
                Some(Ok((event, span))) => self.event(event, &span),
                Some(Err(error)) => {
                    self.faults.push(syntax::fault(self.text, &error));
                    Err(Interrupt::NextDocument)
                }
            };
            match step {
                Ok(()) => {}
                Err(Interrupt::NextDocument) => {
                    self.frames.clear();
                    self.root = None;
                    if !matches!(self.parser.proceed_next_document(), Ok(true)) {
                        break;
                    }
                }
                Err(Interrupt::Stop) => break,
            }
        }
        if self.faults.iter().any(|fault| fault.code != FaultCode::AmbiguousScalar) {
            self.documents.clear();
        }
        self.faults.sort_by_key(|fault| fault.position);
        self.faults.truncate(MAX_FAULTS);
        Reading { documents: self.documents, faults: self.faults }
    }

    fn event(&mut self, event: Event<'text>, span: &Span) -> Result<(), Interrupt> {
        let position = Position::of(&span.start);
        match event {
            Event::DocumentStart(..) => self.document_start(position),
            Event::DocumentEnd => {
                self.documents.extend(self.root.take().filter(|document| !document.value.is_null()));
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.scalar(text, style, anchor, position)
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.open(Collection::Sequence(Vec::new()), style, anchor, position)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let pending = Pending::Key;
                self.open(
                    Collection::Mapping { entries: Vec::new(), merges: Vec::new(), pending },
                    style,
                    anchor,
                    position,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, position),
            Event::UnresolvedAlias(name) => {
                let message =
                    format!("the alias `*{name}` has no anchor `&{name}` before it in this document");
                let hint = "quote a value that begins with `*`, or define the anchor first";
                self.faults.push(Fault::new(FaultCode::UnknownAlias, position, message).hint(hint));
                self.count_node(position)?;
                self.complete(Value::Null, position);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn document_start(&mut self, position: Position) -> Result<(), Interrupt> {
        self.document_count += 1;
        self.anchors.clear();
        if self.document_count > self.limits.documents {
            let message = format!("more than {} documents in one text", self.limits.documents);
            self.faults
                .push(Fault::new(FaultCode::TooManyDocuments, position, message).hint("split the file"));
            return Err(Interrupt::Stop);
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'text, str>,
        style: ScalarStyle,
        anchor: usize,
        position: Position,
    ) -> Result<(), Interrupt> {
        self.count_node(position)?;
        let value = if style == ScalarStyle::Plain {
            let is_flow = self.frames.last().is_some_and(|frame| frame.is_flow);
            match scalar::resolve(&text, is_flow) {
                Ok(value) => value,
                Err(_) if text == "<<" && self.takes_key() => {
                    self.pend(Pending::Merge(position));
                    return Ok(());
                }
                Err(refusal) => {
                    let fault = Fault::new(refusal.code, position, refusal.message);
                    self.faults.push(fault.hint(format!("write \"{text}\" if the string is meant")));
                    Value::String(text.into_owned())
                }
            }
        } else {
            Value::String(text.into_owned())
        };
        if anchor != 0 {
            self.keep(anchor, &value, position)?;
        }
        self.complete(value, position);
        Ok(())
    }

    fn open(
        &mut self,
        collection: Collection,
        style: StructureStyle,
        anchor: usize,
        position: Position,
    ) -> Result<(), Interrupt> {
        self.count_node(position)?;
        if self.frames.len() >= self.limits.depth {
            self.too_deep(position);
            return Err(Interrupt::NextDocument);
        }
        if self.takes_key() {
            self.refuse_collection_key(position);
        }
        let is_flow = style == StructureStyle::Flow;
        self.frames.push(Frame { collection, is_flow, anchor, position });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Interrupt> {
        let Some(Frame { collection, anchor, position, .. }) = self.frames.pop() else { return Ok(()) };
        let value = match collection {
            Collection::Sequence(items) => Value::Array(items),
            Collection::Mapping { entries, merges, .. } => Value::Object(self.mapping(entries, merges)),
        };
        if anchor != 0 {
            self.keep(anchor, &value, position)?;
        }
        self.complete(value, position);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<(), Interrupt> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            let message = "an alias inside the value of its own anchor";
            self.faults.push(Fault::new(FaultCode::UnknownAlias, position, message));
            self.complete(Value::Null, position);
            return Ok(());
        };
        if self.frames.len() + anchored.cost.depth > self.limits.depth {
            self.too_deep(position);
            return Err(Interrupt::NextDocument);
        }
        // Paid before it is copied: this is what stops aliases of aliases of aliases.
        let cost = anchored.cost;
        self.spend(cost, position)?;
        let value = self.anchors.get(&anchor).map_or(Value::Null, |anchored| anchored.value.clone());
        if self.takes_key() && !value.is_string() {
            self.refuse_collection_key(position);
        }
        self.complete(value, position);
        Ok(())
    }

    /// Hands a finished value to what contains it.
    fn complete(&mut self, value: Value, position: Position) {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(Document { value, position });
            return;
        };
        let (entries, merges, pending) = match &mut frame.collection {
            Collection::Sequence(items) => {
                items.push(value);
                return;
            }
            Collection::Mapping { entries, merges, pending } => (entries, merges, pending),
        };
        match std::mem::replace(pending, Pending::Key) {
            Pending::Key => {
                *pending = match value {
                    Value::String(key) => Pending::ValueOf(key, position),
                    other => {
                        self.faults.push(non_string_key(&other, position));
                        Pending::Dropped
                    }
                }
            }
            Pending::ValueOf(key, key_position) => entries.push((key, value, key_position)),
            Pending::Merge(key_position) => {
                if let Some(sources) = merge_sources(value) {
                    merges.extend(sources);
                } else {
                    let message = "the value of the merge key `<<` is not a mapping or a list of mappings";
                    let fault = Fault::new(FaultCode::MergeKey, key_position, message);
                    self.faults.push(
                        fault.hint("write `<<: *anchor`, or quote the key if it is not meant to merge"),
                    );
                }
            }
            Pending::RefusedKey => *pending = Pending::Dropped,
            Pending::Dropped => {}
        }
    }

    fn mapping(&mut self, entries: Vec<Entry>, merges: Vec<Map<String, Value>>) -> Map<String, Value> {
        let mut mapping = Map::new();
        let mut first_positions: HashMap<String, Position> = HashMap::new();
        let mut duplicates = Vec::new();
        for (key, value, position) in entries {
            if mapping.contains_key(&key) {
                duplicates.push((key, position));
            } else {
                first_positions.insert(key.clone(), position);
                mapping.insert(key, value);
            }
        }
        for (key, position) in duplicates {
            let first = first_positions.get(&key).map_or(position, |first| *first);
            let message =
                format!("the key `{key}` stands twice in this mapping, first on line {}", first.line);
            let fault = Fault::new(FaultCode::DuplicateKey, position, message);
            self.faults.push(fault.hint("remove one of the two; readers disagree about which one counts"));
        }
        for (key, value) in merges.into_iter().flatten() {
            mapping.entry(key).or_insert(value);
        }
        mapping
    }

    /// Says whether the next node is a key of a mapping.
    fn takes_key(&self) -> bool {
        let collection = self.frames.last().map(|frame| &frame.collection);
        matches!(collection, Some(Collection::Mapping { pending: Pending::Key, .. }))
    }

    fn pend(&mut self, next: Pending) {
        if let Some(Frame { collection: Collection::Mapping { pending, .. }, .. }) = self.frames.last_mut() {
            *pending = next;
        }
    }

    fn refuse_tag(&mut self, tagged: bool, span: &Span) {
        if tagged {
            let marker = span.tag_start.unwrap_or(span.start);
            let name = span.tag_span().and_then(|span| span.slice(self.text)).unwrap_or("!").to_owned();
            let fault =
                Fault::new(FaultCode::Tag, Position::of(&marker), format!("the tag `{name}` is not allowed"));
            self.faults.push(fault.hint("leave it out; quote the value if a string is meant"));
        }
    }

    fn refuse_collection_key(&mut self, position: Position) {
        self.pend(Pending::RefusedKey);
        let fault =
            Fault::new(FaultCode::NonStringKey, position, "a mapping or list stands where a key is expected");
        let hint = if syntax::follows(self.text, position, "{") {
            "quote a value that begins with `{{`"
        } else {
            "keys are strings"
        };
        self.faults.push(fault.hint(hint));
    }

    fn too_deep(&mut self, position: Position) {
        let message = format!("more than {} nested mappings and lists", self.limits.depth);
        self.faults.push(Fault::new(FaultCode::TooDeep, position, message));
    }

    fn count_node(&mut self, position: Position) -> Result<(), Interrupt> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            let message = format!("more than {} values in one text", self.limits.nodes);
            self.faults.push(Fault::new(FaultCode::TooManyNodes, position, message).hint("split the file"));
            return Err(Interrupt::Stop);
        }
        Ok(())
    }

    /// Pays for a copy of a value.
    fn spend(&mut self, cost: Cost, position: Position) -> Result<(), Interrupt> {
        self.nodes += cost.nodes;
        self.copied_bytes += cost.bytes;
        if self.nodes > self.limits.nodes || self.copied_bytes > self.limits.bytes {
            let message = "anchors and aliases multiply the text beyond what is allowed";
            self.faults.push(Fault::new(FaultCode::AliasExpansion, position, message));
            return Err(Interrupt::Stop);
        }
        Ok(())
    }

    /// Keeps a copy of a value that has an anchor.
    fn keep(&mut self, anchor: usize, value: &Value, position: Position) -> Result<(), Interrupt> {
        let cost = weigh(value);
        self.spend(cost, position)?;
        self.anchors.insert(anchor, Anchored { value: value.clone(), cost });
        Ok(())
    }
}

fn non_string_key(key: &Value, position: Position) -> Fault {
    let fault = Fault::new(FaultCode::NonStringKey, position, format!("the key `{key}` is not a string"));
    fault.hint(format!("write \"{key}\""))
}

fn merge_sources(value: Value) -> Option<Vec<Map<String, Value>>> {
    match value {
        Value::Object(source) => Some(vec![source]),
        Value::Array(sources) => sources
            .into_iter()
            .map(|source| if let Value::Object(source) = source { Some(source) } else { None })
            .collect(),
        _ => None,
    }
}

/// What a copy of `value` costs. Recursion is as deep as [`Limits::depth`].
fn weigh(value: &Value) -> Cost {
    let add = |sum: Cost, part: Cost| Cost {
        nodes: sum.nodes + part.nodes,
        bytes: sum.bytes + part.bytes,
        depth: sum.depth.max(part.depth),
    };
    let inner = match value {
        Value::String(text) => return Cost { nodes: 1, bytes: text.len(), depth: 0 },
        Value::Array(items) => items.iter().map(weigh).fold(Cost::default(), add),
        Value::Object(mapping) => mapping
            .iter()
            .map(|(key, value)| {
                let cost = weigh(value);
                Cost { bytes: cost.bytes + key.len(), ..cost }
            })
            .fold(Cost::default(), add),
        _ => return Cost { nodes: 1, bytes: 0, depth: 0 },
    };
    Cost { nodes: inner.nodes + 1, bytes: inner.bytes, depth: inner.depth + 1 }
}
