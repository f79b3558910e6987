//! What may stand in place of a word, out of the definitions of the commands.

use clap::{Arg, ArgAction, Command};

use crate::api::kind::Kind;
use crate::api::phase::TaskPhase;
use crate::api::task::{AgentType, CredentialType};
use crate::cli::kinds;

/// What may stand in place of a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    /// One of these.
    Words(Vec<String>),
    /// The name of an object of this kind.
    NamesOf(Kind),
}

/// The words before the one that is begun, understood.
#[derive(Debug)]
pub(super) struct Line<'a> {
    command: &'a Command,
    positionals: Vec<&'a str>,
    // The last flag, when its value is next.
    expects: Option<&'a Arg>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    /// Understands `before` by the commands below `root`.
    pub(super) fn read(root: &'a Command, before: &'a [String]) -> Self {
        let mut line = Self { command: root, positionals: Vec::new(), expects: None, options: Vec::new() };
        for word in before {
            if let Some(arg) = line.expects.take() {
                line.options.push((arg.get_id().as_str(), word));
            } else if word.starts_with('-') {
                let arg = flag(line.command, word).filter(|arg| takes_value(arg));
                match (arg, word.split_once('=')) {
                    (Some(arg), Some((_, value))) => line.options.push((arg.get_id().as_str(), value)),
                    (arg, _) => line.expects = arg,
                }
            } else if let Some(below) = line.command.find_subcommand(word) {
                line.command = below;
            } else {
                line.positionals.push(word);
            }
        }
        line
    }

    /// Returns the value of the option with the identity `id`, as it was given last.
    pub(super) fn option(&self, id: &str) -> Option<&'a str> {
        self.options.iter().rev().find(|(name, _)| *name == id).map(|(_, value)| *value)
    }
}

/// Returns what may follow `line`, when `current` is begun.
pub(super) fn candidates(line: &Line<'_>, current: &str) -> Candidates {
    let Line { command, positionals, expects, options: _ } = line;
    if let Some(arg) = expects {
        return values(arg);
    }
    if current.starts_with('-') {
        let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
        return Candidates::Words(
            flags.filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")).collect(),
        );
    }
    if command.has_subcommands() {
        let below = command.get_subcommands().filter(|below| !below.is_hide_set());
        return Candidates::Words(below.map(|below| below.get_name().to_owned()).collect());
    }
    positional(command, positionals)
}

fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or(word);
    command.get_arguments().find(|arg| {
        let long = arg.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long));
        let short = arg.get_short().is_some_and(|short| name.strip_prefix('-') == Some(&short.to_string()));
        long || short
    })
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn values(arg: &Arg) -> Candidates {
    let words = |words: Vec<&'static str>| Candidates::Words(words.into_iter().map(str::to_owned).collect());
    match arg.get_id().as_str() {
        // Elsewhere it is another that has this name.
        "agent" if arg.get_long() == Some("type") => {
            words(AgentType::ALL.iter().map(|agent| agent.as_str()).collect())
        }
        "credential_type" => words(CredentialType::ALL.iter().map(|kind| kind.as_str()).collect()),
        "phase" => words(TaskPhase::ALL.iter().map(|phase| phase.as_str()).collect()),
        "workspace" => Candidates::NamesOf(Kind::Workspace),
        "agent_config" => Candidates::NamesOf(Kind::AgentConfig),
        "depends_on" => Candidates::NamesOf(Kind::Task),
        "spawner" => Candidates::NamesOf(Kind::TaskSpawner),
        "repository" => Candidates::NamesOf(Kind::ConfigRepository),
        _ => Candidates::Words(
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
        ),
    }
}

fn positional(command: &Command, positionals: &[&str]) -> Candidates {
    let all = || Candidates::Words(Kind::ALL.iter().map(|kind| kinds::name(*kind)).collect());
    match (command.get_name(), positionals) {
        ("get", []) => match all() {
            Candidates::Words(mut words) => {
                words.push("runs".to_owned());
                Candidates::Words(words)
            }
            names @ Candidates::NamesOf(_) => names,
        },
        ("delete", []) => all(),
        ("get", ["run" | "runs"]) | ("history", ["task" | "tasks"]) | ("logs", []) => {
            Candidates::NamesOf(Kind::Task)
        }
        ("suspend" | "resume", []) => Candidates::Words(vec![kinds::name(Kind::TaskSpawner)]),
        ("get" | "delete" | "suspend" | "resume", [kind]) => {
            kinds::parse(kind).map_or_else(|_| Candidates::Words(Vec::new()), Candidates::NamesOf)
        }
        ("history", [] | [_]) => Candidates::NamesOf(Kind::TaskSpawner),
        ("reconcile", [] | [_]) => Candidates::NamesOf(Kind::ConfigRepository),
        (_, done) => {
            command.get_positionals().nth(done.len()).map_or_else(|| Candidates::Words(Vec::new()), values)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Arguments;

    fn check(line: &str) -> Candidates {
        let mut command = Arguments::command();
        command.build();
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let current = words.pop().unwrap_or_default();
        candidates(&Line::read(&command, &words), &current)
    }

    fn words(line: &str) -> Vec<String> {
        match check(line) {
            Candidates::Words(words) => words,
            Candidates::NamesOf(kind) => panic!("names of {kind}"),
        }
    }

    #[test]
    fn commands_flags_kinds_and_names_are_known() {
        let commands = words("");
        assert!(commands.contains(&"validate".to_owned()) && !commands.contains(&"runner".to_owned()));
        assert_eq!(words("create "), ["workspace", "agentconfig", "secret"]);
        assert!(words("run --pro").contains(&"--prompt-file".to_owned()));
        assert!(words("get tasks -n other --").contains(&"--phase".to_owned()));
        assert_eq!(words("get task --phase "), ["Waiting", "Pending", "Running", "Succeeded", "Failed"]);
        assert_eq!(words("completion "), ["bash", "zsh", "fish"]);
        assert_eq!(words("validate -o "), ["text", "json"]);
        assert!(words("get ").contains(&"configrepository".to_owned()));
        assert_eq!(check("get -n other ts "), Candidates::NamesOf(Kind::TaskSpawner));
        assert_eq!(check("run --workspace "), Candidates::NamesOf(Kind::Workspace));
        assert_eq!(check("logs -f "), Candidates::NamesOf(Kind::Task));
        assert_eq!(check("history "), Candidates::NamesOf(Kind::TaskSpawner));
        assert_eq!(check("get runs --spawner "), Candidates::NamesOf(Kind::TaskSpawner));
        assert!(words("get r").contains(&"runs".to_owned()));
        assert_eq!(check("reconcile "), Candidates::NamesOf(Kind::ConfigRepository));
        assert_eq!(words("get task one "), Vec::<String>::new());
        assert!(words("run -t ").contains(&"codex".to_owned()));
        assert_eq!(words("create agentconfig --agent "), Vec::<String>::new());
    }

    #[test]
    fn options_of_the_line_are_known_wherever_they_stand() {
        let mut command = Arguments::command();
        command.build();
        let option = |line: &str, id: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            Line::read(&command, &words).option(id).map(str::to_owned)
        };
        for line in [
            "get tasks -n other",
            "-n other get tasks",
            "get --namespace=other tasks",
            "-n first get -n other",
        ] {
            assert_eq!(option(line, "namespace").as_deref(), Some("other"), "{line}");
        }
        assert_eq!(option("get tasks --kubeconfig file", "kubeconfig").as_deref(), Some("file"));
        assert_eq!(option("run -p -n --config file", "namespace"), None, "it is the prompt");
    }
}
