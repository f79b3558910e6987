//! Real repositories for tests, made with the git program in a pinned environment.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::git::id::CommitId;
use crate::git::program::{Git, Limits};
use crate::git::remote::{Remote, RemoteUrl};
use crate::process;

/// Where the programs of a test are looked for.
pub(crate) const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

static NEVER: AtomicBool = AtomicBool::new(false);

/// Limits that no test reaches.
pub(crate) fn limits() -> Limits<'static> {
    Limits { time: Duration::from_mins(1), interrupt: &NEVER }
}

/// Chooses the cryptography of the process, as `main` does.
pub(crate) fn choose_cryptography() {
    // Another test of the same process may have been first, with the same choice.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
}

/// The git program as the code under test uses it.
pub(crate) fn git() -> Git {
    Git::locate(OsStr::new(SEARCH_PATH)).expect("the tests need git")
}

/// A bare repository that plays the server, and a working copy that plays the people who push to it.
pub(crate) struct Server {
    folder: tempfile::TempDir,
}

impl Server {
    /// Makes an empty server.
    pub(crate) fn new() -> Self {
        let server = Self { folder: tempfile::tempdir().unwrap() };
        git_in(server.folder.path(), &["init", "--quiet", "--bare", "server.git"]);
        git_in(server.folder.path(), &["init", "--quiet", "work"]);
        server.work(&["remote", "add", "origin", server.path().to_str().unwrap()]);
        server
    }

    /// Makes a server whose branch `main` has one commit with these files.
    pub(crate) fn with_files(files: &[(&str, &str)]) -> Self {
        let server = Self::new();
        server.push("main", files);
        server
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("server.git")
    }

    /// A path for something else beside the server.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn remote(&self) -> Remote {
        let url = format!("file://{}", self.path().display());
        Remote::new(RemoteUrl::parse(&url).unwrap(), None).unwrap()
    }

    /// Commits the files on top of what the working copy holds and pushes it to `branch`, by force.
    pub(crate) fn push(&self, branch: &str, files: &[(&str, &str)]) -> CommitId {
        for (path, content) in files {
            let path = self.beside("work").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.work(&["add", "--all"]);
        self.work(&["commit", "--quiet", "--allow-empty", "-m", "a change"]);
        self.work(&["push", "--quiet", "--force", "origin", &format!("HEAD:refs/heads/{branch}")]);
        CommitId::parse(&self.work(&["rev-parse", "HEAD"])).unwrap()
    }

    /// Runs git in the working copy.
    pub(crate) fn work(&self, arguments: &[&str]) -> String {
        git_in(&self.beside("work"), arguments)
    }

    /// Runs git in the server's repository.
    pub(crate) fn server(&self, arguments: &[&str]) -> String {
        git_in(&self.path(), arguments)
    }

    /// Installs a hook that runs when somebody pushes.
    pub(crate) fn hook(&self, script: Option<&str>) {
        let path = self.path().join("hooks/pre-receive");
        match script {
            Some(script) => write_script(&path, &format!("#!/bin/sh\n{script}\n")),
            None => std::fs::remove_file(&path).unwrap(),
        }
    }

    /// Returns what `branch` of the server points to.
    pub(crate) fn tip(&self, branch: &str) -> Option<CommitId> {
        let listed =
            self.server(&["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{branch}")]);
        CommitId::parse(&listed).ok()
    }
}

/// Writes a script that can be run at once.
///
/// A child writes it: a file that this process has open for writing may be inherited by a child that another
/// test starts at the same moment, and cannot be run until that child is gone.
pub(crate) fn write_script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let output = process::command("/bin/sh")
        .env("PATH", SEARCH_PATH)
        .args(["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", text])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs git in `folder`, which must succeed, and returns what it prints.
pub(crate) fn git_in(folder: &Path, arguments: &[&str]) -> String {
    let output = plain_git(folder, arguments);
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs git in the manner of a user whose settings are pinned.
pub(crate) fn plain_git(folder: &Path, arguments: &[&str]) -> std::process::Output {
    let executable = process::find("git", OsStr::new(SEARCH_PATH)).expect("the tests need git");
    process::command(executable)
        .current_dir(folder)
        .env("PATH", SEARCH_PATH)
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "init.defaultBranch")
        .env("GIT_CONFIG_VALUE_0", "main")
        .env("GIT_AUTHOR_NAME", "Tester")
        .env("GIT_AUTHOR_EMAIL", "tester@example.com")
        .env("GIT_COMMITTER_NAME", "Tester")
        .env("GIT_COMMITTER_EMAIL", "tester@example.com")
        .env("GIT_AUTHOR_DATE", "2026-03-01T09:00:00Z")
        .env("GIT_COMMITTER_DATE", "2026-03-01T09:00:00Z")
        .args(arguments)
        .output()
        .unwrap()
}
