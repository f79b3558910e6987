//! Which variables a template mentions.

use std::collections::HashSet;

use super::lexer::{Action, Kind, Token};

/// A variable of the data that a template mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The names from the root of the data, such as `["Deps", "build", "Results", "branch"]`.
    pub path: Vec<String>,
    /// The line of the template, from 1.
    pub line: usize,
    /// Whether the last name is looked up with `index`, which allows it to be missing.
    pub by_index: bool,
}

/// What dot and `$` stand for.
#[derive(Clone, Copy)]
struct Scope {
    /// Whether dot is the root of the data.
    dot: bool,
    /// Whether `$` is: not in a template that is called with something else.
    dollar: bool,
}

/// Returns the variables in the order of the text. What is reached through `range`, or through `with` on something else
/// than the root, is not listed: it is relative to what is listed for that.
pub(super) fn references(actions: &[Action]) -> Vec<Reference> {
    let called = called_with_root(actions);
    let mut found = Vec::new();
    let outside = Scope { dot: true, dollar: true };
    // For each open block: the scope around it, to which its branches and its end return.
    let mut blocks: Vec<Scope> = Vec::new();
    let mut scope = outside;
    // Variables that were set to the root somewhere; a name that is used for two things counts as root.
    let mut roots: HashSet<&str> = HashSet::new();
    for action in actions.iter().filter(|action| !action.is_comment) {
        let keyword = action.keyword().unwrap_or_default();
        if keyword == "end" {
            scope = blocks.pop().unwrap_or(outside);
            continue;
        }
        let mut tokens = action.tokens.as_slice();
        let mut opens = keyword;
        if matches!(keyword, "if" | "with" | "range" | "else" | "template" | "block" | "define") {
            tokens = tokens.get(1..).unwrap_or_default();
        }
        if keyword == "else" {
            scope = blocks.last().copied().unwrap_or(outside);
            opens = match tokens.first().map(|token| &token.kind) {
                Some(Kind::Identifier(word)) => word.as_str(),
                _ => "",
            };
            tokens = tokens.get(1..).unwrap_or_default();
        }
        let mut name = "";
        if matches!(keyword, "template" | "block" | "define")
            && let [Token { kind: Kind::Text(text), .. }, argument @ ..] = tokens
        {
            name = text;
            tokens = argument;
        }
        let mut variable = None;
        if let [
            Token { kind: Kind::Variable(name), .. },
            Token { kind: Kind::Declare | Kind::Assign, .. },
            value @ ..,
        ] = tokens
        {
            variable = Some(name.as_str());
            tokens = value;
        }
        let reader = Reader { scope, roots: &roots };
        let is_root = reader.is_root(tokens);
        reader.read(tokens, &mut found);
        if let Some(variable) = variable
            && is_root
            && opens != "range"
        {
            roots.insert(variable);
        }
        let inside = match opens {
            "if" => scope,
            "with" => Scope { dot: is_root, ..scope },
            "range" => Scope { dot: false, ..scope },
            "block" => Scope { dot: is_root, dollar: is_root },
            "define" => Scope { dot: called.contains(name), dollar: called.contains(name) },
            _ => continue,
        };
        if keyword != "else" {
            blocks.push(scope);
        }
        scope = inside;
    }
    found
}

/// Returns the names of templates that some action calls with `.` or `$`.
fn called_with_root(actions: &[Action]) -> HashSet<&str> {
    let calls = actions.iter().filter(|action| action.keyword() == Some("template"));
    calls
        .filter_map(|action| match action.tokens.as_slice() {
            [_, Token { kind: Kind::Text(name), .. }, argument] => match &argument.kind {
                Kind::Dot => Some(name.as_str()),
                Kind::Variable(variable) if variable.is_empty() => Some(name.as_str()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// Reads one pipeline.
struct Reader<'text> {
    scope: Scope,
    roots: &'text HashSet<&'text str>,
}

impl Reader<'_> {
    /// Says whether a pipeline is the root of the data and nothing else.
    fn is_root(&self, tokens: &[Token]) -> bool {
        matches!(tokens, [token] if self.is_root_token(token))
    }

    fn is_root_token(&self, token: &Token) -> bool {
        match &token.kind {
            Kind::Dot => self.scope.dot,
            Kind::Variable(name) if name.is_empty() => self.scope.dollar,
            Kind::Variable(name) => self.roots.contains(name.as_str()),
            _ => false,
        }
    }

    fn read(&self, tokens: &[Token], found: &mut Vec<Reference>) {
        // For each open parenthesis: the reference that an `index` in it gives, to which a chain behind it belongs.
        let mut open: Vec<Option<usize>> = Vec::new();
        let mut rest = tokens;
        while let Some((token, after)) = rest.split_first() {
            rest = after;
            match &token.kind {
                Kind::Open => open.push(after.first().is_some_and(is_index).then_some(found.len())),
                Kind::Close => {
                    let names = chain(after);
                    rest = after.get(names.len()..).unwrap_or_default();
                    let reference = open.pop().flatten().and_then(|index| found.get_mut(index));
                    if let Some(reference) = reference.filter(|_| !names.is_empty()) {
                        reference.by_index = false;
                        reference.path.extend(names);
                    }
                }
                _ if is_index(token) => {
                    let Some((path, length)) = self.operand(after) else { continue };
                    let after = after.get(length..).unwrap_or_default();
                    let keys = literals(after);
                    rest = after.get(keys.len()..).unwrap_or_default();
                    let by_index = !keys.is_empty();
                    push(
                        found,
                        path.map(|path| path.into_iter().chain(keys).collect()),
                        token.line,
                        by_index,
                    );
                }
                Kind::Dot | Kind::Field(_) | Kind::Variable(_) => {
                    let (path, length) = self.operand_at(token, after);
                    rest = after.get(length - 1..).unwrap_or_default();
                    push(found, path, token.line, false);
                }
                _ => {}
            }
        }
    }

    /// Reads an operand at the head of `tokens`: its path, if it begins at the root, and how many tokens it has.
    fn operand(&self, tokens: &[Token]) -> Option<(Option<Vec<String>>, usize)> {
        let (first, after) = tokens.split_first()?;
        matches!(first.kind, Kind::Dot | Kind::Field(_) | Kind::Variable(_))
            .then(|| self.operand_at(first, after))
    }

    fn operand_at(&self, first: &Token, after: &[Token]) -> (Option<Vec<String>>, usize) {
        let names = chain(after);
        let length = names.len() + 1;
        let path = match &first.kind {
            Kind::Field(name) => self.scope.dot.then(|| std::iter::once(name.clone()).chain(names).collect()),
            _ => self.is_root_token(first).then_some(names),
        };
        (path, length)
    }
}

fn push(found: &mut Vec<Reference>, path: Option<Vec<String>>, line: usize, by_index: bool) {
    // The root alone mentions nothing.
    found.extend(path.filter(|path| !path.is_empty()).map(|path| Reference { path, line, by_index }));
}

fn is_index(token: &Token) -> bool {
    matches!(&token.kind, Kind::Identifier(word) if word == "index")
}

/// Returns the fields that follow without a blank.
fn chain(tokens: &[Token]) -> Vec<String> {
    let fields = tokens.iter().map_while(|token| match &token.kind {
        Kind::Field(name) if token.adjacent => Some(name.clone()),
        _ => None,
    });
    fields.collect()
}

fn literals(tokens: &[Token]) -> Vec<String> {
    let texts = tokens.iter().map_while(|token| match &token.kind {
        Kind::Text(text) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}
