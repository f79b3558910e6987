//! The status branch: what ran and what runs, written back into git.
//!
//! ```text
//! README.md                     an index of all writers, which any of them can make anew
//! <writer>/README.md            for people: what runs, what comes next, what failed and why
//! <writer>/status.json          the same for programs
//! <writer>/ledger/YYYY/MM-DD.jsonl   one line for each run that ended on that day, written once
//! <writer>/ledger/YYYY/MM-DD.2.jsonl   more of that day, when there is much
//! ```
//!
//! [`line`], [`report`], [`page`] and [`index`] are pure: facts in, bytes out; [`mod@read`] gets lines back. [`writer`] makes a commit of
//! them on whatever the branch holds now and pushes it, again and again until it lands. A writer touches its
//! own folder and the index and nothing else; no branch moves by force; a line is written once, whoever asks
//! how often.
//!
//! No text of an item or an agent gets here: fields are ids, digests, words, numbers, times and texts of
//! ours, and what does not look like its kind is left out.

mod history;
pub mod index;
pub mod line;
pub mod markdown;
pub mod page;
pub mod read;
pub mod report;
mod source;
pub mod writer;
