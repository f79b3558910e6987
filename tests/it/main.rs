//! The integration tests: one file per promise to users.

mod run_bench;
mod run_ends_with_a_truthful_outcome;
mod run_leaves_nothing_behind;
mod run_survives_kill;
mod run_works_in_its_checkout;
mod tidy {
    mod generated_files;
}
#[cfg(test)]
mod cli_changes;
#[cfg(test)]
mod cli_completes;
#[cfg(test)]
mod cli_diffs;
#[cfg(test)]
mod cli_logs;
#[cfg(test)]
mod cli_reads;
#[cfg(test)]
mod cli_reconcile;
#[cfg(test)]
mod cli_runs;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod support;
