//! URLs of repositories mean what they mean to upstream: which forge, whose repository, and what is a commit.
//!
//! The cases are recordings of upstream's own functions; what we mean to do otherwise stands in a table with its reason.

use kelos::forge::app;
use kelos::git::program::Checkout;
use kelos::git::remote::RemoteUrl;
use serde_json::{Value, json};

const RECORDED: &str = include_str!("../testdata/upstream/repository-urls.jsonl");

/// URLs that upstream reads otherwise: the URL, what we read (nothing when we refuse it), and why.
const OTHER_READING: [(&str, Option<[&str; 3]>, &str); 8] = [
    ("a", None, "no place of a repository; upstream makes up a name"),
    (".git", None, "no place of a repository; upstream makes up a name"),
    ("my.org/repo", None, "a path that depends on who reads it, or a host without a scheme"),
    ("https://github.com/", None, "a host without a repository; upstream takes the host for one"),
    (
        "https://github.com/acme/my.repo",
        Some(["github.com", "acme", "my.repo"]),
        "upstream cuts a name at its dot",
    ),
    (
        "https://github.com/acme/my.repo.git",
        Some(["github.com", "acme", "my.repo"]),
        "upstream cuts a name at its dot",
    ),
    (
        "ssh://git@github.com/acme/widgets.git",
        Some(["github.com", "acme", "widgets"]),
        "upstream knows the host of the short form of ssh alone",
    ),
    ("https://github.com//a/b", Some(["github.com", "a", "b"]), "upstream loses the host before two slashes"),
];

/// What has no counterpart here, and why.
const NOT_OURS: [(&str, &str); 2] = [
    ("parse_resource_list", "flags of upstream's installation in a cluster"),
    ("shell_quote", "git gets a remote as an argument, and no shell sees it"),
];

#[test]
fn urls_are_read_as_upstream_reads_them() {
    let mut counts = [0; 4];
    let mut other = Vec::new();
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (name, input, output) = (&case["case"], case["input"].as_str().unwrap(), &case["output"]);
        match case["op"].as_str().unwrap() {
            "parse_repo_url" => {
                counts[0] += 1;
                let read = read(input);
                let as_upstream = ["host", "owner", "repo"].map(|field| output[field].as_str().unwrap());
                match OTHER_READING.iter().find(|(url, ..)| *url == input) {
                    Some((_, expected, _)) => {
                        assert_eq!(read, expected.map(|parts| parts.map(str::to_owned)), "{name}");
                        assert_ne!(*expected, Some(as_upstream), "{name} agrees by now");
                        other.push(input.to_owned());
                    }
                    None => assert_eq!(read, Some(as_upstream.map(str::to_owned)), "{name}"),
                }
                // Upstream leaves the address of github.com, and that of no forge, empty.
                if let Some([host, ..]) = &read
                    && output["enterprise"] == json!(true)
                {
                    assert_eq!(app::api_base(host), output["apiBaseURL"].as_str().unwrap(), "{name}");
                }
            }
            "github_api_base_url" => {
                counts[1] += 1;
                // A URL whose forge has no host is none.
                if !input.is_empty() {
                    assert_eq!(app::api_base(input), output.as_str().unwrap(), "{name}");
                }
            }
            "is_full_commit_sha" => {
                counts[2] += 1;
                let is_commit = matches!(Checkout::parse(input), Ok(Checkout::Commit(_)));
                assert_eq!(json!(is_commit), *output, "{name}");
            }
            op => {
                counts[3] += 1;
                assert!(NOT_OURS.iter().any(|(known, _)| *known == op), "{op}");
            }
        }
    }
    assert_eq!(counts, [17, 3, 4, 12]);
    assert_eq!(other.len(), OTHER_READING.len(), "the table holds cases that are not recorded: {other:?}");
}

/// Returns host, owner and name, empty where there is none; nothing when we refuse the URL.
fn read(text: &str) -> Option<[String; 3]> {
    let url = RemoteUrl::parse(text).ok()?;
    let (owner, name) = url.owner_and_name().unwrap_or_default();
    Some([url.web_host().unwrap_or_default(), owner.to_owned(), name.to_owned()])
}
