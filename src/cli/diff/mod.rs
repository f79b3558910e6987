//! `kelos diff`

mod live;
mod sources;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::GlobalArguments;
use crate::cli::command_error::CommandError;
use crate::cli::diff::sources::Sources;
use crate::cli::environment::Environment;
use crate::cli::printer::Printer;
use crate::clock;
use crate::gitops::diff::{self, Difference};
use crate::gitops::finding::{LocatedFinding, Severity};

/// Show what definitions change: on the server, or against another revision
///
/// Without --from, the definitions are compared with the server, which is asked what it would make of each change and
/// changes nothing. With --from, two revisions are compared and no server is asked.
///
/// Exit status: 0 when nothing changes, 1 when something does, 2 when definitions have findings or could not be
/// compared.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kelos diff                          # this folder against the server
  kelos diff --to origin/main         # a revision against the server
  kelos diff --from main              # this folder against a revision
  kelos diff --from main --to HEAD    # two revisions
  kelos diff --offline                # this folder against HEAD
  kelos diff --path teams/web         # the definitions in one folder of the config repository")]
pub(super) struct DiffArguments {
    /// Folder of the config repository, or the folder with the definitions; in a working copy when revisions are named
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Folder with the definitions, from the folder of the config repository; by default what the ConfigRepository on the
    /// server says
    #[arg(long)]
    path: Option<String>,
    /// Revision to compare with, in place of the server
    #[arg(long, value_name = "REV")]
    from: Option<String>,
    /// Revision whose definitions are meant, in place of the files in the folder
    #[arg(long, value_name = "REV")]
    to: Option<String>,
    /// Ask no server: compare with --from, or with HEAD
    #[arg(long)]
    offline: bool,
    /// ConfigRepository that the definitions belong to on the server
    #[arg(long, value_name = "NAME", default_value = "default", conflicts_with_all = ["from", "offline"])]
    repository: String,
    /// How the difference is printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object with objects, notices and findings
    Json,
}

/// What a comparison gives.
struct Compared {
    difference: Difference,
    findings: Vec<LocatedFinding>,
}

impl Compared {
    fn is_valid(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

pub(super) async fn run(
    arguments: &DiffArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let compared =
        compare(arguments, global, environment, printer).await.map_err(CommandError::could_not_judge)?;
    let valid = compared.is_valid();
    match arguments.output {
        Format::Json => {
            let value = json!({
                "objects": compared.difference.objects, "notices": compared.difference.notices,
                "findings": compared.findings,
            });
            printer.line(serde_json::to_string_pretty(&value).map_err(CommandError::internal)?)?;
        }
        Format::Text => {
            for finding in &compared.findings {
                printer.line(finding)?;
            }
            if valid {
                printer.data(text::text(&compared.difference))?;
                printer.message(text::summary(&compared.difference));
            } else {
                printer.message("nothing would be applied: the definitions have errors");
            }
        }
    }
    Ok(ExitCode::from(match (valid, compared.difference.is_empty()) {
        (false, _) => 2,
        (true, false) => 1,
        (true, true) => 0,
    }))
}

async fn compare(
    arguments: &DiffArguments,
    global: &GlobalArguments,
    environment: &Environment,
    printer: Printer,
) -> Result<Compared, CommandError> {
    let sources = Sources::new(&arguments.folder, environment, global.namespace.clone())?;
    let sources = match &arguments.path {
        Some(path) => sources.below(path)?,
        None => sources,
    };
    let base = match (&arguments.from, arguments.offline) {
        (Some(from), _) => Some(from.as_str()),
        (None, true) => Some("HEAD"),
        (None, false) => None,
    };
    let Some(base) = base else {
        return live::compare(arguments, sources, global, environment, printer).await;
    };
    let after = sources.evaluate(arguments.to.as_deref(), &sources::Known::default())?;
    let before = sources.evaluate(Some(base), &sources::Known::default())?;
    if !before.is_valid() {
        printer.message(format_args!(
            "{base} has {} errors; what it defines is compared as far as it can be read",
            before.errors()
        ));
    }
    let difference = if after.is_valid() {
        diff::between(&before.desired, &after.desired, clock::system().now())
    } else {
        Difference::default()
    };
    Ok(Compared { difference, findings: after.findings })
}
