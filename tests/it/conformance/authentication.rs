//! Who is let in, and what others are told: both servers over TLS.

use kelos::apiserver::{ApiServer, Credentials, Options, serve};
use kelos::clock;
use kelos::metrics::Requests;
use kelos::store::Store;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::difference::Report;
use super::peer::Peer;
use super::step::{Call, Case, delete, get, post};
use super::{answers, write_down};
use crate::support::real_api_server::{Endpoint, RealApiServer, assets_or_skip};

fn cases() -> Vec<Case> {
    // A wrong scheme, a wrong token, no token at all: each is told the same.
    let strangers = ["Bearer wrong", "Bearer", "Bearer ", "Basic YWRtaW46YWRtaW4=", "nonsense", ""];
    let paths = ["/api", "/apis", "/version", "/openapi/v3", "/metrics", "/", "/nothing", "/healthz/ping"];
    let as_whom = |call: Call, who: &str| call.header("authorization", Some(who));
    let mut steps: Vec<Call> = Vec::new();
    for who in strangers {
        steps.push(as_whom(get("/api/v1/namespaces/{namespace}/secrets"), who));
        steps.push(as_whom(post("{configmaps}", "{}"), who));
        steps.push(as_whom(delete("/api/v1/namespaces/{namespace}"), who));
        steps.push(as_whom(get("/api/v1/configmaps?watch=true"), who));
    }
    steps.extend(paths.map(|path| as_whom(get(path), "Bearer wrong")));
    steps.extend(paths.map(|path| as_whom(get(path), "")));
    let accepted = ["application/yaml", "text/html"];
    steps.extend(accepted.map(|accept| as_whom(get("/api"), "Bearer wrong").accept(accept)));
    let health = ["/healthz", "/livez", "/readyz"];
    let as_nobody = health.map(|path| as_whom(get(path), ""));
    // A token that is shown has to be right, even where none is needed.
    let as_impostor = health.map(|path| as_whom(get(path), "Bearer wrong"));
    let forbidden = ["default", "kube-system"].map(|name| delete(&format!("/api/v1/namespaces/{name}")));
    vec![
        Case::new("strangers", steps),
        Case::new("health is anybody's to ask", as_nobody),
        Case::new("a wrong token is wrong everywhere", as_impostor),
        Case::new("what nobody may do", forbidden),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_told_the_same() {
    let Some(assets) = assets_or_skip("strangers_are_told_the_same") else { return };
    let server = RealApiServer::start(&assets).await;
    let folder = tempfile::tempdir().unwrap();
    let credentials = Credentials::load_or_create(folder.path(), clock::system().now(), &[]).unwrap();
    let authority = CertificateDer::from_pem_slice(credentials.authority_pem().as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint {
        port: listener.local_addr().unwrap().port(),
        token: credentials.token().expose().to_owned().leak(),
        certificate: authority.to_vec(),
    };
    let ours = ApiServer::new(Store::memory().unwrap(), Vec::new(), Options::new(clock::system(), "1.0.0"));
    let router = ours.router();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let stopped = async { drop(stopped.await) };
        serve(listener, router, &credentials, Requests::default(), stopped).await.unwrap();
    });
    let cases = cases();
    let (real, ours) = (Peer::real(&server.endpoint), Peer::real(&endpoint));
    let (expected, given) = tokio::join!(answers(&real, &cases), answers(&ours, &cases));
    write_down("strangers-real", &cases, &expected);
    write_down("strangers-embedded", &cases, &given);
    let report = Report::compare(&cases, &expected, &given);
    assert!(report.is_clean(), "{report}");
    drop(stop);
    serving.join_all().await;
}
