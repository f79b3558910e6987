//! One attempt: ask the remote, judge what is new, bring the cluster to it, tell how that went.

use std::sync::Arc;

use kube::api::Api;
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;

use crate::api::condition::{self, ConditionType, Reason};
use crate::api::config_repository::{ConfigRepository, ConfigRepositoryStatus, DriftPolicy};
use crate::api::labels;
use crate::controllers::config_repository::judge::{Fault, Judged};
use crate::controllers::config_repository::remote::RemoteFault;
use crate::controllers::config_repository::status::{self, Draft, short};
use crate::controllers::config_repository::{Controlled, RepositoryError};
use crate::controllers::context::Happened;
use crate::controllers::objects;
use crate::domain::plan::{Cluster as _, Notice, PruneGuard};
use crate::git::error::{GitError, GitErrorClass};
use crate::git::id::CommitId;
use crate::gitops::apply::{Applied, Target};
use crate::gitops::cache::EvaluationCache;
use crate::gitops::observed::Stage;
use crate::gitops::pass::{self, PassOutcome};

/// What is remembered of a ConfigRepository between attempts; all of it can be lost.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When the remote is asked next.
    pub(super) next_poll: Option<Instant>,
    /// How many attempts failed in a row.
    pub(super) failures: u32,
    /// What the last attempt answered.
    pub(super) asked: Asked,
    /// What the newest commit wants.
    pub(super) newest: Option<Judged>,
    /// What the last commit wants that was carried out, as far as it could be.
    good: Option<Judged>,
    /// Whether the last good one of an earlier start was looked for.
    is_good_sought: bool,
    /// Which one our copy keeps.
    pub(super) kept: Option<CommitId>,
    /// What the last pass went by that found nothing to do.
    quiet: Option<Grounds>,
    /// What the last pass went by that has to wait for something on the cluster.
    pub(super) waits: Option<Stage>,
    /// How many objects were owned when removals were held back that still wait.
    held_of: Option<usize>,
    pub(super) cache: EvaluationCache,
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

/// Why an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The remote is to be asked.
    Poll,
    /// Something happened on the cluster that the last pass waited for; what the remote has is known.
    Stir,
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
    /// Something is about to end that this one waited for; the remote is asked after the interval.
    Soon,
    /// It failed; the next one is due after a growing wait.
    Failed,
    /// The cluster did not take all of it; the next one is due after a wait that does not grow for long.
    Unwritten,
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
        occasion: Occasion,
    ) -> Result<Verdict, RepositoryError> {
        let mut draft = Draft::of(repository, self.context.clock.now());
        memory.waits = None;
        let verdict = if repository.spec.suspend {
            draft.suspended();
            Verdict::Idle
        } else {
            let began = Instant::now();
            let verdict = self.try_revision(repository, memory, occasion, &mut draft).await;
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
        occasion: Occasion,
        draft: &mut Draft,
    ) -> Verdict {
        let generation = repository.metadata.generation;
        let known = memory.newest.clone().filter(|_| occasion == Occasion::Stir);
        let known = known.filter(|judged| judged.generation == generation && judged.evaluation.is_valid());
        let (judged, _turn) = match known {
            Some(known) => (known, self.turn().await),
            None => match self.newest(repository, memory).await {
                Ok(newest) => newest,
                Err(fault) => {
                    let verdict = told(draft, fault);
                    let known = memory.newest.clone().filter(|judged| judged.generation == generation);
                    if let Some(known) = known.filter(|judged| judged.evaluation.is_valid())
                        && verdict == Verdict::Failed
                    {
                        let _turn = self.turn().await;
                        self.hold(repository, &known).await;
                    }
                    return verdict;
                }
            },
        };
        memory.newest = Some(judged.clone());
        if judged.evaluation.is_valid() {
            return self.carry_out(repository, memory, judged, draft).await;
        }
        memory.quiet = None;
        if memory.good.is_none() && !memory.is_good_sought {
            memory.is_good_sought = true;
            memory.good = self.good_of_earlier_start(repository).await;
            if let Some(good) = &memory.good {
                let uid = repository.uid().unwrap_or_default();
                self.settings.wanted.set(&uid, Arc::clone(&good.evaluation));
            }
        }
        if let Some(good) = memory.good.clone() {
            self.hold(repository, &good).await;
        }
        draft.invalid(&judged.commit.to_string(), &judged.evaluation);
        Verdict::Settled
    }

    /// Holds the cluster at a good revision while the newest is not known or not valid: what was changed there meanwhile
    /// is set right. Nothing is pruned, since what the newest revision defines is not known, and nothing is told.
    async fn hold(&self, repository: &ConfigRepository, good: &Judged) {
        let mut aside = Draft::of(repository, self.context.clock.now());
        let guard = PruneGuard { enabled: false, limit_percent: 0, confirmed: false, held_of: None };
        self.bring_about(repository, good, guard, &mut aside).await;
    }

    /// Brings the cluster to a valid revision, unless that was done and nothing changed since.
    async fn carry_out(
        &self,
        repository: &ConfigRepository,
        memory: &mut Memory,
        judged: Judged,
        draft: &mut Draft,
    ) -> Verdict {
        let namespace = repository.namespace().unwrap_or_default();
        let revision = judged.commit.to_string();
        let stage = self.settings.cluster.namespace(&namespace).stage();
        let asked = memory.asked.clone().without_request();
        let grounds = Grounds { commit: judged.commit, asked, stage };
        if memory.quiet.as_ref() == Some(&grounds) && draft.says_applied(&revision) {
            return Verdict::Settled;
        }
        let spec = &repository.spec;
        // What was stored may not have come back yet.
        let stored = repository.status.as_ref().and_then(ConfigRepositoryStatus::held_of);
        let guard = PruneGuard {
            enabled: spec.prune,
            limit_percent: u8::try_from(spec.prune_limit.clamp(0, 100)).unwrap_or(100),
            confirmed: repository.annotations().get(labels::CONFIRM_PRUNE) == Some(&revision),
            held_of: memory.held_of.or(stored),
        };
        let brought = self.bring_about(repository, &judged, guard, draft).await;
        memory.held_of = draft.status.held_of();
        memory.quiet = brought.was_idle.then_some(grounds);
        memory.waits = (brought.verdict == Verdict::Soon).then_some(stage);
        if brought.took_hold {
            let uid = repository.uid().unwrap_or_default();
            self.settings.wanted.set(&uid, Arc::clone(&judged.evaluation));
            if memory.kept != Some(judged.commit) {
                memory.kept = self.keep_good(repository, judged.commit).await;
            }
            memory.good = Some(judged);
        }
        brought.verdict
    }

    async fn bring_about(
        &self,
        repository: &ConfigRepository,
        judged: &Judged,
        mut guard: PruneGuard,
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
        let limit = usize::try_from(spec.dry_run_limit).unwrap_or_default();
        let correct = spec.drift == DriftPolicy::Correct;
        let cluster = &self.settings.cluster;
        let owned = guard.base(cluster.namespace(&target.namespace).owned_by(&owner).len());
        let nothing = |verdict: Verdict| Brought { verdict, took_hold: false, was_idle: false };
        let mut pass = pass::carry_out(&target, cluster, evaluation, guard, limit, correct).await;
        draft.differences(&revision, &pass.plan, &evaluation.desired, owned);
        if let PassOutcome::HeldBack = pass.outcome {
            if let Err(error) = status::store_blocked_prune(&self.context.client, repository, draft).await {
                draft.unanswered(&revision, evaluation, &error.to_string());
                return nothing(Verdict::Unwritten);
            }
            guard.held_of = Some(owned);
            pass = pass::carry_out(&target, cluster, evaluation, guard, limit, correct).await;
            draft.differences(&revision, &pass.plan, &evaluation.desired, owned);
        }
        let applied = match &pass.outcome {
            PassOutcome::Refused(failures) if failures.iter().all(|failure| failure.refused) => {
                draft.refused(&revision, evaluation, failures);
                return nothing(Verdict::Settled);
            }
            PassOutcome::Refused(failures) => {
                draft.unanswered(&revision, evaluation, &status::named(failures));
                return nothing(Verdict::Unwritten);
            }
            PassOutcome::Unanswered(error) => {
                draft.unanswered(&revision, evaluation, &error.to_string());
                return nothing(Verdict::Unwritten);
            }
            PassOutcome::HeldBack => {
                draft.waiting(&revision, evaluation, "removals are to be held back");
                return nothing(Verdict::Soon);
            }
            PassOutcome::Done(applied) => applied,
        };
        let verdict = if !applied.failures.is_empty() {
            draft.partially_applied(&revision, evaluation, &applied.failures);
            Verdict::Unwritten
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

/// Tells why it is not known what the newest commit wants, and returns what follows.
fn told(draft: &mut Draft, fault: Fault) -> Verdict {
    match fault {
        Fault::Remote(RemoteFault::Api { name, source }) => {
            draft.retrying(Reason::FetchFailed, &format!("cannot read the Secret {name}: {source}"));
        }
        Fault::Remote(fault @ (RemoteFault::SecretMissing(_) | RemoteFault::SecretUnusable(_))) => {
            draft.retrying(Reason::AuthenticationFailed, &fault.to_string());
        }
        Fault::Remote(RemoteFault::App(error)) => {
            let reason =
                if error.is_transient() { Reason::FetchFailed } else { Reason::AuthenticationFailed };
            draft.retrying(reason, &error.to_string());
        }
        Fault::Remote(RemoteFault::Invalid(message)) => {
            draft.stalled(Reason::InvalidSpec, &message);
            return Verdict::Idle;
        }
        Fault::Git(GitError::Interrupted { .. }) => return Verdict::BrokenOff,
        Fault::Git(error) => {
            let reason = match error.class() {
                GitErrorClass::Unauthenticated => Reason::AuthenticationFailed,
                GitErrorClass::RefMissing => Reason::RevisionNotFound,
                _ => Reason::FetchFailed,
            };
            draft.retrying(reason, &error.to_string());
        }
        Fault::PathMissing { commit, path } => {
            let message = format!("there is no folder '{path}' in {}", short(&commit));
            draft.stalled(Reason::PathNotFound, &message);
            return Verdict::Settled;
        }
        Fault::Moment(message) => {
            draft.retrying(Reason::ProgressingWithRetry, &format!("it could not be judged: {message}"));
        }
    }
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
