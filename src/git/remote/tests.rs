//! URLs of repositories, and the credentials that go with them.

use std::path::Path;

use super::*;

fn url(text: &str) -> RemoteUrl {
    RemoteUrl::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn usual_urls_are_taken_and_shown_as_given() {
    for text in [
        "/srv/git/config.git",
        "/srv/with blank/config",
        "file:///srv/git/config.git",
        "file://localhost/srv/config",
        "https://github.com/acme/config.git",
        "https://git.example.com:8443/a/b",
        "http://127.0.0.1:8080/config.git",
        "https://[::1]:8443/config",
        "ssh://git@github.com/acme/config.git",
        "ssh://git@example.com:2222/~me/config",
        "git@github.com:acme/config.git",
        "example.com:config",
        "git://example.com/acme/config.git",
        "git@[::1]:config",
    ] {
        assert_eq!(url(text).to_string(), text);
    }
    assert_eq!(url("file:///srv/a%20b").local_path(), Some(Path::new("/srv/a b")));
}

#[test]
fn dangerous_and_malformed_urls_are_refused_with_their_reason() {
    let long = format!("https://example.com/{}", "a".repeat(URL_LIMIT));
    let cases = [
        ("", RemoteUrlError::Length),
        (long.as_str(), RemoteUrlError::Length),
        ("--upload-pack=touch x", RemoteUrlError::Dash { part: "text" }),
        ("config", RemoteUrlError::Relative),
        ("./config", RemoteUrlError::Relative),
        ("../a:b", RemoteUrlError::Relative),
        ("file://config", RemoteUrlError::Relative),
        ("file:///a%00b", RemoteUrlError::Character),
        ("file:///a%2", RemoteUrlError::Path),
        ("file:///a%ff", RemoteUrlError::Path),
        ("/srv/a\nb", RemoteUrlError::Character),
        ("ext::sh -c 'touch x'", RemoteUrlError::Character),
        ("ext::sh", RemoteUrlError::Scheme { scheme: "ext".to_owned() }),
        ("ftp://example.com/a", RemoteUrlError::Scheme { scheme: "ftp".to_owned() }),
        ("git://git@example.com/a", RemoteUrlError::Credential),
        ("HTTPS://example.com/a", RemoteUrlError::Scheme { scheme: "HTTPS".to_owned() }),
        ("https://user:token@example.com/a", RemoteUrlError::Credential),
        ("https://token@example.com/a", RemoteUrlError::Credential),
        ("https://example.com/a?b", RemoteUrlError::Query),
        ("https://example.com", RemoteUrlError::Path),
        ("https://example.com/", RemoteUrlError::Path),
        ("https:///a", RemoteUrlError::Host),
        ("https://-x/a", RemoteUrlError::Dash { part: "host" }),
        ("https://exa mple.com/a", RemoteUrlError::Character),
        ("https://exämple.com/a", RemoteUrlError::Host),
        ("https://example.com:0/a", RemoteUrlError::Port),
        ("https://example.com:99999/a", RemoteUrlError::Port),
        ("https://[::1/a", RemoteUrlError::Host),
        ("ssh://-oProxyCommand=x/a", RemoteUrlError::Dash { part: "host" }),
        ("ssh://-oProxyCommand=x@host/a", RemoteUrlError::Dash { part: "user" }),
        ("ssh://git:secret@host/a", RemoteUrlError::Credential),
        ("ssh://gi`t@host/a", RemoteUrlError::User),
        ("ssh://git@host/", RemoteUrlError::Path),
        ("git@-oProxyCommand=x:a", RemoteUrlError::Dash { part: "host" }),
        ("-oProxyCommand=x@host:a", RemoteUrlError::Dash { part: "text" }),
        ("git@host:-x", RemoteUrlError::Dash { part: "path" }),
        ("git@host:", RemoteUrlError::Path),
        ("git@host:a$(x)", RemoteUrlError::Path),
    ];
    for (text, error) in cases {
        assert_eq!(RemoteUrl::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn the_forge_of_a_repository_is_known() {
    for (text, host, parts) in [
        ("https://github.com/acme/app.git", Some("github.com"), Some(("acme", "app"))),
        ("https://Forge.example:8443/x/acme/app/", Some("forge.example:8443"), Some(("acme", "app"))),
        ("git@github.com:acme/app.git", Some("github.com"), Some(("acme", "app"))),
        ("ssh://git@forge.example:2222/acme/app", Some("forge.example"), Some(("acme", "app"))),
        ("file:///srv/acme/app.git", None, Some(("acme", "app"))),
        ("git@host:app", Some("host"), None),
    ] {
        let parsed = url(text);
        assert_eq!((parsed.web_host().as_deref(), parsed.owner_and_name()), (host, parts), "{text}");
    }
    for (text, port) in [
        ("https://localhost:8443/a", Some(8443)),
        ("http://127.0.0.1/a", Some(80)),
        ("https://[::1]/a", Some(443)),
        ("https://localhost.example/a", None),
        ("git@localhost:a", Some(22)),
        ("ssh://git@127.0.0.1:2222/a", Some(2222)),
        ("git://localhost/a", None),
    ] {
        assert_eq!(url(text).loopback_port(), port, "{text}");
    }
}

#[test]
fn the_server_of_a_repository_is_read_from_its_url() {
    for (text, expected) in [
        ("https://GitHub.com/o/n.git", Some(("github.com", 443))),
        ("https://git.corp:8443/o/n", Some(("git.corp", 8443))),
        ("http://[fd00::1]:3000/o", Some(("[fd00::1]", 3000))),
        ("http://[fd00::1]/o", Some(("[fd00::1]", 80))),
        ("git@github.com:o/n", Some(("github.com", 22))),
        ("git@[fd00::1]:o/n", Some(("[fd00::1]", 22))),
        ("ssh://git@host:2222/o", Some(("host", 2222))),
        ("git://host/o", Some(("host", 9418))),
        ("file:///o", None),
        ("/o", None),
    ] {
        assert_eq!(url(text).server(), expected, "{text}");
    }
}

#[test]
fn a_repository_is_the_same_however_its_url_is_written() {
    for text in [
        "https://github.com/Acme/Tools.git",
        "https://github.com/acme/tools",
        "https://github.com:443/acme/tools/",
        "http://github.com/acme/tools",
        "git@github.com:acme/tools.git",
        "git@github.com:/acme/tools",
        "ssh://git@github.com/acme/tools.git",
        "ssh://git@github.com:22/acme/tools.git/",
        "git://GitHub.com/acme/tools",
    ] {
        assert_eq!(url(text).identity(), "github.com/acme/tools", "{text}");
    }
    for (text, identity) in [
        ("https://git.example.com:8443/a/b.git", "git.example.com:8443/a/b"),
        ("git@[::1]:a/b", "[::1]/a/b"),
        ("file:///srv/Repo.git", "/srv/Repo"),
        ("file://localhost/srv/Repo/.git", "/srv/Repo"),
        ("/srv/repo/", "/srv/repo"),
    ] {
        assert_eq!(url(text).identity(), identity, "{text}");
    }
}

#[test]
fn a_credential_is_bound_to_scheme_host_and_port() {
    let place = url("https://Example.com/a/b").place().clone();
    assert!(place.is_origin_of("https://example.com/other"));
    assert!(place.is_origin_of("https://example.com:443/other"));
    for other in [
        "http://example.com/a",
        "https://example.com:8443/a",
        "https://example.org/a",
        "https://a@example.com/a",
    ] {
        assert!(!place.is_origin_of(other), "{other}");
    }
}

#[test]
fn credentials_go_only_where_they_are_safe() {
    let token = || Some(Credential::Token(Secret::new("t0ken")));
    let key = |known_hosts: &str| {
        Some(Credential::Ssh { identity: Secret::new("KEY"), known_hosts: known_hosts.to_owned() })
    };
    assert!(Remote::new(url("https://example.com/a"), token()).is_ok());
    assert!(Remote::new(url("git@example.com:a"), key("example.com ssh-ed25519 AAAA")).is_ok());
    assert!(Remote::new(url("/srv/a"), None).is_ok());
    let plain = url("http://example.com/a");
    assert_eq!(Remote::new(plain.clone(), token()), Err(CredentialError::NeedsHttps(plain)));
    let local = url("/srv/a");
    assert_eq!(Remote::new(local.clone(), token()), Err(CredentialError::NeedsHttps(local)));
    let web = url("https://example.com/a");
    assert_eq!(Remote::new(web.clone(), key("x")), Err(CredentialError::NeedsSsh(web.clone())));
    let shell = url("git@example.com:a");
    assert_eq!(Remote::new(shell.clone(), key(" ")), Err(CredentialError::NoKnownHosts(shell)));
    let broken = Credential::Token(Secret::new("a\r\nX-Evil: 1"));
    assert_eq!(Remote::new(web.clone(), Some(broken)), Err(CredentialError::Malformed));
    let user = Credential::Basic { user: "a:b".to_owned(), password: Secret::new("p") };
    assert_eq!(Remote::new(web, Some(user)), Err(CredentialError::Malformed));
}

#[test]
fn a_credential_is_blotted_out_of_texts() {
    let remote =
        Remote::new(url("https://example.com/a"), Some(Credential::Token(Secret::new("t0ken")))).unwrap();
    let header = basic_value("x-access-token", &Secret::new("t0ken"));
    let text = format!("remote: you sent {} that is t0ken", header.expose());
    assert_eq!(remote.blot(&text), "remote: you sent <secret> that is <secret>");
    assert!(!format!("{remote:?}").contains("t0ken"));
}
