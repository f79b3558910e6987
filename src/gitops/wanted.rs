//! Which run requests stand in config repositories, for those who may forget only what no longer stands there.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::plan::ManagedKind;
use crate::gitops::evaluate::Evaluation;

/// What the last revision that was carried out wants, by the uid of its ConfigRepository.
///
/// After a start it is not known until a revision was carried out; then nothing may be concluded from its absence.
#[derive(Debug, Default)]
pub struct WantedRuns {
    // Held for map operations only, never across an await.
    revisions: RwLock<HashMap<String, Arc<Evaluation>>>,
}

impl WantedRuns {
    /// Takes note of what a ConfigRepository wants from now on.
    pub fn set(&self, repository: &str, revision: Arc<Evaluation>) {
        let mut revisions = self.revisions.write().unwrap_or_else(PoisonError::into_inner);
        revisions.insert(repository.to_owned(), revision);
    }

    /// Returns name and spec digest of each Task that the ConfigRepository wants; `None` when that is not known.
    pub fn of(&self, repository: &str) -> Option<HashSet<(String, String)>> {
        let revisions = self.revisions.read().unwrap_or_else(PoisonError::into_inner);
        let desired = &revisions.get(repository)?.desired;
        let tasks = desired.iter().filter(|desired| desired.key.kind == ManagedKind::Task);
        Some(tasks.map(|task| (task.key.name.clone(), task.spec_digest.clone())).collect())
    }

    /// Forgets the ConfigRepositories that are gone.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        let mut revisions = self.revisions.write().unwrap_or_else(PoisonError::into_inner);
        revisions.retain(|repository, _| is_there(repository));
    }
}
