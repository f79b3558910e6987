//! `kelos create secret`

use std::process::ExitCode;

use clap::Args;

use crate::cli::command_error::CommandError;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::cli::{GlobalArguments, kinds, objects, server};
use crate::secret::Secret;

/// Create a Secret, or replace the contents of one
///
/// No value stands on the command line, where other users of the machine could see it, and none is printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kelos create secret anthropic-api-key ANTHROPIC_API_KEY
  kelos create secret github-token GITHUB_TOKEN=@token.txt
  pass show forge | kelos create secret config-git token=-")]
pub(super) struct SecretArguments {
    /// Name of the Secret
    #[arg(value_parser = kinds::object_name)]
    name: String,
    /// Key and where its value is: KEY takes the variable KEY, KEY=env:VARIABLE another one, KEY=@FILE a file, KEY=-
    /// standard input
    #[arg(required = true, value_name = "KEY[=PLACE]")]
    keys: Vec<String>,
    /// Ask nothing: overwrite a Secret that has other contents
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(
    arguments: &SecretArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let keys = arguments.keys.iter().map(|key| value(key, environment)).collect::<Result<Vec<_>, _>>()?;
    let wanted = objects::secret(&arguments.name, keys);
    let server = server::connect(global, environment).await?;
    server.tell(printer);
    let write = objects::decide(&server, wanted, arguments.yes, printer).await?;
    if matches!(write, objects::Write::Nothing) {
        printer.line(format_args!("secret/{} unchanged", arguments.name))?;
    }
    objects::carry_out(&server, write, printer).await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns key and value of an argument.
fn value(argument: &str, environment: &Environment) -> Result<(String, Secret), CommandError> {
    let (key, place) = argument.split_once('=').unwrap_or((argument, ""));
    let variable = |name: &str| {
        environment.variable(name).ok_or_else(|| {
            CommandError::user_message(format!("the variable {name} is not set"))
                .hint(format!("export {name}=…, or name a file: {key}=@FILE"))
        })
    };
    let value = match place {
        "" if !argument.contains('=') => variable(key)?,
        "-" => super::secret_text(key, &Secret::new("-"))?,
        place => match (place.strip_prefix('@'), place.strip_prefix("env:")) {
            (Some(_), _) => super::secret_text(key, &Secret::new(place))?,
            (None, Some(name)) => variable(name)?,
            // The text is not repeated: it may be the secret.
            (None, None) => {
                return Err(CommandError::usage(format!(
                    "the value of {key} is not taken from the command line"
                ))
                .hint(format!("Others could see it there. Use {key}=@FILE, {key}=- or the variable {key}")));
            }
        },
    };
    Ok((key.to_owned(), value))
}
