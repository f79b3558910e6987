//! YAML: a strict reader with positions, and a writer that every reader understands alike.
//!
//! The reader takes YAML 1.2 and refuses what a YAML 1.1 reader (kubectl, `PyYAML`) would read as something else, so
//! that a manifest means the same to whoever opens it. It turns text into JSON values; tags, directives, keys that are
//! not strings and aliases that multiply are faults. Merge keys (`<<`) are resolved, as kubectl does it; a key that is
//! written out wins over a merged one. Timestamps are strings (kubectl agrees), and a float without a fraction becomes
//! an integer (`1.0` is `1`, as in the JSON that kubectl sends).
//!
//! It never touches files and knows nothing of what the documents mean. Values carry no positions: a [`Locator`] is made
//! from the same text when a finding needs one.

mod fault;
mod locate;
mod read;
mod scalar;
mod syntax;
mod write;

#[cfg(test)]
mod tests;

pub use fault::{Fault, FaultCode, Position};
pub use locate::{Locator, Side};
pub use read::{Document, Limits, Reading, parse, parse_bytes, read_bytes};
pub use write::write;
