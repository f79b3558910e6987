//! The three ways in which programs speak with models.

use std::io;

use serde_json::{Value, json};

use super::http::Connection;
use super::{Asked, INPUT_TOKENS, OUTPUT_TOKENS, Turn};

/// One of the providers' APIs.
pub(super) enum Dialect {
    Messages,
    Responses,
    GenerateContent { is_streamed: bool },
}

impl Dialect {
    pub(super) fn of(path: &str, body: &Value) -> Option<Self> {
        match path {
            "/v1/messages" => Some(Self::Messages),
            "/v1/responses" => Some(Self::Responses),
            path if path.ends_with(":streamGenerateContent") => {
                Some(Self::GenerateContent { is_streamed: true })
            }
            path if path.ends_with(":generateContent") && !body.is_null() => {
                Some(Self::GenerateContent { is_streamed: false })
            }
            _ => None,
        }
    }

    /// Returns the name of the tool with which commands are run, if the model is given one.
    pub(super) fn shell_tool(&self, body: &Value) -> Option<String> {
        let names: Vec<&Value> = match self {
            Self::Messages | Self::Responses => each(&body["tools"]).map(|tool| &tool["name"]).collect(),
            Self::GenerateContent { .. } => each(&body["tools"])
                .flat_map(|tool| each(&tool["functionDeclarations"]))
                .map(|function| &function["name"])
                .collect(),
        };
        let known = ["Bash", "bash", "exec_command", "shell_command", "run_shell_command"];
        names.into_iter().filter_map(Value::as_str).find(|name| known.contains(name)).map(str::to_owned)
    }

    /// Returns how many results of tools the conversation holds.
    pub(super) fn results(&self, body: &Value) -> usize {
        match self {
            Self::Messages => each(&body["messages"])
                .flat_map(|message| each(&message["content"]))
                .filter(|block| block["type"] == "tool_result")
                .count(),
            Self::Responses => {
                each(&body["input"]).filter(|item| item["type"] == "function_call_output").count()
            }
            Self::GenerateContent { .. } => each(&body["contents"])
                .flat_map(|content| each(&content["parts"]))
                .filter(|part| part.get("functionResponse").is_some())
                .count(),
        }
    }

    pub(super) fn answer(&self, connection: &mut Connection, asked: &Asked, turn: &Turn) -> io::Result<()> {
        if let Turn::Fail(status) = turn {
            let error = json!({"type": "scripted_error", "message": "the script says so", "code": status});
            return connection.send(*status, &json!({"type": "error", "error": error}));
        }
        let command = match turn {
            Turn::Run(command) => self.shell_tool(&asked.body).map(|tool| (tool, command.as_str())),
            _ => None,
        };
        let text = if let Turn::Say(text) = turn { text } else { "to be continued" };
        match self {
            Self::Messages => messages(connection, asked, turn, command, text),
            Self::Responses => responses(connection, asked, turn, command, text),
            Self::GenerateContent { is_streamed } => {
                generate_content(connection, *is_streamed, turn, command, text)
            }
        }
    }
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn named(events: Vec<Value>) -> Vec<(String, Value)> {
    events.into_iter().map(|event| (event["type"].as_str().unwrap_or_default().to_owned(), event)).collect()
}

fn messages(
    connection: &mut Connection,
    asked: &Asked,
    turn: &Turn,
    command: Option<(String, &str)>,
    text: &str,
) -> io::Result<()> {
    let id = format!("toolu_{}", asked.results + 1);
    let (block, start, delta) = match command {
        Some((tool, command)) => {
            let input = json!({"command": command, "description": "as the script says"});
            (
                json!({"type": "tool_use", "id": id, "name": tool, "input": input}),
                json!({"type": "tool_use", "id": id, "name": tool, "input": {}}),
                json!({"type": "input_json_delta", "partial_json": input.to_string()}),
            )
        }
        None => (
            json!({"type": "text", "text": text}),
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": text}),
        ),
    };
    let stop_reason = match turn {
        Turn::Run(_) => "tool_use",
        Turn::ReachLimit => "max_tokens",
        Turn::Refuse => "refusal",
        _ => "end_turn",
    };
    let mut message = json!({
        "id": format!("msg_{}", asked.results + 1), "type": "message", "role": "assistant",
        "model": asked.body["model"], "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {
            "input_tokens": INPUT_TOKENS, "output_tokens": 1,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        },
    });
    if asked.body["stream"] != true {
        message["content"] = json!([block]);
        message["stop_reason"] = json!(stop_reason);
        message["usage"]["output_tokens"] = json!(OUTPUT_TOKENS);
        return if turn.lacks_end() { connection.send_cut(&message) } else { connection.send(200, &message) };
    }
    let mut events = vec![
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": start}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
    ];
    if !turn.lacks_end() {
        events.extend([
            json!({"type": "content_block_stop", "index": 0}),
            json!({
                "type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null},
                "usage": {"output_tokens": OUTPUT_TOKENS},
            }),
            json!({"type": "message_stop"}),
        ]);
    }
    connection.send_events(&named(events), *turn != Turn::CutOff)
}

fn responses(
    connection: &mut Connection,
    asked: &Asked,
    turn: &Turn,
    command: Option<(String, &str)>,
    text: &str,
) -> io::Result<()> {
    let number = asked.results + 1;
    let item = if let Some((tool, command)) = command {
        let name = if tool == "exec_command" { "cmd" } else { "command" };
        json!({
            "type": "function_call", "id": format!("fc_{number}"), "call_id": format!("call_{number}"),
            "name": tool, "arguments": json!({name: command}).to_string(), "status": "completed",
        })
    } else {
        let content = if *turn == Turn::Refuse {
            json!({"type": "refusal", "refusal": "No."})
        } else {
            json!({"type": "output_text", "text": text, "annotations": []})
        };
        json!({
            "type": "message", "id": format!("msg_{number}"), "role": "assistant", "status": "completed",
            "content": [content],
        })
    };
    let response = |status: &str, output: Value| {
        json!({
            "id": format!("resp_{number}"), "object": "response", "created_at": 1, "status": status,
            "model": asked.body["model"], "output": output,
            "usage": {
                "input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": OUTPUT_TOKENS, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
            },
        })
    };
    let mut events = vec![
        json!({"type": "response.created", "response": response("in_progress", json!([]))}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
    ];
    let reason = match turn {
        Turn::ReachLimit => Some("max_output_tokens"),
        Turn::Refuse => Some("content_filter"),
        _ => None,
    };
    match (turn, reason) {
        (Turn::CutOff | Turn::EndEarly, _) => {}
        (_, Some(reason)) => {
            let mut response = response("incomplete", json!([item]));
            response["incomplete_details"] = json!({"reason": reason});
            events.push(json!({"type": "response.incomplete", "response": response}));
        }
        (_, None) => events
            .push(json!({"type": "response.completed", "response": response("completed", json!([item]))})),
    }
    connection.send_events(&named(events), *turn != Turn::CutOff)
}

fn generate_content(
    connection: &mut Connection,
    is_streamed: bool,
    turn: &Turn,
    command: Option<(String, &str)>,
    text: &str,
) -> io::Result<()> {
    let part = match command {
        Some((tool, command)) => {
            json!({"functionCall": {"name": tool, "args": {"command": command, "description": "as the script says"}}})
        }
        None => json!({"text": text}),
    };
    let mut candidate = json!({"content": {"role": "model", "parts": [part]}, "index": 0});
    let finish = match turn {
        Turn::CutOff | Turn::EndEarly => None,
        Turn::ReachLimit => Some("MAX_TOKENS"),
        Turn::Refuse => Some("SAFETY"),
        _ => Some("STOP"),
    };
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    let answer = json!({
        "candidates": [candidate], "modelVersion": "scripted",
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        },
    });
    match (is_streamed, turn) {
        (true, _) => connection.send_events(&[(String::new(), answer)], *turn != Turn::CutOff),
        (false, turn) if turn.lacks_end() => connection.send_cut(&answer),
        (false, _) => connection.send(200, &answer),
    }
}
