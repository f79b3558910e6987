//! All output of the program: data on standard output, messages on standard error.

use std::fmt::Display;
use std::io::Write as _;

use crate::cli::command_error::CommandError;

/// Writes what the user asked for to one side and what we have to say to the other.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Printer;

#[expect(
    clippy::unused_self,
    reason = "whoever prints is handed the printer, and cannot forget which side is which"
)]
impl Printer {
    /// Writes `text` to standard output as it is.
    pub(crate) fn data(self, text: impl Display) -> Result<(), CommandError> {
        let mut output = std::io::stdout().lock();
        write!(output, "{text}")?;
        output.flush()?;
        Ok(())
    }

    /// Writes raw bytes to standard output.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut output = std::io::stdout().lock();
        output.write_all(bytes)?;
        output.flush()?;
        Ok(())
    }

    /// Writes a line to standard output.
    pub(crate) fn line(self, text: impl Display) -> Result<(), CommandError> {
        self.data(format_args!("{text}\n"))
    }

    /// Writes a message to standard error. Nobody listening there is no reason to fail.
    pub(crate) fn message(self, text: impl Display) {
        let mut output = std::io::stderr().lock();
        if writeln!(output, "{text}").is_err() {
            // The reader of standard error is gone; the work is not.
        }
    }
}

/// Lays out rows under headings with two or more spaces between columns, as kubectl does.
///
/// An empty cell is shown as `-`.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().max(1));
        }
    }
    let mut text = String::new();
    let mut write_row = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            let cell = if cell.is_empty() { "-" } else { cell };
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    write_row(&mut headings.iter().copied());
    for row in rows {
        write_row(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_gaps_are_marked() {
        let rows = vec![vec!["a".to_owned(), String::new()], vec!["longer".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["NAME", "PHASE"], &rows), "NAME     PHASE\na        -\nlonger   x\n");
    }
}
