//! All output of the program: data on standard output, messages on standard error.
//!
//! Texts come from items, agents and other people. What a terminal would obey is made visible on the way there.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use crate::cli::command_error::CommandError;
use crate::cli::plain::{Plain, plain};

/// Writes what the user asked for to one side and what we have to say to the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    data_is_seen: bool,
    messages_are_seen: bool,
}

impl Printer {
    /// Returns a printer to the outputs of the process.
    pub(crate) fn new() -> Self {
        Self {
            data_is_seen: std::io::stdout().is_terminal(),
            messages_are_seen: std::io::stderr().is_terminal(),
        }
    }

    /// Writes `text` to standard output: as it is for programs, made harmless on a terminal.
    pub(crate) fn data(self, text: impl Display) -> Result<(), CommandError> {
        let text = text.to_string();
        let text = if self.data_is_seen { plain(&text) } else { text };
        self.bytes(text.as_bytes())
    }

    /// Writes a line to standard output.
    pub(crate) fn line(self, text: impl Display) -> Result<(), CommandError> {
        self.data(format_args!("{text}\n"))
    }

    /// Returns what the bytes of a log go through on their way to standard output.
    pub(crate) fn log(self) -> LogPrinter {
        LogPrinter { printer: self, plain: self.data_is_seen.then(Plain::default) }
    }

    /// Writes a message to standard error. Nobody listening there is no reason to fail.
    pub(crate) fn message(self, text: impl Display) {
        let text = text.to_string();
        let text = if self.messages_are_seen { plain(&text) } else { text };
        let mut output = std::io::stderr().lock();
        if writeln!(output, "{text}").is_err() {
            // The reader of standard error is gone; the work is not.
        }
    }

    /// Writes what is only worth saying while somebody looks: that something takes its time.
    pub(crate) fn progress(self, text: impl Display) {
        if self.messages_are_seen {
            self.message(text);
        }
    }

    /// Writes raw bytes to standard output, which is no terminal but a program of ours.
    #[expect(clippy::unused_self, reason = "whoever prints is handed the printer")]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut output = std::io::stdout().lock();
        output.write_all(bytes)?;
        output.flush()?;
        Ok(())
    }
}

/// Prints a log piece by piece: as it is for programs, made harmless on a terminal.
#[derive(Debug)]
pub(crate) struct LogPrinter {
    printer: Printer,
    plain: Option<Plain>,
}

impl LogPrinter {
    /// Prints the next piece, which may end inside a character.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        match &mut self.plain {
            None => self.printer.bytes(bytes),
            Some(plain) => self.printer.bytes(plain.take(bytes).as_bytes()),
        }
    }

    /// Prints what was held back.
    pub(crate) fn end(&mut self) -> Result<(), CommandError> {
        match &mut self.plain {
            None => Ok(()),
            Some(plain) => self.printer.bytes(plain.end().as_bytes()),
        }
    }
}

/// Lays out rows under headings with two or more spaces between columns, as kubectl does.
///
/// An empty cell is shown as `-`.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    Layout::default().lines(headings, rows)
}

/// The widths of columns, which only grow: rows that come later stand below those before.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    widths: Vec<usize>,
}

impl Layout {
    /// Returns the next rows; the first time the headings stand above them.
    pub(crate) fn lines(&mut self, headings: &[&str], rows: &[Vec<String>]) -> String {
        let is_first = self.widths.is_empty();
        // A line feed in a cell would end its row.
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| plain(cell).replace(['\n', '\t'], " ")).collect())
            .collect();
        if is_first {
            self.widths = headings.iter().map(|heading| heading.chars().count()).collect();
        }
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count().max(1));
            }
        }
        let mut text = String::new();
        if is_first {
            self.line(&mut headings.iter().copied(), &mut text);
        }
        for row in &rows {
            self.line(&mut row.iter().map(String::as_str), &mut text);
        }
        text
    }

    fn line(&self, cells: &mut dyn Iterator<Item = &str>, text: &mut String) {
        let mut line = String::new();
        for (width, cell) in self.widths.iter().zip(cells) {
            let cell = if cell.is_empty() { "-" } else { cell };
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_gaps_are_marked() {
        let rows = vec![vec!["a".to_owned(), String::new()], vec!["longer".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["NAME", "PHASE"], &rows), "NAME     PHASE\na        -\nlonger   x\n");
    }
    #[test]
    fn later_rows_stand_below_earlier_ones_and_no_cell_leaves_its_row() {
        let mut layout = Layout::default();
        let row = |name: &str| vec![vec![name.to_owned(), "x".to_owned()]];
        assert_eq!(layout.lines(&["NAME", "PHASE"], &row("longer")), "NAME     PHASE\nlonger   x\n");
        assert_eq!(layout.lines(&["NAME", "PHASE"], &row("a\nb")), "a b      x\n");
    }
}
