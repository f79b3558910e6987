//! The way out of a run's own network: a proxy that knows whom the run may reach.
//!
//! It runs outside of the enclosure and takes connections from listeners that were made inside, so that nobody but the
//! run can use it. It speaks what programs know as an HTTP proxy: `CONNECT` for everything with TLS, and requests with a
//! whole URL for plain HTTP, one for each connection. A name is looked up here, its addresses are judged, and the one that
//! was judged is connected to: a name that changes its mind in between gains nothing. Where the environment of the daemon names
//! a proxy, whoever was judged is asked of that one.

mod connect;
mod request;
pub mod rules;
mod upstream;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::runner::egress::connect::{Closed, Opened};
use crate::runner::egress::request::{Request, RequestError};
use crate::runner::egress::rules::Host;

pub(super) use crate::runner::egress::connect::Reach;

/// Connections at once; more wait.
const MOST_CONNECTIONS: usize = 512;
/// How long a request may take to arrive.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// Refusals that are told in the log, each once; the client is told each time.
const MOST_TOLD: usize = 50;

/// A way out of a run's own network.
#[derive(Debug)]
pub(super) enum Exit {
    /// The proxy.
    Proxy(TcpListener),
    /// One server, by its host and port: that of git over ssh, which speaks to no proxy.
    Server(TcpListener, Host, u16),
    /// A port of this machine's loopback.
    Loopback(TcpListener, u16),
}

/// Serves the ways out for ever.
///
/// `tell` gets a line for the log about what is refused; a text of the agent in it is quoted.
pub(super) async fn serve(exits: Vec<Exit>, reach: Reach, tell: impl Fn(&str)) {
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
    let reach = Arc::new(reach);
    let all = exits.into_iter().map(|exit| serve_one(exit, &reach, &tell));
    futures::future::join_all(all).await;
    // Without a way out there is nothing to do, and still the run goes on.
    std::future::pending::<()>().await;
}

async fn serve_one(exit: Exit, reach: &Arc<Reach>, tell: &impl Fn(&str)) {
    let mut connections = JoinSet::new();
    let (refusals, mut refused) = tokio::sync::mpsc::channel::<String>(MOST_TOLD);
    let exit = Arc::new(exit);
    let (Exit::Proxy(listener) | Exit::Server(listener, ..) | Exit::Loopback(listener, _)) = &*exit;
    loop {
        tokio::select! {
            Some(line) = refused.recv() => tell(&line),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    let (reach, refusals, exit) = (Arc::clone(reach), refusals.clone(), Arc::clone(&exit));
                    connections.spawn(async move {
                        let refusal = match &*exit {
                            Exit::Proxy(_) => connect(client, &reach).await,
                            Exit::Server(_, host, port) => lead(client, host, *port, &reach).await,
                            Exit::Loopback(_, port) => forward(client, *port).await,
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

// As the repository was cloned: no proxy takes part, because ssh looks at none.
async fn lead(mut client: TcpStream, host: &Host, port: u16, reach: &Reach) -> Result<(), String> {
    let mut opened = reach.open_directly(host, port).await.map_err(|closed| closed.to_string())?;
    join(&mut client, &mut opened.stream).await;
    Ok(())
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

async fn connect(mut client: TcpStream, reach: &Reach) -> Result<(), String> {
    let Some(request) = ask(&mut client).await else { return Ok(()) };
    let opened = reach.open(&request.host, request.port, request.plain.is_none()).await;
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

async fn pass(mut client: TcpStream, request: Request, opened: Result<Opened, Closed>) -> Result<(), String> {
    let Opened { stream: mut server, early, proxy } = match opened {
        Ok(opened) => opened,
        Err(closed) => {
            let line = closed.to_string();
            let is_refused = matches!(closed, Closed::Refused { .. });
            let status = if is_refused { "403 Forbidden" } else { "502 Bad Gateway" };
            answer(&mut client, status, &line).await;
            return if matches!(closed, Closed::Unreachable { .. }) { Ok(()) } else { Err(line) };
        }
    };
    let Request { plain, mut rest, .. } = request;
    let head = match (&plain, &proxy) {
        (None, _) => None,
        (Some(plain), None) => Some((plain.for_server(), None)),
        (Some(plain), Some(proxy)) => {
            let Some(length) = plain.length else {
                let why = "through the proxy of this machine, a plain request needs one Content-Length";
                answer(&mut client, "411 Length Required", why).await;
                return Ok(());
            };
            Some((plain.for_proxy(proxy.authorization.as_ref()), Some(length)))
        }
    };
    let (begun, length) = match &head {
        Some((head, length)) => (server.write_all(head).await, *length),
        None => (client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await, None),
    };
    if let Some(length) = length {
        rest.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    }
    let left = length.map(|length| length.saturating_sub(rest.len() as u64));
    if begun.is_ok() && client.write_all(&early).await.is_ok() && server.write_all(&rest).await.is_ok() {
        match left {
            None => join(&mut client, &mut server).await,
            Some(left) => join_bounded(&mut client, &mut server, left).await,
        }
    }
    Ok(())
}

async fn join(client: &mut TcpStream, server: &mut TcpStream) {
    // Either side may break off at any time; that is between the two.
    drop(tokio::io::copy_bidirectional(client, server).await);
}

// Passes `left` bytes of the client on and no more: what follows would be a second request, for anybody.
async fn join_bounded(client: &mut TcpStream, server: &mut TcpStream, left: u64) {
    let (from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut from_client = from_client.take(left);
    let mut up = std::pin::pin!(tokio::io::copy(&mut from_client, &mut to_server));
    let mut down = std::pin::pin!(tokio::io::copy(&mut from_server, &mut to_client));
    tokio::select! {
        _ = &mut down => {}
        _ = &mut up => drop(down.await),
    }
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
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use super::*;
    use crate::runner::egress::rules::Rules;
    use crate::secret::Secret;

    fn reach(egress: &str, proxies: &[(&str, String)]) -> Reach {
        let proxies = proxies.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value.as_str())));
        Reach::new(Rules::parse([egress]).unwrap(), &proxies.collect())
    }

    /// Starts a server that takes one connection, reads up to `end`, answers what it was sent after a dash, and returns what
    /// still came afterwards.
    async fn echo(end: &'static str) -> (SocketAddr, impl Future<Output = Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            while !bytes.ends_with(end.as_bytes()) {
                assert_ne!(
                    peer.read_buf(&mut bytes).await.unwrap(),
                    0,
                    "{}",
                    String::from_utf8_lossy(&bytes)
                );
            }
            peer.write_all(b"-").await.unwrap();
            peer.write_all(&bytes).await.unwrap();
            peer.shutdown().await.unwrap();
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).await.unwrap();
            rest
        };
        (address, serve)
    }

    /// Sends `request` to what `serve` does with a connection, and returns what comes back.
    async fn answered<Served: Future>(request: &str, serve: impl FnOnce(TcpStream) -> Served) -> String {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(proxy.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = proxy.accept().await.unwrap();
        let ask = async move {
            client.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::join!(serve(accepted), ask).1
    }

    #[tokio::test]
    async fn a_tunnel_passes_bytes_both_ways_and_a_plain_request_its_head() {
        for (request, end, expected) in [
            (
                "CONNECT example.com:443 HTTP/1.1\r\n\r\nhello",
                "hello",
                "HTTP/1.1 200 Connection established\r\n\r\n-hello",
            ),
            (
                "GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n",
                "\r\n\r\n",
                "-GET /a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
            ),
        ] {
            let (address, server) = echo(end).await;
            let serve = |mut client: TcpStream| async move {
                let request = ask(&mut client).await.unwrap();
                let stream = TcpStream::connect(address).await.unwrap();
                pass(client, request, Ok(Opened { stream, early: Vec::new(), proxy: None })).await.unwrap();
            };
            let (answer, rest) = tokio::join!(answered(request, serve), server);
            assert_eq!((answer.as_str(), rest.as_slice()), (expected, b"".as_slice()));
        }
    }

    #[tokio::test]
    async fn through_a_proxy_a_plain_request_is_one_and_for_whom_it_was_judged() {
        let request = "POST http://git.kelos.invalid/a HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n\
                       okGET http://evil.example/ HTTP/1.1\r\n\r\n";
        let (address, server) = echo("ok").await;
        let reach = reach("git.kelos.invalid", &[("http_proxy", format!("http://user:pass@{address}"))]);
        let (answer, rest) = tokio::join!(
            answered(request, |client| async { connect(client, &reach).await.unwrap() }),
            server
        );
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        assert_eq!(
            answer,
            "-POST http://git.kelos.invalid/a HTTP/1.1\r\nHost: git.kelos.invalid\r\nConnection: close\r\n\
             Proxy-Authorization: Basic dXNlcjpwYXNz\r\nContent-Length: 2\r\n\r\nok"
        );
        let request =
            "POST http://git.kelos.invalid/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reach =
            self::reach("git.kelos.invalid", &[("http_proxy", listener.local_addr().unwrap().to_string())]);
        let answer = answered(request, |client| async { connect(client, &reach).await.unwrap() }).await;
        assert!(answer.starts_with("HTTP/1.1 411 Length Required\r\n"), "{answer}");
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
            let request = format!("CONNECT {target} HTTP/1.1\r\n\r\n");
            let reach = Reach::new(Rules::parse(["public"]).unwrap(), &BTreeMap::new());
            let answer =
                answered(&request, |client| async { connect(client, &reach).await.unwrap_err() }).await;
            assert!(
                answer.starts_with("HTTP/1.1 403 Forbidden\r\n") && answer.contains(expected),
                "{answer}"
            );
        }
        let serve = |client| async { connect(client, &reach("public", &[])).await.unwrap() };
        let answer = answered("GET / HTTP/1.1\r\n\r\n", serve).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn the_server_of_an_exit_is_judged_as_others_are() {
        let host = Host::parse("10.0.0.1").unwrap();
        let refused = std::sync::Mutex::new(String::new());
        let serve = |client| async {
            let reach = reach("public", &[]);
            *refused.lock().unwrap() = lead(client, &host, 22, &reach).await.unwrap_err();
        };
        assert_eq!(answered("SSH-2.0-x\r\n", serve).await, "");
        let refused = refused.lock().unwrap();
        assert!(refused.contains("10.0.0.1:22 is refused: it has a private address"), "{refused}");
    }
}
