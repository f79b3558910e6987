//! The config repository: spawners that fire each minute, and Tasks.

use std::path::Path;

/// How many spawners fire each minute.
pub(super) const SPAWNERS: usize = 30;

/// What every run does: it leaves a branch that no other start leaves, and works a little.
fn script(seconds: &str) -> String {
    format!(
        "set -e; git push -q origin HEAD:refs/heads/start/$KELOS_RUN/$(date +%s%N)-$$; sleep {seconds}; git rev-parse HEAD"
    )
}

/// Returns the file of a Task that is gone a second after its end.
pub(super) fn task(name: &str, more: &str, seconds: &str) -> String {
    let script = script(seconds);
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\nspec:\n  type: shell\n  workspaceRef:\n    name: counts\n  ttlSecondsAfterFinished: 1\n{more}  prompt: \"{script}\"\n"
    )
}

/// Returns the name of a spawner.
pub(super) fn spawner_name(number: usize) -> String {
    format!("minutely-{number}")
}

/// Returns the file of a spawner; a third of them each make up for all ticks that they missed, for the latest, and for
/// none.
pub(super) fn spawner(number: usize) -> String {
    let (name, script) = (spawner_name(number), script("0.1"));
    let missed = ["RunAll", "RunLatest", "Skip"][number % 3];
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: TaskSpawner\nmetadata:\n  name: {name}\nspec:\n  when:\n    cron:\n      schedule: \"* * * * *\"\n      missedTicks: {missed}\n  taskTemplate:\n    type: shell\n    workspaceRef:\n      name: counts\n    ttlSecondsAfterFinished: {}\n    promptTemplate: \"{script}\"\n",
        number % 2
    )
}

/// Returns the file of the Workspace of all of them, on the repository that counts.
pub(super) fn workspace(repository: &Path) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: counts\nspec:\n  repo: file://{}\n",
        repository.display()
    )
}
