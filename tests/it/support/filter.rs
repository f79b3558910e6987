//! Replaces what differs between two runs of a test.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r"https://(127\.0\.0\.1|\[::1\]|localhost):\d+", "[SERVER]"),
        // Whether YAML quotes it depends on its digits.
        (r"'?\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b'?", "[UID]"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "[TIME]"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r"\b[0-9a-f]{40}\b", "[COMMIT]"),
        (r"\b[0-9a-f]{12}\b", "[SHORT]"),
        (r#"(resourceVersion"?: ["']?)\d+"#, "${1}[VERSION]"),
        // Spans stand alone in their column: the age, and how long a run took.
        (r"(?m)(  +)(\d+[smhd]){1,2}( |$)", "${1}[SPAN]${3}"),
        // How wide a column is depends on what was replaced in it.
        (r"(\S)   +", "${1}   "),
    ]
    .into_iter()
    .map(|(pattern, word)| (Regex::new(pattern).expect("it is a pattern"), word))
    .collect()
});

/// Returns `text` with ids, times, ports and the folder of the test replaced by words in brackets.
pub(crate) fn stable(text: &str, root: &Path) -> String {
    let text = text.replace(&root.display().to_string(), "[DIR]");
    RULES.iter().fold(text, |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
}

#[test]
fn what_differs_is_replaced() {
    let text = "uid: 0f0e7a52-3a64-4d7b-9c1c-4d2f6d6f5a3e at 2026-03-01T09:00:00Z in /tmp/x/data\nNAME   AGE\na      3s\nb      2m5s\n";
    let wanted = "uid: [UID] at [TIME] in [DIR]/data\nNAME   AGE\na   [SPAN]\nb   [SPAN]\n";
    assert_eq!(stable(text, Path::new("/tmp/x")), wanted);
}
