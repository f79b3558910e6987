//! Makes the event stream of an agent readable: what the agent says is data, everything about it is a message.
//!
//! The stream has one JSON object a line. What is no such object, like the output of a setup command, is data as it
//! is; so is a line that is too long to be held, and an event that its agent is not known to print.

mod claude_code;
mod codex;
mod gemini;
mod opencode;
mod tool;

use serde_json::Value;

use crate::api::task::AgentType;

/// The longest line that is held until it is complete, in bytes.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// Something to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// For standard output, as it is.
    Data(Vec<u8>),
    /// A line for standard error.
    Message(String),
}

impl Piece {
    fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// What the agent says, as lines of its own; nothing when it says nothing.
    fn said(text: &Value) -> Option<Self> {
        let text = text.as_str().filter(|text| !text.is_empty())?;
        Some(Self::Data(format!("{text}\n").into_bytes()))
    }
}

/// Knows the events of an agent.
trait Events: std::fmt::Debug {
    /// Adds what is to be printed of an event; returns whether it is one of the agent's.
    fn event(&mut self, event: &Value, pieces: &mut Vec<Piece>) -> bool;

    /// Adds what ends a line that was begun.
    fn end_line(&mut self, pieces: &mut Vec<Piece>) {
        let _ = pieces;
    }
}

/// Takes a log in pieces of any size and gives what is to be printed.
#[derive(Debug)]
pub(super) struct Pretty {
    line: Vec<u8>,
    /// The current line was too long and is passed on as it comes.
    passing: bool,
    events: Box<dyn Events>,
}

impl Pretty {
    /// Returns what makes the log of `agent` readable; `None` for one that prints for people.
    pub(super) fn of(agent: AgentType) -> Option<Self> {
        let events: Box<dyn Events> = match agent {
            // Cursor prints what Claude Code prints, and upstream reads it so.
            AgentType::ClaudeCode | AgentType::Cursor => Box::new(claude_code::ClaudeCode::default()),
            AgentType::Codex => Box::new(codex::Codex::default()),
            AgentType::Gemini => Box::new(gemini::Gemini::default()),
            AgentType::OpenCode => Box::new(opencode::OpenCode::default()),
            AgentType::Shell => return None,
        };
        Some(Self { line: Vec::new(), passing: false, events })
    }

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
        self.events.end_line(&mut pieces);
        pieces
    }

    fn finish_line(&mut self, pieces: &mut Vec<Piece>) {
        let line = std::mem::take(&mut self.line);
        let event = serde_json::from_slice::<Value>(&line).ok().filter(Value::is_object);
        let known = event.as_ref().is_some_and(|event| self.events.event(event, pieces));
        if !known {
            self.events.end_line(pieces);
            pieces.push(Piece::Data(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns data and messages as they would stand on a terminal; the log comes in pieces of `size` bytes.
    fn shown(log: &str, size: usize) -> String {
        shown_of(AgentType::ClaudeCode, log, size)
    }

    fn shown_of(agent: AgentType, log: &str, size: usize) -> String {
        let mut pretty = Pretty::of(agent).unwrap();
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
    fn what_real_programs_printed_becomes_readable() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/agents");
        let recorded = |agent: AgentType, file: &str| {
            let log = std::fs::read_to_string(folder.join(file)).unwrap();
            let text = shown_of(agent, &log, 1000);
            assert_eq!(text, shown_of(agent, &log, 3), "{file}");
            text
        };
        insta::assert_snapshot!(recorded(AgentType::Codex, "codex-0.171.0/works.jsonl"), @r#"
        ! [error] Model metadata for `gpt-5` not found. Defaulting to fallback metadata; this can degrade performance and cause issues.
        ! 
        --- Turn 1 ---
        ! [command] /bin/bash -lc "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <"'$file; echo; done >seen.txt 2>/dev/null; git add see...
        all done
        ! [usage] input=20 cached=0 output=10
        "#);
        insta::assert_snapshot!(recorded(AgentType::Codex, "codex-0.171.0/fail-401.jsonl"), @"
        ! [error] Model metadata for `gpt-5` not found. Defaulting to fallback metadata; this can degrade performance and cause issues.
        ! 
        --- Turn 1 ---
        ! [error] Reconnecting... 1/5 (unexpected status 401 Unauthorized: the script says so, url: http://127.0.0.1:39661/v1/responses)
        ! [error] Reconnecting... 2/5 (unexpected status 401 Unauthorized: the script says so, url: http://127.0.0.1:39661/v1/responses)
        ! [error] Reconnecting... 3/5 (unexpected status 401 Unauthorized: the script says so, url: http://127.0.0.1:39661/v1/responses)
        ! [error] Reconnecting... 4/5 (unexpected status 401 Unauthorized: the script says so, url: http://127.0.0.1:39661/v1/responses)
        ! [error] Reconnecting... 5/5 (unexpected status 401 Unauthorized: the script says so, url: http://127.0.0.1:39661/v1/responses)
        ! [error] unexpected status 401 Unauthorized: the script says so, url: http://127.0.0.1:39661/v1/responses
        ");
        insta::assert_snapshot!(recorded(AgentType::Gemini, "gemini-0.61.0/works.jsonl"), @r#"
        ! [init] model=gemini-2.5-pro
        ! 
        --- Turn 1 ---
        ! [tool] run_shell_command: for file in /proc/[0-9]*/cmdline; do tr '\0' ' ' <$file; echo; done >seen.txt 2>/dev/null; git add seen.txt && git commi...
        ! 
        --- Turn 2 ---
        all done
        ! 
        [result] completed (input=20, output=10)
        "#);
        insta::assert_snapshot!(recorded(AgentType::Gemini, "gemini-0.61.0/loop.jsonl"), @"
        ! [init] model=gemini-2.5-pro
        ! 
        --- Turn 1 ---
        ! [tool] run_shell_command: true
        ! 
        --- Turn 2 ---
        ! [tool] run_shell_command: true
        ! 
        --- Turn 3 ---
        ! [tool] run_shell_command: true
        ! 
        --- Turn 4 ---
        ! [tool] run_shell_command: true
        ! [error] Loop detected, stopping execution
        ! 
        [result] completed (input=40, output=20)
        ");
        insta::assert_snapshot!(recorded(AgentType::Gemini, "gemini-0.61.0/fail-401.jsonl"), @r#"
        ! [init] model=gemini-2.5-pro
        ! 
        [result] error (input=0, output=0)
        ! [error] [API Error: {"error":{"code":401,"message":"the script says so","type":"scripted_error"},"type":"error"}]
        "#);
        insta::assert_snapshot!(recorded(AgentType::OpenCode, "opencode-1.18.33/works.jsonl"), @r#"
        ! 
        --- Step 1 ---
        ! [tool] bash: for file in /proc/[0-9]*/cmdline; do tr '\0' ' ' <$file; echo; done >seen.txt 2>/dev/null; git add seen.txt && git commi...
        ! [usage] input=10 cached=0 output=5 total=15
        ! 
        --- Step 2 ---
        all done
        ! [usage] input=10 cached=0 output=5 total=15
        "#);
        insta::assert_snapshot!(recorded(AgentType::OpenCode, "opencode-1.18.33/fail-401.jsonl"), @"
        ! [error] the script says so
        ");
    }

    #[test]
    fn an_answer_in_pieces_is_one_text() {
        let message = |text: &str| {
            format!("{{\"type\":\"message\",\"role\":\"assistant\",\"content\":\"{text}\",\"delta\":true}}\n")
        };
        let log = format!("{}{}setup\n{}", message("half a wo"), message("rd"), message("more"));
        assert_eq!(shown_of(AgentType::Gemini, &log, 50), "! \n--- Turn 1 ---\nhalf a word\nsetup\nmore\n");
    }

    #[test]
    fn hostile_events_are_no_fault() {
        for agent in [AgentType::ClaudeCode, AgentType::Codex, AgentType::Gemini, AgentType::OpenCode] {
            for kind in [
                "message",
                "result",
                "error",
                "item.started",
                "item.completed",
                "turn.completed",
                "turn.failed",
            ]
            .into_iter()
            .chain([
                "text",
                "tool_use",
                "step_finish",
                "assistant",
                "init",
                "system",
                "tool_call",
            ]) {
                for body in [
                    "",
                    ",\"item\":[1],\"part\":7,\"stats\":\"x\",\"usage\":null,\"message\":{},\"error\":[]",
                ] {
                    shown_of(agent, &format!("{{\"type\":\"{kind}\"{body}}}\n"), 10);
                }
            }
        }
    }
}
