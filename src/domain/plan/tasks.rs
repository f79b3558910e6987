//! What a pass does about Tasks: each is a request that is carried out once.

use std::collections::HashMap;

use crate::domain::plan::{Action, Cluster, Desired, Notice, Observed, Plan};

/// How a run request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestEnd {
    /// Its run did what was asked.
    Succeeded,
    /// Its run failed, or could not begin.
    Failed,
    /// It was not carried out at all, because a Task that it depends on failed.
    DependencyFailed,
}

/// What this pass does about a Task that others may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays as it is.
    Stands,
    /// It is created by this pass.
    Runs,
    /// The Task of an older request is on its way out; the next passes create the new one.
    RunsSoon,
    /// It waits for a run that goes on.
    RunsLater,
}

/// Plans Tasks one after another, those that others depend on first.
pub(super) struct TaskPlanner<'a> {
    cluster: &'a dyn Cluster,
    owner: &'a str,
    fates: HashMap<&'a str, Fate>,
}

impl<'a> TaskPlanner<'a> {
    pub(super) fn new(cluster: &'a dyn Cluster, owner: &'a str) -> Self {
        Self { cluster, owner, fates: HashMap::new() }
    }

    /// Adds to `plan` what is done about the Task `desired`, which has this index in the input.
    pub(super) fn plan(&mut self, plan: &mut Plan, index: usize, desired: &'a Desired) {
        let observed = self.cluster.get(&desired.key);
        let fate = match &observed {
            Some(observed) if !self.is_ours(observed) => {
                plan.notices.push(Notice::OwnedByAnother(desired.key.clone()));
                Fate::Stands
            }
            _ if self.is_done(desired, observed.as_deref()) => {
                plan.unchanged += 1;
                Fate::Stands
            }
            Some(observed) if observed.deleting => {
                plan.notices.push(Notice::BeingDeleted(desired.key.clone()));
                Fate::RunsSoon
            }
            Some(observed) if observed.ended.is_none() => {
                plan.notices.push(Notice::WaitsForOlderRun(desired.key.clone()));
                Fate::RunsLater
            }
            Some(observed) => {
                let again = Action::RunAgain { desired: index, uid: observed.uid.clone() };
                self.unless_too_early(plan, desired, again, Fate::RunsSoon)
            }
            None => self.unless_too_early(plan, desired, Action::Run { desired: index }, Fate::Runs),
        };
        self.fates.insert(&desired.key.name, fate);
    }

    /// Takes `action`, unless a Task that this one depends on is still that of an older request: this one would go by
    /// how that ended.
    fn unless_too_early(&self, plan: &mut Plan, desired: &Desired, action: Action, fate: Fate) -> Fate {
        let creates = matches!(action, Action::Run { .. });
        let hindrance = desired.depends_on.iter().find_map(|name| match self.fates.get(name.as_str()) {
            Some(hindrance @ Fate::RunsLater) => Some((name, *hindrance)),
            // The Task of this one's own older request may go at the same time.
            Some(hindrance @ Fate::RunsSoon) if creates => Some((name, *hindrance)),
            Some(_) | None => None,
        });
        let Some((dependency, hindrance)) = hindrance else {
            plan.actions.push(action);
            return fate;
        };
        plan.notices
            .push(Notice::WaitsForDependency { task: desired.key.clone(), dependency: dependency.clone() });
        hindrance
    }

    /// Returns whether a Task is of this ConfigRepository. One that a pass made and whose ConfigRepository is gone is
    /// taken up; one that somebody made by hand is not.
    fn is_ours(&self, observed: &Observed) -> bool {
        match observed.owner.as_deref() {
            Some(owner) => owner == self.owner,
            None => observed.spec_digest.is_some(),
        }
    }

    /// Returns whether the request is being carried out or was, so that nothing is left to do.
    fn is_done(&self, desired: &Desired, observed: Option<&Observed>) -> bool {
        let live = observed.filter(|live| live.spec_digest.as_deref() == Some(&desired.spec_digest));
        let end = match live {
            Some(live) => live.ended,
            None => match self.cluster.ended(&desired.key.name, &desired.spec_digest) {
                None => return false,
                ended => ended,
            },
        };
        end != Some(RequestEnd::DependencyFailed) || !desired.depends_on.iter().all(|name| self.may_do(name))
    }

    /// Returns whether a Task that depends on this one, and failed because of that, would fare better now.
    ///
    /// Invariant: the answer is no while what made it fail is there, or it would be created again and again.
    fn may_do(&self, dependency: &str) -> bool {
        match self.fates.get(dependency) {
            Some(Fate::Runs | Fate::RunsSoon | Fate::RunsLater) => return true,
            Some(Fate::Stands) | None => {}
        }
        match self.cluster.task(dependency) {
            Some(live) => !live.deleting && matches!(live.ended, None | Some(RequestEnd::Succeeded)),
            None => self.cluster.expired_well(dependency),
        }
    }
}
