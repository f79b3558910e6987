//! Gemini CLI.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::run::McpServer;
use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::version::Version;
use crate::runner::agents::{AgentProgram, Call, HomeFile, Invocation, Part, Place, Wish, prompt_argument};

/// The pipe into which it writes its telemetry: its output does not say that an answer was cut off.
const TELEMETRY: &str = ".kelos/telemetry";

/// `gemini`, with its stream of JSON lines.
pub(super) struct Gemini;

impl AgentProgram for Gemini {
    fn kind(&self) -> &'static str {
        "gemini"
    }

    fn program(&self) -> &'static str {
        "gemini"
    }

    fn oldest(&self) -> Option<Version> {
        // Older ones send what is on the loopback to the proxy.
        Some(Version(0, 44, 0))
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut before = vec!["--yolo", "--output-format", "stream-json"];
        if let Some(model) = call.model {
            before.extend(["--model", model]);
        }
        // One argument, so that a prompt that begins with a dash is no option. Without it, standard input is the prompt.
        let (arguments, input) = prompt_argument(&format!("--prompt={}", call.prompt), &before);
        let input = input.map(|_| call.prompt.to_owned());
        // In a folder that nobody has trusted by hand it asks before each call of a tool, and nobody answers.
        let environment = BTreeMap::from([("GEMINI_CLI_TRUST_WORKSPACE", "true".to_owned())]);
        Invocation { arguments, input, environment }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::gemini::Gemini::default())
    }

    fn home(&self, wish: &Wish<'_>) -> Vec<HomeFile> {
        let overrides = thinking(wish);
        let instructions = if overrides.is_some() {
            wish.instructions_in(".gemini/GEMINI.md")
        } else {
            wish.instructions_and_effort_in(".gemini/GEMINI.md")
        };
        let content = settings(wish, overrides).to_string();
        instructions.into_iter().chain([HomeFile { path: ".gemini/settings.json", content }]).collect()
    }

    fn place(&self, part: Part<'_>) -> Option<Place> {
        let extension = |plugin: &str| format!(".gemini/extensions/{plugin}");
        Some(match part {
            Part::Plugin { plugin } => Place::Made {
                path: format!("{}/gemini-extension.json", extension(plugin)),
                content: json!({"name": plugin, "version": "1.0.0"}).to_string(),
            },
            Part::Skill { plugin, skill } => Place::Home(format!("{}/skills/{skill}", extension(plugin))),
            Part::SubAgent { plugin, name } => Place::Home(format!("{}/agents/{name}.md", extension(plugin))),
        })
    }

    // It sets variables that make git read no settings of the user's and forget every helper for credentials.
    fn hides_git_settings(&self) -> bool {
        true
    }

    fn side_channel(&self) -> Option<&'static str> {
        Some(TELEMETRY)
    }
}

fn settings(wish: &Wish<'_>, overrides: Option<Value>) -> Value {
    let telemetry = json!({
        "enabled": true, "target": "local", "outfile": wish.home.join(TELEMETRY), "logPrompts": false, "traces": false
    });
    let mut settings = json!({ "telemetry": telemetry });
    if wish.variable("GEMINI_API_KEY").is_some() {
        // With an address of its own for the model it would choose a way to log in that it then refuses.
        settings["security"] = json!({"auth": {"selectedType": "gemini-api-key"}});
    }
    if !wish.servers.is_empty() {
        let by_name: Map<String, Value> = wish.servers.iter().map(server).collect();
        settings["mcpServers"] = Value::Object(by_name);
    }
    if let Some(overrides) = overrides {
        settings["modelConfigs"] = json!({ "overrides": [overrides] });
    }
    settings
}

fn server(server: &McpServer) -> (String, Value) {
    let entry = match server.kind.as_str() {
        "stdio" => json!({"command": server.command, "args": server.args, "env": server.env}),
        "http" => json!({"httpUrl": server.url, "headers": server.headers}),
        _ => json!({"url": server.url, "headers": server.headers}),
    };
    (server.name.clone(), entry)
}

// Models before the third generation take a number of tokens, later ones a word. A model or an effort that is not known
// to take either gets a sentence in the instructions instead.
fn thinking(wish: &Wish<'_>) -> Option<Value> {
    let (model, effort) = (wish.model?, wish.effort?);
    let generation = model.strip_prefix("gemini-")?.chars().next()?.to_digit(10)?;
    let budget = match effort {
        "minimal" => 512,
        "low" => 1024,
        "medium" => 8192,
        "high" => 24_576,
        _ => return None,
    };
    let config = match generation {
        3.. => json!({"thinkingLevel": effort.to_uppercase()}),
        2 if model.starts_with("gemini-2.5") => json!({ "thinkingBudget": budget }),
        _ => return None,
    };
    Some(json!({
        "match": {"model": model},
        "modelConfig": {"generateContentConfig": {"thinkingConfig": config}},
    }))
}
