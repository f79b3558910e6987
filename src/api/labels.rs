//! Keys of labels, annotations, finalizers, and the names under which we write.
//!
//! Those that begin with `kelos.dev/` and are marked as upstream's mean what they mean there; programs written for
//! upstream read them.

/// Label, upstream's: the TaskSpawner that created a Task.
pub const TASK_SPAWNER: &str = "kelos.dev/taskspawner";
/// Label, upstream's: name of the program, on Jobs and Pods.
pub const NAME: &str = "kelos.dev/name";
/// Label, upstream's: part of the program, on Jobs and Pods.
pub const COMPONENT: &str = "kelos.dev/component";
/// Label, upstream's: who manages a Job or Pod.
pub const MANAGED_BY: &str = "kelos.dev/managed-by";
/// Label, upstream's: the Task of a Job or Pod.
pub const TASK: &str = "kelos.dev/task";

/// Annotation, upstream's: what the work item is, `issue` or `pull-request`.
pub const SOURCE_KIND: &str = "kelos.dev/source-kind";
/// Annotation, upstream's: number of the issue or pull request.
pub const SOURCE_NUMBER: &str = "kelos.dev/source-number";
/// Annotation, upstream's: owner of the repository of the work item.
pub const SOURCE_OWNER: &str = "kelos.dev/source-owner";
/// Annotation, upstream's: name of the repository of the work item.
pub const SOURCE_REPO: &str = "kelos.dev/source-repo";
/// Annotation, upstream's: head commit of the pull request.
pub const SOURCE_SHA: &str = "kelos.dev/source-sha";
/// Annotation, upstream's: `enabled` when comments are posted.
pub const GITHUB_REPORTING: &str = "kelos.dev/github-reporting";
/// Annotation, upstream's: how comments are posted.
pub const GITHUB_COMMENT_MODE: &str = "kelos.dev/github-comment-mode";
/// Annotation, upstream's: id of the posted comment.
pub const GITHUB_COMMENT_ID: &str = "kelos.dev/github-comment-id";
/// Annotation, upstream's: phase that the posted comment tells.
pub const GITHUB_REPORT_PHASE: &str = "kelos.dev/github-report-phase";
/// Annotation, upstream's: `enabled` when a check run is written.
pub const GITHUB_CHECKS: &str = "kelos.dev/github-checks";
/// Annotation, upstream's: name of the check run.
pub const GITHUB_CHECK_NAME: &str = "kelos.dev/github-check-name";
/// Annotation, upstream's: id of the check run.
pub const GITHUB_CHECK_RUN_ID: &str = "kelos.dev/github-check-run-id";
/// Annotation, upstream's: phase that the check run tells.
pub const GITHUB_CHECK_REPORT_PHASE: &str = "kelos.dev/github-check-report-phase";

/// Annotation of an applied object and of a run: commit of the config repository that defines it.
pub const CONFIG_REVISION: &str = "kelos.dev/config-revision";
/// Annotation: file of the config repository that defines the object, from the root of the repository.
pub const CONFIG_FILE: &str = "kelos.dev/config-file";
/// Annotation: line of that file on which the object begins, from 1.
pub const CONFIG_LINE: &str = "kelos.dev/config-line";
/// Annotation of an applied object: SHA-256 of its manifest, by which a change in git is seen.
pub const MANIFEST_DIGEST: &str = "gitops.kelos.dev/manifest-digest";
/// Annotation: SHA-256 of the spec of the Task or of the template, which tells one run request from another.
pub const SPEC_DIGEST: &str = "kelos.dev/spec-digest";
/// Annotation: SHA-256 of the prompt as it was written, before rendering.
pub const PROMPT_DIGEST: &str = "kelos.dev/prompt-digest";
/// Annotation of a created Task: tick of the schedule that it answers, in RFC 3339.
pub const SCHEDULED_AT: &str = "kelos.dev/scheduled-at";
/// Annotation of a created Task: id of the work item that it answers.
pub const WORK_ITEM: &str = "kelos.dev/work-item";
/// Annotation of a created Task: trigger of the work item that it answers, in RFC 3339.
pub const TRIGGERED_AT: &str = "kelos.dev/triggered-at";
/// Annotation of a Task: what its run may reach over the network, `guarded`, `none`, or `host` where the daemon allows it.
pub const NETWORK: &str = "kelos.dev/network";
/// Annotation of a Task: TCP ports of the machine's loopback that its run needs, as `5432, 6379`, where the daemon allows them.
pub const LOOPBACK_PORTS: &str = "kelos.dev/loopback-ports";
/// Annotation of a TaskSpawner: `delete` deletes its running Tasks together with it; otherwise they end first.
pub const ON_DELETE: &str = "kelos.dev/on-delete";

/// Label of an applied object: uid of the ConfigRepository that owns it. What may be pruned is found by it.
pub const OWNER_UID: &str = "gitops.kelos.dev/owner-uid";
/// Label of an applied object: name of the ConfigRepository that owns it, for people.
pub const OWNER_NAME: &str = "gitops.kelos.dev/owner";
/// Annotation of an object in git: `disabled` keeps it in the cluster when it leaves git.
pub const PRUNE: &str = "gitops.kelos.dev/prune";
/// Annotation of a ConfigRepository: a new value asks for a pass at once; the status echoes it.
pub const RECONCILE_REQUESTED_AT: &str = "gitops.kelos.dev/reconcile-requested-at";
/// Annotation of a ConfigRepository: the revision whose blocked prune is confirmed.
pub const CONFIRM_PRUNE: &str = "gitops.kelos.dev/confirm-prune";

/// Finalizer of Tasks, upstream's.
pub const FINALIZER: &str = "kelos.dev/finalizer";

/// Prefix of names that containers and volumes of users must not have.
pub const RESERVED_PREFIX: &str = "kelos-";
/// Init containers of upstream's Pods, whose names containers of users must not have.
pub const BUILT_IN_INIT_CONTAINERS: [&str; 6] =
    ["git-clone", "remote-setup", "branch-setup", "workspace-files", "plugin-setup", "skills-install"];

/// Field manager of everything that controllers write.
pub const CONTROLLER_MANAGER: &str = "kelos-controller";

/// What the field manager of every ConfigRepository begins with.
pub const CONFIG_MANAGER_PREFIX: &str = "kelos-config/";

/// Returns the field manager of the objects that a ConfigRepository applies.
pub fn config_repository_manager(name: &str) -> String {
    // Kubernetes allows 128 bytes; a longer name is told apart by its digest.
    if CONFIG_MANAGER_PREFIX.len() + name.len() <= 128 {
        return format!("{CONFIG_MANAGER_PREFIX}{name}");
    }
    format!("{CONFIG_MANAGER_PREFIX}{}", crate::digest::short_hex(name, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_manager_fits_into_what_kubernetes_allows() {
        assert_eq!(config_repository_manager("default"), "kelos-config/default");
        assert!(config_repository_manager(&"n".repeat(253)).len() <= 128);
        assert_ne!(config_repository_manager(&"n".repeat(253)), config_repository_manager(&"n".repeat(252)));
    }
}
