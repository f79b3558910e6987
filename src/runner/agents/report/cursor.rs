//! What Cursor's agent prints.

use serde_json::Value;

use crate::api::run::Usage;
use crate::runner::agents::report::values::{answer, count};
use crate::runner::agents::report::words::word;
use crate::runner::agents::report::{Completion, Report};

/// Returns what a `result` says.
pub fn report(result: &Value) -> Report {
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
