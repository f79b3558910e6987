//! A config repository of many spawners.

use std::fs;
use std::path::{Path, PathBuf};

use kelos::process;

/// A git repository with a work tree.
#[derive(Debug)]
pub(crate) struct ConfigRepository {
    pub(crate) folder: PathBuf,
}

impl ConfigRepository {
    /// Makes one with a first commit that defines nothing.
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("spawners")).expect("a writable folder");
        let repository = Self { folder: folder.to_path_buf() };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        fs::write(folder.join("README.md"), "Definitions.\n").expect("a writable folder");
        repository.commit();
        repository
    }

    /// Writes the definition of spawner `number`, whose script says `word`. It never fires while it is measured.
    pub(crate) fn define(&self, number: usize, word: &str) {
        let text = definition(number, word);
        fs::write(self.folder.join(format!("spawners/{number:05}.yaml")), text).expect("a writable folder");
    }

    /// Commits everything and returns the id of the commit.
    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "A change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = process::command("git");
        command
            .current_dir(&self.folder)
            .args(arguments)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.folder)
            .env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Bench");
            command.env(format!("GIT_{who}_EMAIL"), "bench@example.com");
        }
        let output = command.output().expect("git is on the PATH");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Returns the manifest of a spawner of about 700 bytes.
pub(crate) fn definition(number: usize, word: &str) -> String {
    format!(
        "apiVersion: kelos.dev/v1alpha1
kind: TaskSpawner
metadata:
  name: nightly-{number:05}
  labels:
    team: team-{}
    purpose: dependency-updates
spec:
  when:
    cron:
      schedule: \"{} {} 1 1 *\"
      timeZone: Europe/Berlin
  maxConcurrency: 1
  taskTemplate:
    type: shell
    ttlSecondsAfterFinished: 3600
    promptTemplate: |
      set -eu
      # Look for outdated dependencies and tell what was found.
      echo \"checking for {word}\"
      for package in alpha beta gamma; do
        echo \"$package is up to date\"
      done
      echo \"nothing to do\" >&2
    metadata:
      labels:
        team: team-{}
        purpose: dependency-updates
",
        number % 40,
        number % 60,
        number % 24,
        number % 40,
    )
}
