//! Names of Tasks that spawners make.

use serde_json::Value;

use crate::lang::gotemplate::{Missing, Template, TemplateError};

/// The longest name that Kubernetes takes as label value, which upstream makes of every Task name.
const MAX_NAME_BYTES: usize = 63;

/// What the engine prints for a value that is not there.
const NO_VALUE: &str = "<no value>";

/// Variables that come from sources which are read after the Task has its name.
const CONTEXT: &str = "Context";

/// Why a name template gives no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The template cannot be rendered.
    #[error("the name template cannot be rendered")]
    Template(#[source] TemplateError),
    /// The template mentions the context sources.
    #[error("the name template mentions .{CONTEXT} on line {line}, which is read after the name is made")]
    Context {
        /// The line of the template.
        line: usize,
    },
    /// The rendered text says that something is missing.
    #[error("the name template gives {rendered:?}: a value is missing")]
    MissingValue {
        /// The rendered text.
        rendered: String,
    },
    /// Nothing of the rendered text can stand in a name.
    #[error("the name template gives {rendered:?}, of which nothing can stand in a name")]
    Empty {
        /// The rendered text.
        rendered: String,
    },
}

/// Renders a spawner's `nameTemplate` with the variables of a work item and makes a valid name of the text.
pub fn task_name(template: &Template, variables: &Value) -> Result<String, NameError> {
    check_name_template(template)?;
    let rendered = template.render(variables, Missing::Error).map_err(NameError::Template)?;
    if rendered.contains(NO_VALUE) {
        return Err(NameError::MissingValue { rendered });
    }
    let name = sanitized(&rendered);
    if name.is_empty() { Err(NameError::Empty { rendered }) } else { Ok(name) }
}

/// Checks what can be known of a name template without an item.
pub fn check_name_template(template: &Template) -> Result<(), NameError> {
    let references = template.references();
    let context =
        references.iter().find(|reference| reference.path.first().is_some_and(|name| name == CONTEXT));
    context.map_or(Ok(()), |reference| Err(NameError::Context { line: reference.line }))
}

/// Makes a DNS subdomain of any text: lowercase, what is invalid becomes `-`, at most 63 bytes, and no label begins or ends
/// with `-`. The result is empty if nothing is left.
pub fn sanitized(text: &str) -> String {
    let mut name: String = text.chars().filter_map(lowercase).map(valid_or_dash).collect();
    // Trimmed before the cut, so that what goes anyway takes no room, and after it, as it may end anywhere.
    name = trimmed(&name);
    name.truncate(MAX_NAME_BYTES);
    trimmed(&name)
}

/// The first character of the lowercase form: `İ` is `i` and a combining dot in Unicode, and `i` in Go.
fn lowercase(character: char) -> Option<char> {
    character.to_lowercase().next()
}

fn valid_or_dash(character: char) -> char {
    if character.is_ascii_lowercase() || character.is_ascii_digit() || character == '.' {
        character
    } else {
        '-'
    }
}

fn trimmed(name: &str) -> String {
    let labels = name.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty());
    labels.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Templates on which upstream and we differ, and why.
    const DEVIATIONS: [(&str, &str); 2] = [
        // Upstream takes the word anywhere for the variable; as a string it is only a string.
        ("{{with \"Context\"}}{{.}}{{end}}", "context"),
        ("{{printf \"Context\"}}", "context"),
    ];

    #[test]
    fn recorded_names_agree_with_upstream() {
        let mut variables: BTreeMap<String, Value> = BTreeMap::new();
        let mut cases = 0;
        for line in include_str!("../../tests/testdata/upstream/task-names.jsonl").lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            if let Some(name) = case["fixture"].as_str() {
                variables.insert(name.to_owned(), case["variables"].clone());
                continue;
            }
            let source = case["input"]["template"].as_str().unwrap();
            if source.is_empty() {
                // Without a template the spawner's default name stands.
                continue;
            }
            cases += 1;
            let variables = &variables[case["input"]["fixture"].as_str().unwrap()];
            let found = Template::parse(source)
                .map_err(NameError::Template)
                .and_then(|template| task_name(&template, variables));
            let deviation = DEVIATIONS.iter().find(|(template, _)| *template == source);
            match (deviation, case["output"].as_str()) {
                (Some((_, ours)), upstream) => {
                    assert_ne!(upstream, Some(*ours), "the deviation is none: {case}");
                    assert_eq!(found.as_deref(), Ok(*ours), "{case}");
                }
                (None, Some(expected)) => assert_eq!(found.as_deref(), Ok(expected), "{case}"),
                (None, None) => assert!(found.is_err(), "{case}: {found:?}"),
            }
        }
        assert!(cases > 150, "only {cases} cases");
    }

    #[test]
    fn names_that_end_at_the_cut_stay_valid() {
        let text = format!("{}-.-{}", "a".repeat(61), "b".repeat(61));
        assert_eq!(sanitized(&text), format!("{}.b", "a".repeat(61)));
        assert_eq!(sanitized(&format!("{}-b", "a".repeat(62))), "a".repeat(62));
        assert_eq!(sanitized("---long---name---"), "long---name");
        assert_eq!(sanitized("\u{1f680}"), "");
    }

    #[test]
    fn context_is_refused_wherever_it_is_reached_from_the_root() {
        for (source, line) in [
            ("{{.Context}}", 1),
            ("a\n{{$.Context.x}}", 2),
            ("{{index . \"Context\"}}", 1),
            ("{{define \"t\"}}\n{{.Context}}{{end}}{{template \"t\" .}}", 2),
        ] {
            let template = Template::parse(source).unwrap();
            assert_eq!(check_name_template(&template), Err(NameError::Context { line }), "{source}");
        }
        assert_eq!(check_name_template(&Template::parse("{{$Context := 1}}{{$Context}}").unwrap()), Ok(()));
    }
}
