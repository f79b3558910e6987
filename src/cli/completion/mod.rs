//! `kelos completion`, and the hidden command that its scripts ask.

mod candidates;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, ValueEnum};
use kube::api::ListParams;

use crate::api::kind::Kind;
use crate::cli::command_error::CommandError;
use crate::cli::completion::candidates::{Candidates, Line};
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{Arguments, GlobalArguments, kinds, server};

/// How long a server may take to list names. Whoever presses the tab key does not wait longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Print a script that completes commands, flags and names of objects
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(kelos completion bash)
  kelos completion zsh > ~/.zfunc/_kelos
  kelos completion fish > ~/.config/fish/completions/kelos.fish")]
pub(super) struct CompletionArguments {
    /// Shell that reads the script
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// List what may stand in place of the last word
#[derive(Debug, Args)]
pub(super) struct CompleteArguments {
    /// The words of the command line after kelos, up to the cursor
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

pub(super) fn script(arguments: &CompletionArguments, printer: Printer) -> Result<ExitCode, CommandError> {
    printer.data(match arguments.shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn complete(
    arguments: &CompleteArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let (current, before) = match arguments.words.split_last() {
        Some((current, before)) => (current.as_str(), before),
        None => ("", &[][..]),
    };
    let mut command = Arguments::command();
    command.build();
    let line = Line::read(&command, before);
    let words = match candidates::candidates(&line, current) {
        Candidates::Words(words) => words,
        Candidates::NamesOf(kind) => {
            let global = stated(&line, global);
            // A server that is away is no reason to disturb the command line.
            let names = tokio::time::timeout(PATIENCE, names(kind, &global, environment)).await;
            names.ok().and_then(Result::ok).unwrap_or_default()
        }
    };
    for word in words.iter().filter(|word| word.starts_with(current)) {
        printer.line(word)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what every command takes, as it stands in the line that is completed.
fn stated(line: &Line<'_>, global: &GlobalArguments) -> GlobalArguments {
    let path =
        |name: &str, own: &Option<PathBuf>| line.option(name).map(PathBuf::from).or_else(|| own.clone());
    GlobalArguments {
        config: path("config", &global.config),
        kubeconfig: path("kubeconfig", &global.kubeconfig),
        namespace: line
            .option("namespace")
            .and_then(|name| kinds::namespace(name).ok())
            .or_else(|| global.namespace.clone()),
    }
}

async fn names(
    kind: Kind,
    global: &GlobalArguments,
    environment: &Environment,
) -> Result<Vec<String>, CommandError> {
    let server = server::connect(global, environment).await?;
    let objects = kinds::api(&server, kind).list_metadata(&ListParams::default()).await?;
    Ok(objects.items.iter().map(kube::ResourceExt::name_any).collect())
}

const BASH: &str = r#"# Completion of kelos for bash.
_kelos() {
    local IFS=$'\n'
    COMPREPLY=($(kelos complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _kelos kelos
"#;

const ZSH: &str = r#"#compdef kelos
# Completion of kelos for zsh.
_kelos() {
    local -a candidates
    candidates=(${(f)"$(kelos complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#candidates )); then compadd -a candidates; else _files; fi
}
compdef _kelos kelos
"#;

const FISH: &str = r"# Completion of kelos for fish.
function __kelos_complete
    set -l words (commandline -opc) (commandline -ct)
    kelos complete -- $words[2..] 2>/dev/null
end
complete -c kelos -a '(__kelos_complete)'
";
