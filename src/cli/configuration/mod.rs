//! The configuration file of the user: what commands take when no flag says otherwise.
//!
//! Its fields are upstream's. What may be a secret stands in it as `@FILE`, as `$VARIABLE` or itself, and no error
//! repeats a value.

mod credential;
pub(super) mod login;
mod section;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::task::{AgentType, CredentialType};
use crate::cli::command_error::CommandError;
use crate::cli::configuration::section::Section;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, kinds};
use crate::secret::Secret;
use crate::{file, yaml};

pub(super) use credential::{resolve, value_of_file};

/// The largest configuration file, in bytes.
const LARGEST: u64 = 256 * 1024;

/// What the configuration file says; everything may be left out.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    /// Where it stands.
    pub(super) path: PathBuf,
    /// The credential of the agent, and its kind.
    pub(super) credential: Option<(CredentialType, Given)>,
    /// Secret that holds the credential of the agent.
    pub(super) secret: Option<String>,
    /// Kind of what that Secret holds.
    pub(super) credential_type: Option<CredentialType>,
    /// Agent that runs.
    pub(super) agent: Option<AgentType>,
    /// Model in place of the agent's default.
    pub(super) model: Option<String>,
    /// Reasoning effort.
    pub(super) effort: Option<String>,
    /// Namespace of all commands.
    pub(super) namespace: Option<String>,
    /// What the agent works in.
    pub(super) workspace: Option<WorkspaceChoice>,
    /// AgentConfig that the agent gets.
    pub(super) agent_config: Option<String>,
    /// Environment of the agent, as in `podOverrides.env`.
    pub(super) env: Vec<Value>,
}

/// A value as it stands in the file: a secret, or where one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given(pub(super) Secret);

/// The workspace of runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WorkspaceChoice {
    /// One that is there.
    Named(String),
    /// One that is made from this.
    Made {
        /// URL of the repository.
        repo: String,
        /// Branch, tag or commit.
        reference: Option<String>,
        /// What the repository is opened with.
        credential: Option<WorkspaceCredential>,
    },
}

/// What a repository is opened with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WorkspaceCredential {
    /// A token.
    Token(Given),
    /// A GitHub App.
    GithubApp {
        /// Number of the App.
        app_id: String,
        /// Number of its installation.
        installation_id: String,
        /// File with its private key.
        private_key_path: String,
    },
}

impl Configuration {
    /// Returns the agent that runs when no flag names one, and that the credential is for.
    pub(super) fn agent(&self) -> AgentType {
        self.agent.unwrap_or(AgentType::ClaudeCode)
    }
}

/// Returns the path of the configuration file.
pub(super) fn path(global: &GlobalArguments, environment: &Environment) -> Option<PathBuf> {
    global.config.clone().or_else(|| environment.configuration.clone())
}

/// Reads the configuration file. One that is not there says nothing, unless `--config` names it.
pub(super) fn load(
    global: &GlobalArguments,
    environment: &Environment,
) -> Result<Configuration, CommandError> {
    let Some(path) = path(global, environment) else { return Ok(Configuration::default()) };
    let bytes = match file::read_bounded(&path, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && global.config.is_none() => {
            return Ok(Configuration::default());
        }
        Err(error) => {
            let context = format!("cannot read the configuration {}", path.display());
            return Err(CommandError::user(anyhow::Error::new(error).context(context)));
        }
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| CommandError::user_message(format!("{} is not text in UTF-8", path.display())))?;
    read(&text, &path)
}

/// Says so when others can read a configuration that holds a secret itself.
pub(super) fn warn_when_exposed(configuration: &Configuration, printer: Printer) {
    let token = match &configuration.workspace {
        Some(WorkspaceChoice::Made { credential: Some(WorkspaceCredential::Token(token)), .. }) => {
            Some(token)
        }
        _ => None,
    };
    let holds_secret =
        configuration.credential.iter().map(|(_, given)| given).chain(token).any(Given::is_the_secret_itself);
    let mode = fs::metadata(&configuration.path).map_or(0, |metadata| metadata.permissions().mode());
    if holds_secret && mode & 0o077 != 0 {
        let path = configuration.path.display();
        printer.message(format_args!(
            "Warning: {path} holds a secret and others may read it\nHint: chmod 600 {path}"
        ));
    }
}

fn read(text: &str, path: &Path) -> Result<Configuration, CommandError> {
    // The text of a fault may repeat a value, and a value may be a secret.
    let documents = yaml::parse(text, &yaml::Limits::default()).map_err(|faults| {
        let place = |fault: &yaml::Fault| {
            let position = fault.position;
            format!("{}:{}:{}: {}", path.display(), position.line, position.column, fault.code.as_str())
        };
        let faults: Vec<String> = faults.iter().map(place).collect();
        CommandError::user_message(format!("the configuration cannot be read\n{}", faults.join("\n")))
            .hint("Texts that YAML could take for something else belong in quotes")
    })?;
    let empty = serde_json::Map::new();
    let fields = match documents.as_slice() {
        [] => &empty,
        [only] => match &only.value {
            Value::Object(fields) => fields,
            Value::Null => &empty,
            _ => return Err(not_a_mapping(path)),
        },
        _ => return Err(not_a_mapping(path)),
    };
    let root = Section::new(fields, text, path);
    root.only(&[
        "oauthToken",
        "apiKey",
        "secret",
        "credentialType",
        "type",
        "model",
        "effort",
        "namespace",
        "workspace",
        "agentConfig",
        "env",
    ])?;
    let credential = match (root.given("oauthToken")?, root.given("apiKey")?) {
        (Some(_), Some(_)) => return Err(root.wrong("apiKey", "cannot stand beside oauthToken")),
        (Some(token), None) => Some((CredentialType::OAuth, token)),
        (None, Some(key)) => Some((CredentialType::ApiKey, key)),
        (None, None) => None,
    };
    Ok(Configuration {
        path: path.to_owned(),
        credential,
        secret: root.text("secret")?,
        credential_type: root.word("credentialType")?,
        agent: root.word("type")?,
        model: root.text("model")?,
        effort: root.text("effort")?,
        namespace: namespace(&root)?,
        workspace: workspace(&root)?,
        agent_config: root.text("agentConfig")?,
        env: environment_of(&root)?,
    })
}

fn namespace(root: &Section<'_>) -> Result<Option<String>, CommandError> {
    let namespace = root.text("namespace")?;
    match namespace.as_deref().map(kinds::namespace) {
        Some(Err(_)) => Err(root.wrong("namespace", "is no name of a namespace")),
        Some(Ok(_)) | None => Ok(namespace),
    }
}

fn not_a_mapping(path: &Path) -> CommandError {
    CommandError::user_message(format!("the configuration {} has to be one mapping", path.display()))
        .hint("'kelos init' writes one with every field")
}

fn workspace(root: &Section<'_>) -> Result<Option<WorkspaceChoice>, CommandError> {
    let Some(section) = root.below("workspace")? else { return Ok(None) };
    section.only(&["name", "repo", "ref", "token", "githubApp"])?;
    let (name, repo) = (section.text("name")?, section.text("repo")?);
    let (reference, token) = (section.text("ref")?, section.given("token")?);
    let app = section.below("githubApp")?;
    let app = match app {
        None => None,
        Some(app) => {
            app.only(&["appID", "installationID", "privateKeyPath"])?;
            Some(WorkspaceCredential::GithubApp {
                app_id: app.needed("appID")?,
                installation_id: app.needed("installationID")?,
                private_key_path: app.needed("privateKeyPath")?,
            })
        }
    };
    let credential = match (token, app) {
        (Some(_), Some(_)) => return Err(section.wrong("githubApp", "cannot stand beside token")),
        (token, app) => token.map(WorkspaceCredential::Token).or(app),
    };
    match (name, repo) {
        (Some(_), Some(_)) => Err(section.wrong("repo", "cannot stand beside name")),
        (Some(_), None) if reference.is_some() || credential.is_some() => Err(section
            .wrong("name", "names a Workspace that is there, which has a credential and a ref of its own")),
        (Some(name), None) => Ok(Some(WorkspaceChoice::Named(name))),
        (None, Some(repo)) => Ok(Some(WorkspaceChoice::Made { repo, reference, credential })),
        (None, None) if reference.is_some() || credential.is_some() => {
            Err(root.wrong("workspace", "needs name or repo"))
        }
        (None, None) => Ok(None),
    }
}

fn environment_of(root: &Section<'_>) -> Result<Vec<Value>, CommandError> {
    let variables = root.list("env")?;
    for variable in variables {
        let has_name = variable["name"].as_str().is_some_and(|name| !name.is_empty());
        if !has_name || variable.get("value").is_some() == variable.get("valueFrom").is_some() {
            return Err(root.wrong("env", "is a list of {name, value} and {name, valueFrom}"));
        }
    }
    Ok(variables.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Configuration, String> {
        read(text, Path::new("c.yaml")).map_err(|error| error.render())
    }

    #[test]
    fn every_field_is_read() {
        let text = "\
oauthToken: abc
secret: mine
credentialType: oauth
type: codex
model: m
effort: high
namespace: team
workspace:
  repo: https://example.com/a.git
  ref: main
  githubApp: {appID: 1, installationID: '2', privateKeyPath: ~/k.pem}
agentConfig: rules
env:
- name: A
  value: b
- name: C
  valueFrom: {secretKeyRef: {name: s, key: k}}
";
        let read = check(text).unwrap();
        assert_eq!(read.credential, Some((CredentialType::OAuth, Given(Secret::new("abc")))));
        assert_eq!(read.secret.as_deref(), Some("mine"));
        assert_eq!(read.credential_type, Some(CredentialType::OAuth));
        assert_eq!(read.agent(), AgentType::Codex);
        assert_eq!((read.model.as_deref(), read.effort.as_deref()), (Some("m"), Some("high")));
        assert_eq!((read.namespace.as_deref(), read.agent_config.as_deref()), (Some("team"), Some("rules")));
        assert_eq!(read.env.len(), 2);
        let app = WorkspaceCredential::GithubApp {
            app_id: "1".to_owned(),
            installation_id: "2".to_owned(),
            private_key_path: "~/k.pem".to_owned(),
        };
        let workspace = WorkspaceChoice::Made {
            repo: "https://example.com/a.git".to_owned(),
            reference: Some("main".to_owned()),
            credential: Some(app),
        };
        assert_eq!(read.workspace, Some(workspace));
    }

    #[test]
    fn what_is_empty_says_nothing() {
        for text in ["", "# nothing\n", "apiKey: ''\nworkspace:\n  name:\nenv:\n"] {
            let read = check(text).unwrap();
            assert_eq!((read.credential, read.workspace, read.env.len()), (None, None, 0), "{text}");
        }
    }

    #[test]
    fn faults_have_a_line_and_repeat_no_value() {
        for (text, wanted) in [
            ("model: m\napikey: sk-1\n", "c.yaml:2: there is no field 'apikey'"),
            ("apiKey: sk-1\noauthToken: sk-1\n", "c.yaml:1: apiKey cannot stand beside oauthToken"),
            ("apiKey: {sk-1: x}\n", "c.yaml:1: apiKey has to be a text"),
            ("apiKey: [sk-1\n", "c.yaml:"),
            ("workspace: sk-1\n", "c.yaml:1: workspace has to be a mapping"),
            ("workspace:\n  ref: sk-1\n", "c.yaml:1: workspace needs name or repo"),
            ("workspace:\n  repo: a\n  tokn: sk-1\n", "c.yaml:3: there is no field 'workspace.tokn'"),
            ("type: sk-1\n", "c.yaml:1: type has to be one of claude-code, codex"),
            ("env: {A: sk-1}\n", "c.yaml:1: env has to be a list"),
            ("- sk-1\n", "c.yaml has to be one mapping"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("sk-1"), "{text}\n{error}");
        }
    }
}
