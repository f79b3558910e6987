//! The reference pages of the command line and of the environment, out of the definitions themselves.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::cli::{Arguments, environment};

/// What every generated page begins with.
const HEADER: &str =
    "<!-- Generated; do not edit. UPDATE_GENERATED=1 cargo test --test it generated writes it. -->\n\n";

/// Variables that an agent and the setup command of a run find, and what they hold.
pub const AGENT_VARIABLES: &[(&str, &str)] = &[
    ("KELOS_TASK", "name of the Task"),
    ("KELOS_RUN", "id of the run"),
    ("KELOS_TASKSPAWNER", "TaskSpawner that made the Task"),
    ("KELOS_AGENT_TYPE", "type of the agent"),
    ("KELOS_MODEL", "`spec.model`"),
    ("KELOS_EFFORT", "`spec.effort`"),
    ("KELOS_PROMPT_FILE", "file with the prompt"),
    ("KELOS_BRANCH", "branch to work on"),
    ("KELOS_BASE_BRANCH", "`spec.ref` of the Workspace"),
    ("KELOS_UPSTREAM_REPO", "upstream repository as `owner/repo`, for work in a fork"),
    ("KELOS_AGENTS_MD", "instructions of the AgentConfigs"),
    ("KELOS_PLUGIN_DIR", "folder with the plugins of the AgentConfigs"),
    (
        "KELOS_MCP_SERVERS",
        "servers of the Model Context Protocol as JSON, for a program that stands for an image; others read a file",
    ),
    ("KELOS_GITHUB_TOKEN_FILE", "file with the token of the Workspace"),
    (
        "HTTP_PROXY, HTTPS_PROXY, NO_PROXY",
        "the way out of the run's own network, in lower case as well; not with `--network host`",
    ),
    ("KELOS_ITEM_FILE", "file with the work item as JSON"),
    ("KELOS_ITEM_*", "each text, number and truth value of the work item, by its name in upper snake case"),
];

/// Returns path and contents of the pages.
pub fn generated() -> Vec<(String, String)> {
    vec![
        ("docs/reference/cli.md".to_owned(), commands()),
        ("docs/reference/environment.md".to_owned(), variables()),
    ]
}

fn commands() -> String {
    let mut root = Arguments::command();
    root.build();
    let mut page = format!("{HEADER}# Command line\n\n");
    page.push_str(
        "Data goes to standard output and messages to standard error. Exit status: 0 done, 1 something that you can mend, 2 a \
         wrong command line or a question that could not be answered, 3 the reader of the output went away, 255 a fault of \
         kelos.\n\nThe server is that of `--kubeconfig`, else of the variable `KUBECONFIG`, else the running `kelos up` of \
         the same user, else that of `~/.kube/config`. A command that changes something names the server first.\n\n",
    );
    page.push_str("## Options of every command\n\n");
    let global = root.get_arguments().filter(|arg| arg.is_global_set());
    options(global, &mut page);
    let shown: Vec<&Command> = root.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    page.push_str("## Commands\n\n| command | what it does |\n| --- | --- |\n");
    for command in &shown {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _infallible = writeln!(page, "| [`kelos {name}`](#kelos-{name}) | {about} |");
    }
    page.push('\n');
    for command in shown {
        command_section(command, "kelos", &mut page);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn command_section(command: &Command, parent: &str, page: &mut String) {
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).trim().to_owned();
    let _infallible = write!(page, "## {name}\n\n{}\n\n```\n{usage}\n```\n\n", about.unwrap_or_default());
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        let _infallible = write!(page, "Also called: {}\n\n", aliases.join(", "));
    }
    let own = command.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set());
    options(own.filter(|arg| arg.get_id() != "help" && arg.get_id() != "version"), page);
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let lines: Vec<&str> = examples.lines().skip(1).map(str::trim_start).collect();
        let _infallible = write!(page, "Examples:\n\n```sh\n{}\n```\n\n", lines.join("\n"));
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        command_section(below, &name, page);
    }
}

fn options<'a>(arguments: impl Iterator<Item = &'a Arg>, page: &mut String) {
    let rows: Vec<(String, String)> = arguments.map(|arg| (spelling(arg), meaning(arg))).collect();
    if rows.is_empty() {
        return;
    }
    page.push_str("| option | meaning |\n| --- | --- |\n");
    for (option, meaning) in rows {
        let _infallible = writeln!(page, "| {option} | {meaning} |");
    }
    page.push('\n');
}

fn spelling(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let value = value.filter(|_| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append));
    let mut spellings = Vec::new();
    if let Some(short) = arg.get_short() {
        spellings.push(format!("`-{short}`"));
    }
    match (arg.get_long(), value) {
        (Some(long), Some(value)) if arg.is_require_equals_set() => {
            spellings.push(format!("`--{long}[={value}]`"));
        }
        (Some(long), Some(value)) => spellings.push(format!("`--{long} {value}`")),
        (Some(long), None) => spellings.push(format!("`--{long}`")),
        (None, value) => spellings.push(format!("`{}`", value.unwrap_or_default())),
    }
    spellings.join(", ")
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let paragraphs: Vec<String> =
        help.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let mut text = paragraphs.join(". ");
    if matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        let values = arg.get_possible_values();
        let values: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        if !values.is_empty() {
            let _infallible = write!(text, "; one of {}", values.join(", "));
        }
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
        if !defaults.is_empty() {
            let _infallible = write!(text, "; by default {}", defaults.join(", "));
        }
    }
    text.replace('|', "\\|")
}

fn variables() -> String {
    let mut page =
        format!("{HEADER}# Environment\n\n## What kelos reads\n\n| variable | meaning |\n| --- | --- |\n");
    for (name, meaning) in environment::VARIABLES {
        let _infallible = writeln!(page, "| `{name}` | {meaning} |");
    }
    page.push_str(
        "\n## What an agent finds\n\nA run inherits nothing from the daemon. Beside `HOME`, `PATH`, `TMPDIR` and the variables of \
         `podOverrides.env` and of its credentials, an agent and its setup command find these, as far as there is something to \
         say:\n\n| variable | holds |\n| --- | --- |\n",
    );
    for (name, meaning) in AGENT_VARIABLES {
        let _infallible = writeln!(page, "| `{name}` | {meaning} |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_of_the_commands_are_sound() {
        Arguments::command().debug_assert();
    }
}
