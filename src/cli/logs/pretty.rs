//! Makes the event stream of claude-code readable: what the agent says is data, everything about it is a message.
//!
//! The stream has one JSON object a line. What is no such object, like the output of a setup command, is data as it
//! is; so is a line that is too long to be held.

use serde_json::Value;

/// The longest line that is held until it is complete, in bytes.
const LONGEST_LINE: usize = 4 * 1024 * 1024;
/// How much of a tool's input is shown, in characters.
const LONGEST_SUMMARY: usize = 120;

/// Something to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// For standard output, as it is.
    Data(Vec<u8>),
    /// A line for standard error.
    Message(String),
}

/// Takes a log in pieces of any size and gives what is to be printed.
#[derive(Debug, Default)]
pub(super) struct Pretty {
    line: Vec<u8>,
    /// The current line was too long and is passed on as it comes.
    passing: bool,
    turns: u64,
}

impl Pretty {
    /// Takes the next bytes of the log.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let complete = part.ends_with(b"\n");
            if self.passing {
                pieces.push(Piece::Data(part.to_vec()));
                self.passing = !complete;
                continue;
            }
            self.line.extend_from_slice(part);
            if complete {
                self.finish_line(&mut pieces);
            } else if self.line.len() > LONGEST_LINE {
                pieces.push(Piece::Data(std::mem::take(&mut self.line)));
                self.passing = true;
            }
        }
        pieces
    }

    /// Takes the end of the log: what is left is the last line.
    pub(super) fn end(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if !self.line.is_empty() {
            self.finish_line(&mut pieces);
        }
        pieces
    }

    fn finish_line(&mut self, pieces: &mut Vec<Piece>) {
        let line = std::mem::take(&mut self.line);
        let event = serde_json::from_slice::<Value>(&line).ok().filter(Value::is_object);
        let known = event.as_ref().is_some_and(|event| self.event(event, pieces));
        if !known {
            pieces.push(Piece::Data(line));
        }
    }

    /// Prints an event; returns whether it is one of claude-code's.
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

    fn turn(&mut self, event: &Value, pieces: &mut Vec<Piece>) {
        self.turns += 1;
        pieces.push(Piece::Message(format!("\n--- Turn {} ---", self.turns)));
        for block in event.pointer("/message/content").and_then(Value::as_array).into_iter().flatten() {
            match block["type"].as_str() {
                Some("text") => {
                    let text = block["text"].as_str().filter(|text| !text.is_empty());
                    pieces.extend(text.map(|text| Piece::Data(format!("{text}\n").into_bytes())));
                }
                Some("tool_use") => {
                    let tool = block["name"].as_str().unwrap_or_default();
                    pieces.push(Piece::Message(match summary(tool, &block["input"]) {
                        Some(summary) => format!("[tool] {tool}: {summary}"),
                        None => format!("[tool] {tool}"),
                    }));
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
    let text = event["result"].as_str().filter(|text| failed && !text.is_empty());
    pieces.extend(text.map(|text| Piece::Data(format!("{text}\n").into_bytes())));
}

/// Returns the one field of a tool's input that tells what it is about.
fn summary(tool: &str, input: &Value) -> Option<String> {
    let field = match tool {
        "Read" | "Write" | "Edit" => "file_path",
        "Bash" => "command",
        "Glob" | "Grep" => "pattern",
        "WebFetch" => "url",
        "Task" => "description",
        "WebSearch" => "query",
        _ => return None,
    };
    let text = input[field].as_str().filter(|text| !text.is_empty())?.replace('\n', "\\n");
    let shown: String = text.chars().take(LONGEST_SUMMARY).collect();
    Some(if shown.len() < text.len() { format!("{shown}...") } else { shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns data and messages as they would stand on a terminal; the log comes in pieces of `size` bytes.
    fn shown(log: &str, size: usize) -> String {
        let mut pretty = Pretty::default();
        let mut pieces: Vec<Piece> =
            log.as_bytes().chunks(size).flat_map(|bytes| pretty.take(bytes)).collect();
        pieces.extend(pretty.end());
        let line = |piece: &Piece| match piece {
            Piece::Data(bytes) => format!("{}", String::from_utf8_lossy(bytes)),
            Piece::Message(text) => format!("! {text}\n"),
        };
        pieces.iter().map(line).collect()
    }

    #[test]
    fn a_stream_becomes_readable_whatever_its_pieces() {
        let log = concat!(
            "Cloning into 'app'\n",
            r#"{"type":"system","subtype":"init","model":"opus"}"#,
            "\n",
            r#"{"type":"assistant","message":{"content":[{"type":"text","text":"I look."},{"type":"tool_use","name":"Bash","input":{"command":"ls\npwd"}},{"type":"tool_use","name":"Odd","input":{}}]}}"#,
            "\n",
            r#"{"type":"user","message":{"content":[]}}"#,
            "\n",
            r#"{"my":"own json"}"#,
            "\n",
            r#"{"type":"result","is_error":false,"num_turns":1,"total_cost_usd":0.25,"result":"done"}"#,
            "\nlast",
        );
        let wanted = concat!(
            "Cloning into 'app'\n",
            "! [init] model=opus\n",
            "! \n--- Turn 1 ---\n",
            "I look.\n",
            "! [tool] Bash: ls\\npwd\n",
            "! [tool] Odd\n",
            "{\"my\":\"own json\"}\n",
            "! \n[result] completed (1 turns, $0.2500)\n",
            "last",
        );
        for size in [1, 7, 10_000] {
            assert_eq!(shown(log, size), wanted, "pieces of {size}");
        }
    }

    #[test]
    fn a_failed_result_shows_its_text() {
        let log =
            r#"{"type":"result","is_error":true,"num_turns":3,"total_cost_usd":1,"result":"no credit"}"#;
        assert_eq!(shown(log, 100), "! \n[result] error (3 turns, $1.0000)\nno credit\n");
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let log = format!("{}\n{{\"type\":\"user\"}}\nx\n", "a".repeat(LONGEST_LINE + 10));
        assert_eq!(shown(&log, 100_000), format!("{}\nx\n", "a".repeat(LONGEST_LINE + 10)));
    }

    #[test]
    fn a_long_command_is_cut() {
        let text = summary("Bash", &serde_json::json!({"command": "ä".repeat(130)})).unwrap();
        assert_eq!(text, format!("{}...", "ä".repeat(LONGEST_SUMMARY)));
    }
}
