//! Logins that a developer has already: keys in the environment, and the files in which programs of agents keep theirs.
//!
//! What is found is told by its place; nothing is copied.

use std::path::Path;

use crate::api::task::{AgentType, CredentialType};
use crate::cli::configuration::credential::login_of_claude_code;
use crate::cli::environment::Environment;
use crate::file;

/// The largest file of a login, in bytes.
const LARGEST: u64 = 256 * 1024;

/// Variables with keys, in the order in which they are looked for.
pub(crate) const VARIABLES: [(AgentType, CredentialType, &str); 9] = [
    (AgentType::ClaudeCode, CredentialType::OAuth, "CLAUDE_CODE_OAUTH_TOKEN"),
    (AgentType::ClaudeCode, CredentialType::ApiKey, "ANTHROPIC_API_KEY"),
    (AgentType::Codex, CredentialType::ApiKey, "CODEX_API_KEY"),
    (AgentType::Codex, CredentialType::ApiKey, "OPENAI_API_KEY"),
    (AgentType::Gemini, CredentialType::ApiKey, "GEMINI_API_KEY"),
    (AgentType::Gemini, CredentialType::ApiKey, "GOOGLE_API_KEY"),
    (AgentType::OpenCode, CredentialType::ApiKey, "OPENCODE_API_KEY"),
    (AgentType::Cursor, CredentialType::ApiKey, "CURSOR_API_KEY"),
    (AgentType::Codex, CredentialType::OAuth, "CODEX_AUTH_JSON"),
];

/// A login that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Whose.
    pub(crate) agent: AgentType,
    /// Its kind.
    pub(crate) kind: CredentialType,
    /// Its place, as the configuration names it: `$VARIABLE` or `@FILE`.
    pub(crate) reference: String,
    /// What there is to say about it.
    pub(crate) note: Option<String>,
}

impl Login {
    /// Returns the variable or the file, for people.
    pub(crate) fn place(&self) -> &str {
        self.reference.trim_start_matches(['$', '@'])
    }
}

/// Returns the logins that there are, by agent; of one agent, keys in the environment come before files.
pub(crate) fn found(environment: &Environment) -> Vec<Login> {
    let in_environment = VARIABLES
        .iter()
        .filter(|(_, _, variable)| environment.variable(variable).is_some())
        .map(|(agent, kind, variable)| Login {
            agent: *agent,
            kind: *kind,
            reference: format!("${variable}"),
            note: None,
        });
    let claude = environment.claude_folder.iter().map(|folder| folder.join(".credentials.json"));
    let claude = claude.filter_map(|path| claude_code(&path, environment));
    let codex = environment.codex_folder.iter().map(|folder| folder.join("auth.json"));
    let codex = codex.filter(|path| path.is_file()).map(|path| Login {
        agent: AgentType::Codex,
        kind: CredentialType::OAuth,
        reference: reference(&path, environment),
        note: None,
    });
    let mut logins: Vec<Login> = in_environment.chain(claude).chain(codex).collect();
    logins.sort_by_key(|login| login.agent);
    logins
}

fn claude_code(path: &Path, environment: &Environment) -> Option<Login> {
    let text = String::from_utf8(file::read_bounded(path, LARGEST).ok()?).ok()?;
    let login = login_of_claude_code(&text)?;
    let note = login.expires.map(|expires| {
        format!(
            "it is good until {}, and whenever 'claude' has renewed it; 'claude setup-token' makes one that lasts",
            expires.strftime("%Y-%m-%d %H:%M UTC")
        )
    });
    Some(Login {
        agent: AgentType::ClaudeCode,
        kind: CredentialType::OAuth,
        reference: reference(path, environment),
        note,
    })
}

fn reference(path: &Path, environment: &Environment) -> String {
    let below_home = environment.home.as_ref().and_then(|home| path.strip_prefix(home).ok());
    below_home.map_or_else(|| format!("@{}", path.display()), |path| format!("@~/{}", path.display()))
}
