//! Text that a terminal shows and does not obey.
//!
//! Control characters could move the cursor, rename the window or write over what stands there, and some characters turn
//! the direction of what follows. Line feeds and tabs stay; colors are dropped; the rest becomes visible.

/// Returns `text` with what a terminal would obey made visible.
pub(crate) fn plain(text: &str) -> String {
    let mut characters = text.chars().peekable();
    let mut shown = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => shown.push(character),
            // A carriage return writes over the line; one before a line feed is part of it.
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => shown.push('\n'),
            '\u{1b}' => match color(characters.clone()) {
                Some(length) => characters = skip(characters, length),
                None => shown.push_str("^["),
            },
            character if turns(character) => shown.push('\u{fffd}'),
            character if character.is_control() => shown.push('\u{fffd}'),
            character => shown.push(character),
        }
    }
    shown
}

/// The same for bytes that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    /// The begin of a character or of a sequence that is not complete yet.
    held: Vec<u8>,
}

/// The longest begin of a sequence that is held back, in bytes: colors are shorter.
const HELD: usize = 32;

impl Plain {
    /// Returns what can be shown of the next piece.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let complete = self.held.len() - unfinished(&self.held);
        let ready: Vec<u8> = self.held.drain(..complete).collect();
        plain(&String::from_utf8_lossy(&ready))
    }

    /// Returns what was held back.
    pub(crate) fn end(&mut self) -> String {
        plain(&String::from_utf8_lossy(&std::mem::take(&mut self.held)))
    }
}

/// Returns how many bytes at the end wait for what comes next.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(HELD);
    if bytes.last() == Some(&b'\r') {
        return 1;
    }
    if let Some(escape) = bytes[tail..].iter().rposition(|byte| *byte == 0x1b) {
        let sequence = &bytes[tail + escape + 1..];
        let parameters = sequence.strip_prefix(b"[").unwrap_or(sequence);
        if parameters.iter().all(|byte| byte.is_ascii_digit() || *byte == b';') {
            return sequence.len() + 1;
        }
    }
    let is_begin = |length: usize| {
        let first = bytes[bytes.len() - length];
        let wanted = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        wanted > length
    };
    (1..=3.min(bytes.len())).find(|length| is_begin(*length)).unwrap_or(0)
}

/// Returns how many characters after the escape make a color: `[`, digits and semicolons, `m`.
fn color(characters: impl Iterator<Item = char>) -> Option<usize> {
    let mut length = 0;
    for character in characters.take(HELD) {
        length += 1;
        match (length, character) {
            (1, '[') => {}
            (1, _) => return None,
            (_, 'm') => return Some(length),
            (_, '0'..='9' | ';') => {}
            (_, _) => return None,
        }
    }
    None
}

fn skip<I: Iterator>(mut iterator: I, count: usize) -> I {
    if let Some(last) = count.checked_sub(1) {
        iterator.nth(last);
    }
    iterator
}

/// Returns whether a character turns the direction of what follows, or is nothing that one sees.
fn turns(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_made_visible() {
        for (text, wanted) in [
            ("plain ü 語\n\tx", "plain ü 語\n\tx"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}", "^[]0;title\u{fffd}"),
            ("\u{1b}[2J\u{1b}[H", "^[[2J^[[H"),
            ("safe\rEVIL", "safe\nEVIL"),
            ("a\r\nb", "a\nb"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("\u{202e}evil", "\u{fffd}evil"),
            ("bell\u{7}\u{8}", "bell\u{fffd}\u{fffd}"),
            ("\u{1b}", "^["),
            ("\u{1b}[31", "^[[31"),
        ] {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn pieces_may_end_anywhere() {
        let text = "ü\u{1b}[31m語\u{1b}[0m\r\nx\u{1b}]0;t\u{7}\r😀";
        let bytes = text.as_bytes();
        for size in 1..=bytes.len() {
            let mut printer = Plain::default();
            let mut shown: String = bytes.chunks(size).map(|piece| printer.take(piece)).collect();
            shown.push_str(&printer.end());
            assert_eq!(shown, plain(text), "in pieces of {size}");
        }
        let mut printer = Plain::default();
        assert_eq!(printer.take(&[0xff, 0xfe]), "\u{fffd}\u{fffd}");
        assert_eq!(printer.take(&[b'a', 0xe2]) + &printer.end(), "a\u{fffd}");
    }
}
