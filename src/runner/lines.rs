//! Lines of bytes that come in pieces.

/// The longest line of an agent that is looked at, in bytes. The log takes longer ones as well.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// Cuts bytes into lines. One that is too long is passed over.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    is_too_long: bool,
}

impl Lines {
    /// Takes more bytes and gives every line that is complete to `line`, without its end.
    pub(super) fn take(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.pending.len() + part.len() > LONGEST_LINE {
                self.is_too_long = true;
                self.pending.clear();
            }
            if !self.is_too_long {
                self.pending.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.end(&mut line);
            }
        }
    }

    /// Gives what came after the last end of a line to `line`.
    pub(super) fn end(&mut self, mut line: impl FnMut(&str)) {
        if !self.is_too_long && !self.pending.is_empty() {
            line(String::from_utf8_lossy(&self.pending).trim_end_matches(['\n', '\r']));
        }
        self.pending.clear();
        self.is_too_long = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_a_long_one_is_passed_over() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut input = b"a\r\nb".to_vec();
        input.extend_from_slice(b"c\n");
        input.extend(std::iter::repeat_n(b'x', LONGEST_LINE + 10));
        input.extend_from_slice(b"\nlast");
        for chunk in input.chunks(1000) {
            lines.take(chunk, |line| found.push(line.to_owned()));
        }
        lines.end(|line| found.push(line.to_owned()));
        assert_eq!(found, ["a", "bc", "last"]);
    }
}
