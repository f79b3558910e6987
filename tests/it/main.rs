//! The integration tests: one file per promise to users.

mod daemon_survives_kill;
mod drift_is_reported_and_corrected;
mod hostile_repository;
mod manifest_rejected_with_location;
mod refused_by_server;
mod removed_manifest_is_pruned;
mod report_reaches_the_remote;
mod run_bench;
mod run_ends_with_a_truthful_outcome;
mod run_leaves_nothing_behind;
mod run_survives_kill;
mod run_works_in_its_checkout;
mod suspend_by_hand_outlives_git;
mod task_in_git_runs_once;
mod tidy {
    mod crate_homes;
    mod file_sizes;
    mod generated_files;
    mod layers;
    mod links;
    mod source;
    mod yaml_is_valid;
}
#[cfg(test)]
mod cli_reads;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod support;
mod upstream_admission_verdicts;
