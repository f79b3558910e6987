//! The one request that a client makes of the proxy, read and checked.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::runner::egress::rules::Host;

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// What is between a client and its proxy, and what would keep a connection for a second request.
const NOT_FORWARDED: &[&str] =
    &["connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate"];

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Whom it wants to reach.
    pub(super) host: Host,
    /// On which port.
    pub(super) port: u16,
    /// The head for the server; none for a tunnel.
    pub(super) forwarded: Option<Vec<u8>>,
    /// What came after the head.
    pub(super) rest: Vec<u8>,
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
    let (first, headers) = head.split_once("\r\n")?;
    let mut words = first.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || method.is_empty() {
        return None;
    }
    if method == "CONNECT" {
        let (host, port) = target.rsplit_once(':')?;
        return Some(Request { host: Host::parse(host)?, port: port.parse().ok()?, forwarded: None, rest });
    }
    let rest_of_url =
        target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).and(target.get(7..))?;
    let end = rest_of_url.find(['/', '?']).unwrap_or(rest_of_url.len());
    let (authority, path) = rest_of_url.split_at_checked(end)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut forwarded = format!("{method} {slash}{path} {version}\r\n");
    for line in headers.split("\r\n").filter(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        if !NOT_FORWARDED.iter().any(|dropped| name.trim().eq_ignore_ascii_case(dropped)) {
            forwarded.push_str(line);
            forwarded.push_str("\r\n");
        }
    }
    // One request for each connection: the next may be for somebody else.
    forwarded.push_str("Connection: close\r\n\r\n");
    Some(Request { host: Host::parse(host)?, port, forwarded: Some(forwarded.into_bytes()), rest })
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
        assert_eq!((tunnel.forwarded, tunnel.rest), (None, b"hello".to_vec()));
        let plain = request(
            "POST http://example.com:8080/a?b HTTP/1.1\r\nHost: example.com:8080\r\nProxy-Connection: keep-alive\r\n\
             CONNECTION: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        );
        let plain = plain.await.unwrap();
        assert_eq!(plain.port, 8080);
        let head = String::from_utf8(plain.forwarded.unwrap()).unwrap();
        assert_eq!(
            head,
            "POST /a?b HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(plain.rest, b"ok");
        let short = request("GET http://[2606::1] HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!((short.host.to_string().as_str(), short.port), ("2606::1", 80));
        assert!(short.forwarded.unwrap().starts_with(b"GET / HTTP/1.1\r\n"));
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
        ] {
            assert!(matches!(request(text).await, Err(RequestError::NotForProxy)), "{text}");
        }
        assert!(matches!(request("CONNECT a:1").await, Err(RequestError::Closed)));
        assert!(matches!(request(&"x".repeat(200_000)).await, Err(RequestError::TooLong)));
    }
}
