//! The last step of an answer: JSON as it is, indented for people, or as YAML.
//!
//! Handlers write compact JSON. The few requests that want something else pay for it here.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::apiserver::negotiate;
use crate::apiserver::options::Query;
use crate::yaml;

/// How the bytes of an answer are to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Compact JSON.
    Compact,
    /// JSON indented by two spaces.
    Indented,
    /// YAML.
    Yaml,
    /// Nothing that can be written: a refusal is answered in the one form that needs no negotiation.
    Unnegotiated,
}

/// Programs whose reader is a person.
const PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

impl Output {
    /// Returns what a request asks for.
    pub(crate) fn parse(headers: &HeaderMap, query: &Query) -> Self {
        if negotiate::form(headers).is_err() {
            return Self::Unnegotiated;
        }
        if query.get("watch").is_some_and(|flag| !flag.eq_ignore_ascii_case("false")) {
            return Self::Compact;
        }
        let first = negotiate::accept(headers).into_iter().find_map(|clause| {
            let is_yaml = clause.media_type == "application/yaml";
            (is_yaml || clause.takes_json()).then_some(is_yaml)
        });
        if first == Some(true) {
            return Self::Yaml;
        }
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let is_for_people = match query.get("pretty").filter(|text| !text.is_empty()) {
            Some(text) => matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True"),
            None => agent.is_some_and(|agent| PEOPLE.iter().any(|program| agent.starts_with(program))),
        };
        if is_for_people { Self::Indented } else { Self::Compact }
    }

    /// Returns the response in this form, when it is JSON of ours.
    pub(crate) async fn write(self, response: Response<Body>) -> Response<Body> {
        let is_json = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        let is_refusal = matches!(response.status(), StatusCode::NOT_ACCEPTABLE | StatusCode::UNAUTHORIZED);
        if !is_json || self == Self::Compact || (self == Self::Unnegotiated && !is_refusal) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let Ok(collected) = body.collect().await else {
            return Response::from_parts(parts, Body::empty());
        };
        let bytes = collected.to_bytes();
        let body = match self {
            Self::Yaml => match serde_json::from_slice::<Value>(&bytes) {
                Ok(value) => {
                    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
                    yaml::write(&value).into_bytes()
                }
                Err(_) => bytes.to_vec(),
            },
            Self::Compact | Self::Indented | Self::Unnegotiated => indent(bytes.trim_ascii_end()),
        };
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(body))
    }
}

/// Returns JSON with line breaks and an indent of two spaces for each level; empty objects and lists stay whole.
fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let break_line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    let mut bytes = json.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'"' => {
                in_string = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                if let Some(end) = bytes.next_if(|&next| next == b'}' || next == b']') {
                    out.push(end);
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                break_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indented_json_looks_as_go_writes_it() {
        let text = indent(br#"{"a":[1,{"b":"x\"{,"}],"c":{},"d":[]}"#);
        let expected = "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x\\\"{,\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
