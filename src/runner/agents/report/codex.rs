//! What Codex prints.

use crate::api::run::Usage;
use crate::runner::agents::report::values::{add, answer, any_event};
use crate::runner::agents::report::words::{detail, with_details};
use crate::runner::agents::report::{Completion, Reader, Report};

/// Usage is summed over the turns, the last message is the answer.
#[derive(Debug, Default)]
pub struct Codex {
    usage: Usage,
    answer: Option<String>,
    completion: Option<Completion>,
}

impl Reader for Codex {
    fn line(&mut self, line: &str) {
        let Some(event) = any_event(line) else { return };
        match event["type"].as_str().unwrap_or_default() {
            "item.completed" if event["item"]["type"] == "agent_message" => {
                self.answer = answer(&event["item"]["text"]).or(self.answer.take());
            }
            "turn.completed" => {
                add(&mut self.usage.input_tokens, &event["usage"]["input_tokens"]);
                add(&mut self.usage.output_tokens, &event["usage"]["output_tokens"]);
                self.completion = Some(Completion::Complete);
            }
            "turn.started" => self.completion = None,
            "turn.failed" => {
                let message = event["error"]["message"].as_str().unwrap_or_default();
                let details: Vec<String> = detail(message).into_iter().collect();
                let reason = with_details("the agent reports a failed turn", &details);
                self.completion = Some(Completion::Incomplete(reason));
            }
            _ => {}
        }
    }

    fn report(&self) -> Report {
        Report::new(
            self.completion.clone().unwrap_or(Completion::Absent),
            self.usage.clone(),
            self.answer.clone(),
        )
    }
}
