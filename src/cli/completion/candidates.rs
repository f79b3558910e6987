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

/// Returns what may follow `before`, when `current` is begun.
pub(super) fn candidates(root: &Command, before: &[String], current: &str) -> Candidates {
    let mut command = root;
    let mut positionals: Vec<&str> = Vec::new();
    let mut expects: Option<&Arg> = None;
    for word in before {
        if expects.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            expects = flag(command, word).filter(|arg| takes_value(arg) && !word.contains('='));
        } else if let Some(below) = command.find_subcommand(word) {
            command = below;
        } else {
            positionals.push(word);
        }
    }
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
    positional(command, &positionals)
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
        "agent" => words(AgentType::ALL.iter().map(|agent| agent.as_str()).collect()),
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
        candidates(&command, &words, &current)
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
    }
}
