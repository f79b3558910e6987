//! OpenCode.

use serde_json::{Map, Value, json};

use crate::api::run::McpServer;
use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::{AgentProgram, Call, HomeFile, Invocation, prompt_argument};

/// `opencode run`, with its stream of JSON lines.
pub(super) struct OpenCode;

impl AgentProgram for OpenCode {
    fn kind(&self) -> &'static str {
        "opencode"
    }

    fn program(&self) -> &'static str {
        "opencode"
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut before = vec!["run", "--format", "json", "--auto"];
        if let Some(model) = call.model {
            before.extend(["--model", model]);
        }
        if let Some(effort) = call.effort {
            before.extend(["--variant", effort]);
        }
        before.push("--");
        let (arguments, input) = prompt_argument(call.prompt, &before);
        Invocation { arguments, input, ..Invocation::default() }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::OpenCode::default())
    }

    fn instructions(&self) -> Option<&'static str> {
        Some(".config/opencode/AGENTS.md")
    }

    fn servers(&self, servers: &[McpServer]) -> Option<HomeFile> {
        let by_name: Map<String, Value> = servers
            .iter()
            .map(|server| {
                let entry = if server.kind == "stdio" {
                    let command: Vec<&String> = server.command.iter().chain(&server.args).collect();
                    json!({"type": "local", "command": command, "environment": server.env})
                } else {
                    json!({"type": "remote", "url": server.url, "headers": server.headers})
                };
                (server.name.clone(), entry)
            })
            .collect();
        Some(HomeFile {
            path: ".config/opencode/opencode.json",
            content: json!({ "mcp": by_name }).to_string(),
        })
    }
}
