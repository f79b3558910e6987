//! Events of Gemini CLI.

use serde_json::Value;

use crate::cli::logs::pretty::{Events, Piece, tool};

#[derive(Debug, Default)]
pub(super) struct Gemini {
    turns: u64,
    // The model is speaking, or uses tools, and has not been answered yet.
    in_turn: bool,
    // What it says comes in pieces, and the last one has no end of a line.
    in_line: bool,
}

impl Events for Gemini {
    fn event(&mut self, event: &Value, pieces: &mut Vec<Piece>) -> bool {
        let kind = event["type"].as_str().unwrap_or_default();
        if !matches!(kind, "init" | "message" | "tool_use" | "tool_result" | "error" | "result") {
            return false;
        }
        let is_said = kind == "message" && event["role"] == "assistant";
        if !is_said || event["delta"] != true {
            self.end_line(pieces);
        }
        match kind {
            "init" => {
                let model = event["model"].as_str().filter(|model| !model.is_empty());
                pieces.extend(model.map(|model| Piece::Message(format!("[init] model={model}"))));
            }
            "message" if is_said => {
                let Some(text) = event["content"].as_str().filter(|text| !text.is_empty()) else {
                    return true;
                };
                self.turn(pieces);
                self.in_line = true;
                pieces.push(Piece::Data(text.as_bytes().to_vec()));
            }
            "tool_use" => {
                self.turn(pieces);
                let name = event["tool_name"].as_str().unwrap_or_default();
                pieces.push(tool::used(name, &event["parameters"], None));
            }
            // Whoever is answered begins a new turn.
            "message" | "tool_result" => self.in_turn = false,
            "error" => pieces.extend(error(event)),
            _ => {
                let is_bad = event["status"] == "error";
                let word = if is_bad { "error" } else { "completed" };
                let stats = &event["stats"];
                let count = |name: &str, other: &str| {
                    stats[name].as_u64().or(stats[other].as_u64()).unwrap_or_default()
                };
                let (input, output) =
                    (count("input_tokens", "totalInputTokens"), count("output_tokens", "totalOutputTokens"));
                pieces.push(Piece::Message(format!("\n[result] {word} (input={input}, output={output})")));
                pieces.extend(error(&event["error"]));
            }
        }
        true
    }

    fn end_line(&mut self, pieces: &mut Vec<Piece>) {
        if std::mem::take(&mut self.in_line) {
            pieces.push(Piece::Data(b"\n".to_vec()));
        }
    }
}

impl Gemini {
    fn turn(&mut self, pieces: &mut Vec<Piece>) {
        if !std::mem::replace(&mut self.in_turn, true) {
            self.turns += 1;
            pieces.push(Piece::Message(format!("\n--- Turn {} ---", self.turns)));
        }
    }
}

fn error(event: &Value) -> Option<Piece> {
    Some(Piece::Message(format!("[error] {}", event["message"].as_str()?)))
}
