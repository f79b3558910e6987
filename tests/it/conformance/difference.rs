//! The differences that are meant, and the report of those that are not.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use super::run::Answer;
use super::step::Case;

/// A step at which our answer is meant to differ.
struct Difference {
    /// The name of the case.
    case: &'static str,
    /// Which steps, from 1.
    steps: &'static [usize],
    /// A part of our masked answer.
    ours: &'static str,
    reason: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        case: "the OpenAPI document of a kind",
        steps: &[1],
        ours: "content-type: application/json",
        reason: "the real server calls its JSON index plain text",
    },
    Difference {
        case: "a body must be an object",
        steps: &[6],
        ours: "yaml: line 1: ",
        reason: "the words of another YAML reader",
    },
    Difference {
        case: "apply needs a manager and fits the path",
        steps: &[11],
        ours: "yaml: line 1: ",
        reason: "the words of another YAML reader",
    },
    Difference {
        case: "create with unknown fields as YAML",
        steps: &[1, 2, 3, 4],
        ours: "stands twice in this mapping",
        reason: "YAML with a key twice is refused in every mode, as in a config repository",
    },
    Difference {
        case: "apply with unknown fields",
        steps: &[2, 3, 4, 5],
        ours: "stands twice in this mapping",
        reason: "YAML with a key twice is refused in every mode, as in a config repository",
    },
    Difference {
        case: "the form of an answer is negotiated",
        steps: &[8],
        ours: "content-type: application/json",
        reason: "ours reads protobuf where clients send it, and writes none, not even this refusal",
    },
    Difference {
        case: "create of a core kind with unknown fields",
        steps: &[1, 2, 3],
        ours: "duplicate field \\\"data.a\\\"",
        reason: "the real server complains in the order of the body, ours of repeated fields first",
    },
    Difference {
        case: "a Secret takes text and gives base64",
        steps: &[4],
        ours: "illegal base64 data at input byte 0",
        reason: "a refusal shows the whole patched object, and ours sorts the keys in it",
    },
    Difference {
        case: "a Lease is renewed",
        steps: &[2, 3],
        ours: "parsing time",
        reason: "a refusal shows the whole patched object, and ours sorts the keys in it",
    },
    Difference {
        case: "core kinds know a strategic patch",
        steps: &[9],
        ours: "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string",
        reason: "the real server merges into decoded objects, ours into JSON, so another part refuses",
    },
    Difference {
        case: "a version before the history is gone",
        steps: &[1],
        ours: "200\n",
        reason: "ours forgets by age and number only, so a young store knows its first version",
    },
];

/// What was found when two servers' answers were compared.
#[derive(Debug, Default)]
pub(crate) struct Report {
    cases: usize,
    answers: usize,
    findings: Vec<String>,
}

impl Report {
    /// Compares two servers of the same kind.
    pub(crate) fn compare(cases: &[Case], expected: &[Vec<Answer>], given: &[Vec<Answer>]) -> Self {
        let mut report = Self { cases: cases.len(), ..Self::default() };
        for (case, (expected, given)) in cases.iter().zip(expected.iter().zip(given)) {
            for (expected, given) in expected.iter().zip(given) {
                report.answer(&case.name, expected, &expected.text, given);
            }
        }
        report
    }

    /// Compares the real server with ours, and applies the table of meant differences.
    ///
    /// An entry of the table that fits nothing is a finding too, so that the table does not outlive its reasons.
    pub(crate) fn compare_with_real(cases: &[Case], real: &[Vec<Answer>], ours: &[Vec<Answer>]) -> Self {
        let mut report = Self { cases: cases.len(), ..Self::default() };
        for (case, (real, ours)) in cases.iter().zip(real.iter().zip(ours)) {
            for (number, (real, ours)) in (1..).zip(real.iter().zip(ours)) {
                let meant =
                    DIFFERENCES.iter().find(|meant| case.name == meant.case && meant.steps.contains(&number));
                match meant {
                    Some(meant) if real.text == ours.text || !ours.text.contains(meant.ours) => {
                        let Difference { case, steps: _, ours: part, reason } = meant;
                        report.findings.push(format!("## {case}\n{}\nis not the difference {part:?}, which is meant because {reason}:\n{}", ours.step, ours.text));
                    }
                    Some(_) => report.answers += 1,
                    None => report.answer(&case.name, real, &real.text, ours),
                }
            }
        }
        for meant in DIFFERENCES {
            if !cases.iter().any(|case| case.name == meant.case) {
                report
                    .findings
                    .push(format!("## {}: a difference is meant in a case that is not there", meant.case));
            }
        }
        report
    }

    fn answer(&mut self, case: &str, real: &Answer, expected: &str, given: &Answer) {
        self.answers += 1;
        if expected != given.text {
            self.findings.push(format!("## {case}\n{}\n{}", real.step, changed_lines(expected, &given.text)));
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { cases, answers, findings } = self;
        writeln!(f, "{} of {answers} answers to {cases} cases differ (- real, + ours)", findings.len())?;
        findings.iter().try_for_each(|finding| writeln!(f, "\n{finding}"))
    }
}

/// Returns the lines that only one of the texts has, `-` for the first and `+` for the second.
pub(crate) fn changed_lines(one: &str, other: &str) -> String {
    let (pretty_one, pretty_other) = (pretty(one), pretty(other));
    if pretty_one == pretty_other {
        // The same values in another order or with other white space: only the bytes show it.
        return format!("- {one}\n+ {other}\n");
    }
    let (one, other): (Vec<&str>, Vec<&str>) = (pretty_one.lines().collect(), pretty_other.lines().collect());
    // The table of the longest common subsequence; answers have some hundred lines.
    let mut common = vec![vec![0_u32; other.len() + 1]; one.len() + 1];
    for (row, left) in one.iter().enumerate().rev() {
        for (column, right) in other.iter().enumerate().rev() {
            common[row][column] = if left == right {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut lines) = (0, 0, String::new());
    while row < one.len() || column < other.len() {
        if row < one.len() && column < other.len() && one[row] == other[column] {
            (row, column) = (row + 1, column + 1);
        } else if column == other.len()
            || (row < one.len() && common[row + 1][column] >= common[row][column + 1])
        {
            lines.extend(["- ", one[row], "\n"]);
            row += 1;
        } else {
            lines.extend(["+ ", other[column], "\n"]);
            column += 1;
        }
    }
    lines
}

/// Spreads each line that is JSON over several.
fn pretty(text: &str) -> String {
    let spread = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => format!("{value:#}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_shown() {
        assert_eq!(changed_lines("a\nb\nc\n", "a\nx\nc\nd\n"), "- b\n+ x\n+ d\n");
        assert_eq!(changed_lines("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}"), "-   \"b\": 2\n+   \"b\": 3\n");
    }

    #[test]
    fn another_order_of_keys_is_a_difference() {
        let one = "{\"a\":1,\"b\":2}";
        let other = "{\"b\":2,\"a\":1}";
        assert_eq!(changed_lines(one, other), format!("- {one}\n+ {other}\n"));
    }
}
