//! The ConfigRepository controller: asks the remote on schedule, judges what is new, and applies what is valid.

mod attempt;
mod remote;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::config_repository::ConfigRepository;
use crate::api::duration;
use crate::controllers::config_repository::attempt::{Asked, Memory};
use crate::controllers::context::{Context, RETRY, interruption};
use crate::controllers::objects::Memories;
use crate::gitops::observed::ObservedCluster;
use crate::gitops::render::Renderer;
use crate::gitops::wanted::WantedRuns;

pub(crate) use remote::{RemoteFault, remote, report_place};

/// How many repositories are looked at at once.
const CONCURRENCY: u16 = 4;
/// The longest wait after repeated failures.
const LONGEST_BACKOFF: Duration = Duration::from_mins(15);
/// How soon a pass is tried again that waits for a Task to end.
const SOON: Duration = Duration::from_secs(1);

/// What the controller needs beside what all controllers need.
pub struct Settings {
    /// Folder for our copies of config repositories.
    pub repositories: PathBuf,
    /// Turns templates into texts.
    pub renderer: Arc<dyn Renderer>,
    /// What the cluster holds.
    pub cluster: Arc<ObservedCluster>,
    /// Where is noted which run requests stand in the repositories.
    pub wanted: Arc<WantedRuns>,
    /// Whether definitions may name every Secret when the spec does not say which.
    pub all_secrets: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Settings").field("repositories", &self.repositories).finish_non_exhaustive()
    }
}

/// What went wrong with a ConfigRepository that its status cannot tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepositoryError {
    /// The API did not answer, or refused.
    #[error("cannot {attempt}")]
    Api {
        attempt: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
}

struct Controlled {
    context: Context,
    settings: Settings,
    /// Set when the daemon ends; a fetch that is under way ends soon after.
    interrupt: Arc<AtomicBool>,
    /// Cancelled when the daemon ends.
    shutdown: CancellationToken,
    memories: Memories<Memory>,
}

/// Runs the controller until `shutdown`; no pass begins before `observed` says that the cluster was listed.
///
/// # Errors
/// When the cluster is never listed because its follower is gone.
pub async fn run(
    context: Context,
    settings: Settings,
    mut observed: tokio::sync::watch::Receiver<bool>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        listed = observed.wait_for(|listed| *listed) => drop(listed?),
        () = shutdown.cancelled() => return Ok(()),
    }
    let api: Api<ConfigRepository> = Api::all(context.client.clone());
    let (interrupt, interrupted) = interruption(shutdown.clone());
    let memories = Memories::default();
    let controlled =
        Arc::new(Controlled { context, settings, interrupt, shutdown: shutdown.clone(), memories });
    let controller = Controller::new(api, watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, retry, controlled)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "ConfigRepository was not advanced");
            }
            std::future::ready(())
        });
    tokio::join!(controller, interrupted);
    Ok(())
}

fn retry(repository: Arc<ConfigRepository>, error: &RepositoryError, _: Arc<Controlled>) -> Action {
    let RepositoryError::Api { attempt, source } = error;
    if matches!(&**source, kube::Error::Api(status) if status.code == 404 || status.code == 409) {
        return Action::requeue(Duration::from_millis(200));
    }
    tracing::warn!(repository = repository.name_any(), attempt, error = %source, "ConfigRepository could not be advanced and is tried again");
    Action::requeue(RETRY)
}

async fn reconcile(
    repository: Arc<ConfigRepository>,
    controlled: Arc<Controlled>,
) -> Result<Action, RepositoryError> {
    let uid = repository.uid().unwrap_or_default();
    if repository.metadata.deletion_timestamp.is_some() {
        controlled.memories.forget(&uid);
        return Ok(Action::await_change());
    }
    let memory = controlled.memories.of(&uid);
    let mut memory = memory.lock().await;
    let asked = Asked::of(&repository);
    let now = Instant::now();
    let due = memory.next_attempt.is_none_or(|due| due <= now);
    // Our own status writes wake us as well; they are no reason to ask the remote.
    if due || memory.asked != asked {
        memory.asked = asked;
        let interval = duration::parse(&repository.spec.interval).unwrap_or(Duration::from_mins(1));
        let wait = match controlled.attempt(&repository, &mut memory).await? {
            attempt::Verdict::Settled => {
                memory.failures = 0;
                jittered(interval, repository.uid().as_deref().unwrap_or_default())
            }
            attempt::Verdict::Soon => SOON,
            attempt::Verdict::Failed => {
                memory.failures = memory.failures.saturating_add(1);
                backoff(memory.failures).max(interval.min(RETRY))
            }
            attempt::Verdict::Idle | attempt::Verdict::BrokenOff => return Ok(Action::await_change()),
        };
        memory.next_attempt = Some(Instant::now() + wait);
    }
    let left = memory.next_attempt.map_or(RETRY, |due| due.saturating_duration_since(Instant::now()));
    // No wait is longer than half a minute, because clocks jump and machines sleep.
    Ok(Action::requeue(left.min(Duration::from_secs(30))))
}

/// Spreads repositories with the same interval: up to a tenth is added, always the same for the same object.
fn jittered(interval: Duration, uid: &str) -> Duration {
    let share = uid.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 100;
    interval + interval / 1000 * share
}

fn backoff(failures: u32) -> Duration {
    Duration::from_millis(750).saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        assert_eq!(backoff(1), Duration::from_millis(1_500));
        assert_eq!(backoff(u32::MAX), LONGEST_BACKOFF);
        let minute = Duration::from_mins(1);
        for uid in ["a", "b", "0b5bdb2f"] {
            let wait = jittered(minute, uid);
            assert!(wait >= minute && wait <= minute * 11 / 10, "{wait:?}");
        }
    }
}
