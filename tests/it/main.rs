//! The integration tests: one file per promise to users.

mod daemon_survives_kill;
mod drift_is_reported_and_corrected;
mod examples_apply_in_name_order;
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
    mod architecture;
    mod crate_homes;
    mod file_sizes;
    mod generated_files;
    mod layers;
    mod links;
    pub(crate) mod source;
    mod yaml_is_valid;
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
mod kubectl_works_unmodified;
#[cfg(test)]
mod python_client_works_unmodified;
#[cfg(test)]
mod support;
mod upstream_admission_verdicts;
