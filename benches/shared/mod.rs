//! What all benchmarks share: a daemon to measure, a repository for it, and a table of what was measured.

#![expect(clippy::disallowed_methods, reason = "benchmarks read here what the user asked for")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(dead_code, reason = "each benchmark uses its part of this module")]
#![allow(clippy::allow_attributes, reason = "what one benchmark leaves unused another one needs")]

pub(crate) mod daemon;
pub(crate) mod real_api_server;
pub(crate) mod repository;
#[path = "../../tests/it/support/server_programs.rs"]
pub(crate) mod server_programs;

use std::time::Duration;

/// Prints one row: what, how much of it, and how much there may be.
pub(crate) fn row(what: &str, measured: &str, budget: &str) {
    println!("| {what} | {measured} | {budget} |");
}

/// Prints the head of a table.
pub(crate) fn head(subject: &str) {
    println!("\n{subject}\n\n| what | measured | budget |\n| --- | --- | --- |");
}

/// Says something beside the table.
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Returns the words after `cargo bench --bench NAME --`.
pub(crate) fn arguments() -> Vec<String> {
    std::env::args().skip(1).filter(|word| word != "--bench").collect()
}

/// Returns the numbers among the words, or these when there are none.
pub(crate) fn numbers(default: &[usize]) -> Vec<usize> {
    let given: Vec<usize> = arguments().iter().filter_map(|word| word.parse().ok()).collect();
    if given.is_empty() { default.to_vec() } else { given }
}

/// Returns a variable of the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns a time for people.
pub(crate) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// Returns memory for people.
pub(crate) fn mebibytes(kibibytes: u64) -> String {
    format!("{} MiB", kibibytes.div_ceil(1024))
}
