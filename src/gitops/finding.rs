//! Findings as people and programs read them: file, line, column, what is wrong, what to do.

use std::fmt::{self, Display, Write as _};

use serde::Serialize;

pub use crate::validate::finding::Severity;

use crate::yaml::Position;

/// One thing that is wrong with a config repository, at its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocatedFinding {
    /// Stable name of the kind of finding, listed in the reference.
    pub code: String,
    /// How much it matters.
    #[serde(serialize_with = "as_word")]
    pub severity: Severity,
    /// Path of the file, relative to the root that was read.
    pub file: String,
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// JSON path of the field inside its document, such as `$.spec.when.cron.schedule`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line that the finding is about; not part of the JSON form.
    #[serde(skip)]
    pub excerpt: Option<String>,
}

/// The lines of a text, for looking up many.
#[derive(Debug, Clone, Default)]
pub struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    /// Splits a text.
    pub fn of(text: &'a str) -> Self {
        Self(text.lines().collect())
    }
}

impl LocatedFinding {
    /// Returns the finding with the line of a text that it is about.
    #[must_use]
    pub fn with_excerpt_from(mut self, lines: &Lines<'_>) -> Self {
        self.excerpt = lines.0.get(self.line.saturating_sub(1)).map(|line| printable(line));
        self
    }

    /// Returns `file:line:column`.
    pub fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Display for LocatedFinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}[{}]: {}", self.severity.as_str(), self.code, self.message)?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(formatter, "{margin}--> {}", self.place())?;
        if let Some(excerpt) = &self.excerpt {
            let indent = " ".repeat(self.column.saturating_sub(1));
            writeln!(formatter, "{margin} |")?;
            writeln!(formatter, "{number} | {excerpt}")?;
            writeln!(formatter, "{margin} | {indent}^")?;
        }
        if !self.path.is_empty() && self.path != "$" {
            writeln!(formatter, "{margin} = at {}", self.path)?;
        }
        if let Some(hint) = &self.hint {
            writeln!(formatter, "{margin} = help: {hint}")?;
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn as_word<S: serde::Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity.as_str())
}

/// Returns the JSON path of a JSON pointer: `/spec/a.b/0` becomes `$.spec['a.b'][0]`.
pub fn json_path(pointer: &str) -> String {
    let mut path = String::from("$");
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()) {
            let _infallible = write!(path, "[{token}]");
        } else if !token.is_empty()
            && token
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || character == '_' || character == '$')
        {
            path.push('.');
            path.push_str(&token);
        } else {
            let _infallible = write!(path, "['{}']", token.replace('\'', "\\'"));
        }
    }
    path
}

/// Returns `line` with every character that could move a terminal's cursor replaced, tabs by one blank so that
/// the caret stands right.
fn printable(line: &str) -> String {
    const LONGEST: usize = 200;
    line.chars().take(LONGEST).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Returns a finding about a place in a text.
pub fn located(
    code: &str,
    file: &str,
    position: Position,
    lines: &Lines<'_>,
    message: impl Into<String>,
    hint: Option<String>,
) -> LocatedFinding {
    LocatedFinding {
        code: code.to_owned(),
        severity: Severity::Error,
        file: file.to_owned(),
        line: position.line,
        column: position.column,
        path: String::new(),
        message: message.into(),
        hint,
        excerpt: None,
    }
    .with_excerpt_from(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_line_with_a_caret() {
        let text = "kind: TaskSpawner\nspec:\n\tschedule: \"0 25 * * *\"\n";
        let finding = located(
            "invalid-cron",
            "spawners/nightly.yaml",
            Position { line: 3, column: 12 },
            &Lines::of(text),
            "the hour 25 is out of range",
            Some("hours go from 0 to 23".to_owned()),
        );
        assert_eq!(
            finding.to_string(),
            concat!(
                "error[invalid-cron]: the hour 25 is out of range\n",
                " --> spawners/nightly.yaml:3:12\n",
                "  |\n",
                "3 |  schedule: \"0 25 * * *\"\n",
                "  |            ^\n",
                "  = help: hours go from 0 to 23\n",
            ),
        );
    }

    #[test]
    fn pointers_become_json_paths() {
        assert_eq!(json_path(""), "$");
        assert_eq!(json_path("/spec/when/cron"), "$.spec.when.cron");
        assert_eq!(json_path("/metadata/labels/a.b~1c/0"), "$.metadata.labels['a.b/c'][0]");
    }
}
