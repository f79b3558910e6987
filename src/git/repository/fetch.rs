//! Listing and fetching from a remote.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gix::credentials::helper::Action;
use gix::credentials::protocol::Outcome;
use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::blocking_io::http;
use gix::remote::{Direction, fetch};

use crate::digest;
use crate::git::error::GitError;
use crate::git::id::CommitId;
use crate::git::reference::Reference;
use crate::git::remote::{Place, Remote};
use crate::git::repository::{Repository, chain, commit_id, options};
use crate::git::ssh::{self, SshCommand};

/// How often a fetch is looked at while it goes on.
const LOOK: Duration = Duration::from_millis(100);

impl Repository {
    /// Asks `remote` which commit `reference` names, in one listing of references; nothing is fetched.
    ///
    /// A reference that is a commit already is answered without asking.
    pub fn resolve(&self, remote: &Remote, reference: &Reference) -> Result<CommitId, GitError> {
        if let Reference::Commit(id) = reference {
            return Ok(*id);
        }
        let name = reference.source();
        find(&self.listing(remote, &name)?, &name).ok_or_else(|| missing(remote, reference))
    }

    /// Asks `remote` which branch it calls its default, in one listing of references; `None` when it names none.
    pub fn default_branch(&self, remote: &Remote) -> Result<Option<String>, GitError> {
        let name = Reference::DefaultBranch.source();
        let branch = self.listing(remote, &name)?.into_iter().find_map(|listed| match listed {
            Ref::Symbolic { full_ref_name, target, .. } | Ref::Unborn { full_ref_name, target } => {
                (full_ref_name == name).then(|| target.to_string())
            }
            Ref::Peeled { .. } | Ref::Direct { .. } => None,
        });
        Ok(branch.and_then(|branch| branch.strip_prefix("refs/heads/").map(str::to_owned)))
    }

    /// Fetches what `reference` names now, without its history, and returns the commit.
    ///
    /// A history that was rewritten is no obstacle. What was fetched before stays readable until garbage is
    /// collected. The call ends soon after `interrupt` is set.
    pub fn fetch(
        &self,
        remote: &Remote,
        reference: &Reference,
        interrupt: &AtomicBool,
    ) -> Result<CommitId, GitError> {
        if let Reference::Commit(id) = reference
            && self.has_commit(*id)
        {
            return Ok(*id);
        }
        let source = reference.source();
        // One reference of ours for each thing that is followed keeps its newest commit from the garbage
        // collection.
        let kept = format!("refs/kelos/{}", digest::short_hex(format!("{} {reference}", remote.url()), 16));
        let watched = Watched::new(&self.path, remote.fetch_limit(), interrupt);
        let receive = || {
            self.with_connection(remote, &format!("+{source}:{kept}"), |connection| {
                let prepared = connection
                    .prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())?;
                let id = match reference {
                    Reference::Commit(id) => Some(*id),
                    _ => find(&prepared.ref_map().remote_refs, &source),
                };
                if id.is_none() {
                    return Ok(None);
                }
                prepared
                    .with_shallow(fetch::Shallow::DepthAtRemote(NonZeroU32::MIN))
                    .receive(gix::progress::Discard, &watched.stop)?;
                Ok(id)
            })
        };
        let id = match watched.during(receive) {
            Ok(Some(id)) => id,
            Ok(None) => return Err(missing(remote, reference)),
            Err(_) if interrupt.load(Ordering::Relaxed) => {
                return Err(GitError::Interrupted { remote: remote.url().to_string() });
            }
            Err(_) if watched.stop.load(Ordering::Relaxed) => {
                let what = format!("what {} sends for {reference}", remote.url());
                return Err(GitError::TooLarge { what, limit: remote.fetch_limit() });
            }
            Err(error) if matches!(reference, Reference::Commit(_)) && is_refused_commit(&error) => {
                return Err(missing(remote, reference));
            }
            Err(error) => return Err(error),
        };
        // The handle that fetched knew the packs of before; this one looks at the disk.
        let fresh = Self::open_or_create(&self.path)?;
        if fresh.has_commit(id) {
            return Ok(id);
        }
        Err(GitError::Unsupported {
            remote: remote.url().to_string(),
            detail: format!("{reference} does not lead to a commit"),
        })
    }

    /// Lists the references of `remote` that have this name.
    fn listing(&self, remote: &Remote, name: &str) -> Result<Vec<Ref>, GitError> {
        let map = self.with_connection(remote, name, |connection| {
            connection
                .ref_map(gix::progress::Discard, gix::remote::ref_map::Options::default())
                .map(|(map, _)| map)
        })?;
        Ok(map.remote_refs)
    }

    /// Connects to `remote` for one refspec and hands the connection to `work`.
    fn with_connection<T>(
        &self,
        remote: &Remote,
        refspec: &str,
        work: impl FnOnce(Connection<'_>) -> gix::Result<T>,
    ) -> Result<T, GitError> {
        if let Place::File { path } = remote.url().place()
            && !path.exists()
        {
            return Err(GitError::NotFound { remote: remote.url().to_string() });
        }
        let ssh = ssh::command(remote, &self.path)?;
        let ssh = ssh.map(|ssh| ssh.unattended(&self.path, remote.timeout())).transpose()?;
        let overrides = ssh
            .iter()
            .flat_map(|ssh| ["ssh.variant=ssh".to_owned(), format!("core.sshCommand={}", ssh.text())]);
        let connect = || {
            let repository = gix::open_opts(&self.path, options(overrides))?;
            let url = gix::url::parse(gix::path::os_str_into_bstr(remote.url().for_git())?)?;
            let gix_remote = repository
                .remote_at_without_url_rewrite(url)?
                .with_fetch_tags(fetch::Tags::None)
                .with_refspecs([refspec], Direction::Fetch)?;
            let mut connection = gix_remote.connect(Direction::Fetch)?;
            connection.set_credentials(|action| Ok(answer(remote, action)));
            if remote.url().is_http() {
                connection.set_transport_options(Box::new(http_options(remote)));
            }
            work(connection)
        };
        let begun = Instant::now();
        connect().map_err(|error| {
            if ssh.is_some() && begun.elapsed() >= remote.timeout() {
                let seconds = remote.timeout().as_secs();
                return GitError::Timeout { remote: remote.url().to_string(), seconds };
            }
            self.explain(remote, &error, ssh.as_ref().and_then(SshCommand::messages))
        })
    }

    /// Turns a failure into its class; `said` is what ssh wrote about it.
    fn explain(&self, remote: &Remote, error: &gix::Error, said: Option<String>) -> GitError {
        let detail = remote.blot(&said.unwrap_or_else(|| chain(error)));
        let seconds = remote.timeout().as_secs();
        let is_local = remote.url().local_path().is_some();
        let remote = remote.url().to_string();
        let says = |texts: &[&str]| {
            let lower = detail.to_ascii_lowercase();
            texts.iter().any(|text| lower.contains(text))
        };
        if error.is_cancelled() {
            return GitError::Interrupted { remote };
        }
        if says(&["host key verification failed", "certificate"]) {
            return GitError::Untrusted { remote, detail };
        }
        if error.is_unauthenticated() || error.is_permission_denied() || says(&["permission denied"]) {
            return GitError::Unauthenticated { remote, detail };
        }
        let no_repository = [
            "http status 404",
            "http status 410",
            "is a valid git directory",
            "does not appear to be a git repository",
            "repository not found",
            "does not exist",
        ];
        if says(&no_repository) {
            return GitError::NotFound { remote };
        }
        if says(&["timed out", "timeout"]) {
            return GitError::Timeout { remote, seconds };
        }
        if error.is_retryable() {
            return GitError::Unreachable { remote, detail };
        }
        if error.is_resource_exhausted() {
            return GitError::TooLarge { what: format!("an object of {remote}"), limit: 256 << 20 };
        }
        if error.is_corrupted() {
            return GitError::Corrupt { path: self.path.clone(), detail };
        }
        if error.is_unsupported() || error.is_validation() || says(&["not our ref", "unadvertised object"]) {
            return GitError::Unsupported { remote, detail };
        }
        if is_local {
            // The server side is git itself, which tells the reason to nobody.
            let detail =
                format!("{detail} (git serves a repository of another user only if safe.directory lists it)");
            return GitError::Unreachable { remote, detail };
        }
        GitError::Unreachable { remote, detail }
    }
}

type Connection<'a> = gix::remote::Connection<
    'a,
    'a,
    'a,
    Box<dyn gix::protocol::transport::client::blocking_io::Transport + Send>,
>;

fn missing(remote: &Remote, reference: &Reference) -> GitError {
    GitError::RefMissing { remote: remote.url().to_string(), reference: reference.to_string() }
}

/// Knows the answers of a server that lacks a commit, or does not hand it out.
fn is_refused_commit(error: &GitError) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    // A local server says so and closes the pipe, on which we may still be writing.
    let hung_up = text.contains("failed to send fetch arguments") && text.contains("broken pipe");
    hung_up || text.contains("not our ref") || text.contains("unadvertised object")
}

/// Finds the commit that a listing gives for exactly `name`; a server may list more than it was asked for.
fn find(refs: &[Ref], name: &str) -> Option<CommitId> {
    refs.iter().find_map(|listed| match listed {
        Ref::Peeled { full_ref_name, object, .. }
        | Ref::Direct { full_ref_name, object }
        | Ref::Symbolic { full_ref_name, object, .. } => {
            (full_ref_name == name).then(|| commit_id(object.to_owned()))
        }
        Ref::Unborn { .. } => None,
    })
}

/// Answers a server that asks for credentials: ours if it is the server that they are bound to, none
/// otherwise.
fn answer(remote: &Remote, action: Action) -> Option<Outcome> {
    let Action::Get(context) = action else {
        return None;
    };
    let url = context.url.clone().or_else(|| context.to_url())?.to_string();
    let (user, password) = remote.user_and_password()?;
    remote.url().place().is_origin_of(&url).then(|| Outcome {
        identity: gix::sec::identity::Account {
            username: user.to_owned(),
            password: password.expose().to_owned(),
            oauth_refresh_token: None,
        },
        next: context.into(),
    })
}

fn http_options(remote: &Remote) -> http::Options {
    let timeout = remote.timeout();
    let authority = remote.authority().map(str::to_owned);
    let backend = http::reqwest::Options {
        configure_client: Some(Box::new(move |builder: _| {
            let certificates = authority.as_deref().unwrap_or_default();
            let certificates = reqwest::Certificate::from_pem_bundle(certificates.as_bytes())
                .map_err(gix::Error::from_error)?;
            Ok(builder.timeout(timeout).tls_certs_merge(certificates))
        })),
        configure_request: None,
    };
    http::Options { backend: Some(Arc::new(Mutex::new(backend))), ..http::Options::default() }
}

/// A fetch that is stopped when the caller says so, and when it brings more than it may.
struct Watched<'a> {
    packs: std::path::PathBuf,
    limit: u64,
    interrupt: &'a AtomicBool,
    /// What the library looks at.
    stop: AtomicBool,
}

impl<'a> Watched<'a> {
    fn new(repository: &Path, limit: u64, interrupt: &'a AtomicBool) -> Self {
        Self { packs: repository.join("objects/pack"), limit, interrupt, stop: AtomicBool::new(false) }
    }

    /// Does `work` while a thread of its own looks at what has arrived.
    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = size(&self.packs);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let arrived = size(&self.packs).saturating_sub(before);
                    if self.interrupt.load(Ordering::Relaxed) || arrived > self.limit {
                        self.stop.store(true, Ordering::Relaxed);
                    }
                    std::thread::park_timeout(LOOK);
                }
            });
            let result = work();
            is_over.store(true, Ordering::Release);
            watch.thread().unpark();
            result
        })
    }
}

/// Returns how many bytes the files of a folder have together.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use gix::credentials::protocol::Context;

    use super::*;
    use crate::git::remote::Credential;
    use crate::git::remote::RemoteUrl;
    use crate::secret::Secret;

    #[test]
    fn a_server_is_answered_only_if_the_credential_is_for_it() {
        let url = RemoteUrl::parse("https://git.example.com/a.git").unwrap();
        let with = Remote::new(url.clone(), Some(Credential::Token(Secret::new("t0ken")))).unwrap();
        let without = Remote::new(url, None).unwrap();
        let ask = |remote: &Remote, url: &str| {
            let context = Context { url: Some(url.into()), ..Context::default() };
            answer(remote, Action::Get(context)).map(|outcome| outcome.identity)
        };
        let identity = ask(&with, "https://git.example.com/a.git").unwrap();
        assert_eq!((identity.username.as_str(), identity.password.as_str()), ("x-access-token", "t0ken"));
        for other in [
            "https://evil.example.com/a.git",
            "http://git.example.com/a.git",
            "https://git.example.com:444/a.git",
        ] {
            assert_eq!(ask(&with, other), None, "{other}");
        }
        assert_eq!(ask(&without, "https://git.example.com/a.git"), None);
    }
}
