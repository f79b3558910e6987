//! Agents without a model: a shell script, and any program of the operator's own.

use std::collections::BTreeMap;

use crate::runner::agents::report::Reader;
use crate::runner::agents::report::plain::Plain;
use crate::runner::agents::{AgentProgram, Call, Invocation, Wish, common_servers, prompt_argument};

/// The prompt is the text of a script for `/bin/sh -e`: the first command that fails ends it.
///
/// The text is taken as it stands, never as a template. The script is a file, so that its length has no bound but the
/// plan's; it is called without arguments. Unset variables are empty, as in any shell: a script that wants it
/// otherwise begins with `set -u`.
pub(super) struct Shell;

impl AgentProgram for Shell {
    fn kind(&self) -> &'static str {
        "shell"
    }

    fn program(&self) -> &'static str {
        "/bin/sh"
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let script = call.prompt_file.to_string_lossy().into_owned();
        Invocation { arguments: vec!["-e".to_owned(), script], ..Invocation::default() }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Plain::default())
    }

    fn takes_item(&self) -> bool {
        true
    }
}

/// A program of the operator's own: the prompt is its only argument, results stand between the markers.
///
/// It is the contract of upstream's agent images. A prompt too long for an argument comes on standard input, and
/// always lies in the file that `KELOS_PROMPT_FILE` names. The setup command was run before, so its variable is not set.
pub(super) struct Own;

impl AgentProgram for Own {
    fn kind(&self) -> &'static str {
        ""
    }

    fn program(&self) -> &'static str {
        ""
    }

    fn invocation(&self, call: &Call<'_>) -> Invocation {
        let (arguments, input) = prompt_argument(call.prompt, &[]);
        Invocation { arguments, input, ..Invocation::default() }
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Plain::default())
    }

    fn variables(&self, wish: &Wish<'_>) -> BTreeMap<String, Option<String>> {
        if wish.servers.is_empty() {
            return BTreeMap::new();
        }
        BTreeMap::from([("KELOS_MCP_SERVERS".to_owned(), Some(common_servers(wish.servers).to_string()))])
    }

    fn takes_item(&self) -> bool {
        true
    }
}
