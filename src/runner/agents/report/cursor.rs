//! What Cursor's agent prints.

use serde_json::Value;

use crate::api::run::Usage;
use crate::runner::agents::report::values::{answer, count, event};
use crate::runner::agents::report::words::word;
use crate::runner::agents::report::{Completion, Reader, Report};

/// The last `result` counts.
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
