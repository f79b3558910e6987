//! OpenCode.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::version::Version;
use crate::runner::agents::{AgentProgram, Call, HomeFile, Invocation, Part, Place, Wish};

/// `opencode run`, with its stream of JSON lines.
pub(super) struct OpenCode;

impl AgentProgram for OpenCode {
    fn kind(&self) -> &'static str {
        "opencode"
    }

    fn program(&self) -> &'static str {
        "opencode"
    }

    fn oldest(&self) -> Option<Version> {
        // Older ones ask a provider that does not answer again and again, without an end.
        Some(Version(1, 18, 17))
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut arguments = vec!["run", "--format", "json", "--auto"];
        if let Some(model) = call.model {
            arguments.extend(["--model", model]);
        }
        if let Some(effort) = call.effort {
            arguments.extend(["--variant", effort]);
        }
        Invocation {
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            // It puts quotes around an argument with spaces and escapes those inside; standard input it takes as it is.
            input: Some(call.prompt.to_owned()),
            environment: BTreeMap::from([("OPENCODE_DISABLE_AUTOUPDATE", "1".to_owned())]),
        }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::opencode::OpenCode::default())
    }

    fn home(&self, wish: &Wish<'_>) -> Vec<HomeFile> {
        let by_name: Map<String, Value> = wish
            .servers
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
        let settings = (!by_name.is_empty()).then(|| HomeFile {
            path: ".config/opencode/opencode.json",
            content: json!({ "mcp": by_name }).to_string(),
        });
        wish.instructions_in(".config/opencode/AGENTS.md").into_iter().chain(settings).collect()
    }

    fn place(&self, part: Part<'_>) -> Option<Place> {
        match part {
            Part::Skill { plugin, skill } => {
                Some(Place::Home(format!(".config/opencode/skills/{plugin}-{skill}")))
            }
            Part::SubAgent { name, .. } => Some(Place::Home(format!(".config/opencode/agents/{name}.md"))),
            Part::Plugin { .. } => None,
        }
    }

    // Its one key is for the provider that the model names, which looks for it under a name of its own.
    fn variables(&self, wish: &Wish<'_>) -> BTreeMap<String, Option<String>> {
        let Some(key) = wish.variable("OPENCODE_API_KEY") else { return BTreeMap::new() };
        let provider =
            wish.model.and_then(|model| model.split_once('/')).map_or("anthropic", |(first, _)| first);
        let name = match provider {
            "opencode" | "zen" => return BTreeMap::new(),
            "google" => "GEMINI_API_KEY".to_owned(),
            other => format!("{}_API_KEY", other.to_ascii_uppercase().replace('-', "_")),
        };
        if wish.variable(&name).is_some() {
            return BTreeMap::new();
        }
        BTreeMap::from([(name, Some(key.to_owned()))])
    }
}
