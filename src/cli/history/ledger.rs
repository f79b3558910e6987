//! Runs out of the ledger on the status branch: from the daemon's own copy where it lies on this machine, else fetched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::api::config_repository::{ConfigRepository, ReportSpec};
use crate::cli::command_error::CommandError;
use crate::cli::printer::Printer;
use crate::cli::server::Server;
use crate::clock;
use crate::daemon::home::DataDir;
use crate::domain::history::EndedRun;
use crate::git::id::CommitId;
use crate::git::reference::Reference;
use crate::git::remote::{Remote, RemoteUrl};
use crate::git::repository::Repository;
use crate::ledger::read::{self, Read};
use crate::ledger::report::{WriterName, WriterNameError};
use crate::ledger::writer;

/// How long the status branch is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the runs of the subject `name` that the ledgers of the namespace hold; those of the ConfigRepository `owner`
/// alone, when it is there.
///
/// A ledger that cannot be read is said on standard error, and no failure: what the API knows is still worth showing.
pub(super) async fn runs(
    server: &Server,
    name: &str,
    owner: Option<&str>,
    printer: Printer,
) -> Result<Vec<EndedRun>, CommandError> {
    let api: Api<ConfigRepository> = Api::namespaced(server.client.clone(), &server.namespace);
    let mut repositories = api.list(&ListParams::default()).await?.items;
    if repositories.iter().any(|repository| repository.uid().as_deref() == owner) {
        repositories.retain(|repository| repository.uid().as_deref() == owner);
    }
    let mut runs = Vec::new();
    let year = clock::system().now().to_zoned(TimeZone::UTC).year();
    for repository in repositories {
        let Some(report) = repository.spec.report().cloned() else { continue };
        let has_report = repository.status.as_ref().is_some_and(|status| status.last_report_commit.is_some());
        if !has_report {
            continue;
        }
        let object = repository.name_any();
        printer.progress(format_args!("reading the ledger of configrepository/{object}"));
        let writer = writer(server, &repository, &report).await?;
        let Ok(writer) = writer else { continue };
        let request = Request {
            writer,
            year,
            data_dir: server.data_dir.clone(),
            name: name.to_owned(),
            repository,
            report,
            interrupt: Arc::new(AtomicBool::new(false)),
        };
        let interrupt = Arc::clone(&request.interrupt);
        let work = tokio::task::spawn_blocking(move || request.read());
        let result = tokio::time::timeout(PATIENCE, work).await;
        match result {
            Ok(Ok(Ok(read))) => {
                if read.skipped > 0 {
                    printer.message(format_args!(
                        "Note: {} lines of the ledger of configrepository/{object} cannot be read",
                        read.skipped
                    ));
                }
                runs.extend(read.lines.iter().map(crate::ledger::line::LedgerLine::ended_run));
            }
            Ok(Ok(Err(why))) => unread(&object, &why, printer),
            Ok(Err(panicked)) => return Err(CommandError::internal(panicked)),
            Err(_) => {
                interrupt.store(true, Ordering::Relaxed);
                unread(&object, "its remote does not answer", printer);
            }
        }
    }
    Ok(runs)
}

fn unread(object: &str, why: &str, printer: Printer) {
    printer.message(format_args!(
        "Note: the ledger of configrepository/{object} is left out: {why}\nHint: --no-ledger does not ask for it"
    ));
}

/// Returns the name under which the ConfigRepository is reported.
async fn writer(
    server: &Server,
    repository: &ConfigRepository,
    report: &ReportSpec,
) -> Result<Result<WriterName, WriterNameError>, CommandError> {
    if let Some(chosen) = &report.writer {
        return Ok(WriterName::parse(chosen));
    }
    let namespaces: Api<Namespace> = Api::all(server.client.clone());
    let installation = namespaces.get_metadata("kube-system").await?.uid().unwrap_or_default();
    let namespace = repository.namespace().unwrap_or_default();
    Ok(WriterName::of_object(&namespace, &repository.name_any(), &installation))
}

/// What is read, and from where.
struct Request {
    writer: WriterName,
    /// The year of now.
    year: i16,
    data_dir: Option<PathBuf>,
    name: String,
    repository: ConfigRepository,
    report: ReportSpec,
    /// Set when nobody waits any more.
    interrupt: Arc<AtomicBool>,
}

impl Request {
    /// Reads the lines; the error is a sentence for people.
    fn read(&self) -> Result<Read, String> {
        let folder = Folder::new().map_err(|error| format!("no temporary folder can be made: {error}"))?;
        let newest = self.report.branch_of(self.year);
        let (repository, commit) = match self.own_copy() {
            Some(copy) => copy,
            None => self.fetch(&folder.0, &newest)?,
        };
        let mut read = self.lines(&repository, commit)?;
        let before = self.report.branch_of(self.year - 1);
        // In the first year there is no branch of the year before.
        if before != newest
            && let Ok((repository, commit)) = self.fetch(&folder.0, &before)
        {
            let earlier = self.lines(&repository, commit)?;
            read.lines.extend(earlier.lines);
            read.skipped += earlier.skipped;
        }
        Ok(read)
    }

    fn lines(&self, repository: &Repository, commit: CommitId) -> Result<Read, String> {
        read::read(repository, commit, &self.writer, |line| line.ended_run().subject().name == self.name)
            .map_err(|error| error.to_string())
    }

    /// Returns the copy that the daemon on this machine reports from, when it holds the last report.
    fn own_copy(&self) -> Option<(Repository, CommitId)> {
        let data = DataDir::at(self.data_dir.as_deref()?);
        let path = writer::copy_of(&data.repositories(), &self.repository.uid()?);
        let commit = self.repository.status.as_ref()?.last_report_commit.as_deref()?.parse().ok()?;
        let repository = path.join("HEAD").exists().then(|| Repository::open_or_create(&path).ok())??;
        repository.has_commit(commit).then_some((repository, commit))
    }

    /// Fetches a status branch as whoever asks: the credentials of the ConfigRepository stay on the server.
    fn fetch(&self, folder: &Path, branch: &str) -> Result<(Repository, CommitId), String> {
        let url = self.report.url.as_ref().unwrap_or(&self.repository.spec.url);
        let url = RemoteUrl::parse(url).map_err(|error| error.to_string())?;
        let remote = Remote::new(url, None).map_err(|error| error.to_string())?;
        let branch = Reference::branch(branch).map_err(|error| error.to_string())?;
        let repository = Repository::open_or_create(folder).map_err(|error| error.to_string())?;
        let commit =
            repository.fetch(&remote, &branch, &self.interrupt).map_err(|error| error.to_string())?;
        let fresh = Repository::open_or_create(folder).map_err(|error| error.to_string())?;
        Ok((fresh, commit))
    }
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let name = format!("kelos-ledger-{}-{}", std::process::id(), crate::cli::random_suffix());
        crate::cli::temporary_folder(&name).map(Self)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
