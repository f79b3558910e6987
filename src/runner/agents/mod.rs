//! The agents: how each is called, where it reads its instructions and servers, and how its report is read.
//!
//! An agent is a program on this machine. [`AgentProgram`] is all that the runner knows about one; a name that is not
//! in the table is an agent of the operator's own, whose program the plan must name.

mod claude_code;
mod codex;
mod cursor;
mod gemini;
mod opencode;
pub mod report;
mod shell;
pub mod version;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::api::run::{Agent, McpServer};
use crate::process;
use crate::runner::agents::report::Reader;
use crate::runner::agents::version::Version;

/// The greatest argument that the kernel passes to a program, in bytes, with room for its end: `MAX_ARG_STRLEN`.
const LARGEST_ARGUMENT: usize = 128 * 1024 - 1;

/// What an agent is asked, with everything where it lies.
#[derive(Debug)]
pub struct Call<'a> {
    /// The prompt.
    pub prompt: &'a str,
    /// The model, in the agent's own words.
    pub model: Option<&'a str>,
    /// The reasoning effort, in the agent's own words.
    pub effort: Option<&'a str>,
    /// The file that holds the prompt.
    pub prompt_file: &'a Path,
    /// The folders of the plugins.
    pub plugins: &'a [PathBuf],
    /// The agent's home.
    pub home: &'a Path,
    /// Whether there are servers of the Model Context Protocol.
    pub has_servers: bool,
}

/// How a program is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it reads from its standard input.
    pub input: Option<String>,
    /// Variables beside those of the run. They win.
    pub environment: BTreeMap<&'static str, String>,
}

/// What is known when the home of an agent is made.
#[derive(Debug)]
pub struct Wish<'a> {
    /// Where the home lies.
    pub home: &'a Path,
    /// The variables of the run, with its credentials.
    pub variables: &'a BTreeMap<String, String>,
    /// Standing instructions.
    pub instructions: Option<&'a str>,
    /// Servers of the Model Context Protocol, with their secrets.
    pub servers: &'a [McpServer],
    /// The model, in the agent's own words.
    pub model: Option<&'a str>,
    /// The reasoning effort, in the agent's own words.
    pub effort: Option<&'a str>,
}

impl Wish<'_> {
    /// Returns the file with the instructions, if there are any.
    fn instructions_in(&self, path: &'static str) -> Option<HomeFile> {
        Some(HomeFile { path, content: self.instructions?.to_owned() })
    }

    /// Returns the file with the instructions, which tell a program without a switch for it about the effort.
    fn instructions_and_effort_in(&self, path: &'static str) -> Option<HomeFile> {
        let effort = self.effort.map(|effort| format!("Work with {effort} reasoning effort."));
        let parts: Vec<&str> = self.instructions.into_iter().chain(effort.as_deref()).collect();
        (!parts.is_empty()).then(|| HomeFile { path, content: parts.join("\n\n") })
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A file in the agent's home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeFile {
    /// Where, relative to the home.
    pub path: &'static str,
    /// Its content; it may hold secrets.
    pub content: String,
}

/// A part of a plugin. Names are single components of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The plugin itself.
    Plugin {
        /// Its name.
        plugin: &'a str,
    },
    /// A skill, which is a folder.
    Skill {
        /// The plugin it belongs to.
        plugin: &'a str,
        /// Its name.
        skill: &'a str,
    },
    /// A sub-agent, which is a file.
    SubAgent {
        /// The plugin it belongs to.
        plugin: &'a str,
        /// Its name.
        name: &'a str,
    },
}

/// Where a part of a plugin has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file with this content, at this path in the home.
    Made {
        /// Where.
        path: String,
        /// What is in it.
        content: String,
    },
    /// A copy of the part, at this path in the home.
    Home(String),
    /// A copy of the part, at this path in the folder in which the agent begins.
    Start(String),
}

/// One kind of agent.
pub trait AgentProgram: Sync {
    /// The agent type, as Tasks name it.
    fn kind(&self) -> &'static str;

    /// The program that is looked up when the plan names none.
    fn program(&self) -> &'static str;

    /// The oldest version of the program whose command line and output are as this module has them.
    fn oldest(&self) -> Option<Version> {
        None
    }

    /// Returns how the program is started for `call`.
    fn invocation(&self, call: &Call<'_>) -> Invocation;

    /// Returns the reader of what the program prints.
    fn reader(&self) -> Box<dyn Reader>;

    /// Returns the files that have to be in its home: instructions, servers, logins.
    fn home(&self, wish: &Wish<'_>) -> Vec<HomeFile> {
        let _ = wish;
        Vec::new()
    }

    /// Returns where the program looks for a part of a plugin; `None` where it is told on its command line, and where
    /// it knows no such thing.
    fn place(&self, part: Part<'_>) -> Option<Place> {
        let _ = part;
        None
    }

    /// Returns the variables that follow from those of the run: they are set in their place, and removed where the
    /// value is absent.
    fn variables(&self, wish: &Wish<'_>) -> BTreeMap<String, Option<String>> {
        let _ = wish;
        BTreeMap::new()
    }

    /// Tells whether the commands that it runs do not see the settings of git in its home, and so neither who commits nor
    /// how to push.
    fn hides_git_settings(&self) -> bool {
        false
    }

    /// A named pipe in its home into which the program writes what it does not print.
    fn side_channel(&self) -> Option<&'static str> {
        None
    }

    /// Tells whether the prompt is a program rather than a text for a model: it gets the work item as variables.
    fn takes_item(&self) -> bool {
        false
    }
}

const AGENTS: &[&dyn AgentProgram] = &[
    &shell::Shell,
    &claude_code::ClaudeCode,
    &codex::Codex,
    &gemini::Gemini,
    &opencode::OpenCode,
    &cursor::Cursor,
];

/// Returns the agent of the type `kind`; one of the operator's own when the table does not know it.
pub fn by_kind(kind: &str) -> &'static dyn AgentProgram {
    AGENTS.iter().find(|agent| agent.kind() == kind).copied().unwrap_or(&shell::Own)
}

/// Returns how the program of `agent` is called: one that stands for an image as the entrypoint of an image.
pub fn of(agent: &Agent) -> &'static dyn AgentProgram {
    if agent.image.is_some() { &shell::Own } else { by_kind(&agent.kind) }
}

/// Returns the reader of what `agent` prints.
///
/// A program that stands for an image usually wraps the program of its agent type, so both are read: the results
/// between markers, and what that program says about its use.
pub fn reader(agent: &Agent) -> Box<dyn Reader> {
    let known = by_kind(&agent.kind);
    if agent.image.is_some() && !known.takes_item() {
        Box::new(report::plain::Wrapped::around(known.reader()))
    } else {
        of(agent).reader()
    }
}

/// A program that a run needs and that is not on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A program was not found in the search path.
    #[error("the program {program} of agent {agent} is not in {search_path}")]
    Program {
        /// The agent type.
        agent: String,
        /// The program.
        program: String,
        /// Where it was looked for.
        search_path: String,
    },
    /// An agent type that we do not know and for which no program is configured.
    #[error("agent {agent} is not known here and no program is configured for it")]
    Agent {
        /// The agent type.
        agent: String,
    },
    /// A workspace needs git.
    #[error("the program git is not in {search_path}")]
    Git {
        /// Where it was looked for.
        search_path: String,
    },
}

/// Looks up the program of `agent` in `search_path`, and git when `needs_git`, before anything is spent.
pub fn lookup(agent: &Agent, search_path: &str, needs_git: bool) -> Result<PathBuf, Missing> {
    let known = of(agent);
    let program = match &agent.program {
        Some(program) => program.to_string_lossy().into_owned(),
        None if known.program().is_empty() => return Err(Missing::Agent { agent: agent.kind.clone() }),
        None => known.program().to_owned(),
    };
    let found = process::find(&program, OsStr::new(search_path)).ok_or_else(|| Missing::Program {
        agent: agent.kind.clone(),
        program,
        search_path: search_path.to_owned(),
    })?;
    if needs_git && process::find("git", OsStr::new(search_path)).is_none() {
        return Err(Missing::Git { search_path: search_path.to_owned() });
    }
    Ok(found)
}

/// Tells whether the kernel passes `text` as one argument.
fn is_argument(text: &str) -> bool {
    text.len() <= LARGEST_ARGUMENT && !text.contains('\0')
}

// A prompt that does not fit into an argument goes through standard input, which these agents read as well.
fn prompt_argument(prompt: &str, before: &[&str]) -> (Vec<String>, Option<String>) {
    let mut arguments: Vec<String> = before.iter().map(|&argument| argument.to_owned()).collect();
    if !is_argument(prompt) {
        return (arguments, Some(prompt.to_owned()));
    }
    arguments.push(prompt.to_owned());
    (arguments, None)
}

// The form that most agents share: `mcpServers`, by name.
fn common_servers(servers: &[McpServer]) -> Value {
    let mut by_name = Map::new();
    for server in servers {
        let mut entry = Map::new();
        if server.kind == "stdio" {
            entry.insert("command".to_owned(), json!(server.command));
            entry.insert("args".to_owned(), json!(server.args));
            entry.insert("env".to_owned(), json!(server.env));
        } else {
            entry.insert("type".to_owned(), json!(server.kind));
            entry.insert("url".to_owned(), json!(server.url));
            entry.insert("headers".to_owned(), json!(server.headers));
        }
        by_name.insert(server.name.clone(), Value::Object(entry));
    }
    json!({ "mcpServers": by_name })
}

#[cfg(test)]
mod tests;
