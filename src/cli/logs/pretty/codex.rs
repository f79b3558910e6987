//! Events of Codex.

use serde_json::Value;

use crate::cli::logs::pretty::{Events, Piece, tool};

#[derive(Debug, Default)]
pub(super) struct Codex {
    turns: u64,
    // It is told once more when it fails the turn.
    last_error: String,
}

impl Events for Codex {
    fn event(&mut self, event: &Value, pieces: &mut Vec<Piece>) -> bool {
        let item = &event["item"];
        let kind = item["type"].as_str().unwrap_or_default();
        match event["type"].as_str() {
            Some("turn.started") => {
                self.turns += 1;
                pieces.push(Piece::Message(format!("\n--- Turn {} ---", self.turns)));
            }
            Some("turn.completed") => {
                let count = |name: &str| event["usage"][name].as_u64().unwrap_or_default();
                pieces.push(Piece::Message(format!(
                    "[usage] input={} cached={} output={}",
                    count("input_tokens"),
                    count("cached_input_tokens"),
                    count("output_tokens")
                )));
            }
            Some("turn.failed") => self.error(&event["error"]["message"], pieces),
            Some("error") => self.error(&event["message"], pieces),
            Some("item.started") if kind == "command_execution" => {
                let command = tool::shortened(item["command"].as_str().unwrap_or_default());
                pieces.push(Piece::message(format!("[command] {command}").trim_end()));
            }
            Some("item.started") if !kind.is_empty() => pieces.push(Piece::Message(format!("[{kind}]"))),
            Some("item.completed") if kind == "agent_message" => pieces.extend(Piece::said(&item["text"])),
            Some("item.completed") if kind == "error" => self.error(&item["message"], pieces),
            Some("thread.started" | "item.started" | "item.updated" | "item.completed") => {}
            Some(_) | None => return false,
        }
        true
    }
}

impl Codex {
    fn error(&mut self, message: &Value, pieces: &mut Vec<Piece>) {
        let message = message.as_str().unwrap_or_default();
        if message != self.last_error {
            message.clone_into(&mut self.last_error);
            pieces.push(Piece::Message(format!("[error] {message}")));
        }
    }
}
