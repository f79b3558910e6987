//! Template text to actions and their tokens, by the rules of Go's lexer.

use super::error::TemplateError;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// `.` alone.
    Dot,
    /// `.Name`; a chain `.A.B` is two of these.
    Field(String),
    /// `$` (the empty name) or `$name`.
    Variable(String),
    Identifier(String),
    /// A string or raw string, decoded.
    Text(String),
    /// A character constant.
    Character(char),
    Open,
    Close,
    Pipe,
    Declare,
    Assign,
    Comma,
    /// A number, or whatever the engine shall judge.
    Other,
}

/// One piece of an action.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Where it stands in the source, in bytes.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) line: usize,
    /// Whether it follows the token before without a blank.
    pub(super) adjacent: bool,
}

/// What stands between `{{` and `}}`.
#[derive(Debug)]
pub(super) struct Action {
    /// From `{{` to behind `}}`, in bytes.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) line: usize,
    pub(super) trims_left: bool,
    pub(super) trims_right: bool,
    pub(super) tokens: Vec<Token>,
    pub(super) is_comment: bool,
}

impl Action {
    /// Returns the word that the action begins with, if it does.
    pub(super) fn keyword(&self) -> Option<&str> {
        match self.tokens.first().map(|token| &token.kind) {
            Some(Kind::Identifier(word)) => Some(word),
            _ => None,
        }
    }
}

/// What Go counts as blank inside an action.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Returns the actions of a template in order.
pub(super) fn actions(source: &str) -> Result<Vec<Action>, TemplateError> {
    let mut actions = Vec::new();
    let mut cursor = Cursor { source, position: 0, line: 1 };
    while let Some(offset) = cursor.rest().find("{{") {
        cursor.advance(offset);
        actions.push(cursor.action()?);
    }
    Ok(actions)
}

struct Cursor<'text> {
    source: &'text str,
    position: usize,
    line: usize,
}

impl<'text> Cursor<'text> {
    fn rest(&self) -> &'text str {
        self.source.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn at_blank(&self) -> bool {
        self.rest().starts_with(BLANKS)
    }

    /// Moves on by `bytes`, which end at a character, and counts lines.
    fn advance(&mut self, bytes: usize) {
        let passed = self.rest().get(..bytes).unwrap_or_default();
        self.line += passed.matches('\n').count();
        self.position += bytes;
    }

    fn action(&mut self) -> Result<Action, TemplateError> {
        let (start, line) = (self.position, self.line);
        self.advance(2);
        let trims_left = self.rest().strip_prefix('-').is_some_and(|rest| rest.starts_with(BLANKS));
        if trims_left {
            self.advance(2);
        }
        let mut action = Action {
            start,
            end: 0,
            line,
            trims_left,
            trims_right: false,
            tokens: Vec::new(),
            is_comment: self.rest().starts_with("/*"),
        };
        if action.is_comment {
            let Some(length) = self.rest().find("*/") else {
                return Err(TemplateError::new(line, "the comment is not closed: `*/}}` is missing"));
            };
            self.advance(length + 2);
            if !self.close(&mut action) {
                return Err(TemplateError::new(self.line, "a comment must end with `*/}}`"));
            }
            return Ok(action);
        }
        loop {
            let before = self.position;
            while !self.close(&mut action) && self.at_blank() {
                self.advance(1);
            }
            if action.end != 0 {
                return Ok(action);
            }
            let adjacent = self.position == before && !action.tokens.is_empty();
            let (start, token_line) = (self.position, self.line);
            let Some(next) = self.peek() else {
                return Err(TemplateError::new(line, "the action `{{` is not closed"));
            };
            let kind = self.token(next)?;
            action.tokens.push(Token { kind, start, end: self.position, line: token_line, adjacent });
        }
    }

    /// Consumes the end of the action and notes it, if it is here.
    fn close(&mut self, action: &mut Action) -> bool {
        if action.end != 0 {
            return true;
        }
        let trims = self.at_blank() && self.rest().get(1..).is_some_and(|rest| rest.starts_with("-}}"));
        if !trims && !self.rest().starts_with("}}") {
            return false;
        }
        self.advance(if trims { 4 } else { 2 });
        action.trims_right = trims;
        action.end = self.position;
        true
    }

    fn token(&mut self, next: char) -> Result<Kind, TemplateError> {
        let second = self.rest().chars().nth(1);
        let digit_follows = second.is_some_and(|next| next.is_ascii_digit());
        let name_follows = second.is_some_and(is_name_character);
        let (kind, length) = match next {
            '"' => return self.quoted('"').map(Kind::Text),
            '\'' => return self.character(),
            '`' => return self.raw(),
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            '|' => (Kind::Pipe, 1),
            ',' => (Kind::Comma, 1),
            ':' if second == Some('=') => (Kind::Declare, 2),
            '=' => (Kind::Assign, 1),
            '.' if name_follows && !digit_follows => {
                self.advance(1);
                return Ok(Kind::Field(self.name()));
            }
            '.' if !digit_follows => (Kind::Dot, 1),
            '$' => {
                self.advance(1);
                return Ok(Kind::Variable(self.name()));
            }
            '0'..='9' | '.' => {
                self.number();
                return Ok(Kind::Other);
            }
            '+' | '-' if digit_follows || second == Some('.') => {
                self.advance(1);
                self.number();
                return Ok(Kind::Other);
            }
            other if is_name_character(other) => return Ok(Kind::Identifier(self.name())),
            other => {
                let (code, shown) = (u32::from(other), other.escape_debug());
                let message = format!("unexpected character `{shown}` (U+{code:04X}) in an action");
                return Err(TemplateError::new(self.line, message));
            }
        };
        self.advance(length);
        Ok(kind)
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let length = rest.find(|character| !is_name_character(character)).unwrap_or(rest.len());
        self.advance(length);
        rest.get(..length).unwrap_or_default().to_owned()
    }

    /// Consumes what may be a number; the engine judges it.
    fn number(&mut self) {
        let hexadecimal = self.rest().starts_with("0x") || self.rest().starts_with("0X");
        let mut previous = ' ';
        while let Some(next) = self.peek() {
            let exponent = if hexadecimal { ['p', 'P'] } else { ['e', 'E'] }.contains(&previous);
            if !(is_name_character(next) || next == '.' || (exponent && matches!(next, '+' | '-'))) {
                break;
            }
            previous = next;
            self.advance(next.len_utf8());
        }
    }

    fn raw(&mut self) -> Result<Kind, TemplateError> {
        let line = self.line;
        self.advance(1);
        let Some(length) = self.rest().find('`') else {
            return Err(TemplateError::new(line, "the raw string is not closed: a backquote is missing"));
        };
        // Go drops carriage returns from raw strings.
        let text = self.rest().get(..length).unwrap_or_default().replace('\r', "");
        self.advance(length + 1);
        Ok(Kind::Text(text))
    }

    fn character(&mut self) -> Result<Kind, TemplateError> {
        let text = self.quoted('\'')?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(Kind::Character(character)),
            _ => Err(TemplateError::new(self.line, format!("'{text}' is not one character"))),
        }
    }

    /// Reads a string or character constant up to `quote` and decodes it.
    fn quoted(&mut self, quote: char) -> Result<String, TemplateError> {
        let line = self.line;
        let not_closed =
            || TemplateError::new(line, format!("the string is not closed: a {quote} is missing"));
        let mut characters = self.rest().char_indices().skip(1);
        let mut bytes = Vec::new();
        let length = loop {
            let (index, character) = characters.next().ok_or_else(not_closed)?;
            match character {
                '\n' => return Err(not_closed()),
                '\\' => {
                    let (_, escaped) = characters.next().ok_or_else(not_closed)?;
                    let digits = match escaped {
                        'x' | '0'..='7' => 2,
                        'u' => 4,
                        'U' => 8,
                        _ => 0,
                    };
                    let digits: String = characters.by_ref().take(digits).map(|(_, digit)| digit).collect();
                    if unescape(escaped, &digits, quote, &mut bytes).is_none() {
                        let message = format!("the escape `\\{escaped}{digits}` is not known");
                        return Err(TemplateError::new(line, message));
                    }
                }
                other if other == quote => break index + 1,
                other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        };
        self.advance(length);
        String::from_utf8(bytes).map_err(|_| TemplateError::new(line, "the string is not UTF-8"))
    }
}

/// Appends what an escape stands for; `digits` follow the letter.
fn unescape(escaped: char, digits: &str, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let byte = match escaped {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        'x' => u8::try_from(number(digits, 16, 2)?).ok()?,
        '0'..='7' => u8::try_from(number(&format!("{escaped}{digits}"), 8, 3)?).ok()?,
        'u' | 'U' => {
            let length = if escaped == 'u' { 4 } else { 8 };
            let character = char::from_u32(number(digits, 16, length)?)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        other if other == quote => u8::try_from(other).ok()?,
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

fn number(digits: &str, radix: u32, length: usize) -> Option<u32> {
    let sound = digits.len() == length && digits.chars().all(|digit| digit.is_digit(radix));
    sound.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

fn is_name_character(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}
