//! Tokens of GitHub Apps for runs: minted before a run is started, replaced while it goes on.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::api::Api;
use kube::{Resource as _, ResourceExt as _};

use crate::api::task::Task;
use crate::api::workspace::WorkspaceSpec;
use crate::controllers::app_secret;
use crate::controllers::context::Happened;
use crate::controllers::task::{Controlled, TaskError};
use crate::forge::app::{Access, App, AppError};
use crate::git::remote::RemoteUrl;
use crate::secret::Secret;

/// How often the token of a run is looked at. It is replaced when it ends within five minutes.
const LOOK: Duration = Duration::from_secs(30);

/// An App, and what a token of it is for.
#[derive(Debug)]
pub(super) struct Order {
    app: App,
    repositories: Vec<String>,
}

/// Returns what a token for `task` is minted from; `None` when its Workspace has no GitHub App.
pub(super) fn order(
    task: &Task,
    workspace: &WorkspaceSpec,
    secret: &SecretObject,
) -> Result<Option<Order>, AppError> {
    let data = secret.data.clone().unwrap_or_default();
    let Ok(repository) = RemoteUrl::parse(&workspace.repo) else { return Ok(None) };
    let Some(app) = app_secret::app(&data, &repository).transpose()? else { return Ok(None) };
    let mut others: Vec<RemoteUrl> =
        workspace.remotes.iter().filter_map(|remote| RemoteUrl::parse(&remote.url).ok()).collect();
    if let (Some(upstream), Some(host)) = (&task.spec.upstream_repo, repository.web_host()) {
        others.extend(RemoteUrl::parse(&format!("https://{host}/{upstream}")));
    }
    Ok(Some(Order { app, repositories: app_secret::repositories(&repository, &others) }))
}

impl Controlled {
    /// Mints the token of an order, or returns the one that was minted before while it is good.
    pub(super) async fn mint(&self, order: &Order) -> Result<Secret, AppError> {
        self.context.tokens.token(&order.app, &order.repositories, Access::Full).await
    }

    /// Gives the run of `task` a new token when the one it has is about to end. Returns when to look again; `None` when
    /// its token does not end.
    pub(super) async fn renew_token(&self, task: &Task) -> Result<Option<Duration>, TaskError> {
        let Some(workspace) = self.workspace(task).await? else { return Ok(None) };
        let Some(reference) = &workspace.secret_ref else { return Ok(None) };
        let namespace = task.namespace().unwrap_or_default();
        let api: Api<SecretObject> = Api::namespaced(self.context.client.clone(), &namespace);
        let secret = api.get_opt(&reference.name).await.map_err(TaskError::api("read a Secret"))?;
        let Some(secret) = secret else { return Ok(None) };
        let minted = match order(task, &workspace, &secret) {
            Ok(None) => return Ok(None),
            Ok(Some(order)) => self.mint(&order).await,
            Err(error) => Err(error),
        };
        match minted {
            Ok(token) => {
                let uid = task.metadata.uid.as_deref().unwrap_or_default();
                let renewed = self.settings.executor.renew_token(uid, token).await;
                renewed.map_err(|source| TaskError::Executor { attempt: "renew the token", source })?;
            }
            Err(error) => {
                let note = format!("the token of the run is not renewed: {error}");
                tracing::warn!(task = task.name_any(), %error, "Token of a run was not renewed");
                let happened = Happened {
                    reason: "GitHubTokenRefreshFailed",
                    action: "Run",
                    note: &note,
                    is_warning: true,
                };
                self.context.tell(&task.object_ref(&()), happened).await;
            }
        }
        Ok(Some(LOOK))
    }
}
