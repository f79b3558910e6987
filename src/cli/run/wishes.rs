//! What a run is to be: flags come first, the configuration second.

use std::path::Path;

use serde_json::{Value, json};

use crate::api::reference::SecretReference;
use crate::api::task::{AgentType, CredentialType, Credentials};
use crate::api::workspace::{Workspace, WorkspaceSpec};
use crate::cli::command_error::CommandError;
use crate::cli::configuration::{self, Configuration, Given, WorkspaceChoice, WorkspaceCredential};
use crate::cli::environment::Environment;
use crate::cli::objects;
use crate::cli::run::RunArguments;
use crate::secret::Secret;

/// Names of the objects that are made of what the configuration says; upstream's.
const CREDENTIALS: &str = "kelos-credentials";
const WORKSPACE: &str = "kelos-workspace";
const WORKSPACE_CREDENTIALS: &str = "kelos-workspace-credentials";

/// What a run is to be, and what has to be there for it.
#[derive(Debug)]
pub(super) struct Wishes {
    /// Agent that runs.
    pub(super) agent: AgentType,
    /// How it proves who it is.
    pub(super) credentials: Option<Credentials>,
    /// Model in place of the agent's default.
    pub(super) model: Option<String>,
    /// Reasoning effort.
    pub(super) effort: Option<String>,
    /// Workspace that it works in.
    pub(super) workspace: Option<String>,
    /// AgentConfigs that it gets.
    pub(super) agent_configs: Vec<String>,
    /// Its variables.
    pub(super) env: Vec<Value>,
    /// Secrets that are to be there.
    pub(super) secrets: Vec<WantedSecret>,
    /// Workspace that is to be there.
    pub(super) made_workspace: Option<Workspace>,
}

/// A Secret that is to be there.
#[derive(Debug)]
pub(super) struct WantedSecret {
    /// Its name.
    pub(super) name: &'static str,
    /// Its keys, and what the configuration says of their values.
    pub(super) keys: Vec<(String, Given)>,
}

impl WantedSecret {
    /// Returns the object, with the values that are meant.
    pub(super) fn object(
        &self,
        configuration: &Configuration,
        environment: &Environment,
    ) -> Result<k8s_openapi::api::core::v1::Secret, CommandError> {
        let folder = configuration.path.parent().unwrap_or(Path::new(""));
        let value = |(key, given): &(String, Given)| {
            Ok((key.clone(), configuration::resolve(given, folder, environment)?))
        };
        let keys = self.keys.iter().map(value).collect::<Result<Vec<(String, Secret)>, CommandError>>()?;
        Ok(objects::secret(self.name, keys))
    }
}

/// Returns what the flags and the configuration ask for.
pub(super) fn wishes(
    arguments: &RunArguments,
    configuration: &Configuration,
) -> Result<Wishes, CommandError> {
    let agent = arguments.agent.unwrap_or_else(|| configuration.agent());
    let mut secrets = Vec::new();
    let credentials = credentials(agent, arguments, configuration, &mut secrets)?;
    let (workspace, made_workspace) = match (&arguments.workspace, &configuration.workspace) {
        (Some(name), _) | (None, Some(WorkspaceChoice::Named(name))) => (Some(name.clone()), None),
        (None, None) => (None, None),
        (None, Some(WorkspaceChoice::Made { repo, reference, credential })) => {
            let credential = credential.as_ref().map(workspace_secret);
            let secret_ref =
                credential.as_ref().map(|secret| SecretReference { name: secret.name.to_owned() });
            secrets.extend(credential);
            let spec = WorkspaceSpec {
                repo: repo.clone(),
                reference: reference.clone(),
                secret_ref,
                remotes: Vec::new(),
                files: Vec::new(),
                setup_command: Vec::new(),
            };
            (Some(WORKSPACE.to_owned()), Some(Workspace::new(WORKSPACE, spec)))
        }
    };
    let agent_configs = if arguments.agent_config.is_empty() {
        configuration.agent_config.iter().cloned().collect()
    } else {
        arguments.agent_config.clone()
    };
    // A model and an effort belong to the agent that the configuration is about.
    let configured = Some(configuration).filter(|configuration| configuration.agent() == agent);
    Ok(Wishes {
        agent,
        credentials,
        model: arguments.model.clone().or_else(|| configured?.model.clone()),
        effort: arguments.effort.clone().or_else(|| configured?.effort.clone()),
        workspace,
        agent_configs,
        env: env(arguments, configuration),
        secrets,
        made_workspace,
    })
}

/// Returns the credentials of the agent. A credential of the configuration is for its agent and for no other.
fn credentials(
    agent: AgentType,
    arguments: &RunArguments,
    configuration: &Configuration,
    secrets: &mut Vec<WantedSecret>,
) -> Result<Option<Credentials>, CommandError> {
    let named = |kind: CredentialType, name: &str| {
        Ok(Some(Credentials { kind, secret_ref: Some(SecretReference { name: name.to_owned() }) }))
    };
    let kind = arguments.credential_type.or(configuration.credential_type).unwrap_or(CredentialType::ApiKey);
    match (&arguments.secret, agent) {
        (Some(_), _) if arguments.credential_type == Some(CredentialType::None) => {
            return Err(CommandError::usage("--secret and --credential-type none contradict each other"));
        }
        (Some(name), _) if kind == CredentialType::None => return named(CredentialType::ApiKey, name),
        (Some(name), _) => return named(kind, name),
        (None, AgentType::Shell) => return Ok(None),
        (None, _) if arguments.credential_type == Some(CredentialType::None) => {
            return Ok(Some(Credentials { kind, secret_ref: None }));
        }
        (None, _) => {}
    }
    let is_for_agent = configuration.agent() == agent;
    match (&configuration.secret, &configuration.credential) {
        (Some(name), _) if is_for_agent && kind != CredentialType::None => named(kind, name),
        (None, Some((kind, given))) if is_for_agent => {
            if arguments.credential_type.is_some_and(|wanted| wanted != *kind) {
                return Err(CommandError::usage(format!(
                    "--credential-type is not {kind}, which is what {} holds",
                    configuration.path.display()
                )));
            }
            let Some(key) = agent.credential_key(*kind) else { return Ok(None) };
            secrets.push(WantedSecret { name: CREDENTIALS, keys: vec![(key.to_owned(), given.clone())] });
            named(*kind, CREDENTIALS)
        }
        _ if is_for_agent && configuration.credential_type == Some(CredentialType::None) => {
            Ok(Some(Credentials { kind: CredentialType::None, secret_ref: None }))
        }
        (secret, credential) => {
            let error = CommandError::usage(format!("{agent} needs credentials and no Secret is named"));
            let error = if secret.is_some() || credential.is_some() {
                error.hint(format!(
                    "The credential in {} is for {}; -t {} would take it",
                    configuration.path.display(),
                    configuration.agent(),
                    configuration.agent()
                ))
            } else {
                error.hint(format!(
                    "'kelos init' finds the key or login that you have for {agent}; runs take it from then on"
                ))
            };
            Err(error
                .hint("--secret NAME names a Secret that is there; 'kelos create secret' makes one")
                .hint("An agent that needs none runs with --credential-type none"))
        }
    }
}

fn workspace_secret(credential: &WorkspaceCredential) -> WantedSecret {
    let plain = |text: &str| Given(Secret::new(text));
    let keys = match credential {
        WorkspaceCredential::Token(token) => vec![("GITHUB_TOKEN".to_owned(), token.clone())],
        WorkspaceCredential::GithubApp { app_id, installation_id, private_key_path } => vec![
            ("appID".to_owned(), plain(app_id)),
            ("installationID".to_owned(), plain(installation_id)),
            ("privateKey".to_owned(), plain(&format!("@{private_key_path}"))),
        ],
    };
    WantedSecret { name: WORKSPACE_CREDENTIALS, keys }
}

/// Returns the variables of the agent: those of the configuration, unless a flag sets the same one.
fn env(arguments: &RunArguments, configuration: &Configuration) -> Vec<Value> {
    let is_set = |variable: &Value| arguments.env.iter().any(|(name, _)| variable["name"] == **name);
    let configured = configuration.env.iter().filter(|variable| !is_set(variable)).cloned();
    let flags = arguments.env.iter().map(|(name, value)| json!({"name": name, "value": value}));
    configured.chain(flags).collect()
}
