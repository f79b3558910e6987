//! What is wrong with an object, or with all objects of a config repository, found without asking anybody.
//!
//! Everything here is pure: broken input gives all findings at once, and whoever holds the files turns their JSON
//! pointers into lines and columns.

pub mod rules;
