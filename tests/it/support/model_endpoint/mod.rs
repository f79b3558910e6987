//! A provider of models on loopback that answers by a script, for the real programs of agents.
//!
//! It speaks what they speak: Anthropic's Messages, OpenAI's Responses and Gemini's `generateContent`, streamed as
//! server-sent events and whole, in the shapes of the providers' published API references and SDKs. Beside them it is a
//! server of the Model Context Protocol (`/mcp`, streamable HTTP) with one tool. What was asked is kept, so that tests
//! can see what a program tells its model.

mod dialect;
mod http;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use dialect::Dialect;
use http::Connection;

/// The tool of the server of the Model Context Protocol.
pub(crate) const PROBE_TOOL: &str = "kelos_probe";
/// Tokens that each answer says it took.
pub(crate) const INPUT_TOKENS: u64 = 10;
/// Tokens that each answer says it has.
pub(crate) const OUTPUT_TOKENS: u64 = 5;

/// What the model does when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It has this command run by a shell.
    Run(String),
    /// It says this, and the work is done.
    Say(&'static str),
    /// It says something and reaches the limit of its answer.
    ReachLimit,
    /// It will not answer.
    Refuse,
    /// The connection breaks in the middle of the answer.
    CutOff,
    /// The stream ends in order, but before the answer does.
    EndEarly,
    /// The provider answers with this status of HTTP.
    Fail(u16),
}

/// What came in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case, with their values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body; null when there is none.
    pub(crate) body: Value,
    /// How many results of commands are in the conversation.
    pub(crate) results: usize,
    /// Whether the model may have commands run: else it is asked for something on the side, such as a title.
    pub(crate) is_at_work: bool,
}

impl Turn {
    /// Tells whether the answer lacks its end.
    fn lacks_end(&self) -> bool {
        matches!(self, Self::CutOff | Self::EndEarly)
    }
}

impl Asked {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Tells whether the text is somewhere in what the model is told.
    pub(crate) fn tells(&self, text: &str) -> bool {
        holds(&self.body, text)
    }
}

fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own.contains(text),
        Value::Array(values) => values.iter().any(|value| holds(value, text)),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains(text) || holds(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

type Script = dyn Fn(&Asked) -> Turn + Send + Sync;

/// The endpoint. It ends when it is dropped.
pub(crate) struct ModelEndpoint {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
}

impl ModelEndpoint {
    /// Starts an endpoint that does what `script` says each time a model is asked.
    pub(crate) fn start(script: impl Fn(&Asked) -> Turn + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (script, seen, over): (Arc<Script>, _, _) =
            (Arc::new(script), Arc::clone(&asked), Arc::clone(&is_over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                // A program that hangs up early has its reasons.
                thread::spawn(move || drop(answer(Connection::new(stream), &*script, &seen)));
            }
        });
        Self { address, asked, is_over }
    }

    /// Returns the address, as in `http://127.0.0.1:1234`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the port, which a run has to be let through to.
    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Returns everything that a model was asked so far by programs at work, in order.
    pub(crate) fn at_work(&self) -> Vec<Asked> {
        self.all().into_iter().filter(|asked| asked.is_at_work).collect()
    }

    /// Returns everything that came in so far.
    pub(crate) fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for ModelEndpoint {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        drop(std::net::TcpStream::connect(self.address));
    }
}

fn answer(mut connection: Connection, script: &Script, seen: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let Some(request) = connection.read()? else { return Ok(()) };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let path = request.target.split('?').next().unwrap_or_default().to_owned();
    let dialect = Dialect::of(&path, &body).filter(|_| request.method == "POST");
    let asked = Asked {
        results: dialect.as_ref().map_or(0, |dialect| dialect.results(&body)),
        is_at_work: dialect.as_ref().is_some_and(|dialect| dialect.shell_tool(&body).is_some()),
        target: request.target,
        headers: request.headers,
        body,
    };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
    match (dialect, request.method.as_str(), path.as_str()) {
        (Some(dialect), _, _) => {
            let turn = if asked.is_at_work { script(&asked) } else { Turn::Say("A title") };
            dialect.answer(&mut connection, &asked, &turn)
        }
        (None, "POST", "/mcp") => serve_tools(&mut connection, &asked.body),
        (None, "GET", "/mcp") => connection.send(405, &json!({})),
        // Codex tries a WebSocket first and takes this as a no.
        (None, "GET", "/v1/responses") => connection.send(426, &json!({})),
        _ => connection.send(404, &json!({"error": {"message": "there is nothing here"}})),
    }
}

fn serve_tools(connection: &mut Connection, call: &Value) -> std::io::Result<()> {
    if call["id"].is_null() {
        return connection.send(202, &Value::Null);
    }
    let reply = match call["method"].as_str().unwrap_or_default() {
        "initialize" => json!({"result": {
            "protocolVersion": call["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "probe", "version": "1.0.0"},
        }}),
        "tools/list" => json!({"result": {"tools": [{
            "name": PROBE_TOOL, "description": "Says nothing", "inputSchema": {"type": "object", "properties": {}},
        }]}}),
        "ping" => json!({"result": {}}),
        _ => json!({"error": {"code": -32601, "message": "no such method"}}),
    };
    let mut message = json!({"jsonrpc": "2.0", "id": call["id"]});
    message.as_object_mut().unwrap().extend(reply.as_object().unwrap().clone());
    connection.send(200, &message)
}
