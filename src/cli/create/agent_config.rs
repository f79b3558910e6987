//! `kelos create agentconfig`

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::api::agent_config::{AgentConfig, AgentConfigSpec, McpServer, Plugin, PluginFile, SkillPackage};
use crate::api::kind::Kind;
use crate::cli::GlobalArguments;
use crate::cli::command_error::CommandError;
use crate::cli::create::text_or_file;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::server;

/// The plugin that skills and sub-agents of the command line go into.
const PLUGIN: &str = "kelos";

/// Create an AgentConfig
#[derive(Debug, Args)]
pub(super) struct AgentConfigArguments {
    /// Name of the AgentConfig
    name: String,
    /// Instructions for agents, or @FILE
    #[arg(long, value_name = "TEXT")]
    agents_md: Option<String>,
    /// Skill as NAME=TEXT or NAME=@FILE; may be given several times
    #[arg(long, value_name = "NAME=TEXT")]
    skill: Vec<String>,
    /// Sub-agent as NAME=TEXT or NAME=@FILE; may be given several times
    #[arg(long, value_name = "NAME=TEXT")]
    agent: Vec<String>,
    /// MCP server as NAME=JSON or NAME=@FILE; may be given several times
    #[arg(long, value_name = "NAME=JSON")]
    mcp: Vec<String>,
    /// Package of skills.sh as SOURCE or SOURCE:SKILL; may be given several times
    #[arg(long, value_name = "SOURCE[:SKILL]")]
    skills_sh: Vec<String>,
    /// Print the AgentConfig and create nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(
    arguments: &AgentConfigArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let mut config = AgentConfig::new(&arguments.name, spec(arguments)?);
    config.metadata.namespace.clone_from(&global.namespace);
    if arguments.dry_run {
        return super::print(&config, printer);
    }
    let server = server::connect(global, environment).await?;
    server.tell(printer);
    config.metadata.namespace = Some(server.namespace.clone());
    super::create(&server, Kind::AgentConfig, &config, printer).await
}

fn spec(arguments: &AgentConfigArguments) -> Result<AgentConfigSpec, CommandError> {
    let agents_md =
        arguments.agents_md.as_deref().map(|text| text_or_file("--agents-md", text)).transpose()?;
    let files = |flag: &str, values: &[String]| {
        let file = |value: &String| {
            let (name, text) = named(flag, value, "TEXT")?;
            Ok(PluginFile { name: name.to_owned(), content: text_or_file(flag, text)? })
        };
        values.iter().map(file).collect::<Result<Vec<_>, CommandError>>()
    };
    let (skills, agents) = (files("--skill", &arguments.skill)?, files("--agent", &arguments.agent)?);
    let plugins = if skills.is_empty() && agents.is_empty() {
        Vec::new()
    } else {
        vec![Plugin { name: PLUGIN.to_owned(), skills, agents }]
    };
    let mcp_servers = arguments.mcp.iter().map(|value| mcp_server(value)).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    if let Some(twice) = mcp_servers.iter().find(|server| !names.insert(&server.name)) {
        return Err(CommandError::usage(format!("--mcp names the server '{}' twice", twice.name)));
    }
    let skills = arguments.skills_sh.iter().map(|value| skill_package(value)).collect();
    Ok(AgentConfigSpec { agents_md, plugins, skills, mcp_servers })
}

fn named<'a>(flag: &str, value: &'a str, what: &str) -> Result<(&'a str, &'a str), CommandError> {
    match value.split_once('=') {
        Some((name, text)) if !name.is_empty() => Ok((name, text)),
        Some(_) | None => {
            Err(CommandError::usage(format!("{flag} takes NAME={what} or NAME=@FILE, not '{value}'")))
        }
    }
}

fn mcp_server(value: &str) -> Result<McpServer, CommandError> {
    let (name, text) = named("--mcp", value, "JSON")?;
    let text = text_or_file("--mcp", text)?;
    let wrong = |error: serde_json::Error| CommandError::usage(format!("--mcp {name}: {error}"));
    let mut server: Value = serde_json::from_str(&text).map_err(wrong)?;
    let Some(fields) = server.as_object_mut() else {
        return Err(CommandError::usage(format!("--mcp {name} has to be a JSON object"))
            .hint(r#"As in --mcp 'github={"type":"http","url":"https://example.com/mcp"}'"#));
    };
    fields.insert("name".to_owned(), Value::String(name.to_owned()));
    serde_json::from_value(server).map_err(wrong)
}

// What follows the last part of the source; a URL has colons before that.
fn skill_package(value: &str) -> SkillPackage {
    let begin = value.rfind('/').unwrap_or_default();
    let colon = value.rfind(':').filter(|colon| *colon > begin);
    let (source, skill) = colon.and_then(|colon| value.split_at_checked(colon)).unwrap_or((value, ""));
    let skill = skill.trim_start_matches(':');
    let skill = (!skill.is_empty()).then(|| skill.to_owned());
    SkillPackage { source: source.to_owned(), skill, secret_ref: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skill_is_named_behind_its_source() {
        for (value, source, skill) in [
            ("acme/skills", "acme/skills", None),
            ("acme/skills:review", "acme/skills", Some("review")),
            ("acme/skills:", "acme/skills", None),
            ("skills:review", "skills", Some("review")),
            ("https://git.corp/acme/skills", "https://git.corp/acme/skills", None),
            (
                "https://git.corp:8443/acme/skills.git:review",
                "https://git.corp:8443/acme/skills.git",
                Some("review"),
            ),
            ("git@git.corp:acme/skills", "git@git.corp:acme/skills", None),
            ("git@git.corp:acme/skills:review", "git@git.corp:acme/skills", Some("review")),
        ] {
            let package = skill_package(value);
            assert_eq!((package.source.as_str(), package.skill.as_deref()), (source, skill), "{value}");
        }
    }
}
