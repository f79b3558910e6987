//! `kelos run`

mod from_spawner;
mod watch;
mod wishes;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use k8s_openapi::api::core::v1;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};

use crate::api::duration;
use crate::api::pod::PodOverrides;
use crate::api::reference::{AgentConfigReference, WorkspaceReference};
use crate::api::task::{AgentType, CredentialType, Task, TaskSpec};
use crate::api::workspace::Workspace;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::output::{self, Format};
use crate::cli::printer::Printer;
use crate::cli::server::Server;
use crate::cli::{FIELD_MANAGER, GlobalArguments, configuration, objects, random_suffix, server};

/// The largest prompt that is read from a file, in bytes.
const LARGEST_PROMPT: u64 = 1024 * 1024;

/// Create a Task and run it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kelos run -t shell -p 'echo hello' -w
  kelos run -p 'Say hello' -w    # with the login that 'kelos init' found
  kelos run -p 'Fix the failing test' --secret anthropic --workspace app --branch fix-test
  kelos run --from taskspawner/nightly")]
pub(super) struct RunArguments {
    /// What the agent is told; for the type shell, the script
    #[arg(short, long, required_unless_present_any = ["prompt_file", "from"], conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// File that holds the prompt; - is standard input
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Agent that runs: claude-code, codex, gemini, opencode, cursor, shell; by default that of the configuration, else
    /// claude-code
    #[arg(short = 't', long = "type", value_name = "AGENT")]
    agent: Option<AgentType>,
    /// Secret with the credentials of the agent; by default that of the configuration, or one that is made from it
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// Kind of the credentials: api-key, oauth, none; by default that of the configuration, else api-key
    #[arg(long, value_name = "TYPE")]
    credential_type: Option<CredentialType>,
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
    /// Workspace that the agent works in; by default that of the configuration
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
    /// Print what would be created, and create nothing
    ///
    /// Secrets are named on standard error and not printed.
    #[arg(long)]
    dry_run: bool,
    /// How the Task is printed for programs
    #[arg(short, long, value_enum, value_name = "FORMAT", conflicts_with = "watch")]
    output: Option<Format>,
    /// Ask nothing: overwrite a Secret or Workspace of the configuration that has other contents
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
    let configuration = configuration::load(global, environment)?;
    let described = match arguments.from {
        None => Some(wishes::wishes(arguments, &configuration)?),
        Some(_) => None,
    };
    if let (Some(wishes), true) = (&described, arguments.dry_run) {
        let namespace = global.namespace.clone().or_else(|| configuration.namespace.clone());
        return rehearse(arguments, wishes, namespace, printer);
    }
    configuration::warn_when_exposed(&configuration, printer);
    let task = described.as_ref().map(|wishes| task(arguments, wishes)).transpose()?;
    let secrets = described.iter().flat_map(|wishes| &wishes.secrets);
    let secrets =
        secrets.map(|secret| secret.object(&configuration, environment)).collect::<Result<Vec<_>, _>>()?;
    let server = server::connect(global, environment).await?;
    let mut task = match (task, &arguments.from) {
        (Some(task), _) => task,
        (None, Some(spawner)) => from_spawner::task(&server, spawner, arguments).await?,
        (None, None) => unreachable!("because the flags describe a Task unless they name a spawner"),
    };
    task.metadata.namespace = Some(server.namespace.clone());
    if arguments.dry_run {
        print(&task, arguments.output.unwrap_or(Format::Yaml), printer)?;
        return Ok(ExitCode::SUCCESS);
    }
    server.tell(printer);
    let workspace = described.and_then(|wishes| wishes.made_workspace);
    provide(&server, secrets, workspace, arguments.yes, printer).await?;
    let api: Api<Task> = Api::namespaced(server.client.clone(), &server.namespace);
    let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let created = api.create(&parameters, &task).await?;
    let name = created.name_any();
    match arguments.output {
        Some(format) => print(&created, format, printer)?,
        None => printer.line(format_args!("task/{name} created"))?,
    }
    if arguments.watch {
        return watch::until_ended(api, &created, printer).await;
    }
    printer.message(format_args!("Hint: 'kelos logs -f {name}' shows what it does"));
    Ok(ExitCode::SUCCESS)
}

/// Makes what a run needs; all questions come before the first write.
async fn provide(
    server: &Server,
    secrets: Vec<v1::Secret>,
    workspace: Option<Workspace>,
    overwrite: bool,
    printer: Printer,
) -> Result<(), CommandError> {
    let mut writes = Vec::new();
    for secret in secrets {
        writes.push(objects::decide(server, secret, overwrite, printer).await?);
    }
    let workspace = match workspace {
        Some(workspace) => Some(objects::decide(server, workspace, overwrite, printer).await?),
        None => None,
    };
    for write in writes {
        objects::carry_out(server, write, printer).await?;
    }
    match workspace {
        Some(write) => objects::carry_out(server, write, printer).await,
        None => Ok(()),
    }
}

/// Prints what would be created, without asking a server.
fn rehearse(
    arguments: &RunArguments,
    wishes: &wishes::Wishes,
    namespace: Option<String>,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    for secret in &wishes.secrets {
        let keys: Vec<&str> = secret.keys.iter().map(|(key, _)| key.as_str()).collect();
        printer.message(format_args!("secret/{} would hold {}", secret.name, keys.join(", ")));
    }
    let format = arguments.output.unwrap_or(Format::Yaml);
    if let Some(mut workspace) = wishes.made_workspace.clone() {
        workspace.metadata.namespace.clone_from(&namespace);
        print(&workspace, format, printer)?;
        if format == Format::Yaml {
            printer.line("---")?;
        }
    }
    let mut task = task(arguments, wishes)?;
    task.metadata.namespace = namespace;
    print(&task, format, printer)?;
    Ok(ExitCode::SUCCESS)
}

fn print<K>(object: &K, format: Format, printer: Printer) -> Result<(), CommandError>
where
    K: kube::Resource<DynamicType = ()> + serde::Serialize,
{
    if format == Format::Name {
        let kind = K::kind(&()).to_lowercase();
        let name = object.meta().name.as_deref().unwrap_or_default();
        return printer.line(format_args!("{kind}.{}/{name}", K::group(&())));
    }
    let mut value = serde_json::to_value(object).map_err(CommandError::internal)?;
    if let Some(metadata) = value.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    output::print(&value, format, printer)
}

/// Returns the Task that is wished for.
fn task(arguments: &RunArguments, wishes: &wishes::Wishes) -> Result<Task, CommandError> {
    let prompt = match (&arguments.prompt, &arguments.prompt_file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(file)) => read_text(file, LARGEST_PROMPT)?,
        (None, None) => unreachable!("because the command line demands one of them"),
    };
    if prompt.trim().is_empty() {
        return Err(CommandError::usage("the prompt is empty"));
    }
    let one_config = wishes.agent_configs.len() == 1;
    let mut configs =
        wishes.agent_configs.iter().map(|name| AgentConfigReference { name: name.clone() }).collect();
    let mut task = Task::new(
        "",
        TaskSpec {
            agent: wishes.agent,
            prompt,
            credentials: wishes.credentials.clone(),
            model: wishes.model.clone(),
            effort: wishes.effort.clone(),
            image: arguments.image.clone(),
            workspace_ref: wishes.workspace.clone().map(|name| WorkspaceReference { name }),
            agent_config_ref: if one_config { Vec::pop(&mut configs) } else { None },
            agent_config_refs: configs,
            depends_on: arguments.depends_on.clone(),
            branch: arguments.branch.clone(),
            upstream_repo: None,
            ttl_seconds_after_finished: None,
            pod_overrides: pod_overrides(arguments, wishes),
        },
    );
    let name = arguments.name.clone().unwrap_or_else(|| format!("task-{}", random_suffix()));
    task.metadata.name = Some(name);
    Ok(task)
}

fn pod_overrides(arguments: &RunArguments, wishes: &wishes::Wishes) -> Option<Box<PodOverrides>> {
    if arguments.timeout.is_none() && wishes.env.is_empty() {
        return None;
    }
    Some(Box::new(PodOverrides {
        active_deadline_seconds: arguments.timeout,
        env: wishes.env.clone(),
        ..PodOverrides::default()
    }))
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
