//! Creates the Task of one work item.

use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Resource as _, ResourceExt as _};

use crate::api::labels;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;
use crate::controllers::context::Context;
use crate::controllers::task_spawner::SpawnerError;
use crate::domain::spawn;

/// Creates the Task for a tick. The inner error is one that trying again does not mend.
pub(super) async fn create(
    context: &Context,
    spawner: &TaskSpawner,
    schedule: &str,
    tick: Timestamp,
) -> Result<Result<(), String>, SpawnerError> {
    let mut task = match spawn::task_for(spawner, &spawn::tick(schedule, tick)) {
        Ok(task) => task,
        Err(error) => return Ok(Err(error.to_string())),
    };
    task.metadata.owner_references = spawner.controller_owner_ref(&()).map(|owner| vec![owner]);
    let api: Api<Task> = Api::namespaced(context.client.clone(), &spawner.namespace().unwrap_or_default());
    let parameters =
        PostParams { dry_run: false, field_manager: Some(labels::CONTROLLER_MANAGER.to_owned()) };
    match api.create(&parameters, &task).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
            let name = task.name_any();
            let existing = api.get_opt(&name).await.map_err(SpawnerError::api("read a Task"))?;
            let ours = existing.is_none_or(|existing| {
                existing
                    .owner_references()
                    .iter()
                    .any(|owner| Some(&owner.uid) == spawner.metadata.uid.as_ref())
            });
            Ok(if ours {
                Ok(())
            } else {
                Err(format!("a Task {name} exists that this spawner did not create"))
            })
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => Ok(Err(status.message)),
        Err(error) => Err(SpawnerError::api("create a Task")(error)),
    }
}
