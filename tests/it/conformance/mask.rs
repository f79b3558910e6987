//! What may differ between two servers' answers, and why. Nothing else may.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A text that every server makes up by itself.
struct Mask {
    pattern: &'static str,
    /// `Some(letter)`: each distinct text of the last group becomes the letter and the number of its first
    /// appearance in the case, so that equal texts stay equal and different ones different.
    /// `None`: the last group is replaced by `…`.
    numbered: Option<&'static str>,
    #[expect(dead_code, reason = "the reason is for the reader of the table")]
    reason: &'static str,
}

const MASKS: &[Mask] = &[
    Mask {
        pattern: r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
        numbered: Some("uid"),
        reason: "a uid is random",
    },
    Mask {
        pattern: r#""metadata":\{(?:"annotations":\{"k8s.io/initial-events-end":"true"\},)?(?:"continue":"[^"]*",)?(?:"remainingItemCount":[0-9]+,)?"resourceVersion":"([0-9]+)""#,
        numbered: None,
        reason: "a list or bookmark carries the version of the whole store, in which others write too",
    },
    Mask {
        pattern: r#"resourceVersion(?:\\*": ?\\*"|: ")([0-9]+)"#,
        numbered: Some("version"),
        reason: "versions are opaque; only equality counts",
    },
    Mask { pattern: r#""continue":"([^"]+)""#, numbered: None, reason: "a continue token is opaque" },
    Mask {
        pattern: r"((?:20[1-9][0-9])-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z)",
        numbered: None,
        reason: "the time is what it is; times that a case sends lie before 2010",
    },
    Mask {
        pattern: r#"[\[,]"((?:[0-9]+[smhdy]){1,2}|<invalid>)"[\],]"#,
        numbered: None,
        reason: "an age in a table row is a time",
    },
    Mask {
        pattern: r"generated-([bcdfghjklmnpqrstvwxz2456789]{5})\b",
        numbered: Some("suffix"),
        reason: "the end of a generated name is random",
    },
    Mask { pattern: r"\?hash=([0-9A-F]+)", numbered: None, reason: "the hash is over the whole document" },
    Mask { pattern: r#"etag: "([0-9A-F]+)""#, numbered: None, reason: "the hash is over the whole document" },
    Mask {
        pattern: r"Too large resource version: [0-9]+, current: ([0-9]+)",
        numbered: None,
        reason: "the version of the whole store, in which others write too",
    },
    Mask {
        pattern: r"too old resource version: [0-9]+ \(([0-9]+)\)",
        numbered: None,
        reason: "the floor of the history depends on what others wrote",
    },
    Mask {
        pattern: r"does not match the ResourceVersion in record \(([0-9]+)\)",
        numbered: Some("version"),
        reason: "versions are opaque; only equality counts",
    },
];

/// Lists of objects whose order is chance. They are compared in the order of their texts.
const UNORDERED: &[(&str, &str)] = &[
    (r#""causes":["#, "a real server walks a spec in random order, and so are its faults"),
    (r#""managedFields":["#, "entries are in the order of their times, in whole seconds"),
];

/// Headers that are not compared.
const IGNORED_HEADERS: &[(&str, &str)] = &[
    ("accept-ranges", "nobody reads documents in parts"),
    ("audit-id", "ours keeps no audit log"),
    ("connection", "belongs to the connection, and ours is called without one"),
    ("content-length", "belongs to the connection; the body is compared itself"),
    ("date", "belongs to the connection"),
    ("last-modified", "is when the server learnt of the kind"),
    ("transfer-encoding", "belongs to the connection"),
    ("x-kubernetes-pf-flowschema-uid", "ours has no priority and fairness"),
    ("x-kubernetes-pf-prioritylevel-uid", "ours has no priority and fairness"),
];

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    MASKS.iter().map(|mask| Regex::new(mask.pattern).expect("the table holds regular expressions")).collect()
});

/// Masks the answers of one server to one case.
#[derive(Default)]
pub(crate) struct Masking {
    seen: HashMap<(&'static str, String), usize>,
    counts: HashMap<&'static str, usize>,
}

impl Masking {
    pub(crate) fn mask(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (mask, pattern) in MASKS.iter().zip(PATTERNS.iter()) {
            text = pattern.replace_all(&text, |found: &Captures<'_>| self.replaced(mask, found)).into_owned();
        }
        UNORDERED.iter().fold(merge_errors_in_order(in_order(&text)), |text, (list, _)| sorted(&text, list))
    }

    fn replaced(&mut self, mask: &Mask, found: &Captures<'_>) -> String {
        let whole = found.get(0).expect("group 0 is the whole match");
        let group = found.get(1).expect("each pattern has one group that takes part in every match");
        let replacement = match mask.numbered {
            None => "…".to_owned(),
            Some(letter) => {
                let next = self.counts.entry(letter).or_default();
                let number = *self.seen.entry((letter, group.as_str().to_owned())).or_insert_with(|| {
                    *next += 1;
                    *next
                });
                format!("{letter}{number}")
            }
        };
        let text = whole.as_str();
        let (start, end) = (group.start() - whole.start(), group.end() - whole.start());
        let (before, after) = (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
        format!("{before}{replacement}{after}")
    }
}

/// Returns `text` with each list that begins with `list` sorted.
fn sorted(text: &str, list: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(list) {
        let (before, after) = rest.split_at(start + list.len());
        let (mut members, length) = members(after);
        members.sort_unstable();
        result.push_str(before);
        result.push_str(&members.join(","));
        rest = after.get(length..).unwrap_or_default();
    }
    result + rest
}

/// Splits a JSON list after its `[` into the texts of its members. Returns also where its `]` is.
fn members(text: &str) -> (Vec<&str>, usize) {
    let (mut members, mut start, mut depth, mut in_text, mut escaped) =
        (Vec::new(), 0, 0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b',' if depth == 0 => {
                members.extend(text.get(start..at));
                start = at + 1;
            }
            b']' if depth == 0 => {
                members.extend(text.get(start..at));
                return (members, at);
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    (vec![text], text.len())
}

/// Returns a `Status` whose message lists its causes in the order of their texts.
fn in_order(text: &str) -> String {
    static CAUSE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\{"reason":"[^"]*","message":"((?:[^"\\]|\\.)*)","field":"((?:[^"\\]|\\.)*)"\}"#)
            .expect("the expression is well formed")
    });
    let mut causes: Vec<String> =
        CAUSE.captures_iter(text).map(|cause| format!("{}: {}", &cause[2], &cause[1])).collect();
    let length = causes.iter().map(|cause| cause.len() + 2).sum::<usize>();
    let Some(start) = text.find(" is invalid: [").map(|start| start + " is invalid: [".len()) else {
        return text.to_owned();
    };
    // Causes are said once each in the message; only if they fill it is it the same list.
    let end = start + length.saturating_sub(2);
    let list = text.get(start..end).unwrap_or_default();
    let same = text.get(end..).is_some_and(|rest| rest.starts_with(']'))
        && causes.iter().all(|cause| list.contains(cause));
    if !same {
        return text.to_owned();
    }
    causes.sort_unstable();
    text.replacen(list, &causes.join(", "), 1)
}

/// Returns a `Status` whose message lists what cannot be merged in the order of the texts: a real server walks maps in
/// random order here too.
fn merge_errors_in_order(text: String) -> String {
    let Some((before, rest)) = text.split_once(r"errors:\n  ") else { return text };
    let Some((list, after)) = rest.split_once("\",\"") else { return text };
    let mut errors: Vec<&str> = list.split(r"\n  ").collect();
    errors.sort_unstable();
    format!(r#"{before}errors:\n  {}","{after}"#, errors.join(r"\n  "))
}

/// Whether a header is compared.
pub(crate) fn header_counts(name: &str) -> bool {
    !IGNORED_HEADERS.iter().any(|(ignored, _)| *ignored == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_versions_stay_equal_and_times_vanish() {
        let mut masking = Masking::default();
        assert_eq!(
            masking.mask(r#"{"name":"a","resourceVersion":"41","t":"2026-01-02T03:04:05Z"}"#),
            r#"{"name":"a","resourceVersion":"version1","t":"…"}"#
        );
        assert_eq!(
            masking.mask(r#""resourceVersion":"42" "resourceVersion":"41" "t":"2001-01-02T03:04:05Z""#),
            r#""resourceVersion":"version2" "resourceVersion":"version1" "t":"2001-01-02T03:04:05Z""#
        );
    }

    #[test]
    fn faults_are_compared_in_any_order() {
        let one = r#"{"message":"x is invalid: [a: b, c: d \"]\"]","causes":[{"reason":"R","message":"b","field":"a"},{"reason":"R","message":"d \"]\"","field":"c"}]}"#;
        let other = r#"{"message":"x is invalid: [c: d \"]\", a: b]","causes":[{"reason":"R","message":"d \"]\"","field":"c"},{"reason":"R","message":"b","field":"a"}]}"#;
        let missing = r#"{"message":"x is invalid: [c: d \"]\", a: c]","causes":[{"reason":"R","message":"d \"]\"","field":"c"},{"reason":"R","message":"b","field":"a"}]}"#;
        let mask = |text| Masking::default().mask(text);
        assert_eq!(mask(one), mask(other));
        assert_eq!(mask(one), one, "this is the order of the texts");
        assert_ne!(mask(one), mask(missing));
    }

    #[test]
    fn what_cannot_be_merged_is_compared_in_any_order() {
        let mask = |text| Masking::default().mask(text);
        let sorted = r#"{"message":"errors:\n  .a: x\n  .b: \"y\"","code":500}"#;
        assert_eq!(mask(r#"{"message":"errors:\n  .b: \"y\"\n  .a: x","code":500}"#), sorted);
        assert_eq!(mask(sorted), sorted);
    }

    #[test]
    fn the_version_of_a_list_is_not_numbered() {
        let list = r#""metadata":{"continue":"","resourceVersion":"9"}"#;
        assert_eq!(Masking::default().mask(list), r#""metadata":{"continue":"","resourceVersion":"…"}"#);
    }
}
