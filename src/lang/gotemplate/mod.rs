//! Go's text/template, as upstream Kelos renders prompts, branches, names and metadata with it.
//!
//! The work is done by gtmpl-ng. In front of it stands a lexer of our own, because that crate hangs, panics or overflows the
//! stack on some texts: it decodes every literal by Go's rules and writes it anew in the plainest form, rewrites
//! `{{else with}}`, checks that blocks nest, bounds sizes and depths, and knows which variables a template mentions.
//!
//! Meant differences from Go, each of which Go answers with an error or with a text that helps nobody:
//!
//! - Whole numbers print as such (`2123456789`); Kelos prints those of JSON payloads as Go floats (`2.123456789e+09`).
//! - `eq`, `lt` and the others compare numbers of all kinds.
//! - `index` answers a missing key of a map that holds strings only with the empty string (as Go does for `Results`), of
//!   another map with `<no value>`.
//! - A string with bytes that are not UTF-8 (`"\xff"`) is refused.

mod error;
mod lexer;
mod reference;
mod rewrite;
mod template;

#[cfg(test)]
mod tests;

pub use error::TemplateError;
pub use reference::Reference;
pub use template::{Missing, Template, escape};
