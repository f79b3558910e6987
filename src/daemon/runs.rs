//! Ends all runs, for a daemon that is asked to leave none behind.

use std::time::Duration;

use futures::future::join_all;
use kube::api::{Api, ListParams};
use tokio::time::Instant;

use crate::api::run::{GRACE_SECONDS, RunState};
use crate::api::run_record::RunRecord;
use crate::executor::Executor;

/// How long a run may take to end after it was asked to; then it is ended by force.
const GRACE: Duration = Duration::from_secs(GRACE_SECONDS);
/// How long the records of the runs may take.
const RECORDS: Duration = Duration::from_secs(30);
/// How often the records are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Starts nothing new, cancels every run, and waits until each is recorded. The controllers still run: it is they who
/// write down how the Tasks ended.
pub(super) async fn stop(executor: &dyn Executor, client: &kube::Client) {
    executor.close();
    let runs = running(executor).await;
    tracing::info!(runs = runs.len(), "Runs are cancelled");
    let ended = join_all(runs.iter().map(|run| executor.stop(run, GRACE))).await;
    for (run, result) in runs.iter().zip(ended) {
        if let Err(error) = result {
            tracing::error!(run, %error, "Run could not be ended");
        }
    }
    let records: Api<RunRecord> = Api::all(client.clone());
    let until = Instant::now() + RECORDS;
    for run in &runs {
        let by_name = ListParams::default().fields(&format!("metadata.name={run}"));
        while !records.list_metadata(&by_name).await.is_ok_and(|found| !found.items.is_empty()) {
            if Instant::now() >= until {
                tracing::warn!(run, "Run is not recorded yet; the next start does it");
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Returns the runs that go on.
async fn running(executor: &dyn Executor) -> Vec<String> {
    let runs = match executor.runs().await {
        Ok(runs) => runs,
        Err(error) => {
            tracing::error!(%error, "Runs cannot be listed");
            return Vec::new();
        }
    };
    let mut running = Vec::new();
    for run in runs {
        if matches!(executor.observe(&run).await, Ok(RunState::Running { .. })) {
            running.push(run);
        }
    }
    running
}
