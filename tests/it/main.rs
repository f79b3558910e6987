//! The integration tests: one file per promise to users.

mod tidy {
    mod generated_files;
}
