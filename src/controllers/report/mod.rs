//! The report controller: what runs and what ran, written back into git.
//!
//! A RunRecord is the outbox: it is marked only when its line is on the remote, so that a push that is refused for a
//! day loses nothing. Whatever changed is gathered into one commit; the report's own marks lead to no further commit,
//! because what is reported does not mention them.

mod gather;
mod mark;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::config_repository::{ConfigRepository, ReportSpec};
use crate::api::duration;
use crate::api::run_record::RunRecord;
use crate::api::task::Task;
use crate::api::task_spawner::TaskSpawner;
use crate::controllers::config_repository::{RemoteFault, remote, report_place};
use crate::controllers::context::{Context, RETRY};
use crate::controllers::report::gather::Gathered;
use crate::forge::app::Access;
use crate::git::program::{Git, Limits};
use crate::git::reference::RefName;
use crate::git::repository::Signature;
use crate::ledger::writer::{LedgerError, Writer, Written};

/// How many reports are written at once.
const CONCURRENCY: u16 = 2;
/// The shortest time between two commits when the spec names none.
const INTERVAL: Duration = Duration::from_secs(10);
/// The longest wait after repeated failures.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);
/// How long one exchange with the remote may take.
const EXCHANGE: Duration = Duration::from_mins(1);
/// Who signs the commits.
const AUTHOR: (&str, &str) = ("Kelos", "kelos@localhost");

/// What the controller needs beside what all controllers need.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder for our copies of status branches.
    pub repositories: PathBuf,
    /// Folders in which git is looked up, in the form of `PATH`.
    pub search_path: String,
    /// Variables for git: the user's keys, proxies, certificates.
    pub git_environment: BTreeMap<String, String>,
}

/// What went wrong with a report that the object's status cannot tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// The API did not answer, or refused.
    #[error("cannot {attempt}")]
    Api {
        attempt: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
}

impl ReportError {
    fn api(attempt: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { attempt, source: Box::new(source) }
    }
}

/// What is remembered of a report between attempts; all of it can be lost.
#[derive(Debug, Default)]
struct Memory {
    /// No attempt begins before this.
    rest_until: Option<Instant>,
    /// Digest of what was reported last.
    reported: Option<String>,
    /// How many attempts failed in a row.
    failures: u32,
}

struct Controlled {
    context: Context,
    settings: Settings,
    /// Set when the daemon ends; an exchange that is under way ends soon after.
    interrupt: Arc<AtomicBool>,
    /// By uid; each is locked by the one reconciliation of its object.
    memories: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Memory>>>>,
}

/// Runs the controller until `shutdown`.
///
/// # Errors
/// Never; the result is that of a supervised task.
pub async fn run(context: Context, settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let client = context.client.clone();
    let everything = watcher::Config::default;
    let controller = Controller::new(Api::<ConfigRepository>::all(client.clone()), everything());
    let store = controller.store();
    let (of_tasks, of_spawners, of_records) = (store.clone(), store.clone(), store);
    let interrupt = Arc::new(AtomicBool::new(false));
    let memories = Mutex::default();
    let controlled = Arc::new(Controlled { context, settings, interrupt: Arc::clone(&interrupt), memories });
    let interrupted = {
        let shutdown = shutdown.clone();
        async move {
            shutdown.cancelled().await;
            interrupt.store(true, Ordering::Relaxed);
        }
    };
    let controller = controller
        .watches(Api::<Task>::all(client.clone()), everything(), move |task| {
            neighbours(&of_tasks, task.namespace().as_deref())
        })
        .watches(Api::<TaskSpawner>::all(client.clone()), everything(), move |spawner| {
            neighbours(&of_spawners, spawner.namespace().as_deref())
        })
        .watches(Api::<RunRecord>::all(client), everything(), move |record| {
            neighbours(&of_records, record.namespace().as_deref())
        })
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, retry, controlled)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "Report was not advanced");
            }
            std::future::ready(())
        });
    tokio::join!(controller, interrupted);
    Ok(())
}

/// Returns the ConfigRepositories of a namespace.
fn neighbours(store: &Store<ConfigRepository>, namespace: Option<&str>) -> Vec<ObjectRef<ConfigRepository>> {
    let all = store.state();
    let near = all.iter().filter(|repository| repository.metadata.namespace.as_deref() == namespace);
    near.map(|repository| ObjectRef::from_obj(&**repository)).collect()
}

fn retry(_: Arc<ConfigRepository>, error: &ReportError, _: Arc<Controlled>) -> Action {
    let ReportError::Api { attempt, source } = error;
    if !matches!(&**source, kube::Error::Api(status) if status.code == 404 || status.code == 409) {
        tracing::warn!(attempt, error = %source, "Report could not be written and is tried again");
    }
    Action::requeue(RETRY)
}

async fn reconcile(
    repository: Arc<ConfigRepository>,
    controlled: Arc<Controlled>,
) -> Result<Action, ReportError> {
    let uid = repository.uid().unwrap_or_default();
    let Some(report) = repository.spec.report().filter(|_| repository.metadata.deletion_timestamp.is_none())
    else {
        controlled.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        return Ok(Action::await_change());
    };
    let memory = {
        let mut memories = controlled.memories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(memories.entry(uid).or_default())
    };
    let mut memory = memory.lock().await;
    let now = Instant::now();
    if let Some(until) = memory.rest_until.filter(|until| *until > now) {
        return Ok(Action::requeue(until.duration_since(now)));
    }
    let interval = report.interval.as_deref().and_then(|text| duration::parse(text).ok()).unwrap_or(INTERVAL);
    let gathered = gather::gather(&controlled.context, &repository).await?;
    let Some(gathered) = gathered else { return Ok(Action::await_change()) };
    let digest = gathered.digest();
    if gathered.lines.is_empty() && memory.reported.as_deref() == Some(&digest) {
        return Ok(Action::await_change());
    }
    memory.rest_until = Some(Instant::now() + interval);
    match controlled.write(&repository, report, &gathered).await {
        Ok(written) => {
            memory.reported = Some(digest);
            memory.failures = 0;
            mark::reported(&controlled.context, &repository, &gathered, &written).await?;
            Ok(Action::requeue(interval))
        }
        Err(fault) => {
            memory.failures = memory.failures.saturating_add(1);
            let wait =
                interval.saturating_mul(2_u32.saturating_pow(memory.failures.min(10))).min(LONGEST_BACKOFF);
            memory.rest_until = Some(Instant::now() + wait);
            mark::failed(&controlled.context, &repository, &fault).await?;
            Ok(Action::requeue(wait))
        }
    }
}

impl Controlled {
    /// Brings the remote to say what was gathered; the error is a sentence for people.
    async fn write(
        &self,
        repository: &ConfigRepository,
        report: &ReportSpec,
        gathered: &Gathered,
    ) -> Result<Written, String> {
        let spec = &repository.spec;
        let secret = spec.secret_ref.as_ref().map(|reference| reference.name.as_str());
        let (url, secret) = report_place(&spec.url, secret, report);
        let namespace = repository.namespace().unwrap_or_default();
        let remote = match remote(&self.context, &namespace, url, secret, Access::WriteContents).await {
            Ok(remote) => remote,
            Err(RemoteFault::Api { name, source }) => {
                return Err(format!("cannot read the Secret {name}: {source}"));
            }
            Err(fault @ (RemoteFault::Invalid(_) | RemoteFault::SecretMissing(_) | RemoteFault::App(_))) => {
                return Err(fault.to_string());
            }
        };
        let branch =
            RefName::parse(&report.branch).map_err(|error| format!("spec.report.branch: {error}"))?;
        let followed = spec.reference.as_ref().and_then(|reference| reference.branch.as_deref());
        if url == spec.url && followed == Some(report.branch.as_str()) {
            return Err(
                "spec.report.branch is the branch that is followed; reports need one of their own".to_owned()
            );
        }
        let folder =
            self.settings.repositories.join(format!("{}-report.git", repository.uid().unwrap_or_default()));
        let search_path = self.settings.search_path.clone();
        let environment: Vec<(OsString, OsString)> =
            self.settings.git_environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let (input, lines) = (gathered.input.clone(), gathered.lines.clone());
        let interrupt = Arc::clone(&self.interrupt);
        let work = tokio::task::spawn_blocking(move || {
            let git = Git::locate(OsStr::new(&search_path))?.with_environment(environment);
            let author = Signature { name: AUTHOR.0.to_owned(), email: AUTHOR.1.to_owned() };
            let writer = Writer::new(git, folder, remote, branch, author);
            writer.write(&input, &lines, Limits { time: EXCHANGE, interrupt: &interrupt })
        });
        match work.await {
            Ok(written) => written.map_err(|error: LedgerError| chain(&error)),
            Err(error) => Err(format!("the writer failed: {error}")),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
