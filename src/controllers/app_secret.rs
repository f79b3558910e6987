//! From a Secret that holds a GitHub App to the App, and to what a token of it is for.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;

use crate::forge::app::{App, AppError};
use crate::git::remote::RemoteUrl;
use crate::secret::Secret;

/// The keys of a Secret that together are a GitHub App, as upstream names them.
pub(crate) const KEYS: [&str; 3] = ["appID", "installationID", "privateKey"];
/// The key of a Secret with certificates in PEM form that are believed beside those of the system.
pub(crate) const AUTHORITY: &str = "ca.crt";

/// Returns the App in the Secret with this `data`, installed on the forge of `repository`; `None` when the Secret holds
/// none.
pub(crate) fn app(
    data: &BTreeMap<String, ByteString>,
    repository: &RemoteUrl,
) -> Option<Result<App, AppError>> {
    let [id, installation, key] = KEYS.map(|key| text(data, key));
    let (id, installation, key) = (id?, installation?, key?);
    let Some(host) = repository.web_host() else {
        let reason = format!("{repository} is not on a forge");
        return Some(Err(AppError::Malformed(reason)));
    };
    let authority = text(data, AUTHORITY);
    Some(App::parse(&host, &id, &installation, Secret::new(key), authority))
}

/// Returns the repository for which a token is wanted, and those of `others` that the same installation can have: those
/// of the same owner on the same host.
pub(crate) fn repositories(repository: &RemoteUrl, others: &[RemoteUrl]) -> Vec<String> {
    let place = |url: &RemoteUrl| {
        let (owner, name) = url.owner_and_name()?;
        Some((url.web_host()?, owner.to_ascii_lowercase(), name.to_owned()))
    };
    let Some((host, owner, name)) = place(repository) else { return Vec::new() };
    let mut names = vec![name];
    let same = others.iter().filter_map(place).filter(|other| (&other.0, &other.1) == (&host, &owner));
    names.extend(same.map(|(_, _, name)| name));
    names.sort();
    names.dedup();
    names
}

/// Returns the value of a key as text; what is no text is as good as missing.
fn text(data: &BTreeMap<String, ByteString>, key: &str) -> Option<String> {
    String::from_utf8(data.get(key)?.0.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RemoteUrl {
        RemoteUrl::parse(text).unwrap()
    }

    #[test]
    fn a_token_is_for_the_repositories_of_one_owner_on_one_host() {
        let others = [
            url("https://github.com/Acme/lib"),
            url("git@github.com:acme/app.git"),
            url("https://github.com/other/app"),
            url("https://github.example/acme/tool"),
        ];
        assert_eq!(repositories(&url("https://github.com/acme/app.git"), &others), ["app", "lib"]);
        assert_eq!(repositories(&url("file:///srv/app"), &others), Vec::<String>::new());
    }

    #[test]
    fn an_app_needs_all_its_keys_and_a_forge() {
        let value = |text: &str| ByteString(text.as_bytes().to_vec());
        let mut data: BTreeMap<String, ByteString> =
            KEYS.iter().map(|key| ((*key).to_owned(), value("1"))).collect();
        let reason = |data: &BTreeMap<String, ByteString>, place: &str| {
            app(data, &url(place)).map(|app| app.unwrap_err().to_string())
        };
        let broken = reason(&data, "https://github.com/a/b").unwrap();
        assert!(broken.contains("`privateKey`: it is no private key"), "{broken}");
        let local = reason(&data, "file:///srv/app").unwrap();
        assert!(local.contains("is not on a forge"), "{local}");
        data.remove("appID");
        assert_eq!(reason(&data, "https://github.com/a/b"), None);
    }
}
