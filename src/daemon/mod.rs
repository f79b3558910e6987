//! The composition root: everything that runs for long is put together and owned here.

pub mod supervisor;
