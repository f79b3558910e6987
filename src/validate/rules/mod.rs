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
        for place in places(rule, new) {
            let older = old.and_then(|old| old.pointer(&place.pointer));
            if !(rule.holds)(place.value, older) {
                violations.push(place.violation(rule));
            }
        }
    }
    violations
}

/// A value in an object, and how it is reached.
#[derive(Debug)]
struct Place<'a> {
    path: String,
    pointer: String,
    value: &'a Value,
}

impl<'a> Place<'a> {
    fn field(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let separator = if self.path.is_empty() { "" } else { "." };
        Some(Self {
            path: format!("{}{separator}{name}", self.path),
            pointer: format!("{}/{name}", self.pointer),
            value,
        })
    }

    fn items(self) -> Vec<Self> {
        let item = |(index, value): (usize, &'a Value)| Self {
            path: format!("{}[{index}]", self.path),
            pointer: format!("{}/{index}", self.pointer),
            value,
        };
        self.value.as_array().into_iter().flatten().enumerate().map(item).collect()
    }

    fn violation(&self, rule: &Rule) -> Violation {
        let field_path = rule.field_path.unwrap_or_default();
        Violation {
            path: format!("{}{field_path}", self.path),
            pointer: format!("{}{}", self.pointer, field_path.replace('.', "/")),
            message: rule.message.to_owned(),
            reason: rule.reason,
        }
    }
}

/// Returns the places of an object where a rule holds.
fn places<'a>(rule: &Rule, object: &'a Value) -> Vec<Place<'a>> {
    let mut places = vec![Place { path: String::new(), pointer: String::new(), value: object }];
    for segment in rule.path.split('.').filter(|segment| !segment.is_empty()) {
        let name = segment.trim_end_matches("[*]");
        let fields = places.iter().filter_map(|place| place.field(name));
        places = if name == segment { fields.collect() } else { fields.flat_map(Place::items).collect() };
    }
    places
}

#[cfg(test)]
mod tests;
