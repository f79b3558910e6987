//! What Claude Code prints.

use serde_json::Value;

use crate::api::run::Usage;
use crate::runner::agents::report::values::{amount, answer, count};
use crate::runner::agents::report::words::{detail, http_status, with_details, word};
use crate::runner::agents::report::{Completion, Report};

/// Returns what a `result` says.
pub fn report(result: &Value) -> Report {
    let usage = Usage {
        cost_usd: amount(&result["total_cost_usd"]),
        input_tokens: count(&result["usage"]["input_tokens"]),
        output_tokens: count(&result["usage"]["output_tokens"]),
    };
    Report::new(completion(result), usage, answer(&result["result"]))
}

fn completion(result: &Value) -> Completion {
    let subtype = result["subtype"].as_str().unwrap_or_default();
    if subtype != "success" {
        return Completion::Incomplete(format!("the agent reports no success (subtype {})", word(subtype)));
    }
    if result["is_error"] == true {
        let status = result["api_error_status"].as_u64().map(http_status);
        let words =
            ["api_error", "terminal_reason", "stop_reason"].map(|field| result[field].as_str().map(word));
        // Older versions explain it in the answer alone, which is theirs then and not the model's.
        let said = result["result"].as_str().filter(|said| said.contains("API Error")).and_then(detail);
        let details: Vec<String> = status.or(said).into_iter().chain(words.into_iter().flatten()).collect();
        return Completion::Incomplete(with_details("the agent reports an error", &details));
    }
    for (field, good) in [("terminal_reason", "completed"), ("stop_reason", "end_turn")] {
        if let Some(value) = result[field].as_str().filter(|value| !value.is_empty() && *value != good) {
            return Completion::Incomplete(format!("the agent stopped early ({field} {})", word(value)));
        }
    }
    Completion::Complete
}
