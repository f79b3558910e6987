//! The way out of a run's own network: a proxy that knows whom the run may reach.
//!
//! It runs outside of the enclosure and takes connections from listeners that were made inside, so that nobody but the
//! run can use it. It speaks what programs know as an HTTP proxy: `CONNECT` for everything with TLS, and requests with a
//! whole URL for plain HTTP, one for each connection. A name is looked up here, its addresses are judged, and the one that
//! was judged is connected to: a name that changes its mind in between gains nothing.

mod request;
pub mod rules;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::runner::egress::request::{Request, RequestError};
use crate::runner::egress::rules::{Host, Rules};

/// Connections at once; more wait.
const MOST_CONNECTIONS: usize = 512;
/// How long a request may take to arrive.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// How long one address may take to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// Refusals that are told in the log, each once; the client is told each time.
const MOST_TOLD: usize = 50;

/// A way out of a run's own network.
#[derive(Debug)]
pub(super) enum Exit {
    /// The proxy.
    Proxy(TcpListener),
    /// A port of this machine's loopback.
    Loopback(TcpListener, u16),
}

/// Serves the ways out for ever.
///
/// `tell` gets a line for the log about what is refused; a text of the agent in it is quoted.
pub(super) async fn serve(exits: Vec<Exit>, rules: &Rules, tell: impl Fn(&str)) {
    let told = Mutex::new(BTreeSet::new());
    let tell = |line: &str| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        // Programs try again and again.
        if told.len() < MOST_TOLD && told.insert(line.to_owned()) {
            tell(line);
            if told.len() == MOST_TOLD {
                tell("more refused connections are not told");
            }
        }
    };
    let all = exits.into_iter().map(|exit| serve_one(exit, rules, &tell));
    futures::future::join_all(all).await;
    // Without a way out there is nothing to do, and still the run goes on.
    std::future::pending::<()>().await;
}

async fn serve_one(exit: Exit, rules: &Rules, tell: &impl Fn(&str)) {
    let (listener, port) = match &exit {
        Exit::Proxy(listener) => (listener, None),
        Exit::Loopback(listener, port) => (listener, Some(*port)),
    };
    let mut connections = JoinSet::new();
    let (refusals, mut refused) = tokio::sync::mpsc::channel::<String>(MOST_TOLD);
    loop {
        tokio::select! {
            Some(line) = refused.recv() => tell(&line),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    let (rules, refusals) = (rules.clone(), refusals.clone());
                    connections.spawn(async move {
                        let refusal = match port {
                            Some(port) => forward(client, port).await,
                            None => connect(client, &rules).await,
                        };
                        if let Err(line) = refusal {
                            // When too many are on their way already, this one is not told.
                            drop(refusals.try_send(line));
                        }
                    });
                }
                // Out of descriptors: some are given back soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

async fn forward(mut client: TcpStream, port: u16) -> Result<(), String> {
    let mut last = None;
    for address in [IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)] {
        match TcpStream::connect((address, port)).await {
            Ok(mut server) => {
                join(&mut client, &mut server).await;
                return Ok(());
            }
            Err(fault) => last = Some(fault),
        }
    }
    let fault = last.map(|fault| fault.to_string()).unwrap_or_default();
    Err(format!("port {port} of this machine's loopback cannot be reached: {fault}"))
}

async fn connect(mut client: TcpStream, rules: &Rules) -> Result<(), String> {
    let Some(request) = ask(&mut client).await else { return Ok(()) };
    let opened = open(&request.host, request.port, rules).await;
    pass(client, request, opened).await
}

// Returns the request of a client that makes one.
async fn ask(client: &mut TcpStream) -> Option<Request> {
    match timeout(REQUEST_PATIENCE, request::read(client)).await {
        Ok(Ok(request)) => Some(request),
        // A connection that says nothing wants nothing.
        Ok(Err(RequestError::Closed)) | Err(_) => None,
        Ok(Err(fault)) => {
            answer(client, "400 Bad Request", &fault.to_string()).await;
            None
        }
    }
}

async fn pass(
    mut client: TcpStream,
    request: Request,
    opened: Result<TcpStream, Closed>,
) -> Result<(), String> {
    let (host, port) = (&request.host, request.port);
    let mut server = match opened {
        Ok(server) => server,
        Err(Closed::Refused(why)) => {
            let line = format!("the connection to {host}:{port} is refused: {why}");
            answer(&mut client, "403 Forbidden", &line).await;
            return Err(line);
        }
        Err(Closed::Unreachable(why)) => {
            let line = format!("{host}:{port} cannot be reached: {why}");
            answer(&mut client, "502 Bad Gateway", &line).await;
            return Ok(());
        }
    };
    let begun = match &request.forwarded {
        Some(head) => server.write_all(head).await,
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
    };
    if begun.is_ok() && server.write_all(&request.rest).await.is_ok() {
        join(&mut client, &mut server).await;
    }
    Ok(())
}

async fn join(client: &mut TcpStream, server: &mut TcpStream) {
    // Either side may break off at any time; that is between the two.
    drop(tokio::io::copy_bidirectional(client, server).await);
}

enum Closed {
    Refused(String),
    Unreachable(String),
}

async fn open(host: &Host, port: u16, rules: &Rules) -> Result<TcpStream, Closed> {
    let refused = |refusal: rules::Refusal| Closed::Refused(refusal.to_string());
    rules.judge_host(host, port).map_err(refused)?;
    let addresses: Vec<SocketAddr> = match host {
        Host::Address(address) => vec![SocketAddr::new(*address, port)],
        Host::Name(name) => tokio::net::lookup_host((name.as_str(), port))
            .await
            .map_err(|fault| Closed::Unreachable(fault.to_string()))?
            .collect(),
    };
    let mut why = Closed::Unreachable("it has no address".to_owned());
    for address in addresses {
        if let Err(refusal) = rules.judge_address(host, address.ip(), port) {
            why = refused(refusal);
        } else if is_own(address.ip()) {
            why = refused(rules::Refusal::Loopback);
        } else {
            match timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(fault)) => why = Closed::Unreachable(fault.to_string()),
                Err(_) => why = Closed::Unreachable("it does not answer".to_owned()),
            }
        }
    }
    Err(why)
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

async fn answer(client: &mut TcpStream, status: &str, text: &str) {
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\nkelos: {text}\n",
        text.len() + "kelos: \n".len()
    );
    if client.write_all(response.as_bytes()).await.is_ok() && client.shutdown().await.is_ok() {
        // What is still on its way is taken: an early close would take the answer back.
        let mut rest = [0; 4096];
        let drain = async { while let Ok(1..) = client.read(&mut rest).await {} };
        drop(timeout(Duration::from_millis(500), drain).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `request` through the proxy, whose every peer is a server that answers what it was sent after a dash, and
    /// returns what comes back.
    async fn through(request: &str, is_open: bool) -> String {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(proxy.local_addr().unwrap()).await.unwrap();
        let (mut accepted, _) = proxy.accept().await.unwrap();
        let rules = Rules::parse(["public"]).unwrap();
        let serve = async {
            let (mut peer, _) = server.accept().await.unwrap();
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).await.unwrap();
            peer.write_all(b"-").await.unwrap();
            peer.write_all(&bytes).await.unwrap();
        };
        let ask = async {
            client.write_all(request.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        if is_open {
            let proxied = async {
                let request = super::ask(&mut accepted).await.unwrap();
                pass(accepted, request, Ok(TcpStream::connect(address).await.unwrap())).await.unwrap();
            };
            tokio::join!(proxied, serve, ask).2
        } else {
            tokio::join!(connect(accepted, &rules), ask).1
        }
    }

    #[tokio::test]
    async fn a_tunnel_passes_bytes_both_ways_and_a_plain_request_its_head() {
        let answer = through("CONNECT example.com:443 HTTP/1.1\r\n\r\nhello", true).await;
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\n-hello");
        let answer = through("GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n", true).await;
        assert_eq!(answer, "-GET /a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
    }

    #[tokio::test]
    async fn whoever_is_closed_is_refused_with_a_reason() {
        for (target, expected) in [
            ("127.0.0.1:80", "the loopback and the addresses of this machine are closed"),
            ("localhost:80", "the loopback and the addresses of this machine are closed"),
            ("[::1]:80", "the loopback and the addresses of this machine are closed"),
            ("169.254.169.254:80", "the metadata of the cloud is closed"),
            ("10.0.0.1:80", "it has a private address"),
        ] {
            let answer = through(&format!("CONNECT {target} HTTP/1.1\r\n\r\n"), false).await;
            assert!(
                answer.starts_with("HTTP/1.1 403 Forbidden\r\n") && answer.contains(expected),
                "{answer}"
            );
        }
        let answer = through("GET / HTTP/1.1\r\n\r\n", false).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    }

    #[test]
    fn an_address_of_this_machine_is_known() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
    }
}
