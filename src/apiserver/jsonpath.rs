//! The part of Kubernetes' JSONPath that printer columns use.
//!
//! `.field`, `['field']`, `[0]`, `[-1]`, `[*]` and `[?(@.field=="value")]`; a backslash takes the next character of a
//! field name literally. A missing key yields no result, never an error.

use serde_json::Value;

/// A path that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter { path: Vec<String>, equal: bool, literal: Value },
}

/// A path outside of the subset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a supported JSONPath: {reason}")]
pub(crate) struct JsonPathError {
    path: String,
    reason: &'static str,
}

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub(crate) fn parse(text: &str) -> Result<Self, JsonPathError> {
        let fault = |reason| JsonPathError { path: text.to_owned(), reason };
        let mut steps = Vec::new();
        let mut rest = text.trim().trim_start_matches('$');
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let end = closing_bracket(after).ok_or_else(|| fault("a bracket is not closed"))?;
                let (inside, after) = after.split_at(end);
                steps.push(bracket(inside.trim()).map_err(fault)?);
                rest = after.get(1..).unwrap_or_default();
            } else {
                let after = rest.strip_prefix('.').unwrap_or(rest);
                let (name, after) = field(after);
                match name.as_str() {
                    "" if after.starts_with('[') => {}
                    "" if after.is_empty() && steps.is_empty() => {}
                    "" => return Err(fault("a field name is missing")),
                    "*" => steps.push(Step::All),
                    _ => steps.push(Step::Field(name)),
                }
                rest = after;
            }
        }
        Ok(Self { text: text.to_owned(), steps })
    }

    /// Returns the path as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns every value the path leads to.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                match (step, value) {
                    (Step::Field(name), Value::Object(map)) => next.extend(map.get(name)),
                    (Step::Index(index), Value::Array(items)) => {
                        let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                        let index = if *index < 0 { length.saturating_add(*index) } else { *index };
                        next.extend(usize::try_from(index).ok().and_then(|index| items.get(index)));
                    }
                    (Step::All, Value::Array(items)) => next.extend(items),
                    (Step::All, Value::Object(map)) => next.extend(map.values()),
                    (Step::Filter { path, equal, literal }, Value::Array(items)) => {
                        next.extend(items.iter().filter(|item| {
                            lookup(item, path).is_some_and(|value| (value == literal) == *equal)
                        }));
                    }
                    _ => {}
                }
            }
            found = next;
        }
        found
    }
}

/// Returns the value below `value` that the field names of `path` lead to.
pub(crate) fn lookup<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (name, text.get(index..).unwrap_or_default()),
            other => name.push(other),
        }
    }
    (name, "")
}

fn closing_bracket(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0_usize;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(index),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inside: &str) -> Result<Step, &'static str> {
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquote(inside) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Ok(index) = inside.parse::<i64>() {
        return Ok(Step::Index(index));
    }
    let condition = inside
        .strip_prefix("?(")
        .and_then(|text| text.strip_suffix(')'))
        .ok_or("only an index, *, a quoted name or a filter may stand in brackets")?;
    let (left, equal, right) = condition
        .split_once("==")
        .map(|(left, right)| (left, true, right))
        .or_else(|| condition.split_once("!=").map(|(left, right)| (left, false, right)))
        .ok_or("a filter compares with == or !=")?;
    let left = left.trim().strip_prefix("@.").ok_or("the left side of a filter begins with @.")?;
    let right = right.trim();
    let literal = match unquote(right) {
        Some(text) => Value::from(text),
        None => serde_json::from_str(right).map_err(|_| "the right side of a filter is a literal")?,
    };
    Ok(Step::Filter { path: left.split('.').map(str::to_owned).collect(), equal, literal })
}

fn unquote(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_supported_form_finds_its_values() {
        let value = json!({
            "spec": {"a.b": 1, "list": [{"n": "x", "v": 10}, {"n": "y", "v": 20}]},
            "metadata": {"annotations": {"kelos.dev/run": "7"}},
        });
        let cases = [
            (".spec.list[0].v", vec![json!(10)]),
            (".spec.list[-1].n", vec![json!("y")]),
            (".spec.list[*].v", vec![json!(10), json!(20)]),
            (".spec['a.b']", vec![json!(1)]),
            (r".spec.a\.b", vec![json!(1)]),
            (r".metadata.annotations.kelos\.dev/run", vec![json!("7")]),
            (".spec.list[?(@.n==\"y\")].v", vec![json!(20)]),
            (".spec.list[?(@.v!=10)].n", vec![json!("y")]),
            (".spec.missing.deeper", vec![]),
            (".spec.list[9]", vec![]),
        ];
        for (path, expected) in cases {
            let found: Vec<Value> =
                JsonPath::parse(path).unwrap().find(&value).into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn what_is_outside_of_the_subset_is_refused() {
        for path in [".a[", ".a[1:2]", ".a..b", ".a[?(@.x>1)]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
