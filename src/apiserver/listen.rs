//! The server on a socket: TLS on loopback, one bearer token, HTTP/1.1 and HTTP/2.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::apiserver::credentials::{Credentials, CredentialsError};
use crate::apiserver::in_process::{InProcess, in_process};
use crate::apiserver::options::Query;
use crate::apiserver::output::Output;
use crate::apiserver::status::ApiError;
use crate::apiserver::watch::{Carrier, Ending};
use crate::digest;
use crate::metrics::Requests;

/// How long a client may take for the TLS handshake, and to read what is left of a watch that is over.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the head of the next request of HTTP/1.1 may take: longer than clients keep a connection for later.
const HEAD_PATIENCE: Duration = Duration::from_mins(3);

/// How long open requests may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// How much may go on at once.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections. Each holds buffers and a descriptor, of which a process has few by default.
    connections: usize,
    /// Requests that are worked on, watches not counted: what the real server allows.
    requests: usize,
    /// Watches. A connection of HTTP/2 carries many, and what waits for each takes memory.
    watches: usize,
}

const LIMITS: Limits = Limits { connections: 400, requests: 600, watches: 1_000 };

/// How many bytes the head of a request may have.
const HEAD_LIMIT: usize = 64 << 10;

/// How often a connection without requests is asked whether anybody is there, and how long an answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a connection may stay open on which nobody has shown the token.
const STRANGERS_STAY: Duration = Duration::from_secs(30);

/// How long to wait after a failed accept: the process is out of descriptors, and spinning frees none.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` to clients that bear the token, until `shutdown` is ready.
///
/// Then no connection is accepted any more, and open requests have five seconds to end. Watches end on their own only
/// when the server behind the router is stopped: call [`crate::apiserver::ApiServer::stop`] first.
///
/// # Errors
/// When the credentials are of no use for TLS. A failing connection harms nobody else.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    credentials: &Credentials,
    requests: Requests,
    shutdown: impl Future<Output = ()>,
) -> Result<(), CredentialsError> {
    let acceptor = TlsAcceptor::from(Arc::new(credentials.tls()?));
    let guard = Arc::new(Guard::new(credentials, router, requests, LIMITS));
    let mut strangers = Strangers::default();
    // Owns every connection: what does not end in time is aborted with it.
    let mut connections = JoinSet::new();
    let stopping = CancellationToken::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Takes ended connections out of the set; how they ended was logged.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let is_full = connections.len() >= LIMITS.connections;
                let Some(stranger) = strangers.welcome(is_full, &guard.requests) else {
                    guard.requests.connection_refused();
                    continue;
                };
                let connection = Connection {
                    acceptor: acceptor.clone(),
                    guard: Arc::clone(&guard),
                    stranger,
                    stopping: stopping.clone(),
                };
                connections.spawn(connection.run(stream));
            }
            Err(error) => {
                tracing::warn!(%error, "Cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    stopping.cancel();
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all_ended).await.is_err() {
        tracing::warn!(open = connections.len(), "Connections are cut that did not end in time");
        connections.shutdown().await;
    }
    guard.service.finish().await;
    Ok(())
}

/// The connections on which nobody has shown the token yet, in the order in which they came.
///
/// Anybody on this machine can have as many of them as it likes. When there is no room, the last to come gets in at the cost
/// of the first: a client shows the token at once, and who only takes up room goes soon however often it comes back.
#[derive(Default)]
struct Strangers {
    waiting: VecDeque<Stranger>,
}

/// One connection on which nobody has shown the token, or had not; clones mean the same.
#[derive(Debug, Clone, Default)]
struct Stranger {
    /// Cancelled by the first request that bears the token.
    admitted: CancellationToken,
    /// Cancelled when the connection has to make room.
    evicted: CancellationToken,
    /// Cancelled when the connection is over.
    gone: CancellationToken,
}

impl Strangers {
    /// Lets one more in, for which another one may have to go; nothing when there is no room and nobody to go.
    fn welcome(&mut self, is_full: bool, requests: &Requests) -> Option<Stranger> {
        self.waiting.retain(|stranger| !stranger.admitted.is_cancelled() && !stranger.gone.is_cancelled());
        if is_full {
            self.waiting.pop_front()?.evicted.cancel();
            requests.connection_refused();
        }
        let stranger = Stranger::default();
        self.waiting.push_back(stranger.clone());
        Some(stranger)
    }
}

/// Lets requests pass that bear the token.
struct Guard {
    /// The digest of the token: digests have one length, and comparing them says nothing about the token.
    token: String,
    service: InProcess,
    requests: Requests,
    // One permit for each request that is worked on; nobody waits for one.
    room: Arc<Semaphore>,
    // One permit for each watch.
    watches: Arc<Semaphore>,
}

impl Guard {
    fn new(credentials: &Credentials, router: Router, requests: Requests, limits: Limits) -> Self {
        Self {
            token: digest::sha256_hex(credentials.token().expose()),
            service: in_process(router, ""),
            requests,
            room: Arc::new(Semaphore::new(limits.requests)),
            watches: Arc::new(Semaphore::new(limits.watches)),
        }
    }

    /// Whether `given` is the token.
    fn admits(&self, given: &str) -> bool {
        let digest = digest::sha256_hex(given);
        // Every byte is looked at, so that the time taken tells nothing.
        let difference = digest.bytes().zip(self.token.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        difference == 0 && digest.len() == self.token.len()
    }

    /// Answers a request; `admitted` is told when it bears the token.
    async fn answer(&self, mut request: Request<Body>, admitted: &CancellationToken) -> Response<Body> {
        let is_admitted = match bearer(&request) {
            Some(token) => self.admits(token),
            None => is_public(&request),
        };
        if !is_admitted {
            self.requests.unauthenticated();
            return refuse(&request, ApiError::unauthorized()).await;
        }
        if bearer(&request).is_some() {
            admitted.cancel();
        }
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            return refuse(&request, ApiError::too_many_requests()).await;
        };
        if let Ok(endings) = ENDINGS.try_with(Clone::clone) {
            request.extensions_mut().insert(Carrier { room: Arc::clone(&self.watches), endings });
        }
        // A request is worked on to its end also when its client is gone, and counts as long as that.
        self.service.answer(request, permit).await
    }
}

/// Returns the token that a request shows.
fn bearer(request: &Request<Body>) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// Returns the answer to a request that does not get to the server behind.
fn refuse(request: &Request<Body>, error: ApiError) -> impl Future<Output = Response<Body>> + use<> {
    let mut response = error.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    let query = Query::parse(request.uri().query());
    Output::parse(request.headers(), &query).write(response)
}

/// Whether a request is answered without the token: liveness is nobody's secret, and probes carry none.
fn is_public(request: &Request<Body>) -> bool {
    matches!(request.uri().path(), "/healthz" | "/livez" | "/readyz")
}

tokio::task_local! {
    /// Where the watches among the answers of this task say when they are over.
    static ENDINGS: mpsc::UnboundedSender<Ending>;
}

/// Does `work`, which carries answers. Returns nothing when a watch among them has been over for `patience` and nobody
/// read it to its end: the work is to be given up then, because as long as nothing is read it does not go on.
async fn carry<T>(work: impl Future<Output = T>, patience: Duration) -> Option<T> {
    let (endings, mut told) = mpsc::unbounded_channel::<Ending>();
    let overdue = async {
        // Only one answer at a time is on its way.
        while let Some(ending) = told.recv().await {
            if ending.overdue(patience).await {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = ENDINGS.scope(endings, work) => Some(result),
        () = overdue => None,
    }
}

/// Runs the streams of a connection of HTTP/2, each of which carries one answer, and resets those that are overdue.
#[derive(Debug, Clone)]
struct Streams(TokioExecutor);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.execute(async move {
            if carry(stream, PATIENCE).await.is_none() {
                tracing::debug!("A watch is given up that nobody reads");
            }
        });
    }
}

/// What one connection needs.
struct Connection {
    acceptor: TlsAcceptor,
    guard: Arc<Guard>,
    stranger: Stranger,
    /// Cancelled by [`serve`] when no new request is taken.
    stopping: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let stranger = self.stranger.clone();
        let _gone = stranger.gone.drop_guard();
        let evicted = async {
            stranger.evicted.cancelled().await;
            // Its request came just in time.
            if stranger.admitted.is_cancelled() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = evicted => {}
            () = self.serve(stream) => {}
        }
    }

    async fn serve(self, stream: TcpStream) {
        // Small writes, such as watch events, go out at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "Cannot turn off the delay of small writes");
        }
        let stream = match tokio::time::timeout(PATIENCE, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "A TLS handshake failed");
                return;
            }
            Err(_) => return,
        };
        let guard = self.guard;
        let _open = guard.requests.begin_connection();
        let admitted = self.stranger.admitted;
        let stranger = {
            let admitted = admitted.clone();
            async move {
                if tokio::time::timeout(STRANGERS_STAY, admitted.cancelled()).await.is_ok() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let (guard, admitted) = (Arc::clone(&guard), admitted.clone());
            async move { Ok::<_, std::convert::Infallible>(guard.answer(request.map(Body::new), &admitted).await) }
        });
        let mut builder = auto::Builder::new(Streams(TokioExecutor::new()));
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(HEAD_LIMIT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .max_header_list_size(u32::try_from(HEAD_LIMIT).expect("because it is small"));
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = carry(connection.as_mut(), PATIENCE) => ended.unwrap_or_else(|| {
                tracing::debug!("A connection is given up whose watch nobody reads");
                Ok(())
            }),
            () = stranger => {
                // An answer that is on its way gets there.
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(PATIENCE, connection.as_mut()).await.unwrap_or(Ok(()))
            }
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "A connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use kube::config::{KubeConfigOptions, Kubeconfig};
    use tokio::sync::oneshot;

    use super::*;

    async fn client(credentials: &Credentials, address: SocketAddr, token: Option<&str>) -> kube::Client {
        let text = credentials.kubeconfig(&format!("https://{address}"));
        let text = match token {
            Some(token) => text.expose().replace(credentials.token().expose(), token),
            None => text.expose().to_owned(),
        };
        let kubeconfig = Kubeconfig::from_yaml(&text).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    #[tokio::test]
    async fn the_token_opens_and_the_end_is_graceful() {
        let folder = tempfile::tempdir().unwrap();
        let now = "2026-11-27T00:00:00Z".parse().unwrap();
        let credentials =
            Credentials::load_or_create(folder.path(), crate::clock::system().now(), &[]).unwrap();
        let again = Credentials::load_or_create(folder.path(), now, &[]).unwrap();
        assert_eq!(again.token(), credentials.token());
        assert_eq!(again.authority_pem(), credentials.authority_pem());

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(|| async { "{\"gitVersion\":\"v9\"}" });
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = serve(listener, router, &credentials, Requests::default(), async {
            drop(stopped.await);
        });
        let asking = async {
            let request = || Request::get("/version").body(Vec::new()).unwrap();
            let good = client(&credentials, address, None).await;
            assert_eq!(good.request_text(request()).await.unwrap(), "{\"gitVersion\":\"v9\"}");
            let bad = client(&credentials, address, Some("wrong")).await;
            let error = bad.request_text(request()).await.unwrap_err();
            assert!(
                matches!(error, kube::Error::Api(status) if status.code == 401),
                "a wrong token is refused"
            );
            stop.send(()).unwrap();
        };
        let (served, ()) = tokio::join!(serving, asking);
        served.unwrap();
    }

    fn guard(router: Router, limits: Limits) -> (tempfile::TempDir, Guard, String) {
        let folder = tempfile::tempdir().unwrap();
        let credentials =
            Credentials::load_or_create(folder.path(), crate::clock::system().now(), &[]).unwrap();
        let token = format!("Bearer {}", credentials.token().expose());
        (folder, Guard::new(&credentials, router, Requests::default(), limits), token)
    }

    #[tokio::test]
    async fn a_request_counts_until_it_was_worked_on_whatever_its_client_does() {
        let (go_on, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (waiting, begun) = (Arc::clone(&go_on), Arc::clone(&gate));
        let router = Router::new().fallback(move || {
            let (waiting, begun) = (Arc::clone(&waiting), Arc::clone(&begun));
            async move {
                begun.add_permits(1);
                waiting.acquire().await.unwrap().forget();
            }
        });
        let (_folder, guard, token) = guard(router, Limits { requests: 2, ..LIMITS });
        let admitted = CancellationToken::new();
        let ask = || {
            let request = Request::get("/version").header(header::AUTHORIZATION, &token);
            guard.answer(request.body(Body::empty()).unwrap(), &admitted)
        };
        for _ in 0..2 {
            let mut asking = Box::pin(ask());
            tokio::select! {
                _ = &mut asking => panic!("nothing lets the request go on"),
                permit = gate.acquire() => permit.unwrap().forget(),
            }
            // The client resets its stream.
            drop(asking);
        }
        let refused = ask().await;
        let retry_after = refused.headers()[header::RETRY_AFTER].to_str().unwrap();
        assert_eq!((refused.status().as_u16(), retry_after), (429, "1"));
        go_on.add_permits(2);
        guard.service.finish().await;
        assert_eq!(guard.room.available_permits(), 2);
    }

    #[tokio::test]
    async fn what_carries_a_watch_that_nobody_reads_is_given_up() {
        let unread = async {
            ENDINGS.with(|endings| endings.send(Ending::now()).unwrap());
            std::future::pending::<()>().await;
        };
        assert_eq!(carry(unread, Duration::from_millis(1)).await, None);
        assert_eq!(carry(async { 7 }, Duration::ZERO).await, Some(7));
    }

    #[test]
    fn strangers_make_room_for_each_other_and_for_nobody_else() {
        let mut strangers = Strangers::default();
        let requests = Requests::default();
        let mut welcome = |is_full| strangers.welcome(is_full, &requests);
        let known = welcome(false).unwrap();
        known.admitted.cancel();
        welcome(false).unwrap().gone.cancel();
        let first = welcome(false).unwrap();
        let others: Vec<Stranger> = (0..3).map(|_| welcome(false).unwrap()).collect();
        let is_evicted = |stranger: &Stranger| stranger.evicted.is_cancelled();
        assert!(!is_evicted(&first) && !others.iter().any(is_evicted));
        let last = welcome(true).unwrap();
        assert!(is_evicted(&first) && !others.iter().any(is_evicted) && !is_evicted(&last));
        welcome(true).unwrap().admitted.cancel();
        assert!(is_evicted(&others[0]) && !is_evicted(&others[1]));
        // When there are none, nobody else goes.
        for stranger in others.iter().chain([&last]) {
            stranger.admitted.cancel();
        }
        assert!(welcome(true).is_none());
        assert!(!is_evicted(&known));
    }

    #[cfg(unix)]
    #[test]
    fn secret_files_are_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("credentials");
        let credentials = Credentials::load_or_create(&dir, crate::clock::system().now(), &[]).unwrap();
        let kubeconfig = dir.join("kubeconfig");
        credentials.write_kubeconfig(&kubeconfig, "https://127.0.0.1:1").unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for name in ["ca.key", "ca.crt", "token", "kubeconfig"] {
            assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
        }
    }
}
