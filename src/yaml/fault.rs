//! What can be wrong with a text, and where.

use std::fmt;

use granit_parser::Marker;

/// A place in a text; both numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters (not bytes).
    pub column: usize,
}

impl Position {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };

    pub(super) fn of(marker: &Marker) -> Self {
        Self { line: marker.line().max(1), column: marker.col() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// The kinds of fault; the names are stable and part of what `kelos validate` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultCode {
    /// The text is not YAML.
    Syntax,
    /// A mapping has the same key twice.
    DuplicateKey,
    /// A plain scalar that YAML 1.1 and YAML 1.2 read as different values.
    AmbiguousScalar,
    /// A number that JSON cannot hold: infinite, not a number, or beyond 64 bits.
    NumberRange,
    /// A key that is not a string.
    NonStringKey,
    /// A tag such as `!!binary`.
    Tag,
    /// A directive such as `%YAML 1.1`.
    Directive,
    /// An alias without an anchor before it, or one inside its own anchor.
    UnknownAlias,
    /// A merge key whose value is not a mapping.
    MergeKey,
    /// Aliases that multiply the text beyond the limits.
    AliasExpansion,
    /// More bytes than allowed.
    TooLarge,
    /// More nesting than allowed.
    TooDeep,
    /// More values than allowed.
    TooManyNodes,
    /// More documents than allowed.
    TooManyDocuments,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// A character that YAML does not allow, or a line separator that only some readers take for one.
    ControlCharacter,
}

impl FaultCode {
    /// Returns the stable name in kebab-case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::DuplicateKey => "duplicate-key",
            Self::AmbiguousScalar => "ambiguous-scalar",
            Self::NumberRange => "number-range",
            Self::NonStringKey => "non-string-key",
            Self::Tag => "tag",
            Self::Directive => "directive",
            Self::UnknownAlias => "unknown-alias",
            Self::MergeKey => "merge-key",
            Self::AliasExpansion => "alias-expansion",
            Self::TooLarge => "too-large",
            Self::TooDeep => "too-deep",
            Self::TooManyNodes => "too-many-nodes",
            Self::TooManyDocuments => "too-many-documents",
            Self::NotUtf8 => "not-utf8",
            Self::ControlCharacter => "control-character",
        }
    }
}

/// One thing that is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind.
    pub code: FaultCode,
    /// Where it is.
    pub position: Position,
    /// What is wrong, one line, no full stop.
    pub message: String,
    /// What to do about it, if that can be said.
    pub hint: Option<String>,
}

impl Fault {
    pub(super) fn new(code: FaultCode, position: Position, message: impl Into<String>) -> Self {
        Self { code, position, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.position, self.message)
    }
}

impl std::error::Error for Fault {}
