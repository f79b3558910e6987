//! What every controller is given.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::clock::SharedClock;

/// How long a controller waits before it tries again what a fault of the moment kept it from.
pub(crate) const RETRY: Duration = Duration::from_secs(5);

/// What every controller is given.
#[derive(Clone)]
pub struct Context {
    /// The cluster.
    pub client: kube::Client,
    /// The time.
    pub clock: SharedClock,
    /// Writes Events.
    recorder: Recorder,
}

impl Context {
    /// Returns the context for `client`; Events are reported as coming from the controller.
    pub fn new(client: kube::Client, clock: SharedClock) -> Self {
        let recorder =
            Recorder::new(client.clone(), Reporter { controller: "kelos".to_owned(), instance: None });
        Self { client, clock, recorder }
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
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(reason = happened.reason, name = about.name, %error, "Event was not written");
        }
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

/// An Event's note is at most 1,024 bytes long; the API refuses longer ones.
fn cut(note: &str) -> String {
    const LONGEST: usize = 1024;
    note.get(..note.floor_char_boundary(LONGEST)).unwrap_or_default().to_owned()
}
