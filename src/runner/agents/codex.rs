//! Codex.

use std::fmt::Write as _;

use serde_json::json;

use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::version::Version;
use crate::runner::agents::{AgentProgram, Call, HomeFile, Invocation, Part, Place, Wish, is_argument};

/// `codex exec`, with its stream of JSON lines.
pub(super) struct Codex;

impl AgentProgram for Codex {
    fn kind(&self) -> &'static str {
        "codex"
    }

    fn program(&self) -> &'static str {
        "codex"
    }

    fn oldest(&self) -> Option<Version> {
        Some(Version(0, 104, 0))
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut arguments: Vec<String> =
            ["exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "--json"]
                .map(str::to_owned)
                .to_vec();
        if let Some(model) = call.model {
            arguments.extend(["--model".to_owned(), model.to_owned()]);
        }
        if let Some(effort) = call.effort {
            arguments.extend(["-c".to_owned(), format!("model_reasoning_effort={}", json!(effort))]);
        }
        // A dash alone stands for standard input, also after `--`; a prompt that only begins with one is a prompt there.
        if !is_argument(call.prompt) || call.prompt == "-" {
            arguments.push("-".to_owned());
            return Invocation { arguments, input: Some(call.prompt.to_owned()), ..Invocation::default() };
        }
        arguments.extend(["--".to_owned(), call.prompt.to_owned()]);
        Invocation { arguments, ..Invocation::default() }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::codex::Codex::default())
    }

    fn home(&self, wish: &Wish<'_>) -> Vec<HomeFile> {
        let settings = settings(wish);
        let settings =
            (!settings.is_empty()).then_some(HomeFile { path: ".codex/config.toml", content: settings });
        // A value that was wrapped by hand has line ends inside its texts, which JSON forbids; elsewhere they are spaces.
        let login = wish
            .variable("CODEX_AUTH_JSON")
            .map(|login| HomeFile { path: ".codex/auth.json", content: login.replace(['\n', '\r'], "") });
        wish.instructions_in(".codex/AGENTS.md").into_iter().chain(settings).chain(login).collect()
    }

    fn place(&self, part: Part<'_>) -> Option<Place> {
        match part {
            Part::Skill { plugin, skill } => Some(Place::Home(format!(".codex/skills/{plugin}-{skill}"))),
            Part::Plugin { .. } | Part::SubAgent { .. } => None,
        }
    }
}

// A JSON text is also a TOML basic string, and a JSON list of texts a TOML array.
fn settings(wish: &Wish<'_>) -> String {
    let mut content = String::new();
    let mut line = |text: String| writeln!(content, "{text}").expect("a text takes what is written");
    // The variable is what other programs read; this one reads a setting.
    if let Some(url) = wish.variable("OPENAI_BASE_URL") {
        line(format!("openai_base_url = {}", json!(url)));
    }
    for server in wish.servers {
        let name = json!(server.name);
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
    content
}
