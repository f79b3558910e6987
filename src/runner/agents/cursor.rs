//! Cursor's agent.

use crate::runner::agents::report::{self, Reader};
use crate::runner::agents::{
    AgentProgram, Call, HomeFile, Invocation, Part, Place, Wish, common_servers, prompt_argument,
};

/// `agent`, with its stream of JSON lines.
pub(super) struct Cursor;

impl AgentProgram for Cursor {
    fn kind(&self) -> &'static str {
        "cursor"
    }

    fn program(&self) -> &'static str {
        "agent"
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let mut before =
            vec!["-p", "--force", "--trust", "--sandbox", "disabled", "--output-format", "stream-json"];
        if let Some(model) = call.model {
            before.extend(["--model", model]);
        }
        before.push("--");
        let (arguments, input) = prompt_argument(call.prompt, &before);
        Invocation { arguments, input, ..Invocation::default() }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(report::LastResult::new(report::cursor::report))
    }

    fn home(&self, wish: &Wish<'_>) -> Vec<HomeFile> {
        let servers = (!wish.servers.is_empty()).then(|| HomeFile {
            path: ".cursor/mcp.json",
            content: common_servers(wish.servers).to_string(),
        });
        wish.instructions_and_effort_in(".cursor/AGENTS.md").into_iter().chain(servers).collect()
    }

    // It looks for them in the project alone.
    fn place(&self, part: Part<'_>) -> Option<Place> {
        match part {
            Part::Skill { plugin, skill } => Some(Place::Start(format!(".cursor/skills/{plugin}-{skill}"))),
            Part::SubAgent { plugin, name } => {
                Some(Place::Start(format!(".cursor/rules/{plugin}-{name}.mdc")))
            }
            Part::Plugin { .. } => None,
        }
    }
}
