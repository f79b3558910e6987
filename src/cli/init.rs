//! `kelos init`

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::api::task::{AgentType, CredentialType};
use crate::cli::GlobalArguments;
use crate::cli::command_error::CommandError;
use crate::cli::configuration;
use crate::cli::configuration::login::{self, Login};
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::file;

/// Write a configuration file, with the login that you have already
///
/// Looks for a key in the environment and for the login of the agents' own programs, and writes down where it found one:
/// the secret itself stays where it is. 'kelos run' takes credentials, workspace and more from the file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kelos init
  kelos init -t codex --force
  kelos run -p 'Say hello' -w")]
pub(super) struct InitArguments {
    /// Overwrite a file that is there
    #[arg(short, long)]
    force: bool,
    /// Agent to look for; by default the first for which a login is found
    #[arg(short = 't', long = "type", value_name = "AGENT")]
    agent: Option<AgentType>,
}

pub(super) fn run(
    arguments: &InitArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let path = configuration::path(global, environment).ok_or_else(|| {
        CommandError::user_message("no folder for the configuration is known, because HOME is not set")
            .hint("Name a file with --config")
    })?;
    let shown = path.display();
    if !arguments.force && path.symlink_metadata().is_ok() {
        return Err(CommandError::user_message(format!("{shown} is there already"))
            .hint("Edit it, or overwrite it with --force"));
    }
    let logins = login::found(environment);
    let chosen = logins.iter().find(|login| arguments.agent.is_none_or(|agent| agent == login.agent));
    let agent = chosen.map(|login| login.agent).or(arguments.agent).unwrap_or(AgentType::ClaudeCode);
    write(&path, &contents(agent, chosen), arguments.force).map_err(|error| {
        CommandError::user(anyhow::Error::new(error).context(format!("cannot write {shown}")))
    })?;
    printer.line(format_args!("{shown} written"))?;
    tell(agent, chosen, &logins, printer);
    Ok(ExitCode::SUCCESS)
}

/// Says where the login is, or how to come by one.
fn tell(agent: AgentType, chosen: Option<&Login>, logins: &[Login], printer: Printer) {
    let Some(login) = chosen else {
        let key = agent.credential_key(CredentialType::ApiKey).unwrap_or("ANTHROPIC_API_KEY");
        printer.message(format_args!(
            "No login of an agent was found\nHint: export {key}=…, or log in with the agent's own program, and run \
             'kelos init --force'; or put a key into the file"
        ));
        return;
    };
    printer.message(format_args!("It takes the login of {} from {}", login.agent, login.place()));
    if let Some(note) = &login.note {
        printer.message(format_args!("Note: {note}"));
    }
    let others = logins.iter().filter(|other| *other != login);
    let others: Vec<String> = others.map(|other| format!("{} ({})", other.agent, other.place())).collect();
    if !others.is_empty() {
        printer.message(format_args!(
            "Found as well: {}; -t chooses another agent, and the file can be edited",
            others.join(", ")
        ));
    }
    printer.message("Next: kelos run -p 'Say hello' -w");
}

/// Writes the file for the user alone.
fn write(path: &Path, contents: &str, overwrite: bool) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if overwrite {
        return file::write_durably(path, contents.as_bytes());
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(contents.as_bytes())
}

fn contents(agent: AgentType, login: Option<&Login>) -> String {
    let line = |kind: CredentialType, field: &str, example: &str| match login {
        Some(login) if login.kind == kind => format!("{field}: \"{}\"", login.reference),
        Some(_) | None => format!("# {field}: \"{example}\""),
    };
    let key = agent.credential_key(CredentialType::ApiKey).unwrap_or("ANTHROPIC_API_KEY");
    let file = if agent == AgentType::Codex { "@~/.codex/auth.json" } else { "@~/.claude/.credentials.json" };
    format!(
        r#"# What 'kelos run' takes when no flag says otherwise. Every field may be left out.
# A secret stands here as "@FILE", where "~/" is your home, as "$VARIABLE", or itself.

# Who works: claude-code, codex, gemini, opencode, cursor or shell
type: {agent}

# The credential of that agent, one of these two. A run puts it into the Secret kelos-credentials.
{oauth}
{api_key}

# Or a Secret that is there already, and what it holds: api-key, oauth or none
# secret: my-credentials
# credentialType: api-key

# model: some-model
# effort: high

# The repository that agents work in. A run makes the Workspace kelos-workspace of it.
# workspace:
#   repo: https://github.com/your-org/your-repo.git
#   ref: main
#   token: "$GITHUB_TOKEN"
# In place of the token, a GitHub App:
#   githubApp:
#     appID: "12345"
#     installationID: "67890"
#     privateKeyPath: ~/app.private-key.pem
# In place of all of these, a Workspace that is there already:
# workspace:
#   name: app

# An AgentConfig that is there already
# agentConfig: conventions

# The namespace of all commands
# namespace: default

# Variables of the agent
# env:
#   - name: LANG
#     value: C.UTF-8
"#,
        oauth = line(CredentialType::OAuth, "oauthToken", file),
        api_key = line(CredentialType::ApiKey, "apiKey", &format!("${key}")),
    )
}
