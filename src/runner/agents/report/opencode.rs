//! What OpenCode prints.

use crate::api::run::Usage;
use crate::runner::agents::report::values::{add, answer, any_event, dollars};
use crate::runner::agents::report::words::{detail, http_status, with_details, word};
use crate::runner::agents::report::{Completion, Reader, Report};

/// How many answers in a row may end without a reason before the agent counts as lost.
///
/// It asks again at once after each, and would do so for ever.
const MOST_WITHOUT_END: u32 = 10;
/// The reason that it gives for an answer that just ended.
const WITHOUT_END: &str = "unknown";

/// Usage is summed over the steps, the last text is the answer.
#[derive(Debug, Default)]
pub struct OpenCode {
    usage: Usage,
    cost: Option<f64>,
    answer: Option<String>,
    completion: Option<Completion>,
    without_end: u32,
}

impl Reader for OpenCode {
    fn line(&mut self, line: &str) {
        let Some(event) = any_event(line) else { return };
        match event["type"].as_str().unwrap_or_default() {
            "text" => {
                self.answer =
                    answer(&event["text"]).or_else(|| answer(&event["part"]["text"])).or(self.answer.take());
            }
            "step_finish" => {
                let part = &event["part"];
                add(&mut self.usage.input_tokens, &part["tokens"]["input"]);
                add(&mut self.usage.output_tokens, &part["tokens"]["output"]);
                if let Some(cost) = part["cost"].as_f64().filter(|cost| *cost >= 0.0) {
                    self.cost = Some(self.cost.unwrap_or_default() + cost);
                }
                // After `tool-calls` comes another step; when it does not, the agent was cut off.
                self.completion = Some(finished(part["reason"].as_str()));
                let has_end = part["reason"].as_str() != Some(WITHOUT_END);
                self.without_end = if has_end { 0 } else { self.without_end.saturating_add(1) };
            }
            "step_start" => self.completion = None,
            "tool_use" => self.without_end = 0,
            "error" => {
                let error = &event["error"];
                let name = error["name"].as_str().map(word);
                let status = error["data"]["statusCode"].as_u64().map(http_status);
                let said = || detail(error["data"]["message"].as_str().unwrap_or_default());
                let details: Vec<String> = name.into_iter().chain(status.or_else(said)).collect();
                let reason = with_details("the agent reports an error", &details);
                self.completion = Some(Completion::Incomplete(reason));
            }
            _ => {}
        }
    }

    fn is_lost(&self) -> bool {
        self.without_end >= MOST_WITHOUT_END
    }

    fn report(&self) -> Report {
        let usage = Usage { cost_usd: self.cost.and_then(dollars), ..self.usage.clone() };
        let completion = if self.is_lost() {
            Completion::Incomplete(format!(
                "{} answers in a row were cut off, and the agent asks again without an end",
                self.without_end
            ))
        } else {
            self.completion.clone().unwrap_or(Completion::Absent)
        };
        Report::new(completion, usage, self.answer.clone())
    }
}

fn finished(reason: Option<&str>) -> Completion {
    let reason = match reason {
        None | Some("stop") => return Completion::Complete,
        Some(WITHOUT_END) => "the answer was cut off".to_owned(),
        Some(reason) => format!("finish reason {}", word(reason)),
    };
    Completion::Incomplete(format!("the agent stopped early ({reason})"))
}
