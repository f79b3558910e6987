//! Watches: an answer that does not end, one JSON line for each event.
//!
//! A watch begins with a state or a revision and follows the store from there without a gap. It ends at its timeout,
//! when the server stops, or when its reader is too slow; a client goes on from the last version that it saw.
//!
//! An answer is made only as fast as it is read. Of a reader that stopped reading the end cannot be seen from here: whoever
//! carries the answer is told when it should be over, see [`Carrier`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::apiserver::answer;
use crate::apiserver::counting;
use crate::apiserver::encode;
use crate::apiserver::list::{self, ListMeta};
use crate::apiserver::metadata;
use crate::apiserver::negotiate::Form;
use crate::apiserver::options::ListOptions;
use crate::apiserver::resource::Resource;
use crate::apiserver::selector::Selection;
use crate::apiserver::server::State;
use crate::apiserver::status::ApiError;
use crate::apiserver::table::{self, Include};
use crate::apiserver::write::{load, with_revision};
use crate::clock::SharedClock;
use crate::metrics::LongRunning;
use crate::store::{Event, Scan, Watch, WatchError};

/// How often a quiet watch says how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);

/// How long before its end a watch says how far it is.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// The shortest and the longest life of a watch that states none, in seconds.
const DEFAULT_LIFE: std::ops::Range<u64> = 1_800..3_600;

/// How many bytes of events go into one piece of the answer.
const CHUNK: usize = 64 << 10;

/// What a listener lends to the watches that it carries, as an extension of their requests. Requests of the same process
/// have none.
#[derive(Debug, Clone)]
pub(crate) struct Carrier {
    /// One permit for each watch that is open; nobody waits for one.
    pub(crate) room: Arc<Semaphore>,
    // Who carries the answer holds the receiving end, and gives up what is overdue.
    pub(crate) endings: mpsc::UnboundedSender<Ending>,
}

/// When a watch is over, whether or not its reader takes what is left of it.
#[derive(Debug)]
pub(crate) struct Ending {
    deadline: Instant,
    /// Cancelled when the reader is too slow.
    cut: CancellationToken,
    /// Cancelled when the answer was read to its end or given up.
    done: CancellationToken,
}

impl Ending {
    /// Waits for the end of the answer. Returns whether it is still there when the watch has been over for `patience`.
    pub(crate) async fn overdue(self, patience: Duration) -> bool {
        let overdue = async {
            tokio::select! {
                () = tokio::time::sleep_until(self.deadline) => {}
                () = self.cut.cancelled() => {}
            }
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            () = self.done.cancelled() => false,
            () = overdue => true,
        }
    }

    /// Returns the ending of an answer that is never read, for tests: over at once.
    #[cfg(test)]
    pub(crate) fn now() -> Self {
        Self { deadline: Instant::now(), cut: CancellationToken::new(), done: CancellationToken::new() }
    }
}

/// Everything that one watch needs.
struct Follow {
    resource: Arc<Resource>,
    selection: Selection,
    form: Form,
    include: Include,
    bookmarks: bool,
    clock: SharedClock,
    /// The state with which the watch begins, as far as it is not sent yet.
    initial: Option<Scan>,
    // The store owns the sending end and drops it when this reader is too slow or the store closes.
    watch: Watch,
    /// Events up to this revision are not for this watch.
    floor: u64,
    columns_sent: bool,
    next_bookmark: Instant,
    /// Whether the bookmark before the end is still to be sent.
    last_bookmark_due: bool,
    deadline: Instant,
    stopping: CancellationToken,
    /// Counts this watch as open.
    _open: LongRunning,
    _room: Option<OwnedSemaphorePermit>,
    /// Tells that the answer is over, however it ends.
    _done: DropGuard,
}

/// Answers with a watch on the collection of `namespace`, or on all.
pub(crate) fn watch(
    state: &State,
    resource: &Arc<Resource>,
    namespace: Option<&str>,
    options: &ListOptions,
    form: Form,
    include: Include,
    carrier: Option<&Carrier>,
) -> Result<Response<Body>, ApiError> {
    let prefix = resource.collection(namespace);
    let room = match carrier {
        Some(carrier) => {
            Some(Arc::clone(&carrier.room).try_acquire_owned().map_err(|_| ApiError::too_many_requests())?)
        }
        None => None,
    };
    let asked = options.revision()?;
    let current = state.store.revision();
    let life = options.timeout_seconds.unwrap_or_else(default_life);
    let now = Instant::now();
    // A far deadline stands for one beyond what the clock can say.
    let deadline =
        now.checked_add(Duration::from_secs(life)).unwrap_or(now + Duration::from_secs(DEFAULT_LIFE.end));
    let unavailable = |error| ApiError::unavailable(format!("the watch cannot begin: {error}"));
    let (after, initial, watch) = if options.send_initial_events == Some(true) {
        if let Some(asked) = asked.filter(|&asked| asked > current) {
            return Err(ApiError::too_large_resource_version(asked, current));
        }
        let scan = state.store.scan(&prefix, None);
        let after = scan.revision();
        let scan = match options.selection.fields.exact("metadata.name") {
            Some(name) => scan.with_keys(|key| list::is_named(key, name)),
            None => scan,
        };
        (after, Some(scan), state.store.watch(&prefix, after).map_err(unavailable)?)
    } else {
        // Without initial events, no version and 0 mean from now on.
        let after = asked.filter(|&revision| revision != 0).unwrap_or(current);
        match state.store.watch(&prefix, after.min(current)) {
            Ok(watch) => (after, None, watch),
            Err(WatchError::Compacted { floor }) => return Ok(expired(after, floor)),
            Err(error @ WatchError::Future { .. }) => return Err(unavailable(error)),
        }
    };
    let done = CancellationToken::new();
    if let Some(carrier) = carrier {
        let ending = Ending { deadline, cut: watch.cut(), done: done.clone() };
        // A carrier that is gone carries nothing that could be overdue.
        drop(carrier.endings.send(ending));
    }
    Ok(respond(Follow {
        resource: Arc::clone(resource),
        selection: options.selection.clone(),
        form,
        include,
        bookmarks: options.bookmarks,
        clock: Arc::clone(&state.clock),
        initial,
        watch,
        floor: after,
        columns_sent: false,
        next_bookmark: now + BOOKMARK_INTERVAL,
        last_bookmark_due: options.bookmarks && Duration::from_secs(life) > LAST_BOOKMARK,
        deadline,
        stopping: state.stopping.clone(),
        _open: state.requests.begin_long_running(&counting::of_resource("WATCH", resource)),
        _room: room,
        _done: done.drop_guard(),
    }))
}

/// Answers a watch from a version whose past is gone.
fn expired(asked: u64, floor: u64) -> Response<Body> {
    let error = ApiError::expired(format!("too old resource version: {asked} ({floor})"));
    let mut line = b"{\"type\":\"ERROR\",\"object\":".to_vec();
    line.extend(error.to_json());
    line.extend_from_slice(b"}\n");
    streaming(Body::from(line))
}

/// Spreads the ends of watches, so that clients do not come back all at once.
fn default_life() -> u64 {
    let random = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    DEFAULT_LIFE.start + (DEFAULT_LIFE.end - DEFAULT_LIFE.start) * random / 256
}

fn streaming(body: Body) -> Response<Body> {
    answer::with_type(StatusCode::OK, HeaderValue::from_static("application/json"), body)
}

fn respond(follow: Follow) -> Response<Body> {
    let pieces = stream::unfold(follow, |mut follow| async move {
        let piece = follow.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(piece), follow))
    });
    streaming(Body::from_stream(pieces))
}

impl Follow {
    /// Returns the next piece of the state with which the watch begins.
    fn next_of_state(&mut self) -> Option<Bytes> {
        let mut state = self.initial.take()?;
        let mut piece = Vec::new();
        for entry in state.by_ref() {
            if self.selection.matches_bytes(&entry.value) {
                self.write_event("ADDED", &entry.value, &mut piece);
            }
            if piece.len() >= CHUNK {
                self.initial = Some(state);
                return Some(piece.into());
            }
        }
        if self.bookmarks {
            self.write_bookmark(state.revision(), true, &mut piece);
        }
        (!piece.is_empty()).then(|| piece.into())
    }

    /// Returns the next piece of the answer, nothing at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.next_of_state() {
            return Some(piece);
        }
        loop {
            let last_bookmark = self.deadline.checked_sub(LAST_BOOKMARK).unwrap_or(self.deadline);
            let stopping = self.stopping.clone();
            let mut piece = Vec::new();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return None,
                event = self.watch.next() => {
                    self.write_change(&event?, &mut piece);
                    while piece.len() < CHUNK
                        && let Some(event) = self.watch.try_next()
                    {
                        self.write_change(&event, &mut piece);
                    }
                }
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = tokio::time::sleep_until(last_bookmark), if self.last_bookmark_due => {
                    self.last_bookmark_due = false;
                    let revision = self.watch.progress().max(self.floor);
                    self.write_bookmark(revision, false, &mut piece);
                }
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
                    let revision = self.watch.progress().max(self.floor);
                    self.write_bookmark(revision, false, &mut piece);
                }
            }
            if !piece.is_empty() {
                return Some(piece.into());
            }
        }
    }

    /// Whether the selector means one object and `key` is another.
    fn names_other(&self, key: &str) -> bool {
        self.selection.fields.exact("metadata.name").is_some_and(|name| !list::is_named(key, name))
    }

    fn write_change(&mut self, event: &Event, piece: &mut Vec<u8>) {
        if event.revision <= self.floor || self.names_other(&event.key) {
            return;
        }
        let matches =
            |bytes: &Option<Bytes>| bytes.as_ref().is_some_and(|bytes| self.selection.matches_bytes(bytes));
        let (was, is) = (matches(&event.previous), matches(&event.value));
        match (was, is, &event.value, &event.previous) {
            (false, true, Some(value), _) => self.write_event("ADDED", value, piece),
            (true, true, Some(value), _) => self.write_event("MODIFIED", value, piece),
            (true, false, _, Some(previous)) => {
                // The object as it was, with the version of the change that took it out of sight.
                let last = match &event.deleted_value {
                    Some(last) => last.clone(),
                    None => with_revision(&self.resource, previous, event.revision)
                        .unwrap_or_else(|_| previous.clone()),
                };
                self.write_event("DELETED", &last, piece);
            }
            _ => {}
        }
    }

    fn write_event(&mut self, kind: &str, bytes: &[u8], piece: &mut Vec<u8>) {
        piece.extend_from_slice(b"{\"type\":\"");
        piece.extend_from_slice(kind.as_bytes());
        piece.extend_from_slice(b"\",\"object\":");
        if self.form == Form::Object {
            answer::write_typed(&self.resource, bytes, piece);
        } else {
            let object = load(&self.resource, bytes).unwrap_or_default();
            self.write_transformed(object, piece);
        }
        piece.extend_from_slice(b"}\n");
    }

    fn write_transformed(&mut self, object: Value, piece: &mut Vec<u8>) {
        match self.form {
            Form::Object => piece.extend(encode::to_vec(&object)),
            Form::Partial { version, .. } => piece.extend(table::partial(&object, version)),
            Form::Table(version) => {
                let resource_version = metadata::text(&object, "resourceVersion").to_owned();
                let meta = ListMeta { resource_version, ..ListMeta::default() };
                let with_columns = !self.columns_sent;
                self.columns_sent = true;
                let now = self.clock.now();
                let include = self.include;
                piece.extend(table::render(
                    &self.resource,
                    &[object],
                    &meta,
                    version,
                    include,
                    with_columns,
                    now,
                ));
            }
        }
    }

    fn write_bookmark(&mut self, revision: u64, ends_state: bool, piece: &mut Vec<u8>) {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if ends_state {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        piece.extend_from_slice(b"{\"type\":\"BOOKMARK\",\"object\":");
        let object = json!({
            "apiVersion": self.resource.api_version(),
            "kind": self.resource.kind,
            "metadata": metadata,
        });
        match (self.form, self.resource.core) {
            (Form::Object, Some(core)) => {
                let decoded = core.shape.decode(&object, "", &mut Vec::new()).unwrap_or_default();
                let bytes = encode::to_vec(&crate::apiserver::core_kinds::shape::Ordered {
                    value: &decoded,
                    shape: core.shape,
                });
                answer::write_typed(&self.resource, &bytes, piece);
            }
            _ => self.write_transformed(object, piece),
        }
        piece.extend_from_slice(b"}\n");
    }
}
