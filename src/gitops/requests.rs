//! Asks the server which run requests were carried out already, just before one is made.
//!
//! The watches bring Tasks and RunRecords each in their own order: a Task that just went may be seen to be gone before
//! its record is seen. The record was stored before the Task went, so a listing made after that shows it.

use std::collections::HashSet;
use std::sync::Arc;

use kube::api::{Api, ListParams};

use crate::api::run_record::RunRecord;
use crate::domain::plan::{Action, Desired};
use crate::gitops::apply::Target;

/// How many records are asked for at once.
const PAGE: u32 = 500;

/// Takes those actions away whose run request has a record; asks nothing when no action makes a request.
///
/// Invariant: a Task is created only after a listing that began when its last namesake was gone.
pub(super) async fn leave_out_recorded(
    target: &Target,
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
            !recorded.contains(&(wanted.key.name.clone(), wanted.spec_digest.clone()))
        })
    });
    Ok(())
}

/// Returns the index of the Task that an action creates, now or in the next pass.
fn request(action: &Action) -> Option<usize> {
    match action {
        Action::Run { desired } | Action::RunAgain { desired, .. } => Some(*desired),
        Action::Apply { .. } | Action::Prune { .. } => None,
    }
}

/// Returns name and spec digest of every Task of the namespace that has a record.
async fn recorded(target: &Target) -> Result<HashSet<(String, String)>, kube::Error> {
    let records: Api<RunRecord> = Api::namespaced(target.client.clone(), &target.namespace);
    let mut found = HashSet::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = records.list(&parameters).await?;
        found.extend(
            page.items
                .into_iter()
                .filter_map(|record| Some((record.spec.task_name, record.spec.spec_digest?))),
        );
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(found),
        }
    }
}
