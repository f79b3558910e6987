//! The one request that a client makes of the proxy, read and checked.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::runner::egress::rules::Host;
use crate::secret::Secret;

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// What is between a client and its proxy, what we say ourselves, and what would keep a connection for a second request.
const NOT_FORWARDED: &[&str] =
    &["connection", "host", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate"];

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Whom it wants to reach.
    pub(super) host: Host,
    /// On which port.
    pub(super) port: u16,
    /// The request to pass on; none for a tunnel.
    pub(super) plain: Option<Plain>,
    /// What came after the head.
    pub(super) rest: Vec<u8>,
}

/// A request without encryption.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain {
    method: String,
    // The host as the client wrote it, with its port.
    authority: String,
    // With the query; begins with a slash.
    path: String,
    version: String,
    // Whole lines.
    headers: Vec<String>,
    /// How many bytes follow the head; none when that cannot be told from it.
    pub(super) length: Option<u64>,
}

impl Plain {
    /// Returns the head for the server.
    pub(super) fn for_server(&self) -> Vec<u8> {
        self.head(&self.path, None)
    }

    /// Returns the head for a proxy that passes it on.
    pub(super) fn for_proxy(&self, authorization: Option<&Secret>) -> Vec<u8> {
        self.head(&format!("http://{}{}", self.authority, self.path), authorization)
    }

    // One request for each connection: the next may be for somebody else. It is said first and by us, and so is whom the
    // request is for.
    fn head(&self, target: &str, authorization: Option<&Secret>) -> Vec<u8> {
        let mut head = format!(
            "{} {target} {}\r\nHost: {}\r\nConnection: close\r\n",
            self.method, self.version, self.authority
        );
        if let Some(authorization) = authorization {
            head.push_str(&format!("Proxy-Authorization: {}\r\n", authorization.expose()));
        }
        for line in &self.headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The client went away.
    #[error("the connection ended within the request")]
    Closed,
    /// The head has no end.
    #[error("the head of the request is longer than {LONGEST_HEAD} bytes")]
    TooLong,
    /// It is no request to a proxy.
    #[error("this is a proxy: it takes CONNECT HOST:PORT and requests with a whole http:// URL")]
    NotForProxy,
}

/// Reads the request of a client.
pub(super) async fn read(client: &mut (impl AsyncRead + Unpin)) -> Result<Request, RequestError> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        if client.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return Err(RequestError::Closed);
        }
        // The end may lie across two reads.
        let from = before.saturating_sub(3);
        let fresh = bytes.get(from..).unwrap_or_default();
        if let Some(end) = fresh.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(from + end + 4);
            return parse(&bytes, rest).ok_or(RequestError::NotForProxy);
        }
        if bytes.len() > LONGEST_HEAD {
            return Err(RequestError::TooLong);
        }
    }
}

fn parse(head: &[u8], rest: Vec<u8>) -> Option<Request> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let first = lines.next().filter(|_| !head.starts_with("\r\n"))?;
    let headers: Vec<&str> = lines.collect();
    // A line end that others see and we do not would make two requests of one.
    let is_plain = |line: &&str| !line.chars().any(|character| character.is_control() && character != '\t');
    if !is_plain(&first) || !headers.iter().all(is_plain) {
        return None;
    }
    let mut words = first.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || method.is_empty() {
        return None;
    }
    if method == "CONNECT" {
        let (host, port) = target.rsplit_once(':')?;
        return Some(Request { host: Host::parse(host)?, port: port.parse().ok()?, plain: None, rest });
    }
    let rest_of_url =
        target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).and(target.get(7..))?;
    let end = rest_of_url.find(['/', '?']).unwrap_or(rest_of_url.len());
    let (authority, path) = rest_of_url.split_at_checked(end)?;
    let (host, port) = Host::parse_with_port(authority, 80)?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let is_forwarded = |line: &&&str| {
        let name = line.split(':').next().unwrap_or_default();
        !NOT_FORWARDED.iter().any(|dropped| name.trim().eq_ignore_ascii_case(dropped))
    };
    let plain = Plain {
        method: method.to_owned(),
        authority: authority.to_owned(),
        path: format!("{slash}{path}"),
        version: version.to_owned(),
        headers: headers.iter().filter(is_forwarded).map(|line| (*line).to_owned()).collect(),
        length: length(&headers),
    };
    Some(Request { host, port, plain: Some(plain), rest })
}

// Whatever frames a body otherwise than by one length, others may read otherwise than we do.
fn length(headers: &[&str]) -> Option<u64> {
    let mut found = None;
    for (name, value) in headers.iter().filter_map(|line| line.split_once(':')) {
        if name.trim().eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
        if name.trim().eq_ignore_ascii_case("content-length") {
            let digits = value.trim();
            let length = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
            if found.replace(length).is_some() {
                return None;
            }
        }
    }
    Some(found.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn request(text: &str) -> Result<Request, RequestError> {
        read(&mut text.as_bytes()).await
    }

    #[tokio::test]
    async fn a_tunnel_and_a_plain_request_are_read() {
        let tunnel = request("CONNECT Example.com:443 HTTP/1.1\r\nHost: x\r\n\r\nhello").await.unwrap();
        assert_eq!((tunnel.host.to_string().as_str(), tunnel.port), ("example.com", 443));
        assert_eq!((tunnel.plain, tunnel.rest), (None, b"hello".to_vec()));
        let plain = request(
            "POST http://example.com:8080/a?b HTTP/1.1\r\nHost: other.example\r\nProxy-Connection: keep-alive\r\n\
             CONNECTION: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        );
        let plain = plain.await.unwrap();
        assert_eq!(plain.port, 8080);
        assert_eq!(plain.rest, b"ok");
        let plain = plain.plain.unwrap();
        assert_eq!(plain.length, Some(2));
        assert_eq!(
            String::from_utf8(plain.for_server()).unwrap(),
            "POST /a?b HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
        );
        assert_eq!(
            String::from_utf8(plain.for_proxy(Some(&Secret::new("Basic x")))).unwrap(),
            "POST http://example.com:8080/a?b HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\n\
             Proxy-Authorization: Basic x\r\nContent-Length: 2\r\n\r\n"
        );
        let short = request("GET http://[2606::1] HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!((short.host.to_string().as_str(), short.port), ("2606::1", 80));
        assert!(short.plain.unwrap().for_server().starts_with(b"GET / HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn the_length_of_a_body_is_known_or_nobody_elses_guess() {
        for (headers, expected) in [
            ("", Some(0)),
            ("Content-Length: 12\r\n", Some(12)),
            ("content-length:12\r\nContent-Length: 12\r\n", None),
            ("Content-Length: +1\r\n", None),
            ("Content-Length: \r\n", None),
            ("Content-Length: 1, 1\r\n", None),
            ("Content-Length: 1\r\nTransfer-Encoding : chunked\r\n", None),
        ] {
            let request = request(&format!("PUT http://a/ HTTP/1.1\r\n{headers}\r\n")).await.unwrap();
            assert_eq!(request.plain.unwrap().length, expected, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_request_to_a_proxy_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "CONNECT example.com HTTP/1.1\r\n\r\n",
            "CONNECT a b:1 HTTP/1.1\r\n\r\n",
            "CONNECT 0x7f000001:80 HTTP/1.1\r\n\r\n",
            "GET https://example.com/ HTTP/1.1\r\n\r\n",
            "GET http://user@example.com/ HTTP/1.1\r\n\r\n",
            "GET http://é/ HTTP/1.1\r\n\r\n",
            "\r\n\r\n\r\n\r\n",
            "GET http://example.com:99999/ HTTP/1.1\r\n\r\n",
            "GET http://example.com/ HTTP/1.1\r\nX: a\n\nGET http://evil.example/ HTTP/1.1\r\n\r\n",
            "GET http://example.com/ HTTP/1.1\r\nX: a\r\r\n\r\n",
            "CONNECT example.com:443 HTTP/1.1\r\nX: \0\r\n\r\n",
        ] {
            assert!(matches!(request(text).await, Err(RequestError::NotForProxy)), "{text}");
        }
        assert!(matches!(request("CONNECT a:1").await, Err(RequestError::Closed)));
        assert!(matches!(request(&"x".repeat(200_000)).await, Err(RequestError::TooLong)));
    }
}
