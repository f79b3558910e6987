//! Cursor's agent.

use crate::api::run::McpServer;
use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::{AgentProgram, Call, HomeFile, Invocation, common_servers, prompt_argument};

/// `agent`, with its stream of JSON lines.
pub(super) struct Cursor;

impl AgentProgram for Cursor {
    fn kind(&self) -> &'static str {
        "cursor"
    }

    fn program(&self) -> &'static str {
        "agent"
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut before =
            vec!["-p", "--force", "--trust", "--sandbox", "disabled", "--output-format", "stream-json"];
        if let Some(model) = call.model {
            before.extend(["--model", model]);
        }
        before.push("--");
        let (arguments, input) = prompt_argument(call.prompt, &before);
        Invocation { arguments, input, ..Invocation::default() }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::Cursor::default())
    }

    fn instructions(&self) -> Option<&'static str> {
        Some(".cursor/AGENTS.md")
    }

    fn servers(&self, servers: &[McpServer]) -> Option<HomeFile> {
        Some(HomeFile { path: ".cursor/mcp.json", content: common_servers(servers).to_string() })
    }
}
