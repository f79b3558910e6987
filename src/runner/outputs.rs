//! Results in what an agent prints: lines between two markers.
//!
//! The format is upstream's: the last complete pair of markers counts, lines are trimmed, empty ones dropped, and a
//! line `key: value` is also a result, the last one of a key counting.

use std::collections::BTreeMap;

/// The marker before the lines.
pub(super) const START: &str = "---KELOS_OUTPUTS_START---";
/// The marker after the lines.
pub(super) const END: &str = "---KELOS_OUTPUTS_END---";

/// The greatest block of results, in bytes. The whole status must fit into an object of the API.
const LARGEST_BLOCK: usize = 64 * 1024;
/// The most lines of a block.
const MOST_LINES: usize = 500;

/// Finds the last complete block in a stream of lines, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    pending: Option<String>,
    complete: Option<String>,
    is_cut: bool,
}

impl Scanner {
    /// Takes the next line, with or without its line end.
    pub(super) fn line(&mut self, line: &str) {
        let mut rest = line.trim_end_matches(['\n', '\r']);
        loop {
            if let Some((_, after)) = rest.split_once(START)
                && self.pending.is_none()
            {
                self.pending = Some(String::new());
                rest = after;
            } else if let Some(pending) = &mut self.pending {
                let (inside, after) = match rest.split_once(END) {
                    Some((inside, after)) => (inside, Some(after)),
                    None => (rest, None),
                };
                // A second start begins anew: what stood before it was never closed.
                let inside = match inside.rsplit_once(START) {
                    Some((_, inside)) => {
                        pending.clear();
                        inside
                    }
                    None => inside,
                };
                if pending.len() + inside.len() > LARGEST_BLOCK {
                    self.is_cut = true;
                } else {
                    pending.push_str(inside);
                    pending.push('\n');
                }
                let Some(after) = after else { return };
                self.complete = self.pending.take();
                rest = after;
            } else {
                return;
            }
        }
    }

    /// Tells whether lines were left out because a block was too large.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Tells whether a block was begun and cut off, and there is no complete one.
    pub(super) fn is_incomplete(&self) -> bool {
        self.pending.is_some() && self.complete.is_none()
    }

    /// Returns the lines of the last complete block, trimmed; none when there was no block.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some(block) = &self.complete else { return Vec::new() };
        block
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .take(MOST_LINES)
            .map(str::to_owned)
            .collect()
    }
}

/// Returns the results in `lines`, by key.
pub(super) fn results(lines: &[String]) -> BTreeMap<String, String> {
    lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const RECORDED: &str = include_str!("../../tests/testdata/upstream/outputs.jsonl");

    #[test]
    fn blocks_are_found_as_upstream_finds_them() {
        let mut checked = 0;
        for line in RECORDED.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            if case["op"] != "parse_outputs" {
                continue;
            }
            let mut scanner = Scanner::default();
            case["input"].as_str().unwrap().split_inclusive('\n').for_each(|line| scanner.line(line));
            let lines = scanner.lines();
            let expected: Vec<String> =
                serde_json::from_value(case["output"]["outputs"].clone()).unwrap_or_default();
            assert_eq!(lines, expected, "{}", case["case"]);
            let expected: BTreeMap<String, String> =
                serde_json::from_value(case["output"]["results"].clone()).unwrap_or_default();
            assert_eq!(results(&lines), expected, "{}", case["case"]);
            checked += 1;
        }
        assert_eq!(checked, 11);
    }

    #[test]
    fn a_block_without_an_end_does_not_replace_a_complete_one() {
        let mut scanner = Scanner::default();
        for line in [START, "a: 1", END, START, "b: 2"] {
            scanner.line(line);
        }
        assert_eq!(scanner.lines(), ["a: 1"]);
        assert!(!scanner.is_incomplete());
    }

    #[test]
    fn a_block_that_is_cut_off_is_told() {
        let mut scanner = Scanner::default();
        assert!(!scanner.is_incomplete());
        for line in [START, "a: 1"] {
            scanner.line(line);
        }
        assert!(scanner.is_incomplete() && scanner.lines().is_empty());
    }

    #[test]
    fn a_second_start_begins_anew() {
        let mut scanner = Scanner::default();
        for line in [START, "a: 1", START, "b: 2", END] {
            scanner.line(line);
        }
        assert_eq!(scanner.lines(), ["b: 2"]);
    }

    #[test]
    fn a_block_without_bounds_is_cut() {
        let mut scanner = Scanner::default();
        scanner.line(START);
        for _ in 0..10_000 {
            scanner.line("key: 0123456789");
        }
        scanner.line(END);
        assert!(scanner.is_cut());
        assert_eq!(scanner.lines().len(), MOST_LINES);
    }
}
