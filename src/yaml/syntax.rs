//! Faults of the text itself: characters, encoding, syntax; in words for people.

use granit_parser::{ErrorKind, ScanError};

use super::fault::{Fault, FaultCode, Position};

/// Returns a fault for each character that YAML does not allow, and for each line separator that only YAML 1.1 knows.
pub(super) fn forbidden_characters(text: &str, most: usize) -> Vec<Fault> {
    let mut faults = Vec::new();
    // Everything that is looked for begins with one of these bytes; most texts have none of them.
    let suspicious = |byte: u8| {
        (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || matches!(byte, 0x7f | 0xc2 | 0xe2 | 0xef)
    };
    if !text.bytes().any(suspicious) {
        return faults;
    }
    let mut position = Position::START;
    let mut previous = '\n';
    for (index, character) in text.char_indices() {
        let message = match character {
            '\t' | '\n' | '\r' => None,
            '\u{85}' | '\u{2028}' | '\u{2029}' => Some("ends a line for some YAML readers only"),
            '\u{fffe}' | '\u{ffff}' => Some("is not allowed in YAML"),
            '\u{feff}' if index > 0 => Some("is allowed at the beginning of a text only"),
            other if other.is_control() => Some("is not allowed in YAML"),
            _ => None,
        };
        if let Some(message) = message {
            let code = u32::from(character);
            let fault = Fault::new(
                FaultCode::ControlCharacter,
                position,
                format!("the character U+{code:04X} {message}"),
            );
            faults.push(fault.hint(format!("remove it, or write it as \"\\u{code:04X}\" in double quotes")));
            if faults.len() >= most {
                break;
            }
        }
        match character {
            // A `\r\n` is one line end.
            '\n' if previous == '\r' => {}
            '\n' | '\r' => position = Position { line: position.line + 1, column: 1 },
            '\u{feff}' if index == 0 => {}
            _ => position.column += 1,
        }
        previous = character;
    }
    faults
}

/// Returns the fault of a text whose bytes are UTF-8 only up to `valid`.
pub(super) fn not_utf8(bytes: &[u8], valid: usize) -> Fault {
    let text = bytes.get(..valid).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let line = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = text.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    let position = Position { line, column };
    let utf16 = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    let fault = Fault::new(FaultCode::NotUtf8, position, "the text is not UTF-8");
    fault.hint(if utf16 { "it looks like UTF-16: save it as UTF-8" } else { "save the file as UTF-8" })
}

/// Says whether the line at `position` goes on with `what`.
pub(super) fn follows(text: &str, position: Position, what: &str) -> bool {
    let line = text.lines().nth(position.line - 1).unwrap_or_default();
    let line = line.trim_start_matches('\u{feff}');
    let rest: String = line.chars().skip(position.column - 1).collect();
    rest.starts_with(what)
}

/// Returns the fault for an error of the parser.
pub(super) fn fault(text: &str, error: &ScanError) -> Fault {
    let mut position = Position::of(error.marker());
    let tab = matches!(
        error.kind(),
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation
    );
    if tab && position.column > 1 && !follows(text, position, "\t") {
        // The parser stands behind the tab.
        position.column -= 1;
    }
    let code = match error.kind() {
        ErrorKind::DirectiveDisallowed => FaultCode::Directive,
        ErrorKind::RecursionLimitExceeded => FaultCode::TooDeep,
        _ => FaultCode::Syntax,
    };
    let (message, hint) = explain(error.kind());
    let fault = Fault::new(code, position, message);
    let hint = if hint.is_empty() && follows(text, position, "{{") {
        "quote a value that begins with `{{`"
    } else {
        hint
    };
    if hint.is_empty() { fault } else { fault.hint(hint) }
}

/// What is wrong, and what to do about it or nothing.
fn explain(kind: &ErrorKind) -> (String, &'static str) {
    const QUOTE_COLON: &str = "quote a value that contains `: `, and check the indentation";
    const INDENTATION: &str =
        "check the indentation: entries of one mapping or list begin in the same column";
    const SPACES: &str = "indent with spaces";
    let (message, hint) = match kind {
        ErrorKind::DirectiveDisallowed => {
            ("directives such as `%YAML` are not allowed", "leave the line out")
        }
        ErrorKind::RecursionLimitExceeded => ("too many nested mappings and lists", ""),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            ("a `:` stands where no value can begin", QUOTE_COLON)
        }
        ErrorKind::MappingKeyNotAllowed => ("a key stands where none can begin", INDENTATION),
        ErrorKind::ExpectedBlockMappingKey => {
            ("this is not a further `key: value` of the mapping", INDENTATION)
        }
        ErrorKind::ExpectedBlockSequenceEntry => {
            ("this is not a further `- ` entry of the list", INDENTATION)
        }
        ErrorKind::BlockSequenceEntryNotAllowed => {
            ("a `- ` entry stands where no list can begin", INDENTATION)
        }
        ErrorKind::InvalidIndentation | ErrorKind::InvalidFlowScalarIndent => {
            ("the line is indented too little", INDENTATION)
        }
        ErrorKind::InvalidQuotedScalarIndent => {
            ("a line of a quoted value is indented too little", INDENTATION)
        }
        ErrorKind::InvalidBlockScalarIndent => {
            ("a line of a block value is indented less than its first line", INDENTATION)
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            ("a key is not followed by `:`", "write `key: value`; a key and its `:` stand on one line")
        }
        ErrorKind::ExpectedDocumentStart | ErrorKind::InvalidDocumentEnd => {
            ("the document ended before this", "separate documents with a line `---`")
        }
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            ("a tab stands in the indentation", SPACES)
        }
        ErrorKind::TabAtBlockScalarStart => ("a block value begins with a tab", SPACES),
        ErrorKind::TabInPlainScalar => ("a tab stands in an unquoted value", "quote the value"),
        ErrorKind::UnclosedQuotedScalar => ("a quote is not closed", "add the missing quote"),
        ErrorKind::DocumentIndicatorInQuotedScalar => {
            ("a document marker stands inside a quoted value", "close the quote, or indent the line")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar => {
            ("something follows the closing quote", "write a quote inside single quotes as two: ''")
        }
        ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("something follows the closing quote", "write a quote inside double quotes as \\\"")
        }
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape => {
            ("an escape in double quotes is not known", "write a backslash as \\\\, or use single quotes")
        }
        ErrorKind::InvalidLowSurrogateHexEscape
        | ErrorKind::InvalidLowSurrogate
        | ErrorKind::MissingLowSurrogate
        | ErrorKind::UnpairedLowSurrogate => ("an escape is half of a surrogate pair", ""),
        ErrorKind::UnexpectedEofFlowSequence | ErrorKind::ExpectedFlowSequenceSeparator => {
            ("a list in `[ ]` lacks a `,` or the closing `]`", "")
        }
        ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator => {
            ("a mapping in `{ }` lacks a `,` or the closing `}`", "")
        }
        ErrorKind::MisplacedFlowCollectionEnd => ("a closing bracket has no opening one", "quote the value"),
        ErrorKind::PlainScalarStartsWithDashFlowIndicator | ErrorKind::UnexpectedEndOfPlainScalar => {
            ("an unquoted value cannot begin like this", "quote the value")
        }
        ErrorKind::CommentInterceptedScalar => {
            ("a comment stands inside an unquoted value", "quote the value")
        }
        ErrorKind::CommentNotSeparated => ("a comment needs a blank before its `#`", ""),
        ErrorKind::ZeroBlockScalarIndent | ErrorKind::InvalidBlockScalarHeader => (
            "after `|` or `>` only `+`, `-`, a digit and a comment may follow",
            "begin the text on the next line",
        ),
        ErrorKind::MissingAnchorOrAliasName => {
            ("an anchor `&` or alias `*` has no name", "quote a value that begins with `&` or `*`")
        }
        ErrorKind::ExpectedNodeContent => ("a value is missing", ""),
        ErrorKind::BomInsideDocument => ("a byte-order mark stands inside a document", "remove it"),
        ErrorKind::UnexpectedCharacter { character } => {
            let message = format!("a value cannot begin with `{}`", character.escape_debug());
            return (message, "quote the value");
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            return (format!("the bracket `{open}` is closed by `{close}`"), "");
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            return (format!("the bracket `{open}` is not closed"), "close it, or quote the value");
        }
        _ => ("this is not valid YAML", ""),
    };
    (message.to_owned(), hint)
}
