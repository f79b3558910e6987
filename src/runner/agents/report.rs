//! What agents say about their own run: the lines they print, and what follows from them.
//!
//! Each agent prints one JSON object a line. The readers take what is known and leave the rest alone; a line that is
//! too long or is no JSON says nothing. Numbers are claims: a count that is no whole number of at least zero is not
//! taken, sums do not wrap.

use serde_json::Value;

use crate::api::run::Usage;
use crate::runner::outputs::Scanner;

/// The longest final answer that is kept, in bytes.
const LONGEST_ANSWER: usize = 16 * 1024;

/// Whether an agent's report says that the work was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// It says so, or this kind of agent makes no report.
    Complete,
    /// It says that it was not; the reason is in our words, around the agent's own keywords.
    Incomplete(String),
    /// There is no report: it was cut off before the end.
    Absent,
}

/// What was found in the lines of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the work was done.
    pub completion: Completion,
    /// What was used.
    pub usage: Usage,
    /// The final answer, at most 16 KiB of it.
    pub answer: Option<String>,
    /// Lines of results between markers; only agents without a model print them.
    pub outputs: Vec<String>,
    /// Whether results were left out because there were too many.
    pub is_cut: bool,
}

impl Report {
    fn new(completion: Completion, usage: Usage, answer: Option<String>) -> Self {
        Self { completion, usage, answer, outputs: Vec::new(), is_cut: false }
    }
}

/// Reads the lines of an agent, one after the other.
pub trait Reader: Send {
    /// Takes the next line.
    fn line(&mut self, line: &str);

    /// Takes the next line of the side channel, if the agent has one.
    fn aside(&mut self, line: &str) {
        let _ = line;
    }

    /// Returns what was found, after the last line.
    fn report(&self) -> Report;
}

/// Results between markers, of agents without a model.
#[derive(Debug, Default)]
pub struct Plain {
    scanner: Scanner,
}

impl Reader for Plain {
    fn line(&mut self, line: &str) {
        self.scanner.line(line);
    }

    fn report(&self) -> Report {
        let completion = if self.scanner.is_incomplete() {
            Completion::Incomplete("the agent ended within its block of results".to_owned())
        } else {
            Completion::Complete
        };
        Report {
            outputs: self.scanner.lines(),
            is_cut: self.scanner.is_cut(),
            ..Report::new(completion, Usage::default(), None)
        }
    }
}

/// A program around that of a known agent: results stand between markers, and what the known one says counts as well.
pub struct Wrapped {
    plain: Plain,
    inner: Box<dyn Reader>,
}

impl Wrapped {
    /// Returns a reader of a program whose output may hold what `inner` reads.
    pub fn around(inner: Box<dyn Reader>) -> Self {
        Self { plain: Plain::default(), inner }
    }
}

impl Reader for Wrapped {
    fn line(&mut self, line: &str) {
        self.plain.line(line);
        self.inner.line(line);
    }

    fn report(&self) -> Report {
        let (plain, inner) = (self.plain.report(), self.inner.report());
        // It may print what it likes: that it does not print the report of the agent inside says nothing.
        let completion = match inner.completion {
            Completion::Absent => Completion::Complete,
            said => said,
        };
        Report { completion, usage: inner.usage, answer: inner.answer, ..plain }
    }
}

/// Claude Code: the last `result` counts.
#[derive(Debug, Default)]
pub struct Claude {
    result: Option<Value>,
}

impl Reader for Claude {
    fn line(&mut self, line: &str) {
        if let Some(event) = event(line, "result") {
            self.result = Some(event);
        }
    }

    fn report(&self) -> Report {
        let Some(result) = &self.result else {
            return Report::new(Completion::Absent, Usage::default(), None);
        };
        let usage = Usage {
            cost_usd: amount(&result["total_cost_usd"]),
            input_tokens: count(&result["usage"]["input_tokens"]),
            output_tokens: count(&result["usage"]["output_tokens"]),
        };
        Report::new(claude_completion(result), usage, answer(&result["result"]))
    }
}

fn claude_completion(result: &Value) -> Completion {
    let subtype = result["subtype"].as_str().unwrap_or_default();
    if subtype != "success" {
        return Completion::Incomplete(format!("the agent reports no success (subtype {})", word(subtype)));
    }
    if result["is_error"] == true {
        let status = result["api_error_status"].as_u64().map(http_status);
        let words =
            ["api_error", "terminal_reason", "stop_reason"].map(|field| result[field].as_str().map(word));
        let details: Vec<String> = status.into_iter().chain(words.into_iter().flatten()).collect();
        return Completion::Incomplete(with_details("the agent reports an error", &details));
    }
    for (field, good) in [("terminal_reason", "completed"), ("stop_reason", "end_turn")] {
        if let Some(value) = result[field].as_str().filter(|value| !value.is_empty() && *value != good) {
            return Completion::Incomplete(format!("the agent stopped early ({field} {})", word(value)));
        }
    }
    Completion::Complete
}

/// Codex: usage is summed over the turns, the last message is the answer.
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

/// Gemini: the `result` has the usage, messages of the assistant are the answer, whole or in pieces.
///
/// A `result` is a success even where the model stopped because its answer became too long or was held back. Why the
/// last answer ended stands in the telemetry, which comes as the side channel.
#[derive(Debug, Default)]
pub struct Gemini {
    usage: Usage,
    answer: String,
    completion: Option<Completion>,
    telemetry: Telemetry,
}

impl Reader for Gemini {
    fn line(&mut self, line: &str) {
        let Some(event) = any_event(line) else { return };
        match event["type"].as_str().unwrap_or_default() {
            "message" if event["role"] == "assistant" => {
                let Some(content) = answer(&event["content"]) else { return };
                if event["delta"] != true {
                    self.answer.clear();
                }
                if self.answer.len() + content.len() <= LONGEST_ANSWER {
                    self.answer.push_str(&content);
                }
            }
            "result" => {
                let stats = &event["stats"];
                // Upstream reads only the first spelling; the program writes the second.
                self.usage.input_tokens = count(&stats["inputTokens"]).or(count(&stats["input_tokens"]));
                self.usage.output_tokens = count(&stats["outputTokens"]).or(count(&stats["output_tokens"]));
                let status = event["status"].as_str().unwrap_or("success");
                self.completion = Some(if status == "success" {
                    Completion::Complete
                } else {
                    let message = event["error"]["message"].as_str().unwrap_or_default();
                    let details: Vec<String> =
                        [format!("status {}", word(status))].into_iter().chain(detail(message)).collect();
                    Completion::Incomplete(with_details("the agent reports no success", &details))
                });
            }
            _ => {}
        }
    }

    fn aside(&mut self, line: &str) {
        self.telemetry.line(line.trim());
    }

    fn report(&self) -> Report {
        let completion = match (&self.completion, self.telemetry.finish.as_deref()) {
            (Some(Completion::Complete), Some(finish @ ("length" | "content_filter" | "error"))) => {
                Completion::Incomplete(format!("the agent stopped early (finish reason {finish})"))
            }
            (said, _) => said.clone().unwrap_or(Completion::Absent),
        };
        Report::new(
            completion,
            self.usage.clone(),
            Some(self.answer.clone()).filter(|answer| !answer.is_empty()),
        )
    }
}

/// Why the last answer of the model ended, from records of telemetry that are written over many lines.
#[derive(Debug, Default)]
struct Telemetry {
    finish: Option<String>,
    // What is known of the record that is being read, which is one about an answer.
    record: Option<Answered>,
}

#[derive(Debug, Default)]
struct Answered {
    finish: Option<String>,
    is_in_reasons: bool,
    is_of_another: bool,
}

impl Telemetry {
    fn line(&mut self, line: &str) {
        if line == r#""event.name": "gemini_cli.api_response","# {
            self.record = Some(Answered::default());
        }
        let Some(record) = &mut self.record else { return };
        match line.trim_end_matches(',') {
            r#""finish_reasons": ["# => record.is_in_reasons = true,
            "]" => record.is_in_reasons = false,
            // The end of the attributes. Answers to sub-agents and to the program itself say nothing about the run.
            "}" => {
                let record = self.record.take().unwrap_or_default();
                if !record.is_of_another {
                    self.finish = record.finish;
                }
            }
            reason if record.is_in_reasons => record.finish = Some(word(reason)),
            other => {
                if let Some(role) = other.strip_prefix(r#""role": "#) {
                    record.is_of_another = role != r#""main""#;
                }
            }
        }
    }
}

/// OpenCode: usage is summed over the steps, the last text is the answer.
#[derive(Debug, Default)]
pub struct OpenCode {
    usage: Usage,
    cost: Option<f64>,
    answer: Option<String>,
    completion: Option<Completion>,
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
                self.completion = Some(match part["reason"].as_str() {
                    None | Some("stop") => Completion::Complete,
                    Some(reason) => Completion::Incomplete(format!(
                        "the agent stopped early (finish reason {})",
                        word(reason)
                    )),
                });
            }
            "step_start" => self.completion = None,
            "error" => {
                let error = &event["error"];
                let name = error["name"].as_str().map(word);
                let status = error["data"]["statusCode"].as_u64().map(http_status);
                let details: Vec<String> = name.into_iter().chain(status).collect();
                let reason = with_details("the agent reports an error", &details);
                self.completion = Some(Completion::Incomplete(reason));
            }
            _ => {}
        }
    }

    fn report(&self) -> Report {
        let usage = Usage { cost_usd: self.cost.map(dollars), ..self.usage.clone() };
        Report::new(self.completion.clone().unwrap_or(Completion::Absent), usage, self.answer.clone())
    }
}

/// Cursor: the last `result` counts.
#[derive(Debug, Default)]
pub struct Cursor {
    result: Option<Value>,
}

impl Reader for Cursor {
    fn line(&mut self, line: &str) {
        if let Some(event) = event(line, "result") {
            self.result = Some(event);
        }
    }

    fn report(&self) -> Report {
        let Some(result) = &self.result else {
            return Report::new(Completion::Absent, Usage::default(), None);
        };
        let subtype = result["subtype"].as_str().unwrap_or("success");
        let completion = if result["is_error"] == true || subtype != "success" {
            Completion::Incomplete(format!("the agent reports no success (subtype {})", word(subtype)))
        } else {
            Completion::Complete
        };
        let usage = Usage {
            cost_usd: None,
            input_tokens: count(&result["usage"]["inputTokens"]),
            output_tokens: count(&result["usage"]["outputTokens"]),
        };
        Report::new(completion, usage, answer(&result["result"]))
    }
}

/// Returns the usage that stands in the results of an agent of the operator's own.
pub fn usage_in_results(results: &std::collections::BTreeMap<String, String>) -> Usage {
    let tokens = |key| {
        results.get(key).and_then(|text| text.parse::<i64>().ok()).and_then(|count| u64::try_from(count).ok())
    };
    Usage {
        cost_usd: results.get("cost-usd").filter(|text| is_amount(text)).cloned(),
        input_tokens: tokens("input-tokens"),
        output_tokens: tokens("output-tokens"),
    }
}

// A Kubernetes quantity of at least zero: a decimal number with an exponent or a suffix.
fn is_amount(text: &str) -> bool {
    let number = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "n", "u", "m", "k", "M", "G", "T", "P", "E"]
        .iter()
        .find_map(|suffix| text.strip_suffix(suffix))
        .unwrap_or(text);
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (1..=40).contains(&text.len())
        && !(whole.is_empty() && fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        && exponent.parse::<i16>().is_ok()
}

fn any_event(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(Value::is_object)
}

fn event(line: &str, kind: &str) -> Option<Value> {
    any_event(line).filter(|event| event["type"] == kind)
}

fn count(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

fn add(sum: &mut Option<u64>, value: &Value) {
    if let Some(more) = count(value) {
        *sum = Some(sum.unwrap_or(0).saturating_add(more));
    }
}

fn amount(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    is_amount(&text).then_some(text)
}

fn answer(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    let mut end = text.len().min(LONGEST_ANSWER);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).map(str::to_owned)
}

// A sum of prices: more digits than nine are an artefact of adding.
fn dollars(sum: f64) -> String {
    let text = format!("{sum:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn http_status(code: u64) -> String {
    format!("HTTP status {code}")
}

fn with_details(what: &str, details: &[String]) -> String {
    if details.is_empty() { what.to_owned() } else { format!("{what} ({})", details.join(", ")) }
}

// What a message of an agent's says that can be repeated: a status of HTTP, or the keyword behind `reason: `.
fn detail(message: &str) -> Option<String> {
    let after = |mark: &str| message.find(mark).and_then(|at| message.get(at + mark.len()..));
    let status = ["status ", "status: ", "\"code\":"].into_iter().filter_map(after).find_map(|rest| {
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|code| (100..600).contains(code))
    });
    let cut_off = || message.starts_with("stream disconnected").then(|| "the stream was cut off".to_owned());
    status.map(http_status).or_else(|| after("reason: ").map(word)).or_else(cut_off)
}

// A keyword of the agent's, made harmless: it ends in a status.
fn word(text: &str) -> String {
    let word: String = text
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '-'))
        .take(40)
        .collect();
    if word.is_empty() { "none".to_owned() } else { word }
}
