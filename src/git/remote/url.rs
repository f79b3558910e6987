//! Where a remote repository is.
//!
//! URLs reach the arguments of git and ssh and the status of objects, so only what we know to be harmless is
//! taken: no credential, no part that could be an option, no scheme that runs a program.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// The longest URL, in bytes.
pub const URL_LIMIT: usize = 2_048;

/// The place of a repository. It never holds a credential, so it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteUrl {
    text: String,
    place: Place,
}

/// The parts of a URL that others decide by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// An absolute path of this machine.
    File { path: PathBuf },
    /// A server that is asked over http or https.
    Http { secure: bool, server: Server },
    /// A server that is reached by ssh.
    Ssh { server: Server },
    /// A server that is asked over git's own protocol, without encryption and credentials.
    Git { server: Server },
}

/// The server of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// A name in lower case, or an address; one of version 6 stands in brackets.
    host: String,
    /// The host as the URL writes it.
    spelled: String,
    /// The port that the URL names.
    port: Option<u16>,
}

/// A text is not the URL of a repository that we would talk to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteUrlError {
    /// The URL is empty or too long.
    #[error("a repository URL has between 1 and 2048 bytes")]
    Length,
    /// The URL holds what no URL holds.
    #[error("the repository URL holds a blank or a control character")]
    Character,
    /// A credential in a URL ends up in logs and files.
    #[error("the repository URL holds a credential: put it into a Secret")]
    Credential,
    /// A part could be taken for an option of a program.
    #[error("the {part} of the repository URL begins with a dash")]
    Dash { part: &'static str },
    /// The scheme is not one of ours.
    #[error("`{scheme}` is not supported: use https, ssh, http, git or file")]
    Scheme { scheme: String },
    /// The host is missing or holds what no host holds.
    #[error("the repository URL has no valid host")]
    Host,
    /// The port is no port.
    #[error("the port of the repository URL is not a number between 1 and 65535")]
    Port,
    /// The user holds what no user name holds.
    #[error("the user of the repository URL holds a character other than letters, digits and . _ -")]
    User,
    /// The path is missing or malformed.
    #[error("the repository URL has no valid path")]
    Path,
    /// A query or fragment means nothing to git.
    #[error("the repository URL holds `?` or `#`")]
    Query,
    /// What a relative path means depends on who reads it.
    #[error("the path of a local repository must be absolute")]
    Relative,
}

impl RemoteUrl {
    /// Reads an absolute path, a `file`, `http`, `https`, `ssh` or `git` URL, or the short form
    /// `user@host:path`.
    pub fn parse(text: &str) -> Result<Self, RemoteUrlError> {
        if text.is_empty() || text.len() > URL_LIMIT {
            return Err(RemoteUrlError::Length);
        }
        if text.starts_with('-') {
            return Err(RemoteUrlError::Dash { part: "text" });
        }
        if text.starts_with('/') {
            return Self::file(text, text);
        }
        if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
            return Err(RemoteUrlError::Character);
        }
        let place = match text.split_once("://") {
            Some(("file", rest)) => return Self::file(text, &decode(file_path(rest)?)?),
            Some(("https", rest)) => Place::Http { secure: true, server: http_server(rest)? },
            Some(("http", rest)) => Place::Http { secure: false, server: http_server(rest)? },
            Some(("ssh", rest)) => Place::Ssh { server: ssh(rest)? },
            Some(("git", rest)) => Place::Git { server: http_server(rest)? },
            Some((scheme, _)) => return Err(unknown_scheme(scheme)),
            None => Place::Ssh { server: short_ssh(text)? },
        };
        Ok(Self { text: text.to_owned(), place })
    }

    /// Returns the local path, for a repository of this machine.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::File { path } => Some(path),
            Place::Http { .. } | Place::Ssh { .. } | Place::Git { .. } => None,
        }
    }

    /// Returns the server and its port, named or usual; a name is in lower case, an address of version 6 in brackets.
    /// `None` for a repository of this machine.
    pub fn server(&self) -> Option<(&str, u16)> {
        let (server, usual) = self.place.server_and_usual_port()?;
        Some((&server.host, server.port.unwrap_or(usual)))
    }

    /// Returns the host as the URL writes it, which is how git names it to ssh; an address of version 6 in brackets.
    pub fn host_as_written(&self) -> Option<&str> {
        self.place.server_and_usual_port().map(|(server, _)| server.spelled.as_str())
    }

    /// Returns whether it is reached by ssh.
    pub fn is_ssh(&self) -> bool {
        matches!(self.place, Place::Ssh { .. })
    }

    /// Returns whether it is asked over http or https.
    pub fn is_http(&self) -> bool {
        matches!(self.place, Place::Http { .. })
    }

    /// Returns whether a user and a password may be sent there: it is asked over https.
    pub fn takes_password(&self) -> bool {
        matches!(self.place, Place::Http { secure: true, .. })
    }

    /// Returns the form that git understands: a path for a local repository, the URL otherwise.
    pub(crate) fn for_git(&self) -> &OsStr {
        match &self.place {
            Place::File { path } => path.as_os_str(),
            Place::Http { .. } | Place::Ssh { .. } | Place::Git { .. } => self.text.as_ref(),
        }
    }

    /// Returns the host on which the forge of the repository serves its pages, with a port that is not the usual one;
    /// `None` for a repository of this machine.
    pub fn web_host(&self) -> Option<String> {
        match &self.place {
            Place::File { .. } | Place::Git { .. } => None,
            Place::Http { server, .. } => Some(server.with_port_beside(self.place.usual_port())),
            // The port is that of ssh.
            Place::Ssh { server } => Some(server.host.clone()),
        }
    }

    /// Returns `scheme://host[:port]`, to which a credential is bound; `None` unless it is asked over http or https.
    pub fn origin(&self) -> Option<String> {
        self.place.origin().map(|origin| origin.trim_end_matches('/').to_owned())
    }

    /// Returns the port of a server on the loopback of this machine that is asked over http, https or ssh.
    pub fn loopback_port(&self) -> Option<u16> {
        let (host, port) = self.server().filter(|_| !matches!(self.place, Place::Git { .. }))?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        is_loopback.then_some(port)
    }

    /// Returns what tells one repository from another: the same for all ways of writing its URL that people use.
    ///
    /// Scheme, user, the usual port, case and a trailing `.git` make no difference. Paths of this machine keep their case.
    pub fn identity(&self) -> String {
        let bare = |path: &str| {
            let path = path.trim_end_matches('/');
            path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/').to_owned()
        };
        match (&self.place, self.place.server_and_usual_port()) {
            (Place::File { path }, _) => bare(&path.to_string_lossy()),
            (_, Some((server, usual))) => {
                let path = self.path().trim_start_matches('/');
                format!("{}/{}", server.with_port_beside(Some(usual)), bare(path)).to_lowercase()
            }
            (_, None) => self.text.clone(),
        }
    }

    /// Returns the last two parts of the path, `owner` and `name` on a forge, without `.git`.
    pub fn owner_and_name(&self) -> Option<(&str, &str)> {
        let path = self.path().trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let (rest, name) = path.rsplit_once('/')?;
        let owner = rest.rsplit('/').next()?;
        (!name.is_empty() && !owner.is_empty()).then_some((owner, name))
    }

    /// Returns what stands behind the server; the whole path for a repository of this machine.
    fn path(&self) -> &str {
        match (&self.place, self.text.split_once("://")) {
            (Place::File { path }, _) => path.to_str().unwrap_or(&self.text),
            (_, Some((_, rest))) => rest.split_once('/').map_or("", |(_, path)| path),
            // The short form of ssh: what follows the server and a colon.
            (_, None) => {
                let behind = self.text.split_once("]:").or_else(|| self.text.split_once(':'));
                behind.map_or("", |(_, path)| path)
            }
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    fn file(text: &str, path: &str) -> Result<Self, RemoteUrlError> {
        if path.chars().any(char::is_control) {
            return Err(RemoteUrlError::Character);
        }
        Ok(Self { text: text.to_owned(), place: Place::File { path: PathBuf::from(path) } })
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Place {
    /// Returns whether `url` leads to the same server by the same protocol.
    pub(crate) fn is_origin_of(&self, url: &str) -> bool {
        let origin = self.origin();
        origin.is_some() && RemoteUrl::parse(url).is_ok_and(|other| other.place.origin() == origin)
    }

    /// Returns `scheme://host[:port]/`, to which a credential is bound.
    pub(crate) fn origin(&self) -> Option<String> {
        let Self::Http { secure, server } = self else {
            return None;
        };
        let scheme = if *secure { "https" } else { "http" };
        Some(format!("{scheme}://{}/", server.with_port_beside(self.usual_port())))
    }

    fn usual_port(&self) -> Option<u16> {
        self.server_and_usual_port().map(|(_, usual)| usual)
    }

    fn server_and_usual_port(&self) -> Option<(&Server, u16)> {
        match self {
            Self::File { .. } => None,
            Self::Http { secure: true, server } => Some((server, 443)),
            Self::Http { secure: false, server } => Some((server, 80)),
            Self::Ssh { server } => Some((server, 22)),
            Self::Git { server } => Some((server, 9418)),
        }
    }
}

impl Server {
    /// Returns the host, with the port unless that is the usual one.
    fn with_port_beside(&self, usual: Option<u16>) -> String {
        match self.port.filter(|port| Some(*port) != usual) {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

fn unknown_scheme(scheme: &str) -> RemoteUrlError {
    RemoteUrlError::Scheme { scheme: scheme.chars().take(40).collect() }
}

fn file_path(rest: &str) -> Result<&str, RemoteUrlError> {
    let path = rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest);
    if path.starts_with('/') { Ok(path) } else { Err(RemoteUrlError::Relative) }
}

/// Decodes `%41` to `A`; what results must be UTF-8.
fn decode(text: &str) -> Result<String, RemoteUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let Some((digits, tail)) = tail.split_first_chunk::<2>() else {
            return Err(RemoteUrlError::Path);
        };
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| RemoteUrlError::Path)?;
        bytes.extend(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| RemoteUrlError::Path)
}

fn http_server(rest: &str) -> Result<Server, RemoteUrlError> {
    let (authority, path) = rest.split_once('/').ok_or(RemoteUrlError::Path)?;
    if authority.contains('@') {
        return Err(RemoteUrlError::Credential);
    }
    if rest.contains(['?', '#']) {
        return Err(RemoteUrlError::Query);
    }
    if path.is_empty() || path.contains('\\') {
        return Err(RemoteUrlError::Path);
    }
    server(authority)
}

fn ssh(rest: &str) -> Result<Server, RemoteUrlError> {
    let (authority, path) = rest.split_once('/').ok_or(RemoteUrlError::Path)?;
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            check_user(user)?;
            host
        }
        None => authority,
    };
    check_ssh_path(path)?;
    server(host)
}

/// Reads `user@host:path`, which git takes for ssh when no slash stands before the first colon.
fn short_ssh(text: &str) -> Result<Server, RemoteUrlError> {
    let (authority, path) = match text.split_once('[') {
        // An IPv6 address stands in brackets because of its colons.
        Some((before, _)) if !before.contains([':', '/']) => {
            let (authority, path) = text.split_once("]:").ok_or(RemoteUrlError::Host)?;
            (format!("{authority}]"), path)
        }
        _ => {
            let (authority, path) = text.split_once(':').ok_or(RemoteUrlError::Relative)?;
            (authority.to_owned(), path)
        }
    };
    if authority.contains('/') {
        return Err(RemoteUrlError::Relative);
    }
    if path.starts_with(':') {
        // `ext::…` and its like make git run a program of that name.
        return Err(unknown_scheme(&authority));
    }
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            check_user(user)?;
            host
        }
        None => &authority,
    };
    let server = server(host)?;
    if server.port.is_some() {
        return Err(RemoteUrlError::Host);
    }
    if path.is_empty() {
        return Err(RemoteUrlError::Path);
    }
    if path.starts_with('-') {
        return Err(RemoteUrlError::Dash { part: "path" });
    }
    check_ssh_path(path)?;
    Ok(server)
}

fn check_user(user: &str) -> Result<(), RemoteUrlError> {
    if user.contains(':') {
        return Err(RemoteUrlError::Credential);
    }
    if user.starts_with('-') {
        return Err(RemoteUrlError::Dash { part: "user" });
    }
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if user.is_empty() || !user.chars().all(allowed) {
        return Err(RemoteUrlError::User);
    }
    Ok(())
}

/// Git quotes the path for the far shell; what not every git and every server reads alike is refused.
fn check_ssh_path(path: &str) -> Result<(), RemoteUrlError> {
    if path.trim_matches('/').is_empty() || path.contains(['\\', '%', '\'', '"', '`', '$', '!', '?', '#']) {
        return Err(RemoteUrlError::Path);
    }
    Ok(())
}

fn server(text: &str) -> Result<Server, RemoteUrlError> {
    if text.starts_with('-') {
        return Err(RemoteUrlError::Dash { part: "host" });
    }
    let (spelled, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(RemoteUrlError::Host)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| RemoteUrlError::Host)?;
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => return Err(RemoteUrlError::Host),
            };
            (format!("[{address}]"), port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        },
    };
    let host = spelled.to_ascii_lowercase();
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if !host.starts_with('[') && (host.is_empty() || host.starts_with('.') || !host.chars().all(allowed)) {
        return Err(RemoteUrlError::Host);
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|&port| port > 0).ok_or(RemoteUrlError::Port)?)
        }
        Some(_) => return Err(RemoteUrlError::Port),
    };
    Ok(Server { host, spelled, port })
}
