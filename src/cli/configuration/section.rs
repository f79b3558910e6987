//! Typed access to one mapping of the configuration. Errors name file, line and field, and never a value.

use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::api::closed_set::UnknownWord;
use crate::cli::command_error::CommandError;
use crate::cli::configuration::Given;
use crate::secret::Secret;
use crate::validate::suggestion;
use crate::yaml::{Locator, Side};

/// One mapping.
pub(super) struct Section<'a> {
    fields: &'a Map<String, Value>,
    /// The path of the mapping as people write it, with a dot at its end; empty for the root.
    prefix: String,
    text: &'a str,
    path: &'a Path,
}

impl<'a> Section<'a> {
    /// Returns the root.
    pub(super) fn new(fields: &'a Map<String, Value>, text: &'a str, path: &'a Path) -> Self {
        Self { fields, prefix: String::new(), text, path }
    }

    /// Refuses fields other than `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), CommandError> {
        let Some(unknown) = self.fields.keys().find(|field| !known.contains(&field.as_str())) else {
            return Ok(());
        };
        let error = CommandError::user_message(format!(
            "{}: there is no field '{}{unknown}'",
            self.place(unknown),
            self.prefix
        ));
        Err(match suggestion::closest(unknown, known.iter().copied()) {
            Some(meant) => error.hint(format!("Did you mean '{}{meant}'?", self.prefix)),
            None => error.hint(format!("Known are {}", known.join(", "))),
        })
    }

    /// Returns the error that a field is not as it has to be.
    pub(super) fn wrong(&self, field: &str, what: &str) -> CommandError {
        CommandError::user_message(format!("{}: {}{field} {what}", self.place(field), self.prefix))
    }

    /// Returns a text; an empty one is none.
    pub(super) fn text(&self, field: &str) -> Result<Option<String>, CommandError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong(field, "has to be a text")),
        }
    }

    /// Returns what may be a secret.
    pub(super) fn given(&self, field: &str) -> Result<Option<Given>, CommandError> {
        Ok(self.text(field)?.map(|text| Given(Secret::new(text))))
    }

    /// Returns a text that has to be there; a number is taken as its digits.
    pub(super) fn needed(&self, field: &str) -> Result<String, CommandError> {
        if let Some(Value::Number(number)) = self.fields.get(field) {
            return Ok(number.to_string());
        }
        self.text(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    /// Returns a member of a closed set.
    pub(super) fn word<T: FromStr<Err = UnknownWord>>(&self, field: &str) -> Result<Option<T>, CommandError> {
        let word = |text: String| {
            text.parse().map_err(|error: UnknownWord| {
                self.wrong(field, &format!("has to be one of {}", error.known.join(", ")))
            })
        };
        self.text(field)?.map(word).transpose()
    }

    /// Returns the mapping below a field.
    pub(super) fn below(&self, field: &str) -> Result<Option<Self>, CommandError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(fields)) => {
                Ok(Some(Self { fields, prefix: format!("{}{field}.", self.prefix), ..*self }))
            }
            Some(_) => Err(self.wrong(field, "has to be a mapping")),
        }
    }

    /// Returns the items of a list.
    pub(super) fn list(&self, field: &str) -> Result<&'a [Value], CommandError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(field, "has to be a list")),
        }
    }

    fn place(&self, field: &str) -> String {
        let pointer = format!("/{}{field}", self.prefix.replace('.', "/"));
        let position = Locator::new(self.text).locate(0, &pointer, Side::Key);
        format!("{}:{}", self.path.display(), position.line)
    }
}
