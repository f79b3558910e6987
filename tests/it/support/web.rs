//! A web server on loopback that speaks TLS with a certificate of an authority that no system knows, answers as a test
//! says, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use kelos::process;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::run_bench::SEARCH_PATH;

/// A server that ends with its owner.
pub(crate) struct Web {
    port: u16,
    authority: String,
    seen: Arc<Mutex<Vec<Asked>>>,
    // Dropped to end the server.
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// What the server was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// By lowercase name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
    /// When it was asked.
    pub(crate) at: Instant,
}

/// What the server answers.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Leaves whoever asked without an answer.
    pub(crate) hangs: bool,
}

impl Reply {
    /// Returns an answer with a text.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into().into_bytes(), ..Self::default() }
    }

    /// Returns the answer that sends whoever asked elsewhere.
    pub(crate) fn redirect(status: u16, to: &str) -> Self {
        Self { status, headers: vec![("location".to_owned(), to.to_owned())], ..Self::default() }
    }

    /// Returns the answer that asks for a user and a password.
    pub(crate) fn unauthorized() -> Self {
        let headers = vec![("www-authenticate".to_owned(), "Basic realm=\"git\"".to_owned())];
        Self { status: 401, headers, ..Self::default() }
    }

    /// Returns no answer.
    pub(crate) fn silence() -> Self {
        Self { hangs: true, ..Self::default() }
    }
}

impl Asked {
    /// Returns user and password, when they were sent.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let encoded = self.headers.get("authorization")?.strip_prefix("Basic ")?;
        let text = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }
}

impl Web {
    /// Starts a server that answers with `handler`.
    pub(crate) fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (acceptor, authority) = certificates();
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (sender, port) = std::sync::mpsc::channel();
        let remembered = Arc::clone(&seen);
        let handler = Arc::new(handler);
        // The thread ends when the receiver learns that `stop` is gone.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap().port()).unwrap();
                let answer =
                    move |request: Request| answer(request, Arc::clone(&remembered), Arc::clone(&handler));
                let router = Router::new().fallback(answer);
                tokio::select! {
                    () = serve(listener, acceptor, router) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { port: port.recv().unwrap(), authority, seen, _stop: stop }
    }

    /// Returns the URL of `path` on the server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// Returns the certificate of the server's authority, in PEM form.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns what the server was asked so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
        #[expect(clippy::disallowed_methods, reason = "the tasks of a test server end with its runtime")]
        tokio::spawn(async move {
            // A client that does not believe the certificate hangs up.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    request: Request,
    seen: Arc<Mutex<Vec<Asked>>>,
    handler: Arc<impl Fn(&Asked) -> Reply + Send + Sync + 'static>,
) -> Response {
    let (parts, body) = request.into_parts();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.iter().map(header).collect(),
        body: axum::body::to_bytes(body, 256 << 20).await.unwrap_or_default(),
        at: Instant::now(),
    };
    seen.lock().unwrap().push(asked.clone());
    let reply = tokio::task::spawn_blocking(move || handler(&asked)).await.unwrap();
    if reply.hangs {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}

/// Returns what the server presents, and the authority behind it.
fn certificates() -> (TlsAcceptor, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
    let certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), certificate.pem())
}

/// Serves the git repositories below a folder as `git http-backend` does, the one that git itself brings.
#[derive(Debug, Clone)]
pub(crate) struct Repositories {
    root: PathBuf,
}

impl Repositories {
    /// Returns the repositories below `root`; `/a/b.git/…` is the repository `a/b.git` there.
    pub(crate) fn below(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Answers a request of git.
    pub(crate) fn serve(&self, asked: &Asked) -> Reply {
        let header = |name: &str| asked.headers.get(name).cloned().unwrap_or_default();
        let git = process::find("git", SEARCH_PATH.as_ref()).unwrap();
        let mut child = process::command(git)
            .arg("http-backend")
            .env("PATH", SEARCH_PATH)
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_COUNT", "3")
            .env("GIT_CONFIG_KEY_0", "http.receivepack")
            .env("GIT_CONFIG_VALUE_0", "true")
            .env("GIT_CONFIG_KEY_1", "safe.directory")
            .env("GIT_CONFIG_VALUE_1", "*")
            .env("GIT_CONFIG_KEY_2", "uploadpack.allowAnySHA1InWant")
            .env("GIT_CONFIG_VALUE_2", "true")
            .env("PATH_INFO", &asked.path)
            .env("QUERY_STRING", &asked.query)
            .env("REQUEST_METHOD", &asked.method)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", asked.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("REMOTE_USER", "somebody")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let body = asked.body.clone();
        let writer = std::thread::spawn(move || drop(input.write_all(&body)));
        let mut output = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
        writer.join().unwrap();
        child.wait().unwrap();
        cgi(&output)
    }
}

/// Reads the output of a CGI program: headers, an empty line, the body.
fn cgi(output: &[u8]) -> Reply {
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(output.len());
    let mut reply = Reply { status: 200, ..Reply::default() };
    for line in String::from_utf8_lossy(output.get(..end).unwrap_or_default()).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name.eq_ignore_ascii_case("status") {
            reply.status = value.split(' ').next().unwrap().parse().unwrap();
        } else {
            reply.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    reply.body = output.get(end + 4..).unwrap_or_default().to_vec();
    reply
}
