//! `kelos validate`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::GlobalArguments;
use crate::cli::command_error::CommandError;
use crate::cli::printer::Printer;
use crate::git::folder::Folder;
use crate::git::tree::TreeLimits;
use crate::gitops::cache::EvaluationCache;
use crate::gitops::evaluate::{self, Evaluation};
use crate::gitops::render::ChildRenderer;
use crate::validate;

/// Check the definitions in a folder, without a server
///
/// Exit status: 0 when nothing keeps them from being applied, 1 with findings, 2 when they could not be judged.
#[derive(Debug, Args)]
pub(super) struct ValidateArguments {
    /// Folder with the definitions: the root of a config repository, or the folder that is applied
    #[arg(default_value = ".")]
    path: PathBuf,
    /// How the findings are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// A list of findings
    Json,
}

pub(super) fn run(
    arguments: &ValidateArguments,
    global: &GlobalArguments,
    printer: Printer,
) -> Result<ExitCode, CommandError> {
    let evaluation =
        evaluate_folder(&arguments.path, global.namespace.clone()).map_err(CommandError::could_not_judge)?;
    match arguments.output {
        Format::Json => {
            let list = serde_json::to_string_pretty(&evaluation.findings).map_err(CommandError::internal)?;
            printer.line(list)?;
        }
        Format::Text => print(&evaluation, &arguments.path, printer)?,
    }
    Ok(if evaluation.is_valid() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Reads and judges the definitions in a folder.
pub(super) fn evaluate_folder(path: &Path, namespace: Option<String>) -> Result<Evaluation, CommandError> {
    let folder = Folder::open(path, &TreeLimits::default()).map_err(|error| {
        CommandError::user(anyhow::Error::new(error).context(format!("cannot read {}", path.display())))
    })?;
    let renderer = ChildRenderer { program: std::env::current_exe()? };
    let context = validate::Context { namespace, ..validate::Context::default() };
    evaluate::evaluate(&folder, &renderer, &mut EvaluationCache::new(), None, &context)
        .map_err(CommandError::user)
}

fn print(evaluation: &Evaluation, path: &Path, printer: Printer) -> Result<(), CommandError> {
    for finding in &evaluation.findings {
        printer.line(finding)?;
    }
    let objects = evaluation.documents;
    match (evaluation.errors(), evaluation.findings.len()) {
        (0, 0) => printer.message(format_args!("{}: {objects} objects, no findings", path.display())),
        (0, warnings) => {
            printer.message(format_args!("{}: {objects} objects, {warnings} warnings", path.display()));
        }
        (errors, all) => {
            let warnings = all - errors;
            printer.message(format_args!(
                "{}: {objects} objects, {errors} errors, {warnings} warnings",
                path.display()
            ));
        }
    }
    Ok(())
}
