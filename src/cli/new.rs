//! `kelos new`

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::command_error::CommandError;
use crate::cli::printer::Printer;

/// Make a config repository to begin with
///
/// Writes spawners, three Tasks, a workspace, an agent config and prompts into a new folder; its README says what each
/// file is for. Nothing is committed.
#[derive(Debug, Args)]
pub(super) struct NewArguments {
    /// Folder to make; it must not exist, or be empty
    dir: PathBuf,
}

macro_rules! template {
    ($($path:literal),+ $(,)?) => {
        /// The files of the template, by their paths.
        const FILES: &[(&str, &str)] = &[
            $(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/repo-template/", $path)))),+
        ];
    };
}

template!(
    ".github/workflows/kelos.yaml",
    "README.md",
    "agents/conventions.yaml",
    "kelos.yaml",
    "prompts/conventions.md",
    "prompts/weekly-review.md",
    "scripts/greeting-check.sh",
    "scripts/greeting-sign.sh",
    "scripts/greeting-write.sh",
    "scripts/heartbeat.sh",
    "spawners/heartbeat.yaml",
    "spawners/weekly-review.yaml",
    "tasks/greeting.yaml",
    "workspaces/app.yaml.tera",
);

pub(super) fn run(arguments: &NewArguments, printer: Printer) -> Result<ExitCode, CommandError> {
    let dir = &arguments.dir;
    let is_taken = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken || dir.is_file() {
        return Err(CommandError::user_message(format!(
            "{} is there already and is not empty",
            dir.display()
        ))
        .hint("Name a folder that does not exist yet; nothing is overwritten"));
    }
    for (path, text) in FILES {
        write(&dir.join(path), text)?;
    }
    let shown = dir.display();
    printer.line(format_args!("{} files are in {shown}", FILES.len()))?;
    printer.message(format_args!(
        "Next, say in {shown}/kelos.yaml which repository the Tasks work in. To try it without a forge, let it be this one:
  cd {shown}
  sed -i \"s#https://github.com/example/app.git#file://$PWD#\" kelos.yaml
  git init -b main && git add --all && git commit -m 'First definitions'
  kelos validate .
  kelos up --repo ."
    ));
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    let attempt = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
    };
    attempt().map_err(|error: std::io::Error| {
        CommandError::user(anyhow::Error::new(error).context(format!("cannot write {}", path.display())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_template_is_in_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("repo-template");
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        let known: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, known);
    }
}
