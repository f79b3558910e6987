//! The wire itself: TLS to the running daemon, and whatever bytes a test wants to send, for what no client would do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::support::env::TestEnv;

/// How long a test waits for bytes of the daemon.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection to the daemon.
pub(crate) struct Wire(StreamOwned<ClientConnection, TcpStream>);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Wire {
    /// Sends bytes; `false` when the daemon does not take them any more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).and_then(|()| self.0.flush()).is_ok()
    }

    /// Returns what comes until `end` has been seen, or until the daemon closes the connection.
    pub(crate) fn until(&mut self, end: &str) -> Vec<u8> {
        let mut seen = Vec::new();
        let mut piece = [0; 16 << 10];
        loop {
            match self.0.read(&mut piece) {
                Ok(0) | Err(_) => return seen,
                Ok(length) => seen.extend_from_slice(&piece[..length]),
            }
            if !end.is_empty() && seen.windows(end.len()).any(|window| window == end.as_bytes()) {
                return seen;
            }
        }
    }

    /// Returns whether the daemon closes the connection while the test has patience.
    pub(crate) fn ends(&mut self) -> bool {
        let mut piece = [0; 1 << 10];
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }

    /// Returns the answer on a connection that ends with it; `None` when there is none.
    pub(crate) fn reply(mut self) -> Option<Reply> {
        let bytes = self.until("");
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let code = head.split(' ').nth(1)?.parse().ok()?;
        let body = &bytes[end + 4..];
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Some(Reply { code, body: if is_chunked { unchunked(body) } else { body.to_vec() }, head })
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let start = end + 2;
        if length == 0 || bytes.len() < start + length {
            break;
        }
        whole.extend_from_slice(&bytes[start..start + length]);
        bytes = bytes.get(start + length + 2..).unwrap_or_default();
    }
    whole
}

impl TestEnv {
    /// Returns where the API of the daemon listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let kubeconfig = std::fs::read_to_string(self.data_dir().join("kubeconfig")).unwrap();
        let server =
            kubeconfig.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap();
        server.parse().unwrap()
    }

    /// Returns the token of the daemon.
    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.data_dir().join("credentials/token")).unwrap()
    }

    /// Returns a connection to the daemon, after the handshake.
    pub(crate) fn wire(&self) -> Wire {
        let authority = CertificateDer::from_pem_file(self.data_dir().join("credentials/ca.crt")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(self.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Wire(StreamOwned::new(connection, socket))
    }

    /// Sends the head of a request with the token, and `rest`; returns the answer, `None` when there is none.
    pub(crate) fn exchange(&self, line: &str, headers: &str, rest: &[u8]) -> Option<Reply> {
        let authorization = format!("Authorization: Bearer {}\r\n", self.token());
        self.exchange_as(&authorization, line, headers, rest)
    }

    /// Sends a request as whom the header says.
    pub(crate) fn exchange_as(&self, who: &str, line: &str, headers: &str, rest: &[u8]) -> Option<Reply> {
        let mut wire = self.wire();
        let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{who}{headers}\r\n");
        wire.send(head.as_bytes());
        wire.send(rest);
        wire.reply()
    }
}
