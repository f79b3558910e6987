//! Evaluates the rules between fields.
//!
//! The table is `api::rule`; this module walks an object to the places where a rule holds and asks its predicate.

use serde_json::Value;

use crate::api::rule::{RULES, Rule, RuleReason};

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Field that is to blame, as API servers write it: `spec.when.webhook.filters[0]`. Empty for the whole object.
    pub path: String,
    /// The same as a JSON pointer: `/spec/when/webhook/filters/0`.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// How the API server says it.
    pub reason: RuleReason,
}

/// Returns every rule of `kind` that `new` breaks. `old` is what it replaces; without it, rules that compare the two
/// are left out.
///
/// Values of a wrong type break no rule: the schema refuses them. An unknown kind has no rules.
pub fn violations(kind: &str, new: &Value, old: Option<&Value>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.kind.as_str() == kind && (old.is_some() || !rule.transition))
    {
        visit(&rule.path, &Place::root(new, old), &mut |place| {
            if !(rule.holds)(place.value, place.older) {
                violations.push(place.violation(rule));
            }
        });
    }
    violations
}

/// A value in an object with the value that it replaces, and how it is reached. The way is spelled only for a rule that
/// is broken: every write of every object goes through here.
struct Place<'a> {
    value: &'a Value,
    older: Option<&'a Value>,
    before: Option<&'a Self>,
    step: Step<'a>,
}

enum Step<'a> {
    Root,
    Field(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    fn root(value: &'a Value, older: Option<&'a Value>) -> Self {
        Self { value, older, before: None, step: Step::Root }
    }

    /// Returns the way to the value as API servers write it, and as a JSON pointer.
    fn spell(&self) -> (String, String) {
        let (path, pointer) = self.before.map(Place::spell).unwrap_or_default();
        match self.step {
            Step::Root => (path, pointer),
            Step::Field(name) => {
                let separator = if path.is_empty() { "" } else { "." };
                (format!("{path}{separator}{name}"), format!("{pointer}/{name}"))
            }
            Step::Item(index) => (format!("{path}[{index}]"), format!("{pointer}/{index}")),
        }
    }

    fn violation(&self, rule: &Rule) -> Violation {
        let field_path = rule.field_path.unwrap_or_default();
        let (path, pointer) = self.spell();
        Violation {
            path: format!("{path}{field_path}"),
            pointer: format!("{pointer}{}", field_path.replace('.', "/")),
            message: rule.message.to_owned(),
            reason: rule.reason,
        }
    }
}

/// Goes to every value at `rest`, the part of a path that lies below `place`.
fn visit(rest: &str, place: &Place<'_>, act: &mut dyn FnMut(&Place<'_>)) {
    if rest.is_empty() {
        act(place);
        return;
    }
    let (segment, rest) = rest.split_once('.').unwrap_or((rest, ""));
    let name = segment.trim_end_matches("[*]");
    let Some(value) = place.value.get(name).filter(|value| !value.is_null()) else { return };
    let older = place.older.and_then(|older| older.get(name));
    let field = Place { value, older, before: Some(place), step: Step::Field(name) };
    if name == segment {
        visit(rest, &field, act);
        return;
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        let older = older.and_then(|older| older.get(index));
        let item = Place { value, older, before: Some(&field), step: Step::Item(index) };
        visit(rest, &item, act);
    }
}

#[cfg(test)]
mod tests;
