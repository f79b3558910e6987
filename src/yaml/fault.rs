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

/// Defines the codes, each with its stable name and, as doc comment, its meaning.
macro_rules! codes {
    ($( #[doc = $meaning:literal] $Variant:ident = $name:literal, )+) => {
        /// The kinds of fault; the names are stable and part of what `kelos validate` prints.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultCode {
            $( #[doc = $meaning] $Variant ),+
        }

        impl FaultCode {
            /// Every code, in the order of the reference page.
            pub const ALL: &'static [Self] = &[ $( Self::$Variant ),+ ];

            /// Returns the stable name in kebab-case.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $name ),+ }
            }

            /// Returns what such a fault is, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $( Self::$Variant => $meaning.trim_start() ),+ }
            }
        }
    };
}

codes! {
    /// The text is not YAML.
    Syntax = "syntax",
    /// A mapping has the same key twice.
    DuplicateKey = "duplicate-key",
    /// A plain scalar that YAML 1.1 and YAML 1.2 read as different values.
    AmbiguousScalar = "ambiguous-scalar",
    /// A number that JSON cannot hold: infinite, not a number, or beyond 64 bits.
    NumberRange = "number-range",
    /// A key that is not a string.
    NonStringKey = "non-string-key",
    /// A tag such as `!!binary`.
    Tag = "tag",
    /// A directive such as `%YAML 1.1`.
    Directive = "directive",
    /// An alias without an anchor before it, or one inside its own anchor.
    UnknownAlias = "unknown-alias",
    /// A merge key whose value is not a mapping.
    MergeKey = "merge-key",
    /// Aliases that multiply the text beyond the limits.
    AliasExpansion = "alias-expansion",
    /// More bytes than allowed.
    TooLarge = "too-large",
    /// More nesting than allowed.
    TooDeep = "too-deep",
    /// More values than allowed.
    TooManyNodes = "too-many-nodes",
    /// More documents than allowed.
    TooManyDocuments = "too-many-documents",
    /// Bytes that are not UTF-8.
    NotUtf8 = "not-utf8",
    /// A character that YAML does not allow, or a line separator that only some readers take for one.
    ControlCharacter = "control-character",
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
