//! `kelos create`

mod agent_config;
mod secret;
mod workspace;

use std::fmt::Debug;
use std::io::Read as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use kube::Resource;
use kube::api::{Api, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::kind::Kind;
use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::output::{self, Format};
use crate::cli::printer::Printer;
use crate::cli::server::Server;
use crate::cli::{FIELD_MANAGER, GlobalArguments, configuration, kinds};
use crate::secret::Secret;

/// The largest secret that standard input gives, in bytes.
const LARGEST_SECRET: u64 = 256 * 1024;

/// Create a Workspace, an AgentConfig or a Secret
#[derive(Debug, Args)]
pub(super) struct CreateArguments {
    #[command(subcommand)]
    kind: What,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(visible_alias = "ws")]
    Workspace(workspace::WorkspaceArguments),
    #[command(name = "agentconfig", visible_alias = "ac")]
    AgentConfig(agent_config::AgentConfigArguments),
    Secret(secret::SecretArguments),
}

pub(super) async fn run(
    arguments: &CreateArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    match &arguments.kind {
        What::Workspace(arguments) => workspace::run(arguments, global, environment, printer).await,
        What::AgentConfig(arguments) => agent_config::run(arguments, global, environment, printer).await,
        What::Secret(arguments) => secret::run(arguments, global, environment, printer).await,
    }
}

/// Prints an object that is not created.
fn print<K: Serialize>(object: &K, printer: Printer) -> Result<ExitCode, CommandError> {
    let value = serde_json::to_value(object).map_err(CommandError::internal)?;
    output::print(&value, Format::Yaml, printer)?;
    Ok(ExitCode::SUCCESS)
}

/// Creates an object in the namespace that is meant.
async fn create<K>(
    server: &Server,
    kind: Kind,
    object: &K,
    printer: Printer,
) -> Result<ExitCode, CommandError>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(server.client.clone(), &server.namespace);
    let parameters = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let created = api.create(&parameters, object).await?;
    let name = created.meta().name.clone().unwrap_or_default();
    printer.line(format_args!("{}/{name} created", kinds::name(kind)))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a text that a flag gives directly, or as `@FILE`.
fn text_or_file(flag: &str, value: &str) -> Result<String, CommandError> {
    let Some(file) = value.strip_prefix('@') else { return Ok(value.to_owned()) };
    let text = std::fs::read_to_string(file).map_err(|error| {
        CommandError::user(
            anyhow::Error::new(error).context(format!("cannot read {file}, which {flag} names")),
        )
    })?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Returns the secret that a flag gives as `@FILE`, as `-` for standard input, or directly.
fn secret_text(flag: &str, given: &Secret) -> Result<Secret, CommandError> {
    match given.expose() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().lock().take(LARGEST_SECRET).read_to_string(&mut text)?;
            let text = text.trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                return Err(CommandError::usage(format!("{flag} - found nothing on standard input")));
            }
            Ok(Secret::new(text))
        }
        other => match other.strip_prefix('@') {
            Some(file) => configuration::value_of_file(std::path::Path::new(file)),
            None => Ok(given.clone()),
        },
    }
}
