//! From the spec of a ConfigRepository and its Secret to a remote that git can reach.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as SecretObject;
use kube::api::Api;

use crate::api::config_repository::{GitReference, ReportSpec};
use crate::git::reference::Reference;
use crate::git::remote::{Credential, Remote, RemoteUrl};
use crate::secret::Secret;

/// Why there is no remote.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteFault {
    /// The spec or the Secret is wrong: somebody has to change it.
    #[error("{0}")]
    Invalid(String),
    /// The Secret is not there.
    #[error("the Secret {0} does not exist")]
    SecretMissing(String),
    /// The API did not answer.
    #[error("cannot read the Secret {name}")]
    Api {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Returns the remote at `url` with the credential from the Secret called `secret`.
pub(crate) async fn remote(
    client: &kube::Client,
    namespace: &str,
    url: &str,
    secret: Option<&str>,
) -> Result<Remote, RemoteFault> {
    let url = RemoteUrl::parse(url)
        .map_err(|error| RemoteFault::Invalid(format!("the URL cannot be used: {error}")))?;
    let credential = match secret {
        None => None,
        Some(name) => {
            let api: Api<SecretObject> = Api::namespaced(client.clone(), namespace);
            let found = api.get_opt(name).await;
            let found = found
                .map_err(|source| RemoteFault::Api { name: name.to_owned(), source: Box::new(source) })?;
            let secret = found.ok_or_else(|| RemoteFault::SecretMissing(name.to_owned()))?;
            Some(credential(name, &secret.data.unwrap_or_default())?)
        }
    };
    Remote::new(url, credential).map_err(|error| RemoteFault::Invalid(error.to_string()))
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

fn credential(name: &str, data: &BTreeMap<String, ByteString>) -> Result<Credential, RemoteFault> {
    let text = |key: &str| -> Result<Option<String>, RemoteFault> {
        data.get(key)
            .map(|bytes| {
                String::from_utf8(bytes.0.clone()).map(|text| text.trim_end_matches('\n').to_owned()).map_err(
                    |_| RemoteFault::Invalid(format!("the key {key} of the Secret {name} is not text")),
                )
            })
            .transpose()
    };
    if let Some(identity) = text("identity")? {
        let known_hosts = text("known_hosts")?.unwrap_or_default();
        return Ok(Credential::Ssh { identity: Secret::new(format!("{identity}\n")), known_hosts });
    }
    if let Some(token) = text("token")?.or(text("GITHUB_TOKEN")?) {
        return Ok(Credential::Token(Secret::new(token)));
    }
    match (text("username")?, text("password")?) {
        (Some(user), Some(password)) => Ok(Credential::Basic { user, password: Secret::new(password) }),
        _ => Err(RemoteFault::Invalid(format!(
            "the Secret {name} holds neither 'token', nor 'username' and 'password', nor 'identity' and 'known_hosts'"
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
