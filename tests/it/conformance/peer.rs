//! The two servers that are compared, behind one way to send a request.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{Request, Response};
use http_body_util::{BodyExt as _, BodyStream, Full};
use hyper_util::rt::TokioIo;
use kelos::apiserver::InProcess;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tower::ServiceExt as _;

use crate::support::real_api_server::Endpoint;

/// A body that may still be growing, as a watch's is.
pub(crate) type BodyChunks = BoxStream<'static, Result<Bytes, String>>;

/// A server that is asked.
#[derive(Clone)]
pub(crate) enum Peer {
    /// Ours, called in process without a socket, as our controllers call it.
    Embedded(InProcess),
    /// A kube-apiserver, over TLS with one connection per request.
    Real { connector: TlsConnector, port: u16, token: &'static str },
}

impl Peer {
    pub(crate) fn real(endpoint: &Endpoint) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(endpoint.certificate.clone()))
            .expect("our own certificate is well formed");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::Real { connector: Arc::new(config).into(), port: endpoint.port, token: endpoint.token }
    }

    /// Sends `request`, whose target is a path, and returns the answer with its body still to be read. A request may say
    /// by itself who asks; an empty `authorization` stands for nobody.
    pub(crate) async fn send(&self, mut request: Request<Bytes>) -> Result<Response<BodyChunks>, String> {
        let headers = request.headers_mut();
        headers.insert("host", "localhost".parse().expect("a host name is a header value"));
        match self {
            Self::Embedded(service) => {
                let answer = service.clone().oneshot(request.map(Full::new)).await;
                let answer = answer.unwrap_or_else(|never| match never {});
                Ok(answer.map(chunks))
            }
            Self::Real { connector, port, token } => {
                let bearer = format!("Bearer {token}");
                let is_nobody = headers
                    .entry("authorization")
                    .or_insert(bearer.parse().expect("a token is a header value"))
                    .is_empty();
                if is_nobody {
                    headers.remove("authorization");
                }
                let socket = TcpStream::connect(("127.0.0.1", *port)).await.map_err(|err| err.to_string())?;
                let name = ServerName::try_from("127.0.0.1").expect("an address is a server name");
                let stream = connector.connect(name, socket).await.map_err(|err| err.to_string())?;
                let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(|err| err.to_string())?;
                let mut driver = JoinSet::new();
                driver.spawn(connection);
                let answer =
                    sender.send_request(request.map(Full::new)).await.map_err(|err| err.to_string())?;
                // The connection lives as long as its one body, and ends when the body is dropped.
                Ok(answer.map(|body| {
                    let body = chunks(body);
                    futures::stream::unfold((body, driver, sender), |(mut body, driver, sender)| async move {
                        body.next().await.map(|chunk| (chunk, (body, driver, sender)))
                    })
                    .fuse()
                    .boxed()
                }))
            }
        }
    }

    /// Whether the server says that it is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        let request = Request::get("/readyz").body(Bytes::new()).expect("a well-formed request");
        self.send(request).await.is_ok_and(|answer| answer.status().is_success())
    }
}

fn chunks<B>(body: B) -> BodyChunks
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display + Send,
{
    BodyStream::new(body.boxed_unsync())
        .filter_map(|frame| async move {
            match frame {
                Ok(frame) => frame.into_data().ok().map(Ok),
                Err(err) => Some(Err(err.to_string())),
            }
        })
        .boxed()
}
