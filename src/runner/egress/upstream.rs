//! The proxies through which this machine reaches others, as its environment names them.
//!
//! They are read as curl and so git read them: `HTTPS_PROXY` for tunnels, `HTTP_PROXY` for plain requests, `ALL_PROXY`
//! for both, and `NO_PROXY` for whom none is used. Whoever has been judged is asked for; nothing is judged here.

use std::collections::BTreeMap;

use base64::Engine as _;

use crate::runner::egress::rules::{Host, Rule};
use crate::secret::Secret;

/// The proxies of this machine; none unless its environment names some.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    tunnels: Option<Named>,
    plain: Option<Named>,
    direct: Vec<Rule>,
    is_all_direct: bool,
}

/// What a variable names.
#[derive(Debug)]
struct Named {
    variable: &'static str,
    // None: nothing that can be used.
    proxy: Option<Proxy>,
}

/// A proxy that is spoken to in the open.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proxy {
    /// The variable that names it.
    pub(super) variable: &'static str,
    /// Its host.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// What stands behind `Proxy-Authorization:`, when the URL holds a user.
    pub(super) authorization: Option<Secret>,
}

/// A variable names what is no proxy for us. Its value, which may hold a password, is not repeated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy that {0} of the daemon's environment names cannot be used: it has to be http://HOST:PORT")]
pub(super) struct Unusable(&'static str);

impl Upstream {
    /// Reads the variables.
    pub(super) fn of(variables: &BTreeMap<String, Secret>) -> Self {
        let named = |names: [&'static str; 4]| {
            names.into_iter().find_map(|variable| {
                let value = variables.get(variable)?.expose().trim();
                (!value.is_empty()).then(|| Named { variable, proxy: parse(variable, value) })
            })
        };
        let without = ["no_proxy", "NO_PROXY"].iter().find_map(|name| variables.get(*name));
        let without = without.map(Secret::expose).unwrap_or_default();
        let entries = without.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty());
        Self {
            tunnels: named(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            plain: named(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            is_all_direct: entries.clone().any(|entry| entry == "*"),
            direct: entries
                .filter_map(|entry| entry.trim_start_matches("*.").trim_start_matches('.').parse().ok())
                .collect(),
        }
    }

    /// Returns the proxy through which `host` is reached, with a tunnel or a plain request; `None` when it is reached
    /// directly.
    pub(super) fn proxy(&self, host: &Host, port: u16, is_tunnel: bool) -> Result<Option<&Proxy>, Unusable> {
        let named = if is_tunnel { &self.tunnels } else { &self.plain };
        match named {
            Some(named) if !self.is_direct(host, port) => {
                named.proxy.as_ref().map(Some).ok_or(Unusable(named.variable))
            }
            _ => Ok(None),
        }
    }

    fn is_direct(&self, host: &Host, port: u16) -> bool {
        self.is_all_direct || self.direct.iter().any(|rule| rule.covers(host, port))
    }
}

// `http://user:password@host:port/`, in which all but the host may be missing.
fn parse(variable: &'static str, value: &str) -> Option<Proxy> {
    let rest = match value.split_once("://") {
        Some((scheme, rest)) => scheme.eq_ignore_ascii_case("http").then_some(rest)?,
        None => value,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, server) = match authority.rsplit_once('@') {
        Some((user, server)) => (Some(user), server),
        None => (None, authority),
    };
    let (host, port) = Host::parse_with_port(server, 80).filter(|(_, port)| *port > 0)?;
    let authorization = user.map(|user| {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let mut text = decode(name);
        text.push(b':');
        text.extend(decode(password));
        Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text)))
    });
    Some(Proxy { variable, host: host.to_string(), port, authorization })
}

// `%41` is `A`; a percent sign that introduces nothing is one.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let mut byte = [*first];
        rest = match tail.split_first_chunk::<2>() {
            Some((digits, behind)) if *first == b'%' && hex::decode_to_slice(digits, &mut byte).is_ok() => {
                behind
            }
            _ => tail,
        };
        bytes.extend(byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(variables: &[(&str, &str)]) -> Upstream {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        Upstream::of(&variables)
    }

    // `host:port` of the proxy, or `direct`.
    fn proxy(upstream: &Upstream, host: &str, port: u16, is_tunnel: bool) -> String {
        let found = upstream.proxy(&Host::parse(host).unwrap(), port, is_tunnel).unwrap();
        found.map_or("direct".to_owned(), |proxy| format!("{}:{}", proxy.host, proxy.port))
    }

    #[test]
    fn each_kind_of_request_has_its_variable() {
        let both =
            upstream(&[("HTTPS_PROXY", "http://tunnels.corp:3128"), ("http_proxy", "plain.corp:8080/")]);
        assert_eq!(proxy(&both, "a.example", 443, true), "tunnels.corp:3128");
        assert_eq!(proxy(&both, "a.example", 80, false), "plain.corp:8080");
        let all = upstream(&[("ALL_PROXY", "HTTP://[fd00::1]:1"), ("http_proxy", "")]);
        for is_tunnel in [true, false] {
            assert_eq!(proxy(&all, "a.example", 80, is_tunnel), "fd00::1:1");
        }
        let lower = upstream(&[("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "http://lower")]);
        assert_eq!(proxy(&lower, "a.example", 443, true), "lower:80");
        assert_eq!(proxy(&lower, "a.example", 80, false), "direct");
        assert_eq!(proxy(&upstream(&[]), "a.example", 443, true), "direct");
    }

    #[test]
    fn whom_no_proxy_names_is_reached_directly() {
        let some = upstream(&[
            ("ALL_PROXY", "http://p:1"),
            (
                "NO_PROXY",
                "corp.example, .dot.example,*.star.example 10.0.0.0/8,one.example:8443,[::1],bad..name",
            ),
        ]);
        for (host, port, is_direct) in [
            ("corp.example", 443, true),
            ("git.corp.example", 443, true),
            ("evilcorp.example", 443, false),
            ("a.dot.example", 443, true),
            ("a.star.example", 443, true),
            ("10.1.2.3", 443, true),
            ("11.1.2.3", 443, false),
            ("one.example", 8443, true),
            ("one.example", 443, false),
            ("::1", 443, true),
            ("public", 443, false),
        ] {
            assert_eq!(proxy(&some, host, port, true) == "direct", is_direct, "{host}:{port}");
        }
        assert_eq!(proxy(&upstream(&[("ALL_PROXY", "p:1"), ("no_proxy", "*")]), "a", 1, true), "direct");
    }

    #[test]
    fn a_user_becomes_a_header_and_is_shown_nowhere() {
        let with_user = upstream(&[("HTTPS_PROXY", "http://us%65r:p%40ss:w%zz@p.corp:3128")]);
        let found = with_user.proxy(&Host::parse("a.example").unwrap(), 443, true).unwrap().unwrap();
        let expected =
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("user:p@ss:w%zz"));
        assert_eq!(found.authorization.as_ref().unwrap().expose(), expected);
        let shown = format!("{with_user:?}");
        assert!(!shown.contains("p%40ss") && !shown.contains(&expected), "{shown}");
        let without_password = upstream(&[("HTTPS_PROXY", "user@p:1")]);
        let found = without_password.proxy(&Host::parse("a").unwrap(), 443, true).unwrap().unwrap();
        assert_eq!(found.authorization.as_ref().unwrap().expose(), "Basic dXNlcjo=");
    }

    #[test]
    fn what_is_no_proxy_is_told_by_its_variable_alone() {
        for value in
            ["socks5://user:canary@p:1", "https://canary@p:1", "http://p:0", "http://canary:x", "http://"]
        {
            let upstream = upstream(&[("HTTPS_PROXY", value)]);
            let fault = upstream.proxy(&Host::parse("a.example").unwrap(), 443, true).unwrap_err();
            assert_eq!(fault, Unusable("HTTPS_PROXY"), "{value}");
            assert!(!fault.to_string().contains("canary"));
        }
    }
}
