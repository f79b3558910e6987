//! What the newest commit of a remote wants: asked, fetched and judged.
//!
//! The remote is asked without a turn, because one that does not answer must hold up nobody; judging takes memory and
//! has one. Our copy of a remote holds nothing that cannot be had again: a damaged one is made anew.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use tokio::sync::SemaphorePermit;

use crate::api::config_repository::{ANY_SECRET, ConfigRepository};
use crate::api::duration;
use crate::api::kind::Kind;
use crate::controllers::config_repository::Controlled;
use crate::controllers::config_repository::attempt::Memory;
use crate::controllers::config_repository::remote::{self, RemoteFault};
use crate::controllers::context::chain;
use crate::forge::app::Access;
use crate::git::error::{GitError, GitErrorClass};
use crate::git::id::CommitId;
use crate::git::program::{Git, Limits};
use crate::git::reference::Reference;
use crate::git::remote::Remote;
use crate::git::repository::Repository;
use crate::git::tree::TreeLimits;
use crate::gitops::cache::EvaluationCache;
use crate::gitops::evaluate::{self, EvaluateError, Evaluation};
use crate::validate::finding::FindingCode;
use crate::validate::{self, AllowedSecrets};

/// How long tidying a copy up may take.
const TIDYING: Duration = Duration::from_mins(5);

/// The name under which our copy keeps the last good revision.
const GOOD: &str = "good";

/// What a commit wants.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) commit: CommitId,
    /// Generation of the ConfigRepository by which it was judged.
    pub(super) generation: Option<i64>,
    /// What else there was in the namespace, which definitions may refer to.
    live: BTreeSet<(Kind, String)>,
    pub(super) evaluation: Arc<Evaluation>,
}

/// Why it is not known what the newest commit wants.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no remote to ask.
    Remote(RemoteFault),
    /// The remote, or our copy of it, failed.
    Git(GitError),
    /// The commit has no such folder.
    PathMissing { commit: String, path: String },
    /// Something failed that says nothing about the commit; a sentence.
    Moment(String),
}

impl From<GitError> for Fault {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

impl From<EvaluateError> for Fault {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Read(error) => Self::Git(error),
            EvaluateError::Render(_) => Self::Moment(chain(&error)),
        }
    }
}

/// What the remote has.
enum Newest {
    /// A commit that was judged before, with the same result.
    Judged(Judged),
    /// A commit that is in our copy now.
    Fetched(CommitId),
}

impl Controlled {
    /// Waits for a turn to judge and to apply.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("because nobody closes it")
    }

    /// Returns what the newest commit wants, with the turn that judging it took; one that was judged before is not read
    /// again.
    pub(super) async fn newest(
        &self,
        repository: &ConfigRepository,
        memory: &mut Memory,
    ) -> Result<(Judged, SemaphorePermit<'_>), Fault> {
        let (remote, reference) = self.place(repository).await.map_err(Fault::Remote)?;
        let mut is_mended = false;
        loop {
            match self.newest_of(repository, memory, &remote, &reference).await {
                Err(Fault::Git(error)) if error.class() == GitErrorClass::Corrupt && !is_mended => {
                    is_mended = true;
                    memory.kept = None;
                    tracing::warn!(repository = repository.name_any(), %error, "Copy of a repository is made anew");
                    let copy = self.copy_of(repository);
                    self.apart(repository, move || Repository::recreate(&copy).map(drop)).await??;
                }
                newest => return newest,
            }
        }
    }

    async fn newest_of(
        &self,
        repository: &ConfigRepository,
        memory: &mut Memory,
        remote: &Remote,
        reference: &Reference,
    ) -> Result<(Judged, SemaphorePermit<'_>), Fault> {
        let newest = {
            let _place = match remote.url().local_path() {
                Some(_) => Some(self.local_exchanges.acquire().await.expect("because nobody closes it")),
                None => None,
            };
            self.ask(repository, memory, remote.clone(), reference.clone()).await?
        };
        let turn = self.turn().await;
        match newest {
            Newest::Judged(known) => Ok((known, turn)),
            Newest::Fetched(commit) => {
                let cache = std::mem::take(&mut memory.cache);
                let (judged, cache) = self.judge(repository, commit, cache).await?;
                memory.cache = cache;
                let judged = judged?;
                for finding in &judged.evaluation.findings {
                    let code = finding.code.parse().map_or("", FindingCode::as_str);
                    self.context.metrics.work.found(code, finding.severity.as_str());
                }
                Ok((judged, turn))
            }
        }
    }

    /// Returns where the repository is and what of it is read.
    async fn place(&self, repository: &ConfigRepository) -> Result<(Remote, Reference), RemoteFault> {
        let spec = &repository.spec;
        let secret = spec.secret_ref.as_ref().map(|reference| reference.name.as_str());
        let namespace = repository.namespace().unwrap_or_default();
        let remote =
            remote::remote(&self.context, &namespace, &spec.url, secret, Access::ReadContents).await?;
        let timeout = duration::parse(&spec.timeout)
            .map_err(|error| RemoteFault::Invalid(format!("spec.timeout: {error}")))?;
        let remote = if timeout.is_zero() { remote } else { remote.with_timeout(timeout) };
        Ok((remote, remote::reference(spec.reference.as_ref())?))
    }

    /// Asks the remote which commit is the newest, and fetches it unless it is known.
    async fn ask(
        &self,
        repository: &ConfigRepository,
        memory: &Memory,
        remote: Remote,
        reference: Reference,
    ) -> Result<Newest, Fault> {
        let generation = repository.metadata.generation;
        let known = memory.newest.clone().filter(|judged| judged.generation == generation);
        let copy = self.copy_of(repository);
        let cluster = Arc::clone(&self.settings.cluster);
        let namespace = repository.namespace().unwrap_or_default();
        let owner = repository.uid().unwrap_or_default();
        let interrupt = Arc::clone(&self.interrupt);
        let search_path = self.settings.search_path.clone();
        let ask = move || -> Result<Newest, GitError> {
            let mirror = Repository::open_or_create(&copy)?;
            let commit = mirror.resolve(&remote, &reference)?;
            // What was missing may be there by now.
            let stands = |known: &Judged| {
                known.evaluation.is_valid() || known.live == cluster.namespace(&namespace).others(&owner)
            };
            if let Some(known) = known.filter(|known| known.commit == commit && stands(known)) {
                return Ok(Newest::Judged(known));
            }
            let commit = mirror.fetch(&remote, &reference, &interrupt)?;
            if mirror.is_untidy() {
                let limits = Limits { time: TIDYING, interrupt: &interrupt };
                let git = Git::locate(OsStr::new(&search_path));
                if let Err(error) = git.and_then(|git| git.collect_garbage(&mirror, limits)) {
                    tracing::warn!(copy = %copy.display(), %error, "Copy of a repository cannot be tidied up");
                }
            }
            Ok(Newest::Fetched(commit))
        };
        Ok(self.apart(repository, ask).await??)
    }

    /// Judges a commit that is in our copy. What is remembered comes back, whatever becomes of it.
    async fn judge(
        &self,
        repository: &ConfigRepository,
        commit: CommitId,
        mut cache: EvaluationCache,
    ) -> Result<(Result<Judged, Fault>, EvaluationCache), Fault> {
        let generation = repository.metadata.generation;
        let copy = self.copy_of(repository);
        let context = self.validation_context(repository);
        let renderer = Arc::clone(&self.settings.renderer);
        let path = repository.spec.path.as_deref().unwrap_or_default().trim_matches('/');
        let path = if path == "." { String::new() } else { path.to_owned() };
        let values = repository.spec.values.clone();
        let judge = move || {
            let mut read = || {
                let tree =
                    Repository::open_or_create(&copy)?.revision(commit, &path, &TreeLimits::default())?;
                let Some(tree) = tree else {
                    return Err(Fault::PathMissing { commit: commit.to_string(), path: path.clone() });
                };
                let evaluation =
                    evaluate::evaluate(&tree, &*renderer, &mut cache, values.as_ref(), &context)?;
                Ok(Judged {
                    commit,
                    generation,
                    live: context.live.clone(),
                    evaluation: Arc::new(evaluation),
                })
            };
            let judged = read();
            (judged, cache)
        };
        self.apart(repository, judge).await
    }

    /// Returns what the last good revision of an earlier start wants; `None` when our copy lacks it or it is valid no more.
    pub(super) async fn good_of_earlier_start(&self, repository: &ConfigRepository) -> Option<Judged> {
        let copy = self.copy_of(repository);
        let read = async {
            let kept =
                self.apart(repository, move || Repository::open_or_create(&copy)?.kept(GOOD)).await??;
            let Some(commit) = kept else { return Ok(None) };
            let (judged, _) = self.judge(repository, commit, EvaluationCache::new()).await?;
            judged.map(Some)
        };
        match read.await {
            Ok(judged) => judged.filter(|judged| judged.evaluation.is_valid()),
            Err::<_, Fault>(fault) => {
                tracing::info!(
                    repository = repository.name_any(),
                    ?fault,
                    "Last good revision cannot be read"
                );
                None
            }
        }
    }

    /// Keeps the last good revision in our copy, also when nothing on the remote leads to it any more, and returns it;
    /// `None`, with a note in the log, when that failed.
    pub(super) async fn keep_good(
        &self,
        repository: &ConfigRepository,
        commit: CommitId,
    ) -> Option<CommitId> {
        let copy = self.copy_of(repository);
        let keep = move || Repository::open_or_create(&copy)?.keep(GOOD, commit);
        match self.apart(repository, keep).await {
            Ok(Ok(())) => Some(commit),
            Ok(Err(error)) => {
                tracing::warn!(repository = repository.name_any(), %error, "Last good revision cannot be kept");
                None
            }
            Err(_) => None,
        }
    }

    /// Does what blocks where that is allowed; it is left alone when the daemon ends.
    async fn apart<T: Send + 'static>(
        &self,
        repository: &ConfigRepository,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        tokio::select! {
            ended = tokio::task::spawn_blocking(work) => {
                ended.map_err(|error| Fault::Moment(error.to_string()))
            }
            // A remote that does not answer holds up nobody who ends the daemon.
            () = self.shutdown.cancelled() => {
                Err(Fault::Git(GitError::Interrupted { remote: repository.spec.url.clone() }))
            }
        }
    }

    /// Returns the folder of our copy of a repository.
    fn copy_of(&self, repository: &ConfigRepository) -> PathBuf {
        self.settings.repositories.join(format!("{}.git", repository.uid().unwrap_or_default()))
    }

    /// Returns what is known beside the definitions.
    fn validation_context(&self, repository: &ConfigRepository) -> validate::Context {
        let namespace = repository.namespace().unwrap_or_default();
        let allowed_secrets = match &repository.spec.allowed_secrets {
            None if self.settings.all_secrets => AllowedSecrets::All,
            None => AllowedSecrets::Named(BTreeSet::new()),
            Some(names) if names.iter().any(|name| name == ANY_SECRET) => AllowedSecrets::All,
            Some(names) => AllowedSecrets::Named(names.iter().cloned().collect()),
        };
        let live = self.settings.cluster.namespace(&namespace).others(&repository.uid().unwrap_or_default());
        validate::Context { namespace: Some(namespace), allowed_secrets, live }
    }
}
