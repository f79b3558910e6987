//! One pass: a valid evaluation in, the cluster as it says.

use std::sync::Arc;

use crate::domain::plan::{Action, Notice, ObjectKey, Plan, PruneGuard, plan};
use crate::gitops::apply::{self, Applied, Failure, Target};
use crate::gitops::evaluate::Evaluation;
use crate::gitops::observed::ObservedCluster;
use crate::gitops::requests;

/// How a pass ended.
#[derive(Debug)]
pub enum PassOutcome {
    /// The server would not take these objects: nothing was written.
    Refused(Vec<Failure>),
    /// The server could not be asked what it has to be asked first: nothing was written.
    Unanswered(Box<kube::Error>),
    /// Deletions are held back and were not before: nothing was written. The pass is to be made again with that in its
    /// guard, once it is stored.
    HeldBack,
    /// Everything that could be written was; `applied.failures` says what was not.
    Done(Applied),
}

/// What a pass found and did.
#[derive(Debug)]
pub struct Pass {
    /// What was to be done.
    pub plan: Plan,
    /// What came of it.
    pub outcome: PassOutcome,
}

impl Pass {
    /// Returns whether the cluster was what the revision says before.
    pub fn was_idle(&self) -> bool {
        let Plan { actions, notices, held_prunes, unchanged: _ } = &self.plan;
        actions.is_empty() && notices.is_empty() && held_prunes.is_empty()
    }

    /// Returns the objects that belong to another ConfigRepository.
    pub fn foreign(&self) -> Vec<&ObjectKey> {
        let notices = self.plan.notices.iter();
        let of_another = notices.filter_map(|notice| match notice {
            Notice::OwnedByAnother(key) => Some(key),
            Notice::WaitsForOlderRun(_)
            | Notice::WaitsForDependency { .. }
            | Notice::SuspendedByHand(_)
            | Notice::BeingDeleted(_) => None,
        });
        of_another.collect()
    }
}

/// Brings the cluster to what `evaluation` says, which has to be valid.
///
/// Objects that change are tried on the server first, at most `dry_run_limit` of them, and one refusal ends the
/// pass with nothing written. Without any change no request is made. With `correct_drift` off, objects that were
/// changed on the cluster alone are left as they are.
pub async fn carry_out(
    target: &Target,
    cluster: &Arc<ObservedCluster>,
    evaluation: &Evaluation,
    guard: PruneGuard,
    dry_run_limit: usize,
    correct_drift: bool,
) -> Pass {
    let view = cluster.namespace(&target.namespace);
    let mut plan = plan(&evaluation.desired, &view, &target.owner, guard);
    // Invariant: that deletions are held back is stored before what comes with them is written. Counted with that, they
    // would be a smaller share.
    if !plan.held_prunes.is_empty() && guard.held_of.is_none() {
        return Pass { plan, outcome: PassOutcome::HeldBack };
    }
    let mut actions = plan.actions.clone();
    if !correct_drift {
        actions.retain(|action| {
            !matches!(action, Action::Apply { reason: crate::domain::plan::ApplyReason::Drifted(_), .. })
        });
    }
    if let Err(error) = requests::leave_out_recorded(target, &view, &evaluation.desired, &mut actions).await {
        return Pass { plan, outcome: PassOutcome::Unanswered(Box::new(error)) };
    }
    let refused = apply::dry_run(target, cluster, &evaluation.desired, &actions, dry_run_limit).await;
    if !refused.is_empty() {
        return Pass { plan, outcome: PassOutcome::Refused(refused) };
    }
    if !plan.notices.iter().all(|notice| !matches!(notice, Notice::OwnedByAnother(_))) {
        // What belongs to another is a refusal that came before any request: the rest is written, nothing is pruned.
        actions.retain(|action| !matches!(action, Action::Prune { .. }));
        plan.actions.retain(|action| !matches!(action, Action::Prune { .. }));
    }
    let applied = apply::apply(target, cluster, &evaluation.desired, &actions).await;
    Pass { plan, outcome: PassOutcome::Done(applied) }
}
