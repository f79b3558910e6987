//! What Gemini CLI prints, and what it writes into its telemetry.

use serde_json::Value;

use crate::api::run::Usage;
use crate::runner::agents::report::values::{LONGEST_ANSWER, answer, any_event, count};
use crate::runner::agents::report::words::{detail, http_status, with_details, word};
use crate::runner::agents::report::{Completion, Reader, Report};

/// The `result` has the usage, messages of the assistant are the answer, whole or in pieces.
///
/// A `result` is a success even where the model stopped because its answer became too long or was held back, and where
/// the program stopped because it went in circles. The former stands in the telemetry, which comes as the side channel; the
/// latter in an `error` before the result, after which the model was not asked again.
#[derive(Debug, Default)]
pub struct Gemini {
    usage: Usage,
    answer: String,
    // The details of the last `error`, unless the work went on after it.
    error: Option<Vec<String>>,
    ended: Option<Ended>,
    telemetry: Telemetry,
}

/// How the run ended, by the `result`.
#[derive(Debug)]
enum Ended {
    Well,
    // The status, and the details of its message.
    Badly(String, Vec<String>),
}

impl Reader for Gemini {
    fn line(&mut self, line: &str) {
        let Some(event) = any_event(line) else { return };
        match event["type"].as_str().unwrap_or_default() {
            "message" if event["role"] == "assistant" => {
                self.error = None;
                let Some(content) = answer(&event["content"]) else { return };
                if event["delta"] != true {
                    self.answer.clear();
                }
                if self.answer.len() + content.len() <= LONGEST_ANSWER {
                    self.answer.push_str(&content);
                }
            }
            "tool_use" => self.error = None,
            "error" => self.error = Some(details(&event)),
            "result" => {
                let stats = &event["stats"];
                // Upstream reads only the first spelling; the program writes the second.
                self.usage.input_tokens = count(&stats["inputTokens"]).or(count(&stats["input_tokens"]));
                self.usage.output_tokens = count(&stats["outputTokens"]).or(count(&stats["output_tokens"]));
                self.ended = Some(match event["status"].as_str().unwrap_or("success") {
                    "success" => Ended::Well,
                    status => Ended::Badly(word(status), details(&event["error"])),
                });
            }
            _ => {}
        }
    }

    fn aside(&mut self, line: &str) {
        self.telemetry.line(line.trim());
    }

    fn report(&self) -> Report {
        Report::new(
            self.completion(),
            self.usage.clone(),
            Some(self.answer.clone()).filter(|answer| !answer.is_empty()),
        )
    }
}

impl Gemini {
    fn completion(&self) -> Completion {
        let (status, said) = match (&self.ended, &self.error) {
            (None, _) => return Completion::Absent,
            (Some(Ended::Well), Some(said)) => {
                return Completion::Incomplete(with_details("the agent stopped early", said));
            }
            (Some(Ended::Well), None) => {
                return match self.telemetry.finish.as_deref() {
                    Some(finish @ ("length" | "content_filter" | "error")) => {
                        Completion::Incomplete(format!("the agent stopped early (finish reason {finish})"))
                    }
                    _ => Completion::Complete,
                };
            }
            (Some(Ended::Badly(status, said)), error) => {
                (status, said.iter().chain(error.iter().flatten()).cloned().collect::<Vec<_>>())
            }
        };
        // Its message leaves the status of HTTP out where the provider explains it in words.
        let refused = self.telemetry.failure.filter(|_| said.is_empty()).map(http_status);
        let details: Vec<String> =
            [format!("status {status}")].into_iter().chain(said).chain(refused).collect();
        Completion::Incomplete(with_details("the agent reports no success", &details))
    }
}

fn details(error: &Value) -> Vec<String> {
    detail(error["message"].as_str().unwrap_or_default()).into_iter().collect()
}

/// What became of the last request to the model, from records of telemetry that are written over many lines.
#[derive(Debug, Default)]
struct Telemetry {
    // Why the last answer ended.
    finish: Option<String>,
    // The status of HTTP with which the last request failed.
    failure: Option<u64>,
    // What is known of the record that is being read, which is one about a request.
    record: Option<Record>,
}

#[derive(Debug, Default)]
struct Record {
    finish: Option<String>,
    status: Option<u64>,
    is_failure: bool,
    is_in_reasons: bool,
    is_of_another: bool,
}

impl Telemetry {
    fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix(r#""event.name": "gemini_cli.api_"#) {
            let is_failure = name == r#"error","#;
            if is_failure || name == r#"response","# {
                self.record = Some(Record { is_failure, ..Record::default() });
            }
        }
        let Some(record) = &mut self.record else { return };
        match line.trim_end_matches(',') {
            r#""finish_reasons": ["# => record.is_in_reasons = true,
            "]" => record.is_in_reasons = false,
            // The end of the attributes. Requests of sub-agents and of the program itself say nothing about the run.
            "}" => {
                let record = self.record.take().unwrap_or_default();
                match (record.is_of_another, record.is_failure) {
                    (true, _) => {}
                    (false, true) => self.failure = record.status,
                    (false, false) => (self.finish, self.failure) = (record.finish, None),
                }
            }
            reason if record.is_in_reasons => record.finish = Some(word(reason)),
            other => {
                if let Some(role) = other.strip_prefix(r#""role": "#) {
                    record.is_of_another = role != r#""main""#;
                } else if let Some(status) = other.strip_prefix(r#""status_code": "#) {
                    record.status = status.parse().ok();
                }
            }
        }
    }
}
