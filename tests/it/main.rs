//! The integration tests: one file per promise to users.
//!
//! Every module is marked as test code, so that lints treat what tests share as they treat the tests.

#[cfg(test)]
mod agents_work_with_their_programs;
#[cfg(test)]
mod chaos_converges;
#[cfg(test)]
mod cli_changes;
#[cfg(test)]
mod cli_completes;
#[cfg(test)]
mod cli_configuration;
#[cfg(test)]
mod cli_diffs;
#[cfg(test)]
mod cli_down;
#[cfg(test)]
mod cli_history;
#[cfg(test)]
mod cli_logs;
#[cfg(test)]
mod cli_output;
#[cfg(test)]
mod cli_reads;
#[cfg(test)]
mod cli_reconcile;
#[cfg(test)]
mod cli_runs;
#[cfg(test)]
mod cli_watches;
#[cfg(test)]
mod config_repository_keeps_going;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod daemon_survives_kill;
#[cfg(test)]
mod demo_can_be_typed_by_hand;
#[cfg(test)]
mod dependencies_in_any_order;
#[cfg(test)]
mod drift_is_reported_and_corrected;
#[cfg(test)]
mod examples_apply_in_name_order;
#[cfg(test)]
mod git_over_https;
#[cfg(test)]
mod git_over_ssh;
#[cfg(test)]
mod github_app_tokens;
#[cfg(test)]
mod helm_works_unmodified;
#[cfg(test)]
mod hostile_client;
#[cfg(test)]
mod hostile_repository;
#[cfg(test)]
mod kubectl_works_unmodified;
#[cfg(test)]
mod manifest_rejected_with_location;
#[cfg(test)]
mod metrics_can_be_scraped;
#[cfg(test)]
mod program_stands_for_an_image;
#[cfg(test)]
mod python_client_works_unmodified;
#[cfg(test)]
mod refused_by_server;
#[cfg(test)]
mod removed_manifest_is_pruned;
#[cfg(test)]
mod report_reaches_the_remote;
#[cfg(test)]
mod report_waits_for_its_remote;
#[cfg(test)]
mod run_bench;
#[cfg(test)]
mod run_ends_with_a_truthful_outcome;
#[cfg(test)]
mod run_goes_out_through_the_proxy;
#[cfg(test)]
mod run_installs_skills;
#[cfg(test)]
mod run_keeps_within_its_limits;
#[cfg(test)]
mod run_leaves_nothing_behind;
#[cfg(test)]
mod run_reaches_only_whom_it_may;
#[cfg(test)]
mod run_shares_its_mirror;
#[cfg(test)]
mod run_survives_kill;
#[cfg(test)]
mod run_works_in_its_checkout;
#[cfg(test)]
mod sandbox_holds_what_it_says;
#[cfg(test)]
mod slots_and_branches_in_turn;
#[cfg(test)]
mod support;
#[cfg(test)]
mod suspend_by_hand_outlives_git;
#[cfg(test)]
mod task_advances_whatever_fails;
#[cfg(test)]
mod task_in_git_runs_once;
#[cfg(test)]
mod upstream_admission_verdicts;
#[cfg(test)]
mod upstream_pipeline_succeeds;
#[cfg(test)]
mod upstream_repository_urls;
#[cfg(test)]
mod writes_survive_everything;
#[cfg(test)]
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
