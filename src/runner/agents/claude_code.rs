//! Claude Code.

use std::collections::BTreeMap;

use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::version::Version;
use crate::runner::agents::{
    AgentProgram, Call, HomeFile, Invocation, Wish, common_servers, prompt_argument,
};

/// The file with the servers.
const SERVERS: &str = ".kelos/mcp.json";
/// The variable with the login of a subscription.
const LOGIN: &str = "CLAUDE_CODE_OAUTH_TOKEN";

/// `claude`, with its stream of JSON lines.
pub(super) struct ClaudeCode;

impl AgentProgram for ClaudeCode {
    fn kind(&self) -> &'static str {
        "claude-code"
    }

    fn program(&self) -> &'static str {
        "claude"
    }

    fn oldest(&self) -> Option<Version> {
        Some(Version(2, 1, 100))
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut before =
            vec!["--dangerously-skip-permissions", "--output-format", "stream-json", "--verbose", "-p"];
        for (option, value) in [("--model", call.model), ("--effort", call.effort)] {
            before.extend(value.into_iter().flat_map(|value| [option, value]));
        }
        let plugins: Vec<_> = call.plugins.iter().map(|plugin| plugin.to_string_lossy()).collect();
        before.extend(plugins.iter().flat_map(|plugin| ["--plugin-dir", plugin]));
        let servers = call.has_servers.then(|| call.home.join(SERVERS).to_string_lossy().into_owned());
        before.extend(servers.iter().flat_map(|file| ["--mcp-config", file]));
        // The option before takes any number of values, and a prompt may begin with a dash.
        before.push("--");
        let (arguments, input) = prompt_argument(call.prompt, &before);
        let mut environment = BTreeMap::from([("DISABLE_AUTOUPDATER", "1".to_owned())]);
        if rustix::process::getuid().is_root() {
            // As root it refuses to skip permissions unless it is told that it is contained, which it is.
            environment.insert("IS_SANDBOX", "1".to_owned());
        }
        Invocation { arguments, input, environment }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::LastResult::new(report::claude_code::report))
    }

    fn home(&self, wish: &Wish<'_>) -> Vec<HomeFile> {
        let servers = (!wish.servers.is_empty())
            .then(|| HomeFile { path: SERVERS, content: common_servers(wish.servers).to_string() });
        let login = credentials_file(wish)
            .map(|content| HomeFile { path: ".claude/.credentials.json", content: content.to_owned() });
        wish.instructions_in(".claude/CLAUDE.md").into_iter().chain(servers).chain(login).collect()
    }

    fn variables(&self, wish: &Wish<'_>) -> BTreeMap<String, Option<String>> {
        credentials_file(wish).map(|_| (LOGIN.to_owned(), None)).into_iter().collect()
    }
}

// What `claude setup-token` prints is a token; what lies in the home of a user who is logged in is a JSON file.
fn credentials_file<'a>(wish: &'a Wish<'_>) -> Option<&'a str> {
    wish.variable(LOGIN).filter(|login| login.trim_start().starts_with('{'))
}
