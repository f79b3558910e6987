//! The ssh command by which git reaches a server.
//!
//! With a credential, the key and the host keys lie in files that only this user can read, as long as the
//! command is in use, and nothing of the user's own ssh settings counts. Without one, the user's keys, agent
//! and known hosts are used; in neither case is anything asked or an unknown host believed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use crate::git::error::GitError;
use crate::git::private_file::PrivateFile;
use crate::git::remote::{Credential, Remote};
use crate::git::tree::printable;

/// A server that is silent for this long is given up: 15 s, four times.
const PATIENCE: &str = "-o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 \
                        -o StrictHostKeyChecking=yes";

/// How much of the messages of ssh is read, in bytes.
const MESSAGES_LIMIT: u64 = 16 << 10;

/// An ssh command in the syntax of the shell. Its files go away with it.
#[derive(Debug)]
pub(crate) struct SshCommand {
    text: String,
    // Key and host keys, held for the sake of their `Drop`.
    _files: Vec<PrivateFile>,
    /// Where the messages of ssh go, when they are collected.
    messages: Option<PrivateFile>,
}

impl SshCommand {
    /// Returns the command for `core.sshCommand` or `GIT_SSH_COMMAND`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Lets ssh write its messages into a file and ends it after `time`, for a caller that neither sees its standard
    /// error nor can end it.
    pub(crate) fn unattended(self, folder: &Path, time: Duration) -> Result<Self, GitError> {
        let file = PrivateFile::create(folder, "ssh-messages", "")?;
        let seconds = time.as_secs().max(1);
        let text = format!("2>{} timeout -k 5 {seconds} {}", quoted(file.path())?, self.text);
        Ok(Self { text, messages: Some(file), ..self })
    }

    /// Returns the last of the collected messages, on one line.
    pub(crate) fn messages(&self) -> Option<String> {
        let file = self.messages.as_ref()?;
        let mut text = String::new();
        let opened = File::open(file.path()).ok()?;
        opened.take(MESSAGES_LIMIT).read_to_string(&mut text).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default().join("; ");
        (!last.is_empty()).then(|| printable(last.as_bytes()))
    }
}

/// Returns the command for `remote`, or `None` when it is not reached by ssh. Its files are written into
/// `folder`, which is ours.
pub(crate) fn command(remote: &Remote, folder: &Path) -> Result<Option<SshCommand>, GitError> {
    if !remote.url().is_ssh() {
        return Ok(None);
    }
    let Some(Credential::Ssh { identity, known_hosts }) = remote.credential() else {
        return Ok(Some(SshCommand { text: format!("ssh {PATIENCE}"), _files: Vec::new(), messages: None }));
    };
    // ssh refuses a key whose last line has no end.
    let key = PrivateFile::create(folder, "ssh-key", &format!("{}\n", identity.expose().trim_end()))?;
    let hosts = PrivateFile::create(folder, "ssh-hosts", &format!("{}\n", known_hosts.trim_end()))?;
    let text = format!(
        "ssh -F /dev/null {PATIENCE} -o IdentitiesOnly=yes -o IdentityAgent=none -o GlobalKnownHostsFile=/dev/null \
         -o {} -o {}",
        option("IdentityFile", key.path())?,
        option("UserKnownHostsFile", hosts.path())?,
    );
    Ok(Some(SshCommand { text, _files: vec![key, hosts], messages: None }))
}

/// Writes `name="path"` for ssh, quoted once more for the shell.
fn option(name: &str, path: &Path) -> Result<String, GitError> {
    // ssh replaces what follows a percent sign.
    Ok(format!("'{name}=\"{}\"'", plain(path)?.replace('%', "%%")))
}

/// Quotes a path for the shell.
fn quoted(path: &Path) -> Result<String, GitError> {
    Ok(format!("'{}'", plain(path)?))
}

/// Returns a path that keeps its meaning inside the quotes of ssh and the shell.
fn plain(path: &Path) -> Result<&str, GitError> {
    let text = path.to_str().filter(|text| !text.contains(['"', '\'', '\\', '$', '\n']));
    text.ok_or_else(|| GitError::Storage {
        path: path.to_owned(),
        detail: "ssh cannot be given a path with quotes, dollar signs or bytes that are not UTF-8".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::git::remote::RemoteUrl;
    use crate::secret::Secret;

    #[test]
    fn a_key_lies_in_a_private_file_as_long_as_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let credential = Credential::Ssh {
            identity: Secret::new("PRIVATE KEY"),
            known_hosts: "example.com ssh-ed25519 AAAA".to_owned(),
        };
        let remote = Remote::new(RemoteUrl::parse("git@example.com:a").unwrap(), Some(credential)).unwrap();
        let command = command(&remote, folder.path()).unwrap().unwrap();
        assert!(command.text().contains("StrictHostKeyChecking=yes"));
        assert!(command.text().contains("IdentitiesOnly=yes"));
        assert!(!command.text().contains("PRIVATE KEY"));
        let files: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2);
        for file in &files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert!(command.text().contains(file.to_str().unwrap()));
        }
        drop(command);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn messages_are_collected_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let text = "echo one >&2; echo '' >&2; printf 'two\\r\\n' >&2; echo out".to_owned();
        let command = SshCommand { text: format!("sh -c {text:?}"), _files: Vec::new(), messages: None };
        let command = command.unattended(folder.path(), Duration::from_mins(1)).unwrap();
        assert_eq!(command.messages(), None);
        let output = crate::process::command("/bin/sh")
            .env("PATH", "/usr/bin:/bin")
            .args(["-c", command.text()])
            .output()
            .unwrap();
        assert_eq!(
            (output.stdout.as_slice(), output.stderr.as_slice()),
            (b"out\n".as_slice(), b"".as_slice())
        );
        assert_eq!(command.messages().as_deref(), Some("one; two"));
    }

    #[test]
    fn an_ssh_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let command = SshCommand { text: "sleep 600".to_owned(), _files: Vec::new(), messages: None };
        let command = command.unattended(folder.path(), Duration::from_millis(10)).unwrap();
        let begun = std::time::Instant::now();
        let mut shell = crate::process::command("/bin/sh");
        let status = shell.env("PATH", "/usr/bin:/bin").args(["-c", command.text()]).status().unwrap();
        assert_eq!(status.code(), Some(124));
        assert!(begun.elapsed() < Duration::from_mins(5));
    }

    #[test]
    fn without_a_key_the_users_ssh_is_asked_and_asks_nobody() {
        let remote = Remote::new(RemoteUrl::parse("git@example.com:a").unwrap(), None).unwrap();
        let command = command(&remote, Path::new("/nowhere")).unwrap().unwrap();
        assert!(command.text().starts_with("ssh -o BatchMode=yes"));
        let local = Remote::new(RemoteUrl::parse("/srv/a").unwrap(), None).unwrap();
        assert!(super::command(&local, Path::new("/nowhere")).unwrap().is_none());
    }

    #[test]
    fn paths_are_quoted_for_ssh_and_for_the_shell() {
        assert_eq!(option("IdentityFile", Path::new("/a b/100%")).unwrap(), "'IdentityFile=\"/a b/100%%\"'");
        assert!(option("IdentityFile", Path::new("/a'b")).is_err());
    }
}
