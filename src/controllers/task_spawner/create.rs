//! Creates the Task of one work item.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Resource as _, ResourceExt as _};

use crate::api::labels;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;
use crate::controllers::task_spawner::{Controlled, SpawnerError};
use crate::domain::spawn;

/// What came of a Task that was to be.
pub(super) enum Created {
    /// It is there, or was: its run is counted.
    Exists,
    /// It is not there, because the spawner was suspended meanwhile.
    Suspended,
    /// It is not there, and trying again would not mend that.
    Refused(String),
}

/// Creates the Task for a tick, unless it is there.
pub(super) async fn create(
    controlled: &Controlled,
    spawner: &TaskSpawner,
    schedule: &str,
    tick: Timestamp,
) -> Result<Created, SpawnerError> {
    let mut task = match spawn::task_for(spawner, &spawn::tick(schedule, tick)) {
        Ok(task) => task,
        Err(error) => return Ok(Created::Refused(error.to_string())),
    };
    task.metadata.owner_references = spawner.controller_owner_ref(&()).map(|owner| vec![owner]);
    let name = task.name_any();
    let api: Api<Task> =
        Api::namespaced(controlled.context.client.clone(), &spawner.namespace().unwrap_or_default());
    let read = || async { api.get_opt(&name).await.map_err(SpawnerError::api("read a Task")) };
    if spawner.spec.suspend {
        return Ok(if read().await?.is_some() { Created::Exists } else { Created::Suspended });
    }
    // Before it is there, so that no event about it can come first.
    controlled.active.expect(spawner, &name);
    let parameters =
        PostParams { dry_run: false, field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()) };
    match api.create(&parameters, &task).await {
        Ok(_) => {
            let late = Duration::try_from(controlled.context.clock.now().duration_since(tick));
            controlled.context.metrics.work.tick_served(late.unwrap_or_default());
            Ok(Created::Exists)
        }
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
            let existing = read().await?;
            if existing.as_ref().is_none_or(Task::has_ended) {
                controlled.active.withdraw(spawner, &name);
            }
            let is_ours = |existing: &Task| {
                let owners = existing.owner_references();
                owners.iter().any(|owner| Some(&owner.uid) == spawner.metadata.uid.as_ref())
            };
            Ok(if existing.as_ref().is_none_or(is_ours) {
                Created::Exists
            } else {
                controlled.active.withdraw(spawner, &name);
                Created::Refused(format!("a Task {name} exists that this spawner did not create"))
            })
        }
        Err(error) => {
            controlled.active.withdraw(spawner, &name);
            match error {
                kube::Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422) => {
                    Ok(Created::Refused(status.message))
                }
                error => Err(SpawnerError::api("create a Task")(error)),
            }
        }
    }
}
