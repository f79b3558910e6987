//! The report controller: what runs and what ran, written back into git.
//!
//! A RunRecord is the outbox: it is marked only when its line is on the remote, so that a push that is refused for a
//! day loses nothing. Whatever changed is gathered into one commit; the report's own marks lead to no further commit,
//! because what is reported does not mention them.

pub(crate) mod assignment;
mod followed;
mod gather;
mod mark;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::config_repository::{BranchRotation, ConfigRepository, ReportSpec};
use crate::api::duration;
use crate::controllers::config_repository::{RemoteFault, remote, report_place};
use crate::controllers::context::{Context, RETRY, chain, interruption};
use crate::controllers::objects::{self, Memories};
use crate::controllers::report::followed::Followed;
use crate::controllers::report::gather::Gathered;
use crate::digest;
use crate::forge::app::Access;
use crate::git::program::{Git, Limits};
use crate::git::reference::RefName;
use crate::git::repository::Signature;
use crate::gitops::observed::ObservedCluster;
use crate::ledger::line::LedgerLine;
use crate::ledger::report::WriterName;
use crate::ledger::writer::{LedgerError, Writer, Written, copy_of};

/// How many reports are worked on at once; most of them wait for their remotes.
const CONCURRENCY: u16 = 32;
/// How many are gathered at once, which takes memory.
const TURNS: usize = 2;
/// The shortest time between two commits when the spec names none.
const INTERVAL: Duration = Duration::from_secs(10);
/// The shortest time between two commits, whatever the spec says.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// The longest wait after repeated failures.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);
/// How long one exchange with the remote may take.
const EXCHANGE: Duration = Duration::from_mins(1);
/// Who signs the commits.
const AUTHOR: (&str, &str) = ("Kelos", "kelos@localhost");

/// What the controller needs beside what all controllers need.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tells when there may be something to report.
    pub cluster: Arc<ObservedCluster>,
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
    /// Lines that were on the remote are gone from it: all that are on record are to be written.
    restore: bool,
}

struct Controlled {
    context: Context,
    settings: Settings,
    /// The uid of the namespace `kube-system`, by which Kubernetes tells clusters apart.
    installation: OnceCell<String>,
    /// Set when the daemon ends; an exchange that is under way ends soon after.
    interrupt: Arc<AtomicBool>,
    memories: Memories<Memory>,
    /// Held while a report is gathered, and never while its remote is waited for.
    turns: Semaphore,
}

/// Runs the controller until `shutdown`.
///
/// # Errors
/// Never; the result is that of a supervised task.
pub async fn run(context: Context, settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let api = Api::<ConfigRepository>::all(context.client.clone());
    let controller = Controller::new(api, watcher::Config::default());
    let (store, cluster) = (controller.store(), Arc::clone(&settings.cluster));
    let repositories = controller.store();
    let wakes = stream::unfold((store, cluster), |(store, cluster)| async {
        let namespaces = cluster.touched().await;
        let near = |namespace| neighbours(&store, Some(namespace));
        let repositories: Vec<ObjectRef<ConfigRepository>> =
            namespaces.iter().flat_map(|namespace| near(namespace)).collect();
        Some((repositories, (store, cluster)))
    });
    let (interrupt, interrupted) = interruption(shutdown.clone());
    let memories = Memories::default();
    let controlled = Arc::new(Controlled {
        context,
        settings,
        installation: OnceCell::new(),
        interrupt,
        memories,
        turns: Semaphore::new(TURNS),
    });
    let keeper = Arc::clone(&controlled);
    let forgotten =
        objects::forget_gone(repositories, &shutdown, move |is_there| keeper.memories.keep(is_there));
    let controller = controller
        .reconcile_on(wakes.flat_map(stream::iter))
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile, retry, controlled)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "Report was not advanced");
            }
            std::future::ready(())
        });
    tokio::join!(controller, interrupted, forgotten);
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
        controlled.memories.forget(&uid);
        if repository.metadata.deletion_timestamp.is_none() {
            mark::switched_off(&controlled.context, &repository).await?;
        }
        return Ok(Action::await_change());
    };
    let memory = controlled.memories.of(&uid);
    let mut memory = memory.lock().await;
    let now = Instant::now();
    if let Some(until) = memory.rest_until.filter(|until| *until > now) {
        return Ok(Action::requeue(until.duration_since(now)));
    }
    let interval = report.interval.as_deref().and_then(|text| duration::parse(text).ok()).unwrap_or(INTERVAL);
    let interval = interval.max(SHORTEST_INTERVAL);
    let Some(writer) = controlled.writer(&repository, report).await? else {
        return Ok(Action::await_change());
    };
    let context = &controlled.context;
    let gathered = {
        let _turn = controlled.turns.acquire().await.expect("because nobody closes it");
        gather::gather(context, &repository, report, writer, memory.restore).await?
    };
    let Some(gathered) = gathered else { return Ok(Action::await_change()) };
    let digest = gathered.digest(report);
    if gathered.waiting == 0 && !memory.restore && memory.reported.as_deref() == Some(&digest) {
        return Ok(Action::await_change());
    }
    memory.rest_until = Some(Instant::now() + interval);
    let written = controlled.write(&repository, report, &gathered).await;
    controlled.context.metrics.work.report_ended(written.is_ok());
    match written {
        Ok(written) => {
            memory.reported = Some(digest);
            memory.failures = 0;
            // Somebody rewrote the branch when a line had to be written that had been there.
            memory.restore =
                !memory.restore && written.added.iter().any(|uid| gathered.reported.contains(uid));
            if let Err(error) = mark::reported(context, &repository, &gathered, &written).await {
                // What is on the remote is not told yet: the next attempt finds it there and tells it.
                memory.reported = None;
                return Err(error);
            }
            Ok(Action::requeue(interval))
        }
        Err(fault) => {
            memory.failures = memory.failures.saturating_add(1);
            let wait = backoff(interval, memory.failures, &uid);
            memory.rest_until = Some(Instant::now() + wait);
            mark::failed(context, &repository, &gathered, &fault).await?;
            Ok(Action::requeue(wait))
        }
    }
}

/// Returns how long to rest after so many failures in a row: longer each time within bounds, and never the same for
/// two objects, so that writers that a server turned away do not come back together.
fn backoff(interval: Duration, failures: u32, uid: &str) -> Duration {
    let longest = LONGEST_BACKOFF.max(interval);
    let wait = interval.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(longest);
    let hash = digest::short_hex(format!("{uid} {failures}"), 4);
    // Up to a quarter is taken away; the four digits stand for a share of 65536 parts.
    let share = u32::from_str_radix(&hash, 16).unwrap_or_default();
    wait.saturating_sub(wait / 4 / 65_536 * share)
}

/// Why a report is not on its remote.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// The report would overwrite definitions, and wake the passes over them for ever.
    #[error("the report would go to {0}, which is followed; it needs a branch of its own")]
    Followed(String),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Controlled {
    /// Returns the name under which is reported; `None`, with a note in the log, when there is none.
    async fn writer(
        &self,
        repository: &ConfigRepository,
        report: &ReportSpec,
    ) -> Result<Option<WriterName>, ReportError> {
        let name = repository.name_any();
        let writer = if let Some(chosen) = &report.writer {
            WriterName::parse(chosen)
        } else {
            let read = || async {
                let namespaces: Api<Namespace> = Api::all(self.context.client.clone());
                let system = namespaces.get_metadata("kube-system").await;
                let system = system.map_err(ReportError::api("read the namespace kube-system"))?;
                Ok(system.uid().unwrap_or_default())
            };
            let installation = self.installation.get_or_try_init(read).await?;
            WriterName::of_object(&repository.namespace().unwrap_or_default(), &name, installation)
        };
        if writer.is_err() {
            tracing::warn!(repository = name, "Report has no usable writer name and is not written");
        }
        Ok(writer.ok())
    }

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
            Err(
                fault @ (RemoteFault::Invalid(_)
                | RemoteFault::SecretUnusable(_)
                | RemoteFault::SecretMissing(_)
                | RemoteFault::App(_)),
            ) => return Err(fault.to_string()),
        };
        let followed = Followed::by(spec, remote.url());
        let branch = |year: i16| {
            RefName::parse(&report.branch_of(year)).map_err(|error| format!("spec.report.branch: {error}"))
        };
        let year_of = |time: Timestamp| time.to_zoned(TimeZone::UTC).year();
        let this_year = year_of(gathered.input.time);
        // A line goes to the branch of its own year, whenever it is written: a push that is repeated after New Year
        // finds it there.
        let mut earlier = BTreeMap::<i16, Vec<LedgerLine>>::new();
        let mut lines = Vec::new();
        for line in &gathered.lines {
            let year = year_of(line.completion_time);
            if report.rotation == BranchRotation::Yearly && year != this_year {
                earlier.entry(year).or_default().push(line.clone());
            } else {
                lines.push(line.clone());
            }
        }
        let earlier = earlier.into_iter().map(|(year, lines)| Ok((branch(year)?, lines)));
        let earlier: Vec<(RefName, Vec<LedgerLine>)> = earlier.collect::<Result<_, String>>()?;
        let branch = branch(this_year)?;
        let folder = copy_of(&self.settings.repositories, &repository.uid().unwrap_or_default());
        let search_path = self.settings.search_path.clone();
        let environment: Vec<(OsString, OsString)> =
            self.settings.git_environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let input = gathered.input.clone();
        let interrupt = Arc::clone(&self.interrupt);
        let work = tokio::task::spawn_blocking(move || {
            let git = Git::locate(OsStr::new(&search_path)).map_err(LedgerError::from)?;
            let git = git.with_environment(environment);
            let author = Signature { name: AUTHOR.0.to_owned(), email: AUTHOR.1.to_owned() };
            let limits = Limits { time: EXCHANGE, interrupt: &interrupt };
            if let Some(name) = followed.branch(&remote, &folder).map_err(LedgerError::from)?
                && earlier
                    .iter()
                    .map(|(branch, _)| branch)
                    .chain([&branch])
                    .any(|target| target.as_str() == name)
            {
                return Err(WriteError::Followed(name));
            }
            let writer =
                |branch| Writer::new(git.clone(), folder.clone(), remote.clone(), branch, author.clone());
            let (mut confirmed, mut added) = (Vec::new(), Vec::new());
            for (branch, lines) in earlier {
                if let Some(written) = writer(branch).append(&input, &lines, limits)? {
                    confirmed.extend(written.confirmed);
                    added.extend(written.added);
                }
            }
            let mut written = writer(branch).write(&input, &lines, limits)?;
            written.confirmed.append(&mut confirmed);
            written.added.append(&mut added);
            Ok(written)
        });
        match work.await {
            Ok(written) => written.map_err(|error: WriteError| chain(&error)),
            Err(error) => Err(format!("the writer failed: {error}")),
        }
    }
}
