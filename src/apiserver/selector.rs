//! Label and field selectors: which objects a list, watch or collection deletion means.
//!
//! The grammar and the refusals are those of `labels.Parse` and `fields.ParseSelector` in apimachinery.

use serde_json::Value;

use crate::apiserver::encode;
use crate::apiserver::jsonpath;
use crate::apiserver::names;
use crate::apiserver::resource::Resource;
use crate::apiserver::status::ApiError;

/// A label selector: every requirement must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    Absent,
    Greater,
    Less,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

/// The two-character symbols come first, so that the longest one is taken.
const SYMBOLS: [&str; 9] = ["!=", "==", ",", "(", ")", "!", "=", ">", "<"];

const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            tokens.push(Token::End);
            return tokens;
        }
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = rest.get(symbol.len()..).unwrap_or_default();
        } else {
            let end =
                rest.find([' ', '\t', '\r', '\n', ',', '(', ')', '!', '=', '>', '<']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.position).unwrap_or(&Token::End)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Symbol("!") => {
                    let requirement = self
                        .requirement()
                        .map_err(|error| format!("unable to parse requirement: {error}"))?;
                    requirements.push(requirement);
                    match self.take() {
                        Token::End => return Ok(requirements),
                        Token::Symbol(",") => {
                            if !matches!(self.peek(), Token::Word(_) | Token::Symbol("!")) {
                                let found = self.peek().text();
                                return Err(format!("found '{found}', expected: identifier after ','"));
                            }
                        }
                        other => {
                            return Err(format!(
                                "found '{}', expected: ',' or 'end of string'",
                                other.text()
                            ));
                        }
                    }
                }
                Token::End => return Ok(requirements),
                other @ Token::Symbol(_) => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.text()
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = *self.peek() == Token::Symbol("!");
        if negated {
            self.position += 1;
        }
        let key = match self.take() {
            Token::Word(word) => word,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        let errors = names::qualified(&key);
        if !errors.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", errors.join("; ")));
        }
        if negated {
            return Ok(Requirement { key, operator: Operator::Absent, values: Vec::new() });
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() });
        }
        let token = self.take();
        let (operator, values) = match token.text() {
            "in" => (Operator::In, self.values()?),
            "notin" => (Operator::NotIn, self.values()?),
            "=" | "==" => (Operator::In, vec![self.value()?]),
            "!=" => (Operator::NotIn, vec![self.value()?]),
            ">" => (Operator::Greater, vec![self.value()?]),
            "<" => (Operator::Less, vec![self.value()?]),
            other => return Err(format!("found '{other}', expected: {BINARY_OPERATORS}")),
        };
        for (index, value) in values.iter().enumerate() {
            if matches!(operator, Operator::Greater | Operator::Less) && value.parse::<i64>().is_err() {
                return Err(format!(
                    "values[{index}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                ));
            }
            let errors = names::label_value(value);
            if !errors.is_empty() {
                return Err(format!(
                    "values[{index}][{key}]: Invalid value: {value:?}: {}",
                    errors.join("; ")
                ));
            }
        }
        Ok(Requirement { key, operator, values })
    }

    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(String::new());
        }
        match self.take() {
            Token::Word(word) => Ok(word),
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.take();
        if open != Token::Symbol("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Token::Word(_) => self.take().text().to_owned(),
                Token::Symbol("," | ")") => String::new(),
                other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
            };
            values.push(value);
            match self.take() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => break,
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }
}

impl LabelSelector {
    /// Reads a selector such as `a=b,c in (d,e),!f`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut parser = Parser { tokens: tokens(text), position: 0 };
        let requirements = parser.selector().map_err(ApiError::bad_request)?;
        Ok(Self { requirements })
    }

    /// Whether everything matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.requirements.iter().all(|requirement| {
            let value = labels[requirement.key.as_str()].as_str();
            let listed = value.is_some_and(|value| requirement.values.iter().any(|wanted| wanted == value));
            let number = value.and_then(|value| value.parse::<i64>().ok());
            let bound = requirement.values.first().and_then(|value| value.parse::<i64>().ok());
            match requirement.operator {
                Operator::In => listed,
                Operator::NotIn => !listed,
                Operator::Exists => value.is_some(),
                Operator::Absent => value.is_none(),
                Operator::Greater => number.zip(bound).is_some_and(|(number, bound)| number > bound),
                Operator::Less => number.zip(bound).is_some_and(|(number, bound)| number < bound),
            }
        })
    }
}

/// A field selector: every term must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    path: Vec<String>,
    value: String,
    equal: bool,
    /// What an absent field counts as.
    absent: &'static str,
}

impl FieldSelector {
    /// Reads a selector such as `metadata.name=a,spec.type!=b` for the fields that `resource` lets select.
    pub(crate) fn parse(text: &str, resource: &Resource) -> Result<Self, ApiError> {
        let mut terms = Vec::new();
        for part in split_terms(text) {
            if part.is_empty() {
                continue;
            }
            let fault =
                || ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"));
            let (field, equal, raw) = split_operator(&part).ok_or_else(fault)?;
            let value = unescape(raw).map_err(ApiError::bad_request)?;
            let (path, absent) = field_path(field, resource)?;
            terms.push(Term { field: field.to_owned(), path, value, equal, absent });
        }
        Ok(Self { terms })
    }

    /// Whether everything matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Returns the value that `field` must have, when the selector demands exactly one.
    pub(crate) fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Demands the name as well.
    ///
    /// # Errors
    /// When the selector is there and does not demand it already.
    pub(crate) fn demand_name(&mut self, name: &str) -> Result<(), ApiError> {
        if self.is_empty() {
            let path = ["metadata", "name"].map(str::to_owned).to_vec();
            let (field, value) = ("metadata.name".to_owned(), name.to_owned());
            self.terms.push(Term { field, path, value, equal: true, absent: "" });
        }
        if self.exact("metadata.name") == Some(name) {
            return Ok(());
        }
        Err(ApiError::bad_request("fieldSelector metadata.name doesn't match requested name"))
    }

    fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let found = jsonpath::lookup(object, &term.path);
            let equal = match found {
                Some(Value::String(text)) => *text == term.value,
                Some(Value::Null) | None => term.value == term.absent,
                Some(other) => encode::to_text(other) == term.value,
            };
            equal == term.equal
        })
    }
}

fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == ',' && !escaped {
            terms.push(String::new());
            continue;
        }
        escaped = character == '\\' && !escaped;
        terms.last_mut().expect("because one term is always there").push(character);
    }
    terms
}

fn split_operator(term: &str) -> Option<(&str, bool, &str)> {
    // The first operator in the text decides; `!=` and `==` are taken before `=`.
    let start = term.find(['!', '='])?;
    let (field, rest) = term.split_at(start);
    ["!=", "==", "="]
        .into_iter()
        .find_map(|operator| rest.strip_prefix(operator).map(|value| (field, operator != "!=", value)))
}

fn unescape(raw: &str) -> Result<String, String> {
    let mut value = String::with_capacity(raw.len());
    let mut characters = raw.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => value.push(escaped),
                Some(other) => {
                    return Err(format!("invalid field selector: invalid escape sequence: \\{other}"));
                }
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => {
                return Err(format!("invalid field selector: unescaped character in value: {character}"));
            }
            other => value.push(other),
        }
    }
    Ok(value)
}

fn field_path(field: &str, resource: &Resource) -> Result<(Vec<String>, &'static str), ApiError> {
    let split = |path: &str| path.split('.').map(str::to_owned).collect();
    if field == "metadata.name" || (field == "metadata.namespace" && resource.selects_namespace()) {
        return Ok((split(field), ""));
    }
    if let Some(selectable) = resource.selectable_fields.iter().find(|selectable| selectable.name == field) {
        return Ok((selectable.path.clone(), ""));
    }
    if let Some(face) = resource.core.and_then(|core| core.face.as_ref()) {
        let stored = (face.stored_field)(field)
            .ok_or_else(|| ApiError::bad_request(format!("field label not supported: {field}")))?;
        return Ok((split(&stored), ""));
    }
    if let Some(core) = resource.core {
        if let Some(selectable) = core.selectable.iter().find(|selectable| selectable.name == field) {
            return Ok((split(selectable.path), selectable.absent));
        }
        if core.selectable.is_empty() {
            return Err(ApiError::bad_request(format!(
                "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            )));
        }
    }
    Err(ApiError::bad_request(format!("field label not supported: {field}")))
}

/// Both selectors of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    /// Whether everything matches.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether stored JSON matches. What is not JSON matches nothing.
    pub(crate) fn matches_bytes(&self, bytes: &[u8]) -> bool {
        self.is_everything()
            || serde_json::from_slice::<Value>(bytes).is_ok_and(|object| self.matches(&object))
    }

    /// Whether `object` matches.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::core_kinds;

    fn label_match(selector: &str) -> bool {
        let object = json!({"metadata": {"labels": {"a": "1", "kelos.dev/b": "x", "in": ""}}});
        LabelSelector::parse(selector).unwrap().matches(&object)
    }

    #[test]
    fn label_selectors_know_the_whole_grammar() {
        for selector in [
            "",
            "a",
            "a=1",
            "a==1",
            "a!=2",
            "missing!=2",
            "!missing",
            "a in (1,2)",
            "a notin (3), kelos.dev/b",
            "kelos.dev/b=x,a>0",
            "a<2",
            "in=",
            "in in ()",
            " a = 1 , in ",
        ] {
            assert!(label_match(selector), "{selector}");
        }
        for selector in ["a=2", "!a", "missing", "a notin (1)", "a in ()", "a>1", "kelos.dev/b>1"] {
            assert!(!label_match(selector), "{selector}");
        }
    }

    #[test]
    fn broken_label_selectors_say_what_was_found() {
        let cases = [
            ("a,", "found '', expected: identifier after ','"),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in 1", "unable to parse requirement: found '1' expected: '('"),
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ];
        for (selector, message) in cases {
            assert_eq!(LabelSelector::parse(selector).unwrap_err().message, message, "{selector}");
        }
    }

    #[test]
    fn field_selectors_compare_the_named_fields() {
        let resources = core_kinds::resources();
        let events = resources.iter().find(|resource| resource.plural == "events").unwrap();
        let event = json!({"metadata": {"name": "a"}, "involvedObject": {"kind": "Task", "name": "x,y"}});
        let matches = |text: &str| FieldSelector::parse(text, events).unwrap().matches(&event);
        assert!(matches("involvedObject.kind=Task,involvedObject.name=x\\,y"));
        assert!(matches("metadata.name==a,involvedObject.uid="));
        assert!(!matches("metadata.name!=a"));
        let error = FieldSelector::parse("spec.x=1", events).unwrap_err();
        assert_eq!(error.message, "field label not supported: spec.x");
        let error = FieldSelector::parse("metadata.name", events).unwrap_err();
        assert_eq!(error.message, "invalid selector: 'metadata.name'; can't understand 'metadata.name'");
    }
}
