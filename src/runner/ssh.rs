//! What the agent's git needs to reach the workspace over ssh: the key, the host keys that are believed, and the way.
//!
//! The key is for the server of the workspace and no other, and only this run reads it: it lies in the home, which goes
//! with the run. In an enclosure the server stands at an address of the run's own loopback, from where the step outside
//! leads to it.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::api::run::{Plan, Workspace};
use crate::git::remote::RemoteUrl;

/// The address at which the server of the workspace stands in an enclosure; its port is the server's own.
pub(super) const STAND_IN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What holds for every server: nothing is asked, nothing unknown is believed, and no key but ours is offered.
const ALWAYS: &str = "Host *\n    BatchMode yes\n    StrictHostKeyChecking yes\n    GlobalKnownHostsFile /dev/null\n    \
                      UpdateHostKeys no\n    IdentitiesOnly yes\n    IdentityAgent none\n    ConnectTimeout 20\n    \
                      ServerAliveInterval 15\n    ServerAliveCountMax 4\n";

/// The ssh server of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SshServer {
    /// Its host; an address of version 6 without brackets.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    // The host as the URL writes it, which is how git names it to ssh.
    spelled: String,
    is_on_loopback: bool,
}

impl SshServer {
    /// Returns the server of the workspace of `plan`, when that is reached over ssh.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        Self::in_url(plan.workspace.as_ref().map(|Workspace { repo, .. }| repo)?)
    }

    fn in_url(text: &str) -> Option<Self> {
        let url = RemoteUrl::parse(text).ok().filter(RemoteUrl::is_ssh)?;
        let (host, port) = url.server()?;
        let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (host, spelled) = (bare(host), bare(url.host_as_written()?));
        Some(Self { host, port, spelled, is_on_loopback: url.loopback_port().is_some() })
    }

    /// Tells whether it stands at [`STAND_IN`] in an enclosure; a server of this machine's loopback has a way of its own.
    pub(super) fn has_stand_in(&self) -> bool {
        !self.is_on_loopback
    }

    /// Returns the settings of ssh with the key and the host keys in these files; `is_enclosed` says whether the run has a
    /// loopback of its own.
    pub(super) fn settings(
        &self,
        identity: &Path,
        known_hosts: &Path,
        is_enclosed: bool,
    ) -> io::Result<String> {
        let mut settings = format!(
            "Host {}\n    IdentityFile {}\n    UserKnownHostsFile {}\n",
            if self.spelled == self.host {
                self.host.clone()
            } else {
                format!("{} {}", self.spelled, self.host)
            },
            quoted(identity)?,
            quoted(known_hosts)?
        );
        if is_enclosed && self.has_stand_in() {
            // Its keys are known by the name that it has outside.
            let known_as =
                if self.port == 22 { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) };
            settings.push_str(&format!("    HostName {STAND_IN}\n    HostKeyAlias {known_as}\n"));
        }
        settings.push_str(&format!(
            "Host * !{} !{}\n    IdentityFile none\n    UserKnownHostsFile /dev/null\n{ALWAYS}",
            self.spelled, self.host
        ));
        Ok(settings)
    }
}

/// Returns the command by which git starts ssh with the settings in a file.
pub(super) fn command(settings: &Path) -> io::Result<String> {
    Ok(format!("ssh -F '{}'", plain(settings)?))
}

// ssh replaces what follows a percent sign.
fn quoted(path: &Path) -> io::Result<String> {
    Ok(format!("\"{}\"", plain(path)?.replace('%', "%%")))
}

// A path that keeps its meaning inside the quotes of ssh, of the shell and of git.
fn plain(path: &Path) -> io::Result<&str> {
    path.to_str().filter(|text| !text.contains(['"', '\'', '\\', '$', '\n'])).ok_or_else(|| {
        let path = path.display();
        io::Error::other(format!("ssh cannot be given the path {path}, which holds quotes or dollar signs"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, is_enclosed: bool) -> String {
        let server = SshServer::in_url(url).unwrap();
        server.settings(Path::new("/h/100%/identity"), Path::new("/h/hosts"), is_enclosed).unwrap()
    }

    /// Returns what the real ssh makes of the settings for `host`; `None` where there is none.
    fn as_ssh_reads_it(settings: &str, host: &str, port: Option<&str>) -> Option<Vec<String>> {
        let Some(ssh) = crate::process::find("ssh", "/usr/bin:/bin".as_ref()) else {
            eprintln!("skipped: there is no ssh");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings");
        std::fs::write(&file, settings).unwrap();
        let mut command = crate::process::command(ssh);
        command.arg("-G").arg("-F").arg(&file).args(port.into_iter().flat_map(|port| ["-p", port])).arg(host);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
    }

    #[test]
    fn the_key_is_for_the_server_of_the_workspace_alone() {
        let settings = settings("git@Git.corp:o/n", false);
        for (host, is_ours) in
            [("Git.corp", true), ("git.corp", true), ("github.com", false), ("agit.corp", false)]
        {
            let Some(read) = as_ssh_reads_it(&settings, host, None) else { return };
            let has = |line: &str| read.iter().any(|found| found == line);
            assert_eq!(
                has("identityfile /h/100%%/identity") || has("identityfile /h/100%/identity"),
                is_ours,
                "{read:#?}"
            );
            assert_eq!(has("userknownhostsfile /h/hosts"), is_ours, "{host}: {read:#?}");
            assert_eq!(has("identityfile none"), !is_ours, "{host}: {read:#?}");
            for line in
                ["batchmode yes", "stricthostkeychecking true", "identitiesonly yes", "identityagent none"]
            {
                assert!(has(line), "{line}: {read:#?}");
            }
        }
    }

    #[test]
    fn in_an_enclosure_the_server_stands_elsewhere_and_is_known_by_its_name() {
        for (url, host, port, alias) in [
            ("git@git.corp:o/n", "git.corp", None, "git.corp"),
            ("ssh://git@git.corp:2222/o/n", "git.corp", Some("2222"), "[git.corp]:2222"),
            ("git@[fd00::1]:o/n", "fd00::1", None, "fd00::1"),
        ] {
            let Some(read) = as_ssh_reads_it(&settings(url, true), host, port) else { return };
            let has = |line: String| read.contains(&line);
            assert!(has("hostname 127.0.0.2".to_owned()), "{read:#?}");
            assert!(has(format!("hostkeyalias {alias}")), "{read:#?}");
            assert!(has(format!("port {}", port.unwrap_or("22"))), "{read:#?}");
        }
        assert!(!settings("git@git.corp:o/n", false).contains("HostName"));
        assert!(!settings("ssh://git@127.0.0.1:2222/o/n", true).contains("HostName"));
        assert_eq!(SshServer::in_url("https://git.corp/o/n"), None);
        // The user is called as the host is.
        assert!(settings("git@GIT:o/n", false).starts_with("Host GIT git\n"));
    }

    #[test]
    fn paths_are_quoted_or_refused() {
        assert_eq!(command(Path::new("/a b/settings")).unwrap(), "ssh -F '/a b/settings'");
        assert!(command(Path::new("/a'b")).is_err());
    }
}
