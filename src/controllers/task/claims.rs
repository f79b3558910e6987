//! Which Tasks may have a run now: one for a branch of a repository, and no more than there are slots.
//!
//! The caches of the controller lag behind its own writes. What was accepted is therefore claimed here first, in the
//! one process that starts runs, and taken up again from the Tasks' status after a restart.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A branch of a repository, within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BranchKey {
    /// Namespace of the Task.
    pub(crate) namespace: String,
    /// URL of the repository, as the Workspace has it.
    pub(crate) repository: String,
    /// Name of the branch.
    pub(crate) branch: String,
}

/// What stands in the way of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// This Task works on the branch.
    Branch(String),
    /// As many runs go on as may.
    Slots,
}

#[derive(Debug)]
struct Claim {
    task_name: String,
    branch: Option<BranchKey>,
}

/// The claims of all Tasks that were accepted and have not ended.
#[derive(Debug)]
pub(crate) struct Claims {
    slots: usize,
    // Held for map operations only, never across an await.
    by_uid: Mutex<HashMap<String, Claim>>,
}

impl Claims {
    /// Returns no claims, with room for `slots` of them.
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots, by_uid: Mutex::new(HashMap::new()) }
    }

    /// Returns what stands in the way of the Task with this uid; nothing does when it has a claim already.
    pub(crate) fn obstacle(&self, uid: &str, branch: Option<&BranchKey>) -> Option<Obstacle> {
        obstacle(&self.by_uid.lock().unwrap_or_else(PoisonError::into_inner), self.slots, uid, branch)
    }

    /// Claims a slot and the branch for the Task, unless something stands in the way.
    pub(crate) fn claim(
        &self,
        uid: &str,
        task_name: &str,
        branch: Option<BranchKey>,
    ) -> Result<(), Obstacle> {
        let mut claims = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(obstacle) = obstacle(&claims, self.slots, uid, branch.as_ref()) {
            return Err(obstacle);
        }
        claims.insert(uid.to_owned(), Claim { task_name: task_name.to_owned(), branch });
        Ok(())
    }

    /// Takes note of a Task that was accepted before this process began, whatever stands in the way.
    pub(crate) fn adopt(&self, uid: &str, task_name: &str, branch: Option<BranchKey>) {
        let mut claims = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        claims.entry(uid.to_owned()).or_insert_with(|| Claim { task_name: task_name.to_owned(), branch });
    }

    /// Gives up the claim of a Task that has ended; returns whether it had one.
    pub(crate) fn release(&self, uid: &str) -> bool {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner).remove(uid).is_some()
    }
}

fn obstacle(
    claims: &HashMap<String, Claim>,
    slots: usize,
    uid: &str,
    branch: Option<&BranchKey>,
) -> Option<Obstacle> {
    if claims.contains_key(uid) {
        return None;
    }
    if let Some(branch) = branch
        && let Some(holder) = claims.values().find(|claim| claim.branch.as_ref() == Some(branch))
    {
        return Some(Obstacle::Branch(holder.task_name.clone()));
    }
    (claims.len() >= slots).then_some(Obstacle::Slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(name: &str) -> BranchKey {
        BranchKey { namespace: "n".to_owned(), repository: "r".to_owned(), branch: name.to_owned() }
    }

    #[test]
    fn one_task_works_on_a_branch() {
        let claims = Claims::new(10);
        assert_eq!(claims.claim("1", "first", Some(branch("main"))), Ok(()));
        assert_eq!(claims.claim("1", "first", Some(branch("main"))), Ok(()), "its own claim is no obstacle");
        assert_eq!(
            claims.claim("2", "second", Some(branch("main"))),
            Err(Obstacle::Branch("first".to_owned()))
        );
        assert_eq!(claims.claim("3", "third", Some(branch("other"))), Ok(()));
        assert!(claims.release("1"));
        assert_eq!(claims.claim("2", "second", Some(branch("main"))), Ok(()));
    }

    #[test]
    fn no_more_runs_than_slots() {
        let claims = Claims::new(1);
        claims.adopt("1", "adopted", None);
        claims.adopt("2", "adopted too", None);
        assert_eq!(claims.claim("3", "new", None), Err(Obstacle::Slots));
        claims.release("1");
        claims.release("2");
        assert_eq!(claims.claim("3", "new", None), Ok(()));
    }
}
