//! Events of OpenCode.

use serde_json::Value;

use crate::cli::logs::pretty::{Events, Piece, tool};

#[derive(Debug, Default)]
pub(super) struct OpenCode {
    steps: u64,
}

impl Events for OpenCode {
    fn event(&mut self, event: &Value, pieces: &mut Vec<Piece>) -> bool {
        let part = &event["part"];
        match event["type"].as_str() {
            Some("text") => pieces.extend(Piece::said(&event["text"]).or_else(|| Piece::said(&part["text"]))),
            Some("step_start") => {
                self.steps += 1;
                pieces.push(Piece::Message(format!("\n--- Step {} ---", self.steps)));
            }
            Some("tool_use") => {
                let state = &part["state"];
                let name = part["tool"].as_str().unwrap_or("tool");
                pieces.push(tool::used(name, &state["input"], remark(state)));
            }
            Some("step_finish") => pieces.push(usage(&part["tokens"])),
            Some("error") => {
                let error = &event["error"];
                let message = error["data"]["message"].as_str().or_else(|| error["name"].as_str());
                pieces.extend(message.map(|message| Piece::Message(format!("[error] {message}"))));
            }
            // What it thinks, where a program shows it.
            Some("reasoning") => {}
            Some(_) | None => return false,
        }
        true
    }
}

// What did not go as it should.
fn remark(state: &Value) -> Option<String> {
    let status = state["status"].as_str().filter(|status| !matches!(*status, "" | "completed"));
    let exit = state["metadata"]["exit"].as_i64().filter(|exit| *exit != 0);
    let remarks: Vec<String> = [
        status.map(|status| format!("status={status}")),
        exit.map(|exit| format!("exit={exit}")),
        (state["metadata"]["truncated"] == true).then(|| "truncated".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!remarks.is_empty()).then(|| remarks.join(", "))
}

fn usage(tokens: &Value) -> Piece {
    if !tokens.is_object() {
        return Piece::message("[result] completed");
    }
    let count = |path: &str| tokens.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let mut text = format!(
        "[usage] input={} cached={} output={}",
        count("/input"),
        count("/cache/read"),
        count("/output")
    );
    for (name, path) in [("reasoning", "/reasoning"), ("cache_write", "/cache/write"), ("total", "/total")] {
        if count(path) != 0 {
            text.push_str(&format!(" {name}={}", count(path)));
        }
    }
    Piece::Message(text)
}
