//! From the spec of a ConfigRepository and its Secret to a remote that git can reach.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::api::Api;

use crate::api::config_repository::{GitReference, ReportSpec};
use crate::controllers::app_secret::{self, AUTHORITY};
use crate::controllers::context::Context;
use crate::forge::app::{Access, AppError};
use crate::git::reference::Reference;
use crate::git::remote::{Credential, CredentialError, Remote, RemoteUrl};
use crate::secret::Secret;

/// Why there is no remote.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteFault {
    /// The spec is wrong: somebody has to change it.
    #[error("{0}")]
    Invalid(String),
    /// The Secret holds what cannot be used for this remote: somebody has to change it, or name another.
    #[error("{0}")]
    SecretUnusable(String),
    /// The Secret is not there.
    #[error("the Secret {0} does not exist")]
    SecretMissing(String),
    /// The forge gives no token for the GitHub App of the Secret.
    #[error("{0}")]
    App(#[from] AppError),
    /// The API did not answer.
    #[error("cannot read the Secret {name}")]
    Api {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Returns the remote at `url` with the credential from the Secret called `secret`; `access` is what a token that is
/// minted for it allows.
pub(crate) async fn remote(
    context: &Context,
    namespace: &str,
    url: &str,
    secret: Option<&str>,
    access: Access,
) -> Result<Remote, RemoteFault> {
    let url = RemoteUrl::parse(url)
        .map_err(|error| RemoteFault::Invalid(format!("the URL cannot be used: {error}")))?;
    let invalid = |error: CredentialError| RemoteFault::Invalid(error.to_string());
    let Some(name) = secret else { return Remote::new(url, None).map_err(invalid) };
    let unusable = |error: CredentialError| {
        RemoteFault::SecretUnusable(format!("the Secret {name} cannot be used: {error}"))
    };
    let api: Api<SecretObject> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(name).await;
    let found =
        found.map_err(|source| RemoteFault::Api { name: name.to_owned(), source: Box::new(source) })?;
    let data = found.ok_or_else(|| RemoteFault::SecretMissing(name.to_owned()))?.data.unwrap_or_default();
    let credential = match app_secret::app(&data, &url) {
        Some(app) => {
            let repositories = app_secret::repositories(&url, &[]);
            Some(Credential::Token(context.tokens.token(&app?, &repositories, access).await?))
        }
        None => credential(name, &data)?,
    };
    let remote = Remote::new(url, credential).map_err(unusable)?;
    match text(name, &data, AUTHORITY)? {
        Some(certificates) => remote.with_authority(certificates).map_err(unusable),
        None => Ok(remote),
    }
}

/// Returns where a report goes when it goes elsewhere, and the Secret for it.
pub(crate) fn report_place<'a>(
    url: &'a str,
    secret: Option<&'a str>,
    report: &'a ReportSpec,
) -> (&'a str, Option<&'a str>) {
    let own = report.secret_ref.as_ref().map(|reference| reference.name.as_str());
    match &report.url {
        // A credential goes to the host that it was given for: another repository needs its own.
        Some(other) if other != url => (other, own),
        Some(_) | None => (url, own.or(secret)),
    }
}

fn text(name: &str, data: &BTreeMap<String, ByteString>, key: &str) -> Result<Option<String>, RemoteFault> {
    let Some(bytes) = data.get(key) else { return Ok(None) };
    match std::str::from_utf8(&bytes.0) {
        Ok(text) => Ok(Some(text.trim_end_matches('\n').to_owned())),
        Err(_) => Err(RemoteFault::SecretUnusable(format!("the key {key} of the Secret {name} is not text"))),
    }
}

fn credential(name: &str, data: &BTreeMap<String, ByteString>) -> Result<Option<Credential>, RemoteFault> {
    let text = |key: &str| text(name, data, key);
    if let Some(identity) = text("identity")? {
        let known_hosts = text("known_hosts")?.unwrap_or_default();
        return Ok(Some(Credential::Ssh { identity: Secret::new(format!("{identity}\n")), known_hosts }));
    }
    if let Some(token) = text("token")?.or(text("GITHUB_TOKEN")?) {
        return Ok(Some(Credential::Token(Secret::new(token))));
    }
    match (text("username")?, text("password")?) {
        (Some(user), Some(password)) => Ok(Some(Credential::Basic { user, password: Secret::new(password) })),
        // A repository that everybody may read, on a server with certificates of its own.
        (None, None) if data.contains_key(AUTHORITY) => Ok(None),
        _ => Err(RemoteFault::SecretUnusable(format!(
            "the Secret {name} holds neither 'token', nor 'username' and 'password', nor 'identity' and 'known_hosts', \
             nor 'appID', 'installationID' and 'privateKey'"
        ))),
    }
}

/// Returns what is read from the remote.
pub(crate) fn reference(reference: Option<&GitReference>) -> Result<Reference, RemoteFault> {
    let Some(reference) = reference else { return Ok(Reference::DefaultBranch) };
    let invalid =
        |error: &dyn std::fmt::Display| RemoteFault::Invalid(format!("spec.ref cannot be used: {error}"));
    match (&reference.branch, &reference.tag, &reference.commit) {
        (None, None, None) => Ok(Reference::DefaultBranch),
        (Some(branch), None, None) => Reference::branch(branch).map_err(|error| invalid(&error)),
        (None, Some(tag), None) => Reference::tag(tag).map_err(|error| invalid(&error)),
        (None, None, Some(commit)) => Reference::commit(commit).map_err(|error| invalid(&error)),
        _ => Err(RemoteFault::Invalid("spec.ref names more than one of branch, tag and commit".to_owned())),
    }
}
