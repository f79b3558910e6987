//! One request, one bounded answer, no redirects.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};

use crate::secret::Secret;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one exchange may take, from the connection to the last byte of the answer.
const EXCHANGE: Duration = Duration::from_secs(30);
/// How much of an answer is read, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// Seconds after which the server wants to be asked again, when it says so.
    pub(super) retry_after: Option<u64>,
    /// Whether the server says that no request is left in this hour.
    pub(super) is_exhausted: bool,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// Posts a JSON text with a bearer credential to `url`. The error is a sentence without a credential.
///
/// No redirect is followed: the credential is for one origin. `authority` holds certificates in PEM form that are
/// believed beside those of the system; proxies are taken from the usual variables of the environment.
pub(super) async fn post(
    url: &str,
    bearer: &Secret,
    body: String,
    authority: Option<&str>,
) -> Result<Answer, String> {
    let certificates = Certificate::from_pem_bundle(authority.unwrap_or_default().as_bytes());
    let certificates =
        certificates.map_err(|error| format!("the certificates cannot be read: {}", chain(&error)))?;
    let client = Client::builder()
        .user_agent(concat!("kelos/", env!("CARGO_PKG_VERSION")))
        .https_only(true)
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(EXCHANGE)
        .tls_certs_merge(certificates)
        .build()
        .map_err(|error| chain(&error))?;
    let request = client
        .post(url)
        .bearer_auth(bearer.expose())
        .header("accept", "application/vnd.github+json")
        .header("content-type", "application/json")
        .header("x-github-api-version", "2022-11-28")
        .body(body);
    let mut response = request.send().await.map_err(|error| chain(&error))?;
    let retry_after = number(response.headers(), RETRY_AFTER.as_str());
    let is_exhausted = number(response.headers(), "x-ratelimit-remaining") == Some(0);
    let mut answer =
        Answer { status: response.status().as_u16(), retry_after, is_exhausted, body: Vec::new() };
    while let Some(piece) = response.chunk().await.map_err(|error| chain(&error))? {
        if answer.body.len() + piece.len() > LARGEST_ANSWER {
            return Err(format!("the answer is larger than {LARGEST_ANSWER} bytes"));
        }
        answer.body.extend_from_slice(&piece);
    }
    Ok(answer)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Joins the texts of an error and its causes, without repetitions.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
