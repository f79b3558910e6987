//! A stand-in for the one call of GitHub's API by which a GitHub App gets a token, written from GitHub's published
//! OpenAPI description (`@octokit/openapi` 23.0.2, operation `apps/create-installation-access-token`, and the page that
//! it refers to, "Generating a JSON Web Token for a GitHub App"): who may ask, what is answered, and how it refuses.
//!
//! It checks the signature of the assertion with the public half of the key, and its claims against the documented
//! bounds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::web::{Asked, Reply};

/// The App, its installation, and the repositories that the installation has.
pub(crate) const APP: &str = "4711";
pub(crate) const INSTALLATION: &str = "815";
pub(crate) const KEY: &str = include_str!("../../testdata/forge/app.pem");
const PUBLIC_KEY: &str = include_str!("../../testdata/forge/app.pub.pem");

/// The forge's side. Copies are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct GithubApp {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    repositories: BTreeSet<String>,
    /// Every token with when it ends and what it is for, in the order in which they were given out.
    tokens: Vec<(String, Timestamp, Value)>,
    lifetime: Option<SignedDuration>,
    answer_instead: Option<(u16, &'static str)>,
    now: Option<Timestamp>,
}

impl GithubApp {
    /// Returns a forge on which the App is installed for `repositories`.
    pub(crate) fn with(repositories: &[&str]) -> Self {
        let app = Self::default();
        app.state.lock().unwrap().repositories = repositories.iter().map(|&name| name.to_owned()).collect();
        app
    }

    /// Sets how long the tokens from now on are good.
    pub(crate) fn tokens_last(&self, lifetime: SignedDuration) {
        self.state.lock().unwrap().lifetime = Some(lifetime);
    }

    /// Sets what is answered in place of a token.
    pub(crate) fn answer_instead(&self, answer: Option<(u16, &'static str)>) {
        self.state.lock().unwrap().answer_instead = answer;
    }

    /// Sets the clock of the forge; `None` is the machine's.
    pub(crate) fn clock(&self, now: Option<Timestamp>) {
        self.state.lock().unwrap().now = now;
    }

    /// Returns the tokens that were given out, each with the request for it.
    pub(crate) fn tokens(&self) -> Vec<(String, Value)> {
        let state = self.state.lock().unwrap();
        state.tokens.iter().map(|(token, _, wanted)| (token.clone(), wanted.clone())).collect()
    }

    /// Tells whether `token` was given out, is not over, and is for the repository `name`.
    pub(crate) fn knows(&self, token: &str, name: &str) -> bool {
        let state = self.state.lock().unwrap();
        let now = now(&state);
        state.tokens.iter().any(|(known, ends, wanted)| {
            let is_for = wanted["repositories"].as_array().is_none_or(|names| names.contains(&json!(name)));
            known == token && now < *ends && is_for
        })
    }

    /// Answers a request, if it is for this call.
    pub(crate) fn serve(&self, asked: &Asked) -> Option<Reply> {
        let call = asked.path.strip_suffix("/access_tokens")?;
        let installation = call.strip_prefix("/api/v3/app/installations/")?;
        Some(self.answer(asked, installation))
    }

    fn answer(&self, asked: &Asked, installation: &str) -> Reply {
        let mut state = self.state.lock().unwrap();
        let refuse = |status: u16, message: &str| {
            Reply::text(
                status,
                json!({"message": message, "documentation_url": "https://docs.github.com/rest"}).to_string(),
            )
        };
        if let Some((status, message)) = state.answer_instead {
            return refuse(status, message);
        }
        if asked.method != "POST" {
            return refuse(404, "Not Found");
        }
        let now = now(&state);
        let bearer = asked.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match bearer.map(|assertion| check(assertion, now)) {
            Some(Ok(())) => {}
            Some(Err(message)) => return refuse(401, message),
            None => return refuse(401, "A JSON web token could not be decoded"),
        }
        if installation != INSTALLATION {
            return refuse(404, "Not Found");
        }
        let wanted: Value =
            if asked.body.is_empty() { json!({}) } else { serde_json::from_slice(&asked.body).unwrap() };
        let names = wanted["repositories"].as_array().cloned().unwrap_or_default();
        if names.iter().any(|name| !state.repositories.contains(name.as_str().unwrap())) {
            return refuse(
                422,
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
            );
        }
        let lifetime = state.lifetime.unwrap_or(SignedDuration::from_hours(1));
        let ends = Timestamp::from_second((now + lifetime).as_second()).unwrap();
        let token = format!("ghs_canary{}", state.tokens.len() + 1);
        state.tokens.push((token.clone(), ends, wanted));
        let body = json!({
            "token": token, "expires_at": ends.to_string(), "repository_selection": "selected",
            "permissions": {"contents": "write", "metadata": "read"},
        });
        Reply::text(201, body.to_string())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stand-in has the clock of the machine unless a test sets another"
)]
fn now(state: &State) -> Timestamp {
    state.now.unwrap_or_else(Timestamp::now)
}

/// Checks an assertion as GitHub documents it.
fn check(assertion: &str, now: Timestamp) -> Result<(), &'static str> {
    const UNREADABLE: &str = "A JSON web token could not be decoded";
    let (signed, signature) = assertion.rsplit_once('.').ok_or(UNREADABLE)?;
    let (header, claims) = signed.split_once('.').ok_or(UNREADABLE)?;
    let read =
        |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (header, claims) = (read(header).ok_or(UNREADABLE)?, read(claims).ok_or(UNREADABLE)?);
    if header["alg"] != "RS256"
        || !is_signed(signed, &URL_SAFE_NO_PAD.decode(signature).map_err(|_| UNREADABLE)?)
    {
        return Err(UNREADABLE);
    }
    if claims["iss"] != APP {
        return Err("Integration not found");
    }
    let seconds = |claim: &str| claims[claim].as_i64().ok_or(UNREADABLE);
    let (issued, expires, now) = (seconds("iat")?, seconds("exp")?, now.as_second());
    if issued > now {
        return Err(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        );
    }
    if expires > now + 600 {
        return Err("'Expiration time' claim ('exp') is too far in the future");
    }
    if expires <= now {
        return Err(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        );
    }
    Ok(())
}

fn is_signed(signed: &str, signature: &[u8]) -> bool {
    let lines: String = PUBLIC_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = STANDARD.decode(lines).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let rs256 = rustls::pki_types::alg_id::RSA_PKCS1_SHA256;
    let mut known = provider.signature_verification_algorithms.all.iter();
    let algorithm = known.find(|known| known.signature_alg_id() == rs256).unwrap();
    algorithm.verify_signature(&key, signed.as_bytes(), signature).is_ok()
}
