//! What every controller is given.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::forge::app::Tokens;
use crate::metrics::Metrics;

/// How long a controller waits before it tries again what a fault of the moment kept it from.
pub(crate) const RETRY: Duration = Duration::from_secs(5);

/// What every controller is given.
#[derive(Clone)]
pub struct Context {
    /// The cluster.
    pub client: kube::Client,
    /// The time.
    pub clock: SharedClock,
    /// Tokens of GitHub Apps.
    pub tokens: Tokens,
    /// Counts what is done.
    pub metrics: Metrics,
    /// Write Events.
    recorders: Arc<Mutex<Recorders>>,
}

/// A recorder counts Events about the same object with the same reason as one, whatever their notes say, and keeps the
/// first note. So it is kept only as long as the note stays the same. By uid of the object and reason.
type Recorders = HashMap<(String, String), (String, Recorder)>;

/// How many recorders are remembered; what is forgotten leads to an Event of its own.
const MOST_RECORDERS: usize = 1_000;

impl Context {
    /// Returns the context for `client`; Events are reported as coming from the controller.
    pub fn new(client: kube::Client, clock: SharedClock, metrics: Metrics) -> Self {
        let tokens = Tokens::new(Arc::clone(&clock));
        Self { client, clock, tokens, metrics, recorders: Arc::default() }
    }

    /// Tells people what happened to an object. An Event that cannot be written is logged and nothing else.
    pub(crate) async fn tell(&self, about: &ObjectReference, happened: Happened<'_>) {
        let event = Event {
            type_: if happened.is_warning { EventType::Warning } else { EventType::Normal },
            reason: happened.reason.to_owned(),
            note: Some(cut(happened.note)),
            action: happened.action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder(about, happened).publish(&event, about).await {
            tracing::warn!(reason = happened.reason, name = about.name, %error, "Event was not written");
        }
    }

    fn recorder(&self, about: &ObjectReference, happened: Happened<'_>) -> Recorder {
        let key = (about.uid.clone().unwrap_or_default(), happened.reason.to_owned());
        let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((note, recorder)) = recorders.get(&key)
            && note == happened.note
        {
            return recorder.clone();
        }
        if recorders.len() >= MOST_RECORDERS {
            recorders.clear();
        }
        let reporter = Reporter { controller: "kelos".to_owned(), instance: None };
        let recorder = Recorder::new(self.client.clone(), reporter);
        recorders.insert(key, (happened.note.to_owned(), recorder.clone()));
        recorder
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Something that happened to an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Happened<'a> {
    /// One word, from a closed list.
    pub(crate) reason: &'a str,
    /// What was being done.
    pub(crate) action: &'a str,
    /// A sentence.
    pub(crate) note: &'a str,
    /// Whether somebody should look.
    pub(crate) is_warning: bool,
}

/// Returns a flag for work that blocks, and what sets it when `shutdown` is cancelled.
pub(crate) fn interruption(shutdown: CancellationToken) -> (Arc<AtomicBool>, impl Future<Output = ()>) {
    let interrupt = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&interrupt);
    let interrupted = async move {
        shutdown.cancelled().await;
        set.store(true, Ordering::Relaxed);
    };
    (interrupt, interrupted)
}

/// Returns an error with its causes, as one text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// An Event's note is at most 1,024 bytes long; the API refuses longer ones.
fn cut(note: &str) -> String {
    const LONGEST: usize = 1024;
    note.get(..note.floor_char_boundary(LONGEST)).unwrap_or_default().to_owned()
}
