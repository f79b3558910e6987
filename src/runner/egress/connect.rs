//! Judges whom a run asks for, and connects to it: directly, or through the proxy of this machine.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::runner::egress::rules::{Host, Refusal, Rules};
use crate::runner::egress::upstream::{Proxy, Upstream};
use crate::secret::Secret;

/// How long one address, or the proxy of this machine, may take to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// How long a name is looked up that the proxy of this machine may know alone.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer to a request for a tunnel, in bytes.
const LONGEST_ANSWER: usize = 16 * 1024;

/// Whom a run may reach, and by which way.
#[derive(Debug)]
pub(in crate::runner) struct Reach {
    rules: Rules,
    upstream: Upstream,
}

/// A connection to whoever was asked for, or to the proxy that passes a plain request on.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: TcpStream,
    /// What came from the other side already.
    pub(super) early: Vec<u8>,
    /// The proxy, when the connection leads to it and not through it.
    pub(super) proxy: Option<Proxy>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    /// It may not be reached.
    #[error("the connection to {target} is refused: {why}")]
    Refused { target: String, why: String },
    /// It cannot be reached.
    #[error("{target} cannot be reached: {why}")]
    Unreachable { target: String, why: String },
    /// The proxy of this machine stands in the way.
    #[error("{target} cannot be reached: {why}")]
    Proxy { target: String, why: String },
}

impl Reach {
    /// Joins the rules of a run with the proxies of this machine, by the names of their variables.
    pub(in crate::runner) fn new(rules: Rules, proxies: &BTreeMap<String, Secret>) -> Self {
        Self { rules, upstream: Upstream::of(proxies) }
    }

    /// Connects to `host` for a tunnel, or for a plain request.
    pub(super) async fn open(&self, host: &Host, port: u16, is_tunnel: bool) -> Result<Opened, Closed> {
        let target = target(host, port);
        let found = self.upstream.proxy(host, port, is_tunnel);
        match found.map_err(|unusable| Closed::Proxy { target: target.clone(), why: unusable.to_string() })? {
            None => self.open_directly(host, port).await,
            Some(proxy) => {
                // Before the proxy hears a word of it.
                self.judge_for_proxy(host, port).await?;
                through(proxy, target, is_tunnel).await
            }
        }
    }

    /// Connects to `host` without any proxy.
    pub(super) async fn open_directly(&self, host: &Host, port: u16) -> Result<Opened, Closed> {
        let target = target(host, port);
        let unreachable = |why: String| Closed::Unreachable { target: target.clone(), why };
        let refused = |refusal: Refusal| Closed::Refused { target: target.clone(), why: refusal.to_string() };
        self.rules.judge_host(host, port).map_err(refused)?;
        let mut why = unreachable("it has no address".to_owned());
        for address in look_up(host, port).await.map_err(|fault| unreachable(fault.to_string()))? {
            if let Err(refusal) = self.judge(host, address.ip(), port) {
                why = refused(refusal);
                continue;
            }
            match timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(Opened { stream, early: Vec::new(), proxy: None }),
                Ok(Err(fault)) => why = unreachable(fault.to_string()),
                Err(_) => why = unreachable("it does not answer".to_owned()),
            }
        }
        Err(why)
    }

    // The proxy looks the name up again and takes any of its addresses, so each must be allowed. A name that is not known
    // here may have any address, and only a rule that names it allows that.
    async fn judge_for_proxy(&self, host: &Host, port: u16) -> Result<(), Closed> {
        let refused =
            |refusal: Refusal| Closed::Refused { target: target(host, port), why: refusal.to_string() };
        self.rules.judge_host(host, port).map_err(refused)?;
        let addresses = match timeout(LOOK_UP_PATIENCE, look_up(host, port)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        if addresses.is_empty() && !self.rules.name(host, port) {
            return Err(refused(Refusal::Unknown));
        }
        addresses.iter().try_for_each(|address| self.judge(host, address.ip(), port)).map_err(refused)
    }

    fn judge(&self, host: &Host, address: IpAddr, port: u16) -> Result<(), Refusal> {
        self.rules.judge_address(host, address, port)?;
        if is_own(address) { Err(Refusal::Loopback) } else { Ok(()) }
    }
}

fn target(host: &Host, port: u16) -> String {
    match host {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        other => format!("{other}:{port}"),
    }
}

async fn look_up(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => Ok(tokio::net::lookup_host((name.as_str(), port)).await?.collect()),
    }
}

async fn through(proxy: &Proxy, target: String, is_tunnel: bool) -> Result<Opened, Closed> {
    let fault = |why: String| {
        let why = format!("the proxy that {} of the daemon's environment names {why}", proxy.variable);
        Closed::Proxy { target: target.clone(), why }
    };
    let connected = timeout(CONNECT_PATIENCE, TcpStream::connect((proxy.host.as_str(), proxy.port))).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let mut stream = connected.map_err(|error| fault(format!("cannot be reached: {error}")))?;
    if !is_tunnel {
        return Ok(Opened { stream, early: Vec::new(), proxy: Some(proxy.clone()) });
    }
    let authorization = proxy.authorization.as_ref().map(|value| {
        // It goes to the proxy and nowhere else.
        format!("Proxy-Authorization: {}\r\n", value.expose())
    });
    let request =
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{}\r\n", authorization.unwrap_or_default());
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        answer(&mut stream).await
    };
    let (status, early) = timeout(CONNECT_PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| fault(format!("gives no answer: {error}")))?;
    match status {
        200..=299 => Ok(Opened { stream, early, proxy: None }),
        407 => Err(fault("wants a user and a password in its URL, or others (status 407)".to_owned())),
        other => Err(fault(format!("does not connect to it (status {other})"))),
    }
}

// Returns the status of an answer, and what follows its head.
async fn answer(stream: &mut TcpStream) -> io::Result<(u16, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let early = bytes.split_off(end + 4);
            let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let mut words = line.split(' ');
            let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
            let status = words.next().filter(|_| is_http).and_then(|status| status.parse().ok());
            return status.map(|status| (status, early)).ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        if bytes.len() > LONGEST_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

// Whoever connects to an address of this machine reaches what listens on all of its addresses, without leaving it. An
// address is ours when we can take a port of it, unless this host lets anybody take ports of any address, as one does that
// no host has.
fn is_own(address: IpAddr) -> bool {
    let can_be_taken = |address: IpAddr| std::net::UdpSocket::bind((address, 0)).is_ok();
    let of_nobody = match address {
        IpAddr::V4(_) => IpAddr::from([192, 0, 2, 1]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
    };
    can_be_taken(address) && !can_be_taken(of_nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_known() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
    }

    /// Asks for a tunnel through a proxy that gives `response`, and returns what it was asked and what came of it.
    async fn tunnel(egress: &[&str], host: &str, response: &str) -> (String, Result<Vec<u8>, Closed>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxies = [("HTTPS_PROXY".to_owned(), Secret::new(format!("http://user:canary@{address}")))];
        let reach = Reach::new(Rules::parse(egress).unwrap(), &BTreeMap::from(proxies));
        let serve = async {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                client.read_buf(&mut asked).await.unwrap();
            }
            client.write_all(response.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        };
        let host = Host::parse(host).unwrap();
        let open = async {
            let opened = reach.open(&host, 443, true).await?;
            let mut bytes = opened.early;
            let mut stream = opened.stream;
            stream.read_to_end(&mut bytes).await.unwrap();
            Ok(bytes)
        };
        let mut serve = std::pin::pin!(serve);
        let mut open = std::pin::pin!(open);
        tokio::select! {
            asked = &mut serve => (asked, open.await),
            // Nobody was asked.
            opened = &mut open => (String::new(), opened),
        }
    }

    #[tokio::test]
    async fn a_name_that_a_rule_names_is_asked_of_the_proxy_without_being_known_here() {
        let (asked, opened) =
            tunnel(&["*.kelos.invalid"], "Git.kelos.invalid", "HTTP/1.1 200 OK\r\nVia: x\r\n\r\nearly").await;
        assert_eq!(
            asked,
            "CONNECT git.kelos.invalid:443 HTTP/1.1\r\nHost: git.kelos.invalid:443\r\n\
             Proxy-Authorization: Basic dXNlcjpjYW5hcnk=\r\n\r\n"
        );
        assert_eq!(opened.unwrap(), b"early");
    }

    #[tokio::test]
    async fn the_proxy_is_asked_for_nobody_who_is_closed() {
        for (egress, host, expected) in [
            ("public", "10.0.0.1", "it has a private address"),
            ("public", "127.0.0.1", "the loopback"),
            ("public", "localhost", "the loopback"),
            ("public", "169.254.169.254", "the metadata"),
            ("public", "git.kelos.invalid", "its address is not known here"),
            ("10.0.0.0/8", "git.kelos.invalid", "its address is not known here"),
            ("other.example", "git.kelos.invalid", "no rule of the daemon"),
        ] {
            let (asked, opened) = tunnel(&[egress], host, "HTTP/1.1 200 OK\r\n\r\n").await;
            assert_eq!(asked, "", "{host}");
            let refused = opened.unwrap_err();
            assert!(matches!(refused, Closed::Refused { .. }), "{refused}");
            assert!(refused.to_string().contains(expected), "{host}: {refused}");
        }
    }

    #[tokio::test]
    async fn what_the_proxy_refuses_is_told_without_its_words() {
        for (response, expected) in [
            ("HTTP/1.1 407 canary\r\n\r\n", "wants a user and a password in its URL, or others (status 407)"),
            ("HTTP/1.0 403 Forbidden\r\n\r\ncanary", "does not connect to it (status 403)"),
            ("canary\r\n\r\n", "gives no answer"),
            ("HTTP/1.1 2", "gives no answer"),
        ] {
            let (_, opened) = tunnel(&["git.kelos.invalid"], "git.kelos.invalid", response).await;
            let fault = opened.unwrap_err().to_string();
            assert!(fault.contains(expected) && fault.contains("HTTPS_PROXY"), "{fault}");
            assert!(!fault.contains("canary") && !fault.contains("127.0.0.1"), "{fault}");
        }
    }
}
