//! `kelos render-templates`: the child in which templates of config repositories are rendered.

use std::io::Read as _;
use std::process::ExitCode;

use crate::cli::command_error::CommandError;
use crate::cli::printer::Printer;
use crate::gitops::render;

/// What the parent may ask, in bytes.
const LARGEST_QUESTION: u64 = 256 * 1024 * 1024;

pub(super) fn run(printer: Printer) -> Result<ExitCode, CommandError> {
    let mut question = Vec::new();
    std::io::stdin().lock().take(LARGEST_QUESTION).read_to_end(&mut question)?;
    let answer = render::answer(&question).map_err(CommandError::user_message)?;
    printer.bytes(&answer)?;
    Ok(ExitCode::SUCCESS)
}
