//! One attempt: ask the remote, judge what is new, bring the cluster to it, tell how that went.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kube::api::Api;
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;

use crate::api::condition::{self, ConditionType, Reason};
use crate::api::config_repository::{ANY_SECRET, ConfigRepository, DriftPolicy};
use crate::api::duration;
use crate::api::kind::Kind;
use crate::api::labels;
use crate::controllers::config_repository::remote::{self, RemoteFault};
use crate::controllers::config_repository::status::{self, Draft, short};
use crate::controllers::config_repository::{Controlled, RepositoryError};
use crate::controllers::context::Happened;
use crate::controllers::objects;
use crate::domain::plan::{Cluster as _, Notice, PruneGuard};
use crate::forge::app::Access;
use crate::git::error::{GitError, GitErrorClass};
use crate::git::id::CommitId;
use crate::git::reference::Reference;
use crate::git::remote::Remote;
use crate::git::repository::Repository;
use crate::git::tree::{Files, TreeLimits};
use crate::gitops::apply::{Applied, Target};
use crate::gitops::cache::EvaluationCache;
use crate::gitops::evaluate::{self, Evaluation};
use crate::gitops::observed::Stage;
use crate::gitops::pass::{self, PassOutcome};
use crate::validate::finding::FindingCode;
use crate::validate::{self, AllowedSecrets};

/// What is remembered of a ConfigRepository between attempts; all of it can be lost.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When the remote is asked next.
    pub(super) next_attempt: Option<Instant>,
    /// How many attempts failed in a row.
    pub(super) failures: u32,
    /// What the last attempt answered.
    pub(super) asked: Asked,
    /// What the newest commit wants.
    newest: Option<Judged>,
    /// What the last commit wants that was carried out, as far as it could be.
    good: Option<Judged>,
    /// What the last pass went by that found nothing to do.
    quiet: Option<Grounds>,
    cache: EvaluationCache,
}

/// What somebody asks of a ConfigRepository: each change of it leads to an attempt at once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    generation: Option<i64>,
    requested_at: Option<String>,
    confirmed_prune: Option<String>,
}

impl Asked {
    pub(super) fn of(repository: &ConfigRepository) -> Self {
        let annotation = |key: &str| repository.annotations().get(key).cloned();
        Self {
            generation: repository.metadata.generation,
            requested_at: annotation(labels::RECONCILE_REQUESTED_AT),
            confirmed_prune: annotation(labels::CONFIRM_PRUNE),
        }
    }

    /// Returns the same without when it was asked for, which makes no difference to a pass.
    fn without_request(self) -> Self {
        Self { requested_at: None, ..self }
    }
}

#[derive(Debug, Clone)]
struct Judged {
    commit: CommitId,
    generation: Option<i64>,
    /// What else there was in the namespace, which definitions may refer to.
    live: BTreeSet<(Kind, String)>,
    evaluation: Arc<Evaluation>,
}

/// What a pass goes by: on the same grounds it does the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grounds {
    commit: CommitId,
    asked: Asked,
    stage: Stage,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Brought {
    verdict: Verdict,
    /// Whether the revision was carried out, at least in part; otherwise nothing was written.
    took_hold: bool,
    /// Whether everything was as the revision says before.
    was_idle: bool,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next one is due after the interval.
    Settled,
    /// Something is about to end that this one waited for.
    Soon,
    /// It failed; the next one is due after a growing wait.
    Failed,
    /// The next one is due when the object changes.
    Idle,
    /// The daemon ends: the attempt says nothing about the repository, and the next start makes another.
    BrokenOff,
}

impl Controlled {
    /// Makes one attempt and stores the status.
    pub(super) async fn attempt(
        &self,
        repository: &ConfigRepository,
        memory: &mut Memory,
    ) -> Result<Verdict, RepositoryError> {
        let mut draft = Draft::of(repository, self.context.clock.now());
        let verdict = if repository.spec.suspend {
            draft.suspended();
            Verdict::Idle
        } else {
            let began = Instant::now();
            let verdict = self.try_revision(repository, memory, &mut draft).await;
            self.context.metrics.work.pass_ended(result(&draft), began.elapsed());
            verdict
        };
        if verdict == Verdict::BrokenOff {
            return Ok(verdict);
        }
        if let Err(source) = self.store(repository, &mut draft).await {
            // What was found is not told yet: the next attempt has to find it again.
            memory.quiet = None;
            return Err(RepositoryError::Api { attempt: "write the status", source: Box::new(source) });
        }
        self.tell_changes(repository, &draft).await;
        Ok(verdict)
    }

    /// Stores the status; the report, which is told in the same status, may have been faster.
    async fn store(&self, repository: &ConfigRepository, draft: &mut Draft) -> Result<(), kube::Error> {
        let client = &self.context.client;
        match objects::store_status(client, repository, &draft.status).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            stored => return stored.map(drop),
        }
        let api: Api<ConfigRepository> =
            Api::namespaced(client.clone(), &repository.namespace().unwrap_or_default());
        let current = api.get_opt(&repository.name_any()).await?;
        let Some(current) = current.filter(|current| current.uid() == repository.uid()) else {
            return Ok(());
        };
        draft.take_report_from(current.status.as_ref());
        objects::store_status(client, &current, &draft.status).await.map(drop)
    }

    async fn try_revision(
        &self,
        repository: &ConfigRepository,
        memory: &mut Memory,
        draft: &mut Draft,
    ) -> Verdict {
        let (remote, reference) = match self.place(repository).await {
            Ok(place) => place,
            Err(RemoteFault::Api { name, source }) => {
                draft.retrying(Reason::FetchFailed, &format!("cannot read the Secret {name}: {source}"));
                return Verdict::Failed;
            }
            Err(fault @ RemoteFault::SecretMissing(_)) => {
                draft.retrying(Reason::AuthenticationFailed, &fault.to_string());
                return Verdict::Failed;
            }
            Err(RemoteFault::App(error)) => {
                let reason =
                    if error.is_transient() { Reason::FetchFailed } else { Reason::AuthenticationFailed };
                draft.retrying(reason, &error.to_string());
                return Verdict::Failed;
            }
            Err(RemoteFault::Invalid(message)) => {
                draft.stalled(Reason::InvalidSpec, &message);
                return Verdict::Idle;
            }
        };
        let judged = match self.judge(repository, memory, remote, reference).await {
            Ok(judged) => judged,
            Err(Fault::Git(GitError::Interrupted { .. })) => return Verdict::BrokenOff,
            Err(Fault::Git(error)) => return fetch_failed(draft, &error),
            Err(Fault::PathMissing { commit, path }) => {
                draft.stalled(
                    Reason::PathNotFound,
                    &format!("there is no folder '{path}' in {}", short(&commit)),
                );
                return Verdict::Settled;
            }
        };
        memory.newest = Some(judged.clone());
        if judged.evaluation.is_valid() {
            let namespace = repository.namespace().unwrap_or_default();
            let stage = self.settings.cluster.namespace(&namespace).stage();
            let grounds =
                Grounds { commit: judged.commit, asked: Asked::of(repository).without_request(), stage };
            if memory.quiet.as_ref() == Some(&grounds) && draft.says_applied(&judged.commit.to_string()) {
                return Verdict::Settled;
            }
            let brought = self.bring_about(repository, &judged, repository.spec.prune, draft).await;
            memory.quiet = brought.was_idle.then_some(grounds);
            if brought.took_hold {
                let uid = repository.uid().unwrap_or_default();
                self.settings.wanted.set(&uid, Arc::clone(&judged.evaluation));
                memory.good = Some(judged);
            }
            return brought.verdict;
        }
        memory.quiet = None;
        // The last good revision keeps running: what was changed on the cluster meanwhile is set right. Nothing is
        // pruned, since what the newest revision defines is not known.
        if let Some(good) = memory.good.clone() {
            let mut aside = Draft::of(repository, self.context.clock.now());
            self.bring_about(repository, &good, false, &mut aside).await;
        }
        draft.invalid(&judged.commit.to_string(), &judged.evaluation);
        Verdict::Settled
    }

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

    /// Returns what the newest commit wants; one that was judged before is not read again.
    async fn judge(
        &self,
        repository: &ConfigRepository,
        memory: &mut Memory,
        remote: Remote,
        reference: Reference,
    ) -> Result<Judged, Fault> {
        let generation = repository.metadata.generation;
        let folder = self.settings.repositories.join(format!("{}.git", repository.uid().unwrap_or_default()));
        let mut context = self.validation_context(repository);
        let cluster = Arc::clone(&self.settings.cluster);
        let owner = repository.uid().unwrap_or_default();
        let renderer = Arc::clone(&self.settings.renderer);
        let path = repository.spec.path.clone().unwrap_or_default();
        let path = path.trim_matches('/').to_owned();
        let path = if path == "." { String::new() } else { path };
        let values = repository.spec.values.clone();
        let known = memory.newest.clone().filter(|judged| judged.generation == generation);
        let mut cache = std::mem::take(&mut memory.cache);
        let interrupt = Arc::clone(&self.interrupt);
        let work_metrics = self.context.metrics.work.clone();
        let work = tokio::task::spawn_blocking(move || {
            let read = || {
                let mirror = Repository::open_or_create(&folder)?;
                let commit = mirror.resolve(&remote, &reference)?;
                let known = known.filter(|known| known.commit == commit);
                if let Some(known) = known.as_ref().filter(|known| known.evaluation.is_valid()) {
                    return Ok(known.clone());
                }
                // What was missing may be there by now.
                let namespace = context.namespace.clone().unwrap_or_default();
                context.live = cluster.namespace(&namespace).others(&owner);
                if let Some(known) = known.filter(|known| known.live == context.live) {
                    return Ok(known);
                }
                let commit = fetch(&mirror, &remote, &reference, &folder, &interrupt)?;
                let fresh = Repository::open_or_create(&folder)?;
                let tree = fresh.revision(commit, &path, &TreeLimits::default())?;
                let Some(tree) = tree else {
                    return Err(Fault::PathMissing { commit: commit.to_string(), path: path.clone() });
                };
                let tree: &dyn Files = &tree;
                let evaluation = evaluate::evaluate(tree, &*renderer, &mut cache, values.as_ref(), &context);
                for finding in &evaluation.findings {
                    let code = finding.code.parse().map_or("", FindingCode::as_str);
                    work_metrics.found(code, finding.severity.as_str());
                }
                Ok(Judged { commit, generation, live: context.live, evaluation: Arc::new(evaluation) })
            };
            let judged = read();
            (judged, cache)
        });
        let ended = tokio::select! {
            ended = work => ended,
            // A remote that does not answer holds up nobody who ends the daemon.
            () = self.shutdown.cancelled() => {
                let remote = repository.spec.url.clone();
                return Err(Fault::Git(GitError::Interrupted { remote }));
            }
        };
        match ended {
            Ok((judged, cache)) => {
                memory.cache = cache;
                judged
            }
            Err(error) => {
                Err(Fault::Git(GitError::Object { id: "work".to_owned(), detail: error.to_string() }))
            }
        }
    }

    /// Returns what is known beside the definitions, without the live objects.
    fn validation_context(&self, repository: &ConfigRepository) -> validate::Context {
        let namespace = repository.namespace().unwrap_or_default();
        let allowed_secrets = match &repository.spec.allowed_secrets {
            None if self.settings.all_secrets => AllowedSecrets::All,
            None => AllowedSecrets::Named(BTreeSet::new()),
            Some(names) if names.iter().any(|name| name == ANY_SECRET) => AllowedSecrets::All,
            Some(names) => AllowedSecrets::Named(names.iter().cloned().collect()),
        };
        validate::Context { namespace: Some(namespace), allowed_secrets, live: BTreeSet::new() }
    }

    async fn bring_about(
        &self,
        repository: &ConfigRepository,
        judged: &Judged,
        may_prune: bool,
        draft: &mut Draft,
    ) -> Brought {
        let revision = judged.commit.to_string();
        let evaluation = &judged.evaluation;
        let owner = repository.uid().unwrap_or_default();
        let target = Target {
            client: self.context.client.clone(),
            namespace: repository.namespace().unwrap_or_default(),
            repository: repository.name_any(),
            owner: owner.clone(),
            revision: revision.clone(),
        };
        let spec = &repository.spec;
        let guard = PruneGuard {
            enabled: may_prune,
            limit_percent: u8::try_from(spec.prune_limit.clamp(0, 100)).unwrap_or(100),
            confirmed: repository.annotations().get(labels::CONFIRM_PRUNE) == Some(&revision),
        };
        let limit = usize::try_from(spec.dry_run_limit).unwrap_or_default();
        let correct = spec.drift == DriftPolicy::Correct;
        let owned = self.settings.cluster.namespace(&target.namespace).owned_by(&owner).len();
        let pass = pass::carry_out(&target, &self.settings.cluster, evaluation, guard, limit, correct).await;
        draft.differences(&revision, &pass.plan, &evaluation.desired, owned);
        let nothing = |verdict: Verdict| Brought { verdict, took_hold: false, was_idle: false };
        let applied = match &pass.outcome {
            PassOutcome::Refused(failures) if failures.iter().all(|failure| failure.refused) => {
                draft.refused(&revision, evaluation, failures);
                return nothing(Verdict::Settled);
            }
            PassOutcome::Refused(failures) => {
                draft.unanswered(&revision, evaluation, &status::named(failures));
                return nothing(Verdict::Failed);
            }
            PassOutcome::Unanswered(error) => {
                draft.unanswered(&revision, evaluation, &error.to_string());
                return nothing(Verdict::Failed);
            }
            PassOutcome::Done(applied) => applied,
        };
        let verdict = if !applied.failures.is_empty() {
            draft.partially_applied(&revision, evaluation, &applied.failures);
            Verdict::Failed
        } else if let foreign = pass.foreign()
            && !foreign.is_empty()
        {
            let foreign: Vec<String> = foreign.into_iter().map(ToString::to_string).collect();
            let message = format!("{} belong to somebody else and are not touched", foreign.join(", "));
            draft.conflict(&revision, evaluation, &message);
            Verdict::Settled
        } else if let Some(waits) = waits_for(&pass.plan.notices, applied) {
            draft.waiting(&revision, evaluation, &waits);
            Verdict::Soon
        } else {
            draft.applied(&revision, evaluation);
            Verdict::Settled
        };
        Brought { verdict, took_hold: true, was_idle: pass.was_idle() }
    }

    /// Tells people when a revision was applied or refused.
    async fn tell_changes(&self, repository: &ConfigRepository, draft: &Draft) {
        let before = repository
            .status
            .as_ref()
            .and_then(|status| condition::find(&status.conditions, ConditionType::Ready));
        let Some(now) = condition::find(&draft.status.conditions, ConditionType::Ready) else { return };
        if before.is_some_and(|before| (&before.reason, &before.message) == (&now.reason, &now.message)) {
            return;
        }
        let is_warning = now.status != crate::api::condition::ConditionStatus::True
            && now.reason != Reason::Progressing.as_str();
        let revision = draft.status.last_attempted_revision.as_deref().unwrap_or_default();
        if is_warning {
            tracing::warn!(
                repository = repository.name_any(),
                revision,
                reason = now.reason,
                message = now.message,
                "Revision is not applied"
            );
        } else {
            tracing::info!(
                repository = repository.name_any(),
                revision,
                reason = now.reason,
                message = now.message,
                "Revision is applied"
            );
        }
        let happened = Happened { reason: &now.reason, action: "Reconcile", note: &now.message, is_warning };
        self.context.tell(&repository.object_ref(&()), happened).await;
    }
}

/// Returns how an attempt went: the reason of the condition that tells people.
fn result(draft: &Draft) -> &'static str {
    let ready = condition::find(&draft.status.conditions, ConditionType::Ready);
    ready.and_then(|ready| ready.reason.parse().ok()).map_or("", Reason::as_str)
}

enum Fault {
    Git(GitError),
    PathMissing { commit: String, path: String },
}

impl From<GitError> for Fault {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

fn fetch(
    mirror: &Repository,
    remote: &Remote,
    reference: &Reference,
    folder: &std::path::Path,
    interrupt: &AtomicBool,
) -> Result<CommitId, GitError> {
    match mirror.fetch(remote, reference, interrupt) {
        Err(error) if error.class() == GitErrorClass::Corrupt => {
            Repository::recreate(folder)?.fetch(remote, reference, interrupt)
        }
        result => result,
    }
}

fn fetch_failed(draft: &mut Draft, error: &GitError) -> Verdict {
    let reason = match error.class() {
        GitErrorClass::Unauthenticated => Reason::AuthenticationFailed,
        GitErrorClass::RefMissing => Reason::RevisionNotFound,
        _ => Reason::FetchFailed,
    };
    draft.retrying(reason, &error.to_string());
    Verdict::Failed
}

/// Returns what a pass waits for before its revision is through.
fn waits_for(notices: &[Notice], applied: &Applied) -> Option<String> {
    let noticed = notices.iter().find_map(|notice| match notice {
        Notice::WaitsForOlderRun(key) => {
            Some(format!("{key} changed; its new run waits until the older one has ended"))
        }
        Notice::BeingDeleted(key) => Some(format!("{key} is being deleted; the pass waits for that to end")),
        Notice::WaitsForDependency { task, dependency } => Some(format!(
            "{task} waits until the Task {dependency}, on which it depends and which changed, is made anew"
        )),
        Notice::OwnedByAnother(_) | Notice::SuspendedByHand(_) => None,
    });
    let replaced = || applied.replaced.first().map(|key| format!("{key} changed and is about to run again"));
    noticed.or_else(replaced)
}
