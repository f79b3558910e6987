//! Runs a case against one server and writes down what it answered.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use http::Request;
use serde_json::Value;

use super::mask::{Masking, header_counts};
use super::peer::{BodyChunks, Peer};
use super::step::{Call, Case, Look, PATHS, Step, YAML};

/// How long a server may take to answer, to send the next event, or to do what it does by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// A masked answer, and the step that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) step: String,
    pub(crate) text: String,
}

/// Runs `case` in a new namespace and returns one answer for each step.
pub(crate) async fn run(peer: &Peer, case: &Case, namespace: &str) -> Vec<Answer> {
    let mut runner = Runner::start(peer, namespace).await;
    let mut answers = Vec::new();
    for (index, step) in case.steps.iter().enumerate() {
        let (title, text) = runner.take(step).await;
        answers.push(Answer { step: format!("step {}: {title}", index + 1), text });
    }
    answers
}

/// The state of one case on one server.
pub(crate) struct Runner<'a> {
    peer: &'a Peer,
    masking: Masking,
    kept: BTreeMap<&'static str, String>,
    watches: HashMap<&'static str, Watch>,
}

struct Watch {
    chunks: BodyChunks,
    /// What came and is not yet a whole line.
    rest: String,
}

impl<'a> Runner<'a> {
    /// Makes the namespace of a case.
    pub(crate) async fn start(peer: &'a Peer, namespace: &str) -> Self {
        let mut runner = Self {
            peer,
            masking: Masking::default(),
            kept: BTreeMap::from([("namespace", namespace.to_owned())]),
            watches: HashMap::new(),
        };
        let body =
            serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let (_, text) = runner.take(&super::step::post("/api/v1/namespaces", body).into()).await;
        assert!(text.starts_with("201"), "namespace {namespace}: {text}");
        runner
    }

    /// Takes one step. Returns its title and the masked answer.
    pub(crate) async fn take(&mut self, step: &Step) -> (String, String) {
        match step {
            Step::Send(call) => {
                let text = self.exchange(call).await.unwrap_or_else(|fault| format!("FAULT {fault}"));
                (self.title(call), text)
            }
            Step::Await(call, status) => {
                (format!("await {status} of {}", self.title(call)), self.wait(call, *status).await)
            }
            Step::Open(name, call) => {
                let text = self.open(name, call).await.unwrap_or_else(|fault| format!("FAULT {fault}"));
                (format!("watch {name}: {}", self.title(call)), text)
            }
            Step::Events(name, count) => {
                (format!("{count} events of watch {name}"), self.events(name, *count).await)
            }
            Step::Rest(name) => (format!("the rest of watch {name}"), self.events(name, usize::MAX).await),
        }
    }

    fn title(&self, call: &Call) -> String {
        format!("{} {} {}", call.method, self.filled(&call.path), self.filled(&call.body))
    }

    /// Puts kept values and abbreviated paths into `text`.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (short, long) in PATHS {
            text = text.replace(short, long);
        }
        for (name, value) in &self.kept {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }

    async fn send(&self, call: &Call) -> Result<http::Response<BodyChunks>, String> {
        let mut request = Request::builder().method(call.method).uri(self.filled(&call.path));
        for (name, value) in &call.headers {
            request = request.header(*name, self.filled(value));
        }
        let request = request.body(Bytes::from(self.filled(&call.body))).map_err(|err| err.to_string())?;
        let answer = tokio::time::timeout(PATIENCE, self.peer.send(request)).await;
        answer.map_err(|_| "no answer in time".to_owned())?
    }

    async fn exchange(&mut self, call: &Call) -> Result<String, String> {
        let answer = self.send(call).await?;
        let (parts, chunks) = answer.into_parts();
        let body = tokio::time::timeout(PATIENCE, read_to_end(chunks)).await;
        let body = body.map_err(|_| "no end of the body in time".to_owned())??;
        for (name, pointer) in &call.keep {
            let value = serde_json::from_str::<Value>(&body).ok();
            let value = value.as_ref().and_then(|value| value.pointer(pointer)).cloned();
            let text = match value {
                Some(Value::String(text)) => text,
                Some(other) => other.to_string(),
                None => return Err(format!("nothing to keep at {pointer} of {body}")),
            };
            self.kept.insert(name, text);
        }
        let body = looked_at(&call.look, &unquoted(&parts, body));
        Ok(self.masking.mask(&format!("{}{body}\n", head(&parts))))
    }

    async fn wait(&mut self, call: &Call, status: u16) -> String {
        let started = Instant::now();
        loop {
            match self.send(call).await {
                Ok(answer) if answer.status().as_u16() == status => return format!("{status}\n"),
                Ok(answer) if started.elapsed() > PATIENCE => {
                    return format!("still {} after {PATIENCE:?}\n", answer.status());
                }
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(fault) => return format!("FAULT {fault}"),
            }
        }
    }

    async fn open(&mut self, name: &'static str, call: &Call) -> Result<String, String> {
        let (parts, chunks) = self.send(call).await?.into_parts();
        self.watches.insert(name, Watch { chunks, rest: String::new() });
        Ok(self.masking.mask(&head(&parts)))
    }

    async fn events(&mut self, name: &'static str, count: usize) -> String {
        let watch = self.watches.get_mut(name).expect("a watch is opened before its events are looked at");
        let mut events = String::new();
        let mut seen = 0;
        while seen < count {
            seen += 1;
            match tokio::time::timeout(PATIENCE, watch.line()).await {
                Ok(Ok(Some(line))) if is_routine_bookmark(&line) => seen -= 1,
                Ok(Ok(Some(line))) => events.push_str(&line),
                Ok(Ok(None)) if count == usize::MAX => break,
                Ok(Ok(None)) => {
                    events.push_str("FAULT the watch ended\n");
                    break;
                }
                Ok(Err(fault)) => {
                    events.extend(["FAULT ", &fault, "\n"]);
                    break;
                }
                Err(_) => {
                    events.push_str("FAULT no event in time\n");
                    break;
                }
            }
        }
        self.masking.mask(&events)
    }
}

impl Watch {
    /// Returns the next line with its end, `None` at the end of the watch.
    async fn line(&mut self) -> Result<Option<String>, String> {
        loop {
            if let Some(end) = self.rest.find('\n') {
                let rest = self.rest.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, rest)));
            }
            match self.chunks.next().await {
                Some(chunk) => self.rest.push_str(&String::from_utf8_lossy(&chunk?)),
                None if self.rest.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.rest))),
            }
        }
    }
}

/// Whether an event only says how far the server has come, which it does when it likes.
fn is_routine_bookmark(line: &str) -> bool {
    line.starts_with("{\"type\":\"BOOKMARK\"") && !line.contains("k8s.io/initial-events-end")
}

async fn read_to_end(mut chunks: BodyChunks) -> Result<String, String> {
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn head(parts: &http::response::Parts) -> String {
    let mut lines: Vec<String> = parts
        .headers
        .iter()
        .filter(|(name, _)| header_counts(name.as_str()))
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    // The order of different headers means nothing; a stable sort keeps the order of equal ones.
    lines.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
    format!("{}\n{}\n", parts.status.as_u16(), lines.concat())
}

fn drop_descriptions(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|key, member| !(key == "description" && member.is_string()));
            members.values_mut().for_each(drop_descriptions);
        }
        Value::Array(members) => members.iter_mut().for_each(drop_descriptions),
        _ => {}
    }
}

/// Returns a YAML body as JSON: our writer quotes every text that some reader of YAML could take for something else,
/// so only the values can be equal.
fn unquoted(parts: &http::response::Parts, body: String) -> String {
    let is_yaml = parts.headers.get("content-type").is_some_and(|value| value == YAML);
    match serde_yaml::from_str::<Value>(&body) {
        Ok(value) if is_yaml => value.to_string(),
        _ => body,
    }
}

fn looked_at(look: &Look, body: &str) -> String {
    let parsed = || serde_json::from_str::<Value>(body);
    match look {
        Look::Whole => body.to_owned(),
        Look::Nothing => String::new(),
        Look::At(pointer) => match parsed() {
            Ok(value) => {
                value.pointer(pointer).map_or_else(|| format!("nothing at {pointer}"), Value::to_string)
            }
            Err(err) => format!("no JSON: {err}: {body}"),
        },
        Look::Undescribed(pointer) => match parsed() {
            Ok(mut value) => value.pointer_mut(pointer).map_or_else(
                || format!("nothing at {pointer}"),
                |value| {
                    drop_descriptions(value);
                    value.to_string()
                },
            ),
            Err(err) => format!("no JSON: {err}: {body}"),
        },
        Look::Member(list, key, text) => match parsed() {
            Ok(value) => value
                .pointer(list)
                .and_then(Value::as_array)
                .and_then(|list| {
                    list.iter().find(|member| member.pointer(key).and_then(Value::as_str) == Some(text))
                })
                .map_or_else(|| format!("no member {text}"), Value::to_string),
            Err(err) => format!("no JSON: {err}: {body}"),
        },
    }
}
