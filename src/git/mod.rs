//! Git as this program uses it: reading config repositories, writing status commits, cloning for runs.
//!
//! - [`id`], [`reference`], [`remote`], [`tree`]: checked names and values, without effects.
//! - [`repository`]: a bare repository of ours, read and written by library code; nothing is ever checked out
//!   from it.
//! - [`folder`]: a folder of the file system in the same shape as a tree of a commit.
//! - [`program`]: the git executable, which pushes and which clones for agents.
//! - [`ssh`]: the ssh command with which both of them reach a server.
//!
//! All calls block; asynchronous callers run them where blocking is allowed. No text of any error holds a
//! credential.

pub mod error;
pub mod folder;
pub mod id;
pub mod leftovers;
mod private_file;
pub mod program;
pub mod reference;
pub mod remote;
pub mod repository;
pub mod ssh;
#[cfg(test)]
pub(crate) mod testing;
pub mod tree;
