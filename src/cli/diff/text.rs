//! A difference as people read it.

use std::fmt::Write as _;

use serde_json::Value;

use crate::gitops::diff::{Difference, Effect, FieldChange, ObjectDifference};

/// The most lines of a text that are compared line by line.
const MOST_LINES: usize = 500;
/// The longest value that is shown on one line, in characters.
const LONGEST_VALUE: usize = 120;
/// Unchanged lines that are shown around changed ones.
const CONTEXT: usize = 2;

/// Returns the objects with their fields, and a summary.
pub(super) fn text(difference: &Difference) -> String {
    let mut text = String::new();
    for object in &difference.objects {
        object_lines(object, &mut text);
    }
    for notice in &difference.notices {
        let _infallible = writeln!(text, "! {notice}");
    }
    text
}

/// Returns how many objects there are of each effect.
pub(super) fn summary(difference: &Difference) -> String {
    let named = [
        (&[Effect::Added][..], "added"),
        (&[Effect::Changed, Effect::RunStands], "changed"),
        (&[Effect::SetBack], "set back"),
        (&[Effect::Removed, Effect::RemovalHeld], "removed"),
        (&[Effect::Runs, Effect::RunsAgain, Effect::RunsAgainLater, Effect::RunsAfterDependency], "to run"),
    ];
    let parts: Vec<String> = named
        .iter()
        .map(|(effects, word)| {
            (difference.objects.iter().filter(|object| effects.contains(&object.effect)).count(), word)
        })
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if parts.is_empty() { "no changes".to_owned() } else { parts.join(", ") }
}

fn object_lines(object: &ObjectDifference, text: &mut String) {
    let (sign, what) = match object.effect {
        Effect::Added => ('+', ""),
        Effect::Changed => ('~', ""),
        Effect::SetBack => ('~', " was changed on the server and is set back"),
        Effect::Removed => ('-', ""),
        Effect::RemovalHeld => {
            ('-', " would be removed with so many others that it waits for a confirmation")
        }
        Effect::Runs => ('>', " will run"),
        Effect::RunsAgain => ('>', " will run again"),
        Effect::RunsAgainLater => ('>', " will run again once its older run has ended"),
        Effect::RunsAfterDependency => ('>', " will run after what it depends on, which changed"),
        Effect::RunStands => ('~', " changes and does not run again"),
    };
    let _infallible = write!(text, "{sign} {}/{}{what}", object.kind, object.name);
    if !object.file.is_empty() {
        let _infallible = write!(text, "   ({}:{})", object.file, object.line);
    }
    text.push('\n');
    for field in &object.fields {
        field_lines(field, text);
    }
    if let Some(fires) = &object.fires {
        let line = match (&fires.before, &fires.after) {
            (Some(before), Some(after)) if before != after => format!("fires next {after}, before: {before}"),
            (_, Some(after)) => format!("fires next {after}"),
            (Some(before), None) => format!("fires no more, before: {before}"),
            (None, None) => "does not fire".to_owned(),
        };
        let _infallible = writeln!(text, "    {line}");
    }
}

fn field_lines(field: &FieldChange, text: &mut String) {
    match (&field.before, &field.after) {
        (Some(Value::String(before)), Some(Value::String(after)))
            if before.contains('\n') || after.contains('\n') =>
        {
            let _infallible = writeln!(text, "    {}:", field.path);
            for line in line_changes(before, after) {
                let _infallible = writeln!(text, "      {}", printable(&line));
            }
        }
        (before, after) => {
            let shown =
                |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), value_text);
            let _infallible = writeln!(text, "    {}: {} -> {}", field.path, shown(before), shown(after));
        }
    }
}

fn value_text(value: &Value) -> String {
    let text = value.to_string();
    let shown: String = text.chars().take(LONGEST_VALUE).collect();
    printable(&if shown.len() < text.len() { format!("{shown}…") } else { shown })
}

/// Replaces what could move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Returns the lines of `after` against those of `before`, marked `-`, `+` or blank, with some unchanged ones around.
fn line_changes(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    if old.len() > MOST_LINES || new.len() > MOST_LINES {
        return vec![format!("{} lines -> {} lines", old.len(), new.len())];
    }
    let marked = marked(&old, &new);
    let is_near = |index: usize| {
        let (from, to) = (index.saturating_sub(CONTEXT), (index + CONTEXT + 1).min(marked.len()));
        marked[from..to].iter().any(|line| !line.starts_with(' '))
    };
    let mut shown = Vec::new();
    let mut skipped = false;
    for (index, line) in marked.iter().enumerate() {
        if is_near(index) {
            if skipped && !shown.is_empty() {
                shown.push("…".to_owned());
            }
            shown.push(line.clone());
        }
        skipped = !is_near(index);
    }
    shown
}

/// Marks all lines by their longest common subsequence.
fn marked(old: &[&str], new: &[&str]) -> Vec<String> {
    // common[i][j]: how many lines old[i..] and new[j..] have in common, in order.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marked = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            marked.push(format!("  {}", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            marked.push(format!("- {}", old[i]));
            i += 1;
        } else {
            marked.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_stands_among_its_neighbours() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8";
        assert_eq!(line_changes(before, after), ["  3", "  4", "- 5", "+ five", "  6", "  7"]);
        assert_eq!(line_changes("a", "a\nb"), ["  a", "+ b"]);
        assert_eq!(line_changes("a\nb", ""), ["- a", "- b"]);
        let far = line_changes("x\n1\n2\n3\n4\n5\ny", "1\n2\n3\n4\n5\nz");
        assert_eq!(far, ["- x", "  1", "  2", "…", "  4", "  5", "- y", "+ z"]);
    }
}
