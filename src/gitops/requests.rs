//! Asks the server which run requests were carried out already, just before one is made.
//!
//! The watches bring Tasks and RunRecords each in their own order: a Task that just went may be seen to be gone before
//! its record is seen. The record was stored before the Task went, so a listing made after that shows it.

use std::collections::HashMap;
use std::sync::Arc;

use kube::api::{Api, ListParams};

use crate::api::run_record::{RunOutcome, RunRecord};
use crate::domain::plan::{Action, Cluster, Desired, RequestEnd};
use crate::gitops::apply::Target;

/// How many records are asked for at once.
const PAGE: u32 = 500;

/// Takes those actions away whose run request has a record; asks nothing when no action makes a request.
///
/// A request that was not carried out, because a Task that it depends on failed, may be made again: `cluster`, by which
/// the actions were planned, has to know of that.
///
/// Invariant: a Task is created only after a listing that began when its last namesake was gone.
pub(super) async fn leave_out_recorded(
    target: &Target,
    cluster: &impl Cluster,
    desired: &[Arc<Desired>],
    actions: &mut Vec<Action>,
) -> Result<(), kube::Error> {
    if !actions.iter().any(|action| request(action).is_some()) {
        return Ok(());
    }
    let recorded = recorded(target).await?;
    actions.retain(|action| {
        request(action).is_none_or(|index| {
            let wanted = &desired[index];
            let (name, digest) = (&wanted.key.name, &wanted.spec_digest);
            match recorded.get(&(name.clone(), digest.clone())) {
                None => true,
                Some(Attempt::CarriedOut) => false,
                Some(Attempt::NotCarriedOut) => {
                    cluster.ended(name, digest) == Some(RequestEnd::DependencyFailed)
                }
            }
        })
    });
    Ok(())
}

/// Whether a request that has a record was carried out, in any of its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    CarriedOut,
    NotCarriedOut,
}

/// Returns the index of the Task that an action creates, now or in the next pass.
fn request(action: &Action) -> Option<usize> {
    match action {
        Action::Run { desired } | Action::RunAgain { desired, .. } => Some(*desired),
        Action::Apply { .. } | Action::Prune { .. } => None,
    }
}

/// Returns name and spec digest of every Task of the namespace that has a record.
async fn recorded(target: &Target) -> Result<HashMap<(String, String), Attempt>, kube::Error> {
    let records: Api<RunRecord> = Api::namespaced(target.client.clone(), &target.namespace);
    let mut found = HashMap::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = records.list(&parameters).await?;
        for record in page.items {
            let Some(digest) = record.spec.spec_digest else { continue };
            let request = (record.spec.task_name, digest);
            if record.spec.outcome == RunOutcome::DependencyFailed {
                found.entry(request).or_insert(Attempt::NotCarriedOut);
            } else {
                found.insert(request, Attempt::CarriedOut);
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(found),
        }
    }
}
