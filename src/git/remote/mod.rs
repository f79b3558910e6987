//! A remote repository and how we prove who we are there.

#[cfg(test)]
mod tests;
mod url;

use std::time::Duration;

use crate::secret::Secret;

pub(crate) use crate::git::remote::url::Place;
pub use crate::git::remote::url::{RemoteUrl, RemoteUrlError, URL_LIMIT};

/// How long one request over http may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How much one fetch into a repository of ours may bring unless told otherwise, in bytes.
const FETCH_LIMIT: u64 = 1 << 30;

/// A remote repository and the credential for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    url: RemoteUrl,
    credential: Option<Credential>,
    /// Certificates in PEM form that are believed beside those of the system.
    authority: Option<String>,
    timeout: Duration,
    fetch_limit: u64,
}

/// Proves who we are. It is sent to the host of the remote that it was given with and to no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token of a forge, sent as the password of the user `x-access-token`.
    Token(Secret),
    /// A user and a password.
    Basic { user: String, password: Secret },
    /// A private key in OpenSSH format without a passphrase, and the host keys that are believed.
    Ssh { identity: Secret, known_hosts: String },
}

/// A URL and a credential do not go together, or the credential is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A token or password may only travel encrypted.
    #[error("a token or password is only sent over https, not to {0}")]
    NeedsHttps(RemoteUrl),
    /// A key is of use to ssh alone.
    #[error("an ssh key is of no use for {0}")]
    NeedsSsh(RemoteUrl),
    /// A key without host keys would trust whoever answers.
    #[error("an ssh key needs `known_hosts`: the host key of {0} would be unknown")]
    NoKnownHosts(RemoteUrl),
    /// The credential would break the header or file that it is sent in.
    #[error("the credential is empty or holds a character that cannot be sent")]
    Malformed,
    /// What should be certificates is something else.
    #[error("`ca.crt` holds no certificate in PEM form")]
    NoCertificate,
}

impl Remote {
    /// Joins a URL with the credential for it.
    pub fn new(url: RemoteUrl, credential: Option<Credential>) -> Result<Self, CredentialError> {
        match (&credential, url.place()) {
            (None, _) => {}
            (Some(Credential::Token(token)), Place::Http { secure: true, .. }) => {
                check_header_text(token.expose())?;
            }
            (Some(Credential::Basic { user, password }), Place::Http { secure: true, .. }) => {
                check_header_text(user)?;
                if user.contains(':') {
                    return Err(CredentialError::Malformed);
                }
                check_header_text(password.expose())?;
            }
            (Some(Credential::Ssh { identity, known_hosts }), Place::Ssh { .. }) => {
                if identity.expose().trim().is_empty() || identity.expose().contains('\0') {
                    return Err(CredentialError::Malformed);
                }
                if known_hosts.trim().is_empty() {
                    return Err(CredentialError::NoKnownHosts(url));
                }
            }
            (Some(Credential::Token(_) | Credential::Basic { .. }), _) => {
                return Err(CredentialError::NeedsHttps(url));
            }
            (Some(Credential::Ssh { .. }), _) => return Err(CredentialError::NeedsSsh(url)),
        }
        Ok(Self { url, credential, authority: None, timeout: TIMEOUT, fetch_limit: FETCH_LIMIT })
    }

    /// Adds certificates in PEM form that are believed for this remote, for servers whose own the system does not know.
    pub fn with_authority(self, certificates: String) -> Result<Self, CredentialError> {
        if certificates.contains("-----BEGIN CERTIFICATE-----") && !certificates.contains('\0') {
            Ok(Self { authority: Some(certificates), ..self })
        } else {
            Err(CredentialError::NoCertificate)
        }
    }

    /// Returns the certificates that are believed beside those of the system.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Sets how long one request over http may take, from the connection to the last byte of the answer, and how long
    /// one session over ssh; local repositories are waited for.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Returns how long one request over http, or one session over ssh, may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sets how many bytes one fetch into a repository of ours may bring, as they travel.
    #[must_use]
    pub fn with_fetch_limit(self, fetch_limit: u64) -> Self {
        Self { fetch_limit, ..self }
    }

    /// Returns how many bytes one fetch into a repository of ours may bring.
    pub(crate) fn fetch_limit(&self) -> u64 {
        self.fetch_limit
    }

    /// Returns where the remote is.
    pub fn url(&self) -> &RemoteUrl {
        &self.url
    }

    /// Returns the credential for it.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Returns user and password for a server that asks for them, whatever the kind of the credential.
    pub(crate) fn user_and_password(&self) -> Option<(&str, &Secret)> {
        match &self.credential {
            Some(Credential::Token(token)) => Some(("x-access-token", token)),
            Some(Credential::Basic { user, password }) => Some((user, password)),
            Some(Credential::Ssh { .. }) | None => None,
        }
    }

    /// Replaces the credential by a mark wherever `text` repeats it.
    ///
    /// A server sees the credential and may write it into the messages that it sends back.
    pub(crate) fn blot(&self, text: &str) -> String {
        let Some((user, password)) = self.user_and_password() else {
            return text.to_owned();
        };
        let encoded = basic_value(user, password);
        text.replace(encoded.expose(), "<secret>").replace(password.expose(), "<secret>")
    }
}

/// Returns what stands behind `Authorization: Basic`.
pub(crate) fn basic_value(user: &str, password: &Secret) -> Secret {
    use base64::Engine as _;
    Secret::new(base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose())))
}

fn check_header_text(text: &str) -> Result<(), CredentialError> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(CredentialError::Malformed);
    }
    Ok(())
}
