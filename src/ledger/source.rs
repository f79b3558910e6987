//! Links from a report to definitions, where the address of their pages is known.

use crate::ledger::markdown::{code, encode_path, link};

/// Returns where a definition stands, as a link when its page is known.
pub(super) fn place(url: &str, revision: &str, file: &str, line: Option<u64>) -> String {
    let place = line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    match source_url(url, revision, file, line) {
        Some(target) => link(&place, &target),
        None => code(&place),
    }
}

/// Returns the first digits of a commit, as a link when its page is known.
pub(super) fn commit(url: &str, revision: &str) -> String {
    let short: String = revision.chars().take(12).collect();
    match web_url(url).filter(|_| is_commit(revision)) {
        Some((base, Forge::GitLab)) => link(&short, &format!("{base}/-/commit/{revision}")),
        Some((base, Forge::GitHub)) => link(&short, &format!("{base}/commit/{revision}")),
        None => code(&short),
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

enum Forge {
    GitHub,
    GitLab,
}

/// Returns the page of a repository on one of the forges whose addresses we know.
fn web_url(url: &str) -> Option<(String, Forge)> {
    let (host, path) = match url.split_once("://") {
        Some(("https" | "ssh", rest)) => rest.split_once('/')?,
        Some(_) => return None,
        None => url.split_once(':')?,
    };
    let forge = match host.strip_prefix("git@").unwrap_or(host) {
        "github.com" => Forge::GitHub,
        "gitlab.com" => Forge::GitLab,
        _ => return None,
    };
    let path = path.trim_matches('/');
    let path = encode_path(path.strip_suffix(".git").unwrap_or(path));
    let host = host.strip_prefix("git@").unwrap_or(host);
    Some((format!("https://{host}/{path}"), forge))
}

/// Returns the page of a line of a file at a commit.
pub(super) fn source_url(url: &str, revision: &str, file: &str, line: Option<u64>) -> Option<String> {
    let (base, forge) = web_url(url).filter(|_| is_commit(revision))?;
    let fragment = line.map(|line| format!("#L{line}")).unwrap_or_default();
    let path = encode_path(file);
    Some(match forge {
        Forge::GitHub => format!("{base}/blob/{revision}/{path}{fragment}"),
        Forge::GitLab => format!("{base}/-/blob/{revision}/{path}{fragment}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_forges_are_linked() {
        let commit = "1".repeat(40);
        let url = |url: &str| source_url(url, &commit, "a b.yaml", Some(3));
        let expected = format!("https://github.com/acme/config/blob/{commit}/a%20b.yaml#L3");
        for known in [
            "https://github.com/acme/config.git",
            "git@github.com:acme/config.git",
            "ssh://git@github.com/acme/config",
        ] {
            assert_eq!(url(known), Some(expected.clone()), "{known}");
        }
        assert!(url("https://gitlab.com/a/b/c").is_some_and(|url| url.contains("/a/b/c/-/blob/")));
        for unknown in
            ["/srv/config", "file:///srv/config", "https://git.example.com/a", "http://github.com/a/b"]
        {
            assert_eq!(url(unknown), None, "{unknown}");
        }
        assert_eq!(source_url("https://github.com/a/b", "main", "a", None), None);
    }
}
