//! Claude Code.

use std::collections::BTreeMap;
use std::path::Path;

use crate::api::run::McpServer;
use crate::runner::agents::report::{Claude, Reader};
use crate::runner::agents::{AgentProgram, Call, HomeFile, Invocation, common_servers, prompt_argument};

/// `claude`, with its stream of JSON lines.
pub(super) struct ClaudeCode;

impl AgentProgram for ClaudeCode {
    fn kind(&self) -> &'static str {
        "claude-code"
    }

    fn program(&self) -> &'static str {
        "claude"
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut before =
            vec!["--dangerously-skip-permissions", "--output-format", "stream-json", "--verbose", "-p"];
        for (option, value) in [("--model", call.model), ("--effort", call.effort)] {
            before.extend(value.into_iter().flat_map(|value| [option, value]));
        }
        let plugins: Vec<_> = call.plugins.iter().map(|plugin| plugin.to_string_lossy()).collect();
        before.extend(plugins.iter().flat_map(|plugin| ["--plugin-dir", plugin]));
        let servers = call.servers_file.map(Path::to_string_lossy);
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
        Box::new(Claude::default())
    }

    fn instructions(&self) -> Option<&'static str> {
        Some(".claude/CLAUDE.md")
    }

    fn servers(&self, servers: &[McpServer]) -> Option<HomeFile> {
        Some(HomeFile { path: ".kelos/mcp.json", content: common_servers(servers).to_string() })
    }
}
