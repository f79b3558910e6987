//! Listing and fetching from a remote.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::credentials::helper::Action;
use gix::credentials::protocol::Outcome;
use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::blocking_io::http;
use gix::remote::{Direction, fetch};

use super::{Repository, chain, commit_id, options};
use crate::digest;
use crate::git::error::GitError;
use crate::git::id::CommitId;
use crate::git::reference::Reference;
use crate::git::remote::{Place, Remote};
use crate::git::ssh;

/// How long one request over http may take, from the connection to the last byte of the answer.
const HTTP_TIMEOUT: Duration = Duration::from_mins(2);

impl Repository {
    /// Asks `remote` which commit `reference` names, in one listing of references; nothing is fetched.
    ///
    /// A reference that is a commit already is answered without asking.
    pub fn resolve(&self, remote: &Remote, reference: &Reference) -> Result<CommitId, GitError> {
        let Some(name) = reference.full_name() else {
            let Reference::Commit(id) = reference else {
                unreachable!("because only a commit has no full name")
            };
            return Ok(*id);
        };
        let map = self.with_connection(remote, &name, |connection| {
            connection
                .ref_map(gix::progress::Discard, gix::remote::ref_map::Options::default())
                .map(|(map, _)| map)
        })?;
        find(&map.remote_refs, &name).ok_or_else(|| missing(remote, reference))
    }

    /// Fetches what `reference` names now, without its history, and returns the commit.
    ///
    /// A history that was rewritten is no obstacle. What was fetched before stays readable until garbage is collected. The call
    /// ends soon after `interrupt` is set.
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
        let source = reference.full_name().unwrap_or_else(|| match reference {
            Reference::Commit(id) => id.to_string(),
            Reference::Head | Reference::Branch(_) | Reference::Tag(_) => {
                unreachable!("because branches and tags have full names")
            }
        });
        // One reference of ours for each thing that is followed keeps its newest commit from the garbage collection.
        let kept = format!("refs/kelos/{}", digest::short_hex(format!("{} {reference}", remote.url()), 16));
        let result = self.with_connection(remote, &format!("+{source}:{kept}"), |connection| {
            let prepared =
                connection.prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())?;
            let id = match reference {
                Reference::Commit(id) => Some(*id),
                Reference::Head | Reference::Branch(_) | Reference::Tag(_) => {
                    find(&prepared.ref_map().remote_refs, &source)
                }
            };
            if id.is_none() {
                return Ok(None);
            }
            prepared
                .with_shallow(fetch::Shallow::DepthAtRemote(NonZeroU32::MIN))
                .receive(gix::progress::Discard, interrupt)?;
            Ok(id)
        });
        let id = match result {
            Ok(Some(id)) => id,
            Ok(None) => return Err(missing(remote, reference)),
            Err(_) if interrupt.load(Ordering::Relaxed) => {
                return Err(GitError::Interrupted { remote: remote.url().to_string() });
            }
            Err(GitError::Unsupported { detail, .. }) if detail.contains("not our ref") => {
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
            if matches!(remote.url().place(), Place::Http { .. }) {
                connection.set_transport_options(Box::new(http_options()));
            }
            work(connection)
        };
        connect().map_err(|error| self.explain(remote, &error))
    }

    fn explain(&self, remote: &Remote, error: &gix::Error) -> GitError {
        let detail = remote.blot(&chain(error));
        let remote = remote.url().to_string();
        let says = |texts: &[&str]| {
            let lower = detail.to_ascii_lowercase();
            texts.iter().any(|text| lower.contains(text))
        };
        if error.is_cancelled() {
            return GitError::Interrupted { remote };
        }
        if error.is_unauthenticated()
            || error.is_permission_denied()
            || says(&["host key verification failed"])
        {
            return GitError::Unauthenticated { remote, detail };
        }
        let no_repository = [
            "http status 404",
            "http status 410",
            "is a valid git directory",
            "does not appear to be a git repository",
            "repository not found",
        ];
        if says(&no_repository) {
            return GitError::NotFound { remote };
        }
        if says(&["timed out", "timeout"]) {
            return GitError::Timeout { remote, seconds: HTTP_TIMEOUT.as_secs() };
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

/// Answers a server that asks for credentials: ours if it is the server that they are bound to, none otherwise.
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

fn http_options() -> http::Options {
    let backend = http::reqwest::Options {
        configure_client: Some(Box::new(|builder| Ok(builder.timeout(HTTP_TIMEOUT)))),
        configure_request: None,
    };
    http::Options { backend: Some(Arc::new(Mutex::new(backend))), ..http::Options::default() }
}
