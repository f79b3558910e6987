//! From what stands in the configuration to the secret that is meant.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::command_error::CommandError;
use crate::cli::configuration::Given;
use crate::cli::environment::Environment;
use crate::clock;
use crate::file;
use crate::secret::Secret;

/// The largest file with a secret, in bytes.
const LARGEST: u64 = 256 * 1024;

/// Stands for a credential that is empty on purpose, as upstream has it.
const NOTHING: &str = "none";

impl Given {
    /// Returns whether it is a secret and not the place of one.
    pub(super) fn is_the_secret_itself(&self) -> bool {
        let text = self.0.expose();
        text != NOTHING && !text.starts_with('@') && variable(text).is_none()
    }
}

/// Returns the secret that `given` is or stands for: `@FILE`, `$VARIABLE`, `none` or itself.
///
/// Files are looked up from `folder`, and `~/` is the home of the user.
pub(crate) fn resolve(
    given: &Given,
    folder: &Path,
    environment: &Environment,
) -> Result<Secret, CommandError> {
    let text = given.0.expose();
    if text == NOTHING {
        return Ok(Secret::new(""));
    }
    if let Some(path) = text.strip_prefix('@') {
        return value_of_file(&folder.join(expand(path, environment)));
    }
    match variable(text) {
        None => Ok(given.0.clone()),
        Some(name) => environment.variable(name).ok_or_else(|| {
            CommandError::user_message(format!(
                "the variable {name}, which the configuration names, is not set"
            ))
            .hint(format!("export {name}=…, or run 'kelos init --force' to look for another login"))
        }),
    }
}

/// Reads a file that holds nothing but a secret, or the file in which Claude Code keeps its login.
pub(crate) fn value_of_file(path: &Path) -> Result<Secret, CommandError> {
    let shown = path.display();
    let bytes = file::read_bounded(path, LARGEST).map_err(|error| {
        CommandError::user(
            anyhow::Error::new(error).context(format!("cannot read {shown}, which holds a secret")),
        )
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CommandError::user_message(format!("{shown} is not text in UTF-8")))?;
    match login_of_claude_code(&text) {
        None => Ok(Secret::new(text.trim_end_matches(['\r', '\n']))),
        Some(login) => match login.expires {
            Some(expires) if expires <= clock::system().now() => {
                Err(CommandError::user_message(format!("the login of Claude Code in {shown} expired at {expires}"))
                    .hint("Run 'claude' once, which renews it")
                    .hint("'claude setup-token' makes a token that lasts; export it as CLAUDE_CODE_OAUTH_TOKEN and run 'kelos init --force'"))
            }
            Some(_) | None => Ok(login.token),
        },
    }
}

/// What Claude Code remembers of a login.
pub(super) struct ClaudeLogin {
    /// The token that is shown to the provider. The one that renews it stays where it is.
    token: Secret,
    /// Until when it is taken.
    pub(super) expires: Option<Timestamp>,
}

/// Reads the text of `.credentials.json` of Claude Code; nothing when it is something else.
pub(super) fn login_of_claude_code(text: &str) -> Option<ClaudeLogin> {
    let value: Value = serde_json::from_str(text).ok()?;
    let login = value.get("claudeAiOauth")?;
    let token = Secret::new(login["accessToken"].as_str()?);
    let expires = login["expiresAt"].as_i64().and_then(|at| Timestamp::from_millisecond(at).ok());
    Some(ClaudeLogin { token, expires })
}

/// Returns the path with the home folder in place of `~`.
fn expand(path: &str, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), &environment.home) {
        (Some(rest), Some(home)) => home.join(rest),
        (Some(_) | None, _) => PathBuf::from(path),
    }
}

/// Returns the name out of `$NAME`.
fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(fits)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Given {
        Given(Secret::new(text))
    }

    fn resolved(text: &str, folder: &Path) -> Result<String, String> {
        let mut environment = Environment::read();
        environment.home = Some(folder.join("home"));
        let secret = resolve(&given(text), folder, &environment);
        secret.map(|secret| secret.expose().to_owned()).map_err(|error| error.render())
    }

    #[test]
    fn a_secret_stands_itself_or_in_a_file_or_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        std::fs::write(folder.path().join("key"), "from-file\n").unwrap();
        std::fs::write(folder.path().join("home/key"), "from-home").unwrap();
        for (text, wanted) in [
            ("sk-1", "sk-1"),
            ("none", ""),
            ("@key", "from-file"),
            ("@~/key", "from-home"),
            // No name of a variable, and so a secret with a strange look.
            ("$not a name", "$not a name"),
        ] {
            assert_eq!(resolved(text, folder.path()).as_deref(), Ok(wanted), "{text}");
        }
        assert!(resolved("@missing", folder.path()).unwrap_err().contains("missing"));
        let unset = resolved("$KELOS_TEST_NOT_SET", folder.path()).unwrap_err();
        assert!(unset.contains("the variable KELOS_TEST_NOT_SET"), "{unset}");
        assert!(given("sk-1").is_the_secret_itself());
        assert!(!["none", "@key", "$KEY"].iter().any(|text| given(text).is_the_secret_itself()));
    }

    #[test]
    fn of_the_login_of_claude_code_only_the_access_token_is_taken_and_only_while_it_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let login = |expires: i64| {
            let text = format!(
                r#"{{"claudeAiOauth": {{"accessToken": "access-1", "refreshToken": "refresh-1", "expiresAt": {expires}}}}}"#
            );
            std::fs::write(folder.path().join("login"), text).unwrap();
            resolved("@login", folder.path())
        };
        assert_eq!(login(4_102_444_800_000).as_deref(), Ok("access-1"));
        let expired = login(1_000).unwrap_err();
        assert!(
            expired.contains("expired at 1970-01-01T00:00:01Z") && expired.contains("setup-token"),
            "{expired}"
        );
        assert!(!expired.contains("access-1"), "{expired}");
        // Codex keeps everything in one file, and needs all of it.
        std::fs::write(folder.path().join("auth.json"), "{\"tokens\": {}}\n").unwrap();
        assert_eq!(resolved("@auth.json", folder.path()).as_deref(), Ok("{\"tokens\": {}}"));
    }
}
