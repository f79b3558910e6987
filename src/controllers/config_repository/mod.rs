//! The ConfigRepository controller: asks the remote on schedule, judges what is new, and applies what is valid.

mod attempt;
mod judge;
mod remote;
mod status;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::config_repository::ConfigRepository;
use crate::api::duration;
use crate::controllers::config_repository::attempt::{Asked, Memory, Occasion, Verdict};
use crate::controllers::context::{Context, RETRY, interruption};
use crate::controllers::objects::{self, Memories};
use crate::gitops::observed::ObservedCluster;
use crate::gitops::render::Renderer;
use crate::gitops::wanted::WantedRuns;

pub(crate) use remote::{RemoteFault, remote, report_place};

/// How many repositories are looked at at once; most of them wait for their remotes.
const CONCURRENCY: u16 = 256;
/// How many of them are judged and applied at once, which takes memory.
const TURNS: usize = 4;
/// How many repositories of this machine are asked at once, which takes a process each.
const LOCAL_EXCHANGES: usize = 8;
/// The shortest time between two polls, whatever the spec says.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// The longest wait after repeated failures.
const LONGEST_BACKOFF: Duration = Duration::from_mins(15);
/// The same where it is the cluster that fails, as with a full disk: it is near, and better soon.
const LONGEST_BACKOFF_HERE: Duration = Duration::from_secs(30);
/// How often is looked whether the cluster changed for a pass that waits for something there.
const SOON: Duration = Duration::from_secs(1);

/// What the controller needs beside what all controllers need.
pub struct Settings {
    /// Folder for our copies of config repositories and of status branches.
    pub repositories: PathBuf,
    /// Folders in which git, which tidies the copies up, is looked up, in the form of `PATH`.
    pub search_path: String,
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
    /// Held while a repository is judged and applied, and never while its remote is waited for.
    turns: Semaphore,
    /// Held while a repository of this machine is asked.
    local_exchanges: Semaphore,
    /// Uids of repositories whose Secret changed since they were looked at. Held for set operations only.
    stirred: Mutex<HashSet<String>>,
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
    let client = context.client.clone();
    let controlled = Arc::new(Controlled {
        context,
        settings,
        interrupt,
        shutdown: shutdown.clone(),
        memories,
        turns: Semaphore::new(TURNS),
        local_exchanges: Semaphore::new(LOCAL_EXCHANGES),
        stirred: Mutex::default(),
    });
    // Of Secrets only that they changed is told.
    let secrets = watcher(Api::<PartialObjectMeta<Secret>>::all(client), watcher::Config::default());
    let controller = Controller::new(api, watcher::Config::default());
    let (repositories, of_secrets) = (controller.store(), Arc::clone(&controlled));
    let (store, keeper) = (controller.store(), Arc::clone(&controlled));
    let forgotten = objects::forget_gone(store, &shutdown, |is_there| keeper.forget_gone(is_there));
    let controller = controller
        .watches_stream(secrets.default_backoff().touched_objects(), move |secret| {
            of_secrets.stir(&repositories, &secret)
        })
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile, retry, controlled)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "ConfigRepository was not advanced");
            }
            std::future::ready(())
        });
    tokio::join!(controller, interrupted, forgotten);
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
    let is_stirred = controlled.stirred().remove(&uid);
    let is_due = memory.next_poll.is_none_or(|due| due <= Instant::now());
    // Our own status writes wake us as well; they are no reason to ask the remote.
    let occasion = if is_due || is_stirred || memory.asked != asked {
        Some(Occasion::Poll)
    } else {
        let namespace = repository.namespace().unwrap_or_default();
        let stage = || controlled.settings.cluster.namespace(&namespace).stage();
        memory.waits.is_some_and(|waits| waits != stage()).then_some(Occasion::Stir)
    };
    if let Some(occasion) = occasion {
        memory.asked = asked;
        // Until the attempt is over it is due: one whose end cannot be told is made again.
        memory.next_poll = memory.next_poll.filter(|_| occasion == Occasion::Stir);
        let verdict = match controlled.attempt(&repository, &mut memory, occasion).await {
            Ok(verdict) => verdict,
            Err(error) => {
                memory.next_poll = None;
                return Err(error);
            }
        };
        let interval = duration::parse(&repository.spec.interval).unwrap_or(Duration::from_mins(1));
        let interval = interval.max(SHORTEST_INTERVAL);
        match verdict {
            Verdict::Settled | Verdict::Soon => {
                memory.failures = 0;
                let wait = jittered(interval, &uid);
                memory.next_poll.get_or_insert_with(|| Instant::now() + wait);
            }
            Verdict::Failed | Verdict::Unwritten => {
                memory.failures = memory.failures.saturating_add(1);
                let longest =
                    if verdict == Verdict::Unwritten { LONGEST_BACKOFF_HERE } else { LONGEST_BACKOFF };
                let wait = backoff(memory.failures).min(longest).max(interval.min(RETRY));
                memory.next_poll = Some(Instant::now() + wait);
            }
            Verdict::Idle | Verdict::BrokenOff => return Ok(Action::await_change()),
        }
    }
    let left = memory.next_poll.map_or(RETRY, |due| due.saturating_duration_since(Instant::now()));
    let left = if memory.waits.is_some() { left.min(SOON) } else { left };
    // No wait is longer than half a minute, because clocks jump and machines sleep.
    Ok(Action::requeue(left.min(Duration::from_secs(30))))
}

impl Controlled {
    /// Takes note that a Secret changed, and returns the repositories that are read with it.
    fn stir(
        &self,
        repositories: &Store<ConfigRepository>,
        secret: &PartialObjectMeta<Secret>,
    ) -> Vec<ObjectRef<ConfigRepository>> {
        let reads = |repository: &ConfigRepository| {
            let name = repository.spec.secret_ref.as_ref().map(|reference| reference.name.as_str());
            name == secret.metadata.name.as_deref()
                && repository.metadata.namespace == secret.metadata.namespace
        };
        let all = repositories.state();
        let concerned: Vec<_> = all.iter().filter(|repository| reads(repository)).collect();
        self.stirred().extend(concerned.iter().filter_map(|repository| repository.uid()));
        concerned.into_iter().map(|repository| ObjectRef::from_obj(&**repository)).collect()
    }

    /// Forgets, and removes from the disk, what is kept of ConfigRepositories that are gone.
    fn forget_gone(&self, is_there: &dyn Fn(&str) -> bool) {
        self.memories.keep(is_there);
        self.settings.wanted.keep(is_there);
        self.stirred().retain(|uid| is_there(uid));
        // Listed before anybody is asked who is there: a copy that is listed belongs to an object that was.
        let Ok(listed) = std::fs::read_dir(&self.settings.repositories) else { return };
        let listed: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
        let owner = |folder: &PathBuf| {
            folder.file_name().and_then(OsStr::to_str).and_then(owner_of).map(str::to_owned)
        };
        let is_left = |folder: &PathBuf| owner(folder).is_some_and(|uid| !is_there(&uid));
        let left: Vec<PathBuf> = listed.into_iter().filter(is_left).collect();
        // Nobody waits for it: what is not removed is found the next time.
        drop(tokio::task::spawn_blocking(move || {
            for folder in left {
                if let Err(error) = std::fs::remove_dir_all(&folder) {
                    tracing::warn!(folder = %folder.display(), %error, "Copy of a repository cannot be removed");
                }
            }
        }));
    }

    fn stirred(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.stirred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the uid of the ConfigRepository that a copy was made for, by the name of its folder.
fn owner_of(folder: &str) -> Option<&str> {
    let name = folder.strip_suffix(".git").or_else(|| folder.strip_suffix(".making"))?;
    Some(name.strip_suffix("-report").unwrap_or(name))
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
    fn copies_are_known_by_their_folders() {
        let uid = "0b5bdb2f-0000-4000-8000-000000000000";
        for (folder, owner) in [
            (format!("{uid}.git"), Some(uid)),
            (format!("{uid}-report.git"), Some(uid)),
            (format!("{uid}.making"), Some(uid)),
            ("else".to_owned(), None),
        ] {
            assert_eq!(owner_of(&folder), owner, "{folder}");
        }
        let copy = crate::ledger::writer::copy_of(std::path::Path::new("/r"), uid);
        assert_eq!(copy.file_name().and_then(OsStr::to_str).and_then(owner_of), Some(uid));
    }

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
