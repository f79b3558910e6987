//! Owns every task of the daemon.
//!
//! A task that ends although nobody asked it to, by error, panic or plain return, ends the daemon: a daemon
//! that goes on without its scheduler or its lease looks alive and is not.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long tasks may take to end after they were asked to.
const GRACE: Duration = Duration::from_secs(10);

/// The owner of the daemon's tasks.
#[derive(Debug)]
pub struct Supervisor {
    /// Cancelled once, by [`Supervisor::run`]; every task holds a clone and ends when it sees it.
    shutdown: CancellationToken,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Supervisor {
    /// Returns an owner of no tasks.
    pub fn new() -> Self {
        Self { shutdown: CancellationToken::new(), tasks: JoinSet::new() }
    }

    /// Returns the signal that tells tasks to end.
    pub fn shutdown_signal(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task; `name` stands in logs and errors.
    pub fn start(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Runs until `stop` resolves or a task ends by itself, then ends all tasks in order.
    ///
    /// # Errors
    /// Names the task that ended by itself, with its error.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let result = tokio::select! {
            () = &mut stop => Ok(()),
            Some(ended) = self.tasks.join_next() => match ended {
                Ok((name, Ok(()))) => Err(anyhow!("the task '{name}' ended although it should run on")),
                Ok((name, Err(error))) => Err(error).with_context(|| format!("the task '{name}' failed")),
                Err(error) => Err(anyhow!("a task panicked: {error}")),
            },
        };
        self.shutdown.cancel();
        let drain = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((name, Err(error))) => {
                        tracing::warn!(task_name = name, error = %format!("{error:#}"), "Task failed while ending");
                    }
                    Err(error) => tracing::warn!(%error, "Task panicked while ending"),
                }
            }
        };
        if tokio::time::timeout(GRACE, drain).await.is_err() {
            tracing::warn!(seconds = GRACE.as_secs(), "Tasks did not end in time and are dropped");
        }
        result
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_by_itself_ends_the_daemon() {
        let mut supervisor = Supervisor::new();
        let shutdown = supervisor.shutdown_signal();
        supervisor.start("steady", async move {
            shutdown.cancelled().await;
            Ok(())
        });
        supervisor.start("broken", async { Err(anyhow!("no disk")) });
        let error = supervisor.run(std::future::pending()).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "the task 'broken' failed: no disk");
    }

    #[tokio::test]
    async fn tasks_end_when_told() {
        let mut supervisor = Supervisor::new();
        let shutdown = supervisor.shutdown_signal();
        supervisor.start("steady", async move {
            shutdown.cancelled().await;
            Ok(())
        });
        supervisor.run(std::future::ready(())).await.unwrap();
    }
}
