//! Files stay small enough to be read in one go.

use crate::tidy::source::{files, text};

/// The most lines of a file, tests included. Most have 150 to 400.
const MOST_LINES: usize = 800;

#[test]
fn no_file_is_too_long_to_read() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for path in files("src", ".rs").into_iter().chain(files("tests", ".rs")) {
        seen += 1;
        let lines = text(&path).lines().count();
        if lines > MOST_LINES {
            wrong.push(format!("{path} has {lines} lines; split it by subject"));
        }
    }
    assert!(seen > 100, "the files are found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modules_are_called_after_what_they_hold() {
    const VAGUE: [&str; 7] = ["util", "utils", "common", "helpers", "core", "types", "manager"];
    let is_vague = |path: &String| path.split('/').any(|part| VAGUE.contains(&part.trim_end_matches(".rs")));
    let vague: Vec<String> = files("src", ".rs").into_iter().filter(is_vague).collect();
    assert!(vague.is_empty(), "{vague:?}");
}
