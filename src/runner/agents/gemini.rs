//! Gemini CLI.

use serde_json::{Map, Value, json};

use crate::api::run::McpServer;
use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::{AgentProgram, Call, HomeFile, Invocation, prompt_argument};

/// `gemini`, with its stream of JSON lines.
pub(super) struct Gemini;

impl AgentProgram for Gemini {
    fn kind(&self) -> &'static str {
        "gemini"
    }

    fn program(&self) -> &'static str {
        "gemini"
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut before = vec!["--yolo", "--output-format", "stream-json"];
        if let Some(model) = call.model {
            before.extend(["--model", model]);
        }
        before.push("-p");
        let (mut arguments, input) = prompt_argument(call.prompt, &before);
        if input.is_some() {
            // The option wants a text of its own; standard input is put before it.
            arguments.push(String::new());
        }
        Invocation { arguments, input, ..Invocation::default() }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::Gemini::default())
    }

    fn instructions(&self) -> Option<&'static str> {
        Some(".gemini/GEMINI.md")
    }

    fn servers(&self, servers: &[McpServer]) -> Option<HomeFile> {
        let by_name: Map<String, Value> = servers
            .iter()
            .map(|server| {
                let entry = match server.kind.as_str() {
                    "stdio" => json!({"command": server.command, "args": server.args, "env": server.env}),
                    "http" => json!({"httpUrl": server.url, "headers": server.headers}),
                    _ => json!({"url": server.url, "headers": server.headers}),
                };
                (server.name.clone(), entry)
            })
            .collect();
        Some(HomeFile {
            path: ".gemini/settings.json",
            content: json!({ "mcpServers": by_name }).to_string(),
        })
    }
}
