//! Events of Claude Code, and those of Cursor, which are of the same kind.

use serde_json::Value;

use crate::cli::logs::pretty::{Events, Piece, tool};

#[derive(Debug, Default)]
pub(super) struct ClaudeCode {
    turns: u64,
}

impl Events for ClaudeCode {
    fn event(&mut self, event: &Value, pieces: &mut Vec<Piece>) -> bool {
        match event["type"].as_str() {
            Some("system") => {
                if let (Some("init"), Some(model)) = (event["subtype"].as_str(), event["model"].as_str()) {
                    pieces.push(Piece::Message(format!("[init] model={model}")));
                }
            }
            Some("assistant") => self.turn(event, pieces),
            Some("result") => result(event, pieces),
            // What tools answered, pieces of texts that come again as a whole, and limits: of no use to people.
            Some("user" | "stream_event" | "rate_limit_event") => {}
            Some(_) | None => return false,
        }
        true
    }
}

impl ClaudeCode {
    fn turn(&mut self, event: &Value, pieces: &mut Vec<Piece>) {
        self.turns += 1;
        pieces.push(Piece::Message(format!("\n--- Turn {} ---", self.turns)));
        for block in event.pointer("/message/content").and_then(Value::as_array).into_iter().flatten() {
            match block["type"].as_str() {
                Some("text") => pieces.extend(Piece::said(&block["text"])),
                Some("tool_use") => {
                    pieces.push(tool::used(
                        block["name"].as_str().unwrap_or_default(),
                        &block["input"],
                        None,
                    ));
                }
                Some(_) | None => {}
            }
        }
    }
}

fn result(event: &Value, pieces: &mut Vec<Piece>) {
    let failed = event["is_error"].as_bool().unwrap_or_default();
    let turns = event["num_turns"].as_u64().unwrap_or_default();
    let cost = event["total_cost_usd"].as_f64().unwrap_or_default();
    let word = if failed { "error" } else { "completed" };
    pieces.push(Piece::Message(format!("\n[result] {word} ({turns} turns, ${cost:.4})")));
    pieces.extend(Piece::said(&event["result"]).filter(|_| failed));
}
