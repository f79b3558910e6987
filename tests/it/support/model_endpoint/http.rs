//! As much of HTTP/1.1 as the endpoint needs, one request for each connection.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Connection {
    stream: TcpStream,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// Reads the request; `None` when the other side says nothing.
    pub(super) fn read(&mut self) -> io::Result<Option<Request>> {
        let mut input = BufReader::new(&self.stream);
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = Vec::new();
        loop {
            line.clear();
            input.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let header =
            |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let mut body = Vec::new();
        if header("transfer-encoding") == Some("chunked") {
            loop {
                line.clear();
                input.read_line(&mut line)?;
                let length = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                input.by_ref().take(length).read_to_end(&mut body)?;
                input.read_line(&mut line)?;
                if length == 0 {
                    break;
                }
            }
        } else if let Some(length) = header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            input.take(length).read_to_end(&mut body)?;
        }
        Ok(Some(Request { method, target, headers, body }))
    }

    /// Sends a whole answer.
    pub(super) fn send(&mut self, status: u16, body: &Value) -> io::Result<()> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // Whoever obeys it asks again soon, however long it would wait by itself.
        let more = if matches!(status, 429 | 503 | 529) { "\r\nretry-after: 1" } else { "" };
        self.head(
            status,
            "application/json",
            &format!("connection: close\r\ncontent-length: {}{more}", body.len()),
        )?;
        self.stream.write_all(body.as_bytes())
    }

    /// Sends the beginning of an answer and hangs up.
    pub(super) fn send_cut(&mut self, body: &Value) -> io::Result<()> {
        let body = body.to_string();
        self.head(200, "application/json", &format!("content-length: {}", body.len()))?;
        self.stream.write_all(&body.as_bytes()[..body.len() / 2])
    }

    /// Sends events, each a name that may be empty and its data. Without `is_whole` the end of the stream is missing.
    pub(super) fn send_events(&mut self, events: &[(String, Value)], is_whole: bool) -> io::Result<()> {
        // After the promise to close the connection, some clients take its end for the end of the stream.
        let close = if is_whole { "connection: close\r\n" } else { "" };
        self.head(200, "text/event-stream", &format!("{close}transfer-encoding: chunked"))?;
        for (name, data) in events {
            let name = if name.is_empty() { String::new() } else { format!("event: {name}\n") };
            let event = format!("{name}data: {data}\n\n");
            write!(self.stream, "{:x}\r\n{event}\r\n", event.len())?;
        }
        if is_whole { self.stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }

    fn head(&mut self, status: u16, kind: &str, more: &str) -> io::Result<()> {
        write!(self.stream, "HTTP/1.1 {status} Scripted\r\ncontent-type: {kind}\r\n{more}\r\n\r\n")
    }
}
