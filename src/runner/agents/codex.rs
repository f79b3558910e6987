//! Codex.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::api::run::McpServer;
use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::{AgentProgram, Call, HomeFile, Invocation, LARGEST_ARGUMENT};

/// `codex exec`, with its stream of JSON lines.
pub(super) struct Codex;

impl AgentProgram for Codex {
    fn kind(&self) -> &'static str {
        "codex"
    }

    fn program(&self) -> &'static str {
        "codex"
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut arguments: Vec<String> =
            ["exec", "--dangerously-bypass-approvals-and-sandbox", "--json"].map(str::to_owned).to_vec();
        if let Some(model) = call.model {
            arguments.extend(["--model".to_owned(), model.to_owned()]);
        }
        if let Some(effort) = call.effort {
            arguments.extend(["-c".to_owned(), format!("model_reasoning_effort={}", json!(effort))]);
        }
        // A dash stands for standard input; after `--` a prompt that begins with a dash is still a prompt.
        if call.prompt.len() > LARGEST_ARGUMENT {
            arguments.push("-".to_owned());
            return Invocation { arguments, input: Some(call.prompt.to_owned()), ..Invocation::default() };
        }
        arguments.extend(["--".to_owned(), call.prompt.to_owned()]);
        Invocation { arguments, ..Invocation::default() }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::Codex::default())
    }

    fn instructions(&self) -> Option<&'static str> {
        Some(".codex/AGENTS.md")
    }

    fn servers(&self, servers: &[McpServer]) -> Option<HomeFile> {
        // A JSON text is also a TOML basic string, and a JSON list of texts a TOML array.
        let mut content = String::new();
        for server in servers {
            let name = json!(server.name);
            let mut line = |text: String| writeln!(content, "{text}").expect("a text takes what is written");
            line(format!("[mcp_servers.{name}]"));
            if let Some(command) = &server.command {
                line(format!("command = {}", json!(command)));
                line(format!("args = {}", json!(server.args)));
            }
            if let Some(url) = &server.url {
                line(format!("url = {}", json!(url)));
            }
            for (table, entries) in [("env", &server.env), ("http_headers", &server.headers)] {
                if entries.is_empty() {
                    continue;
                }
                line(format!("[mcp_servers.{name}.{table}]"));
                for (key, value) in entries {
                    line(format!("{} = {}", json!(key), json!(value)));
                }
            }
        }
        Some(HomeFile { path: ".codex/config.toml", content })
    }

    fn login(&self, environment: &BTreeMap<String, String>) -> Option<HomeFile> {
        let content = environment.get("CODEX_AUTH_JSON")?.clone();
        Some(HomeFile { path: ".codex/auth.json", content })
    }
}
