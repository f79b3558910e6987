//! `kelos run`

mod from_spawner;
mod watch;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};

use crate::api::duration;
use crate::api::pod::PodOverrides;
use crate::api::reference::{AgentConfigReference, SecretReference, WorkspaceReference};
use crate::api::task::{AgentType, CredentialType, Credentials, Task, TaskSpec};
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::output::{self, Format};
use crate::cli::printer::Printer;
use crate::cli::{FIELD_MANAGER, GlobalArguments, random_suffix, server};

/// The largest prompt that is read from a file, in bytes.
const LARGEST_PROMPT: u64 = 1024 * 1024;

/// Create a Task and run it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kelos run -t shell -p 'echo hello' -w
  kelos run -p 'Fix the failing test' --secret anthropic --workspace app --branch fix-test
  kelos run --from taskspawner/nightly")]
pub(super) struct RunArguments {
    /// What the agent is told; for the type shell, the script
    #[arg(short, long, required_unless_present_any = ["prompt_file", "from"], conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// File that holds the prompt; - is standard input
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Agent that runs: claude-code, codex, gemini, opencode, cursor, shell
    #[arg(short = 't', long = "type", value_name = "AGENT", default_value = "claude-code")]
    agent: AgentType,
    /// Secret with the credentials of the agent
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// Kind of the credentials: api-key, oauth, none
    #[arg(long, value_name = "TYPE", default_value = "api-key")]
    credential_type: CredentialType,
    /// Model in place of the agent's default
    #[arg(long)]
    model: Option<String>,
    /// Reasoning effort, passed to the agent as it is
    #[arg(long)]
    effort: Option<String>,
    /// Container image in place of the agent's default, for clusters
    #[arg(long)]
    image: Option<String>,
    /// Name of the Task; by default task- and five random characters
    #[arg(long)]
    name: Option<String>,
    /// Workspace that the agent works in
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// AgentConfig that the agent gets; may be given several times
    #[arg(long, value_name = "NAME")]
    agent_config: Vec<String>,
    /// Task that has to succeed first; may be given several times
    #[arg(long, value_name = "TASK")]
    depends_on: Vec<String>,
    /// Git branch to work on
    #[arg(long)]
    branch: Option<String>,
    /// Longest time that the run may take, as 30m or 1h
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    timeout: Option<i64>,
    /// Environment variable of the agent, as NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Create the Task that a TaskSpawner would create, as taskspawner/NAME
    ///
    /// The Task is not counted by the spawner, and neither its suspension nor its limits hold it up.
    #[arg(
        long,
        value_name = "taskspawner/NAME",
        value_parser = from_spawner::reference,
        conflicts_with_all = [
            "prompt", "prompt_file", "agent", "secret", "credential_type", "model", "effort", "image", "workspace",
            "agent_config", "depends_on", "branch", "timeout", "env",
        ]
    )]
    from: Option<String>,
    /// YAML file with variables for the spawner's templates; - is standard input
    #[arg(short = 'f', long, value_name = "FILE", requires = "from")]
    values: Option<PathBuf>,
    /// Show each phase of the Task until it has ended; exit status 1 when it failed
    #[arg(short, long, conflicts_with = "dry_run")]
    watch: bool,
    /// Print the Task and create nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing; there is nothing to ask, and scripts written for other versions go on working
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(
    arguments: &RunArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    // Faults of the command line come before those of the server.
    let described = if arguments.from.is_none() { Some(task(arguments)?) } else { None };
    let server = if described.is_some() && arguments.dry_run {
        None
    } else {
        Some(server::connect(global, environment).await?)
    };
    let mut task = match (described, &arguments.from, &server) {
        (None, Some(spawner), Some(server)) => from_spawner::task(server, spawner, arguments).await?,
        (Some(task), _, _) => task,
        (None, _, _) => unreachable!("because the flags describe a Task unless they name a spawner"),
    };
    let namespace =
        server.as_ref().map(|server| server.namespace.clone()).or_else(|| global.namespace.clone());
    task.metadata.namespace = namespace;
    if arguments.dry_run {
        let value = serde_json::to_value(&task).map_err(CommandError::internal)?;
        output::print(&value, Format::Yaml, printer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let server = server.expect("because only a dry run asks no server");
    server.tell(printer);
    let api: Api<Task> = Api::namespaced(server.client.clone(), &server.namespace);
    let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let created = api.create(&parameters, &task).await?;
    let name = created.name_any();
    printer.line(format_args!("task/{name} created"))?;
    if arguments.watch {
        return watch::until_ended(api, &created, printer).await;
    }
    printer.message(format_args!("Hint: 'kelos logs -f {name}' shows what it does"));
    Ok(ExitCode::SUCCESS)
}

/// Returns the Task that the flags describe.
fn task(arguments: &RunArguments) -> Result<Task, CommandError> {
    let prompt = match (&arguments.prompt, &arguments.prompt_file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(file)) => read_text(file, LARGEST_PROMPT)?,
        (None, None) => unreachable!("because the command line demands one of them"),
    };
    if prompt.trim().is_empty() {
        return Err(CommandError::usage("the prompt is empty"));
    }
    let one_config = arguments.agent_config.len() == 1;
    let mut configs =
        arguments.agent_config.iter().map(|name| AgentConfigReference { name: name.clone() }).collect();
    let mut task = Task::new(
        "",
        TaskSpec {
            agent: arguments.agent,
            prompt,
            credentials: credentials(arguments)?,
            model: arguments.model.clone(),
            effort: arguments.effort.clone(),
            image: arguments.image.clone(),
            workspace_ref: arguments.workspace.clone().map(|name| WorkspaceReference { name }),
            agent_config_ref: if one_config { Vec::pop(&mut configs) } else { None },
            agent_config_refs: configs,
            depends_on: arguments.depends_on.clone(),
            branch: arguments.branch.clone(),
            upstream_repo: None,
            ttl_seconds_after_finished: None,
            pod_overrides: pod_overrides(arguments),
        },
    );
    let name = arguments.name.clone().unwrap_or_else(|| format!("task-{}", random_suffix()));
    task.metadata.name = Some(name);
    Ok(task)
}

fn credentials(arguments: &RunArguments) -> Result<Option<Credentials>, CommandError> {
    let kind = arguments.credential_type;
    match (&arguments.secret, arguments.agent, kind) {
        (Some(_), _, CredentialType::None) => {
            Err(CommandError::usage("--secret and --credential-type none contradict each other"))
        }
        (Some(name), _, CredentialType::ApiKey | CredentialType::OAuth) => {
            Ok(Some(Credentials { kind, secret_ref: Some(SecretReference { name: name.clone() }) }))
        }
        (None, AgentType::Shell, _) => Ok(None),
        (None, _, CredentialType::None) => Ok(Some(Credentials { kind, secret_ref: None })),
        (None, agent, CredentialType::ApiKey | CredentialType::OAuth) => Err(CommandError::usage(format!(
            "{agent} needs credentials and no Secret is named"
        ))
        .hint(format!(
            "Make one with 'kubectl create secret generic NAME --from-literal={}=…' and pass --secret NAME",
            secret_key(agent, kind)
        ))
        .hint("An agent that needs none runs with --credential-type none")),
    }
}

/// Returns the key under which a Secret holds the credential of an agent.
fn secret_key(agent: AgentType, kind: CredentialType) -> &'static str {
    match (agent, kind) {
        (AgentType::Codex, CredentialType::OAuth) => "CODEX_AUTH_JSON",
        (AgentType::Codex, _) => "CODEX_API_KEY",
        (AgentType::Gemini, _) => "GEMINI_API_KEY",
        (AgentType::OpenCode, _) => "OPENCODE_API_KEY",
        (AgentType::Cursor, _) => "CURSOR_API_KEY",
        (AgentType::ClaudeCode | AgentType::Shell, CredentialType::OAuth) => "CLAUDE_CODE_OAUTH_TOKEN",
        (AgentType::ClaudeCode | AgentType::Shell, _) => "ANTHROPIC_API_KEY",
    }
}

fn pod_overrides(arguments: &RunArguments) -> Option<PodOverrides> {
    if arguments.timeout.is_none() && arguments.env.is_empty() {
        return None;
    }
    let variable = |(name, value): &(String, String)| serde_json::json!({"name": name, "value": value});
    Some(PodOverrides {
        active_deadline_seconds: arguments.timeout,
        env: arguments.env.iter().map(variable).collect(),
        ..PodOverrides::default()
    })
}

/// Reads a text file; `-` is standard input.
fn read_text(file: &Path, largest: u64) -> Result<String, CommandError> {
    let mut bytes = Vec::new();
    let wrong = |error: std::io::Error| {
        CommandError::user(anyhow::Error::new(error).context(format!("cannot read {}", file.display())))
    };
    if file == Path::new("-") {
        std::io::stdin().lock().take(largest + 1).read_to_end(&mut bytes).map_err(wrong)?;
    } else {
        let open = std::fs::File::open(file).map_err(wrong)?;
        open.take(largest + 1).read_to_end(&mut bytes).map_err(wrong)?;
    }
    if bytes.len() as u64 > largest {
        return Err(CommandError::user_message(format!("{} is larger than {largest} bytes", file.display())));
    }
    String::from_utf8(bytes)
        .map_err(|_| CommandError::user_message(format!("{} is not text in UTF-8", file.display())))
}

fn whole_seconds(text: &str) -> Result<i64, String> {
    let seconds = duration::parse(text).map_err(|error| error.to_string())?.as_secs();
    match i64::try_from(seconds) {
        Ok(seconds) if seconds >= 1 => Ok(seconds),
        Ok(_) | Err(_) => Err("a run needs at least a second".to_owned()),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("a variable is given as NAME=VALUE".to_owned()),
    }
}
