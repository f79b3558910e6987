//! Installation tokens of GitHub Apps.
//!
//! An App proves who it is with its private key and gets a token for one installation, good for an hour and for no more
//! than was asked for. A token is kept until shortly before it ends, and callers that want the same one wait for one
//! request. See GitHub's REST reference, "Create an installation access token for an app".

mod jwt;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::clock::SharedClock;
use crate::digest;
use crate::forge::http::{self, Answer};
use crate::secret::Secret;

/// A token is replaced when it ends sooner than this.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// How long a failure is answered again without asking.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);
/// How many different tokens are remembered; beyond that all are forgotten.
const MOST_TOKENS: usize = 1_000;
/// How much of what a server says is shown, in characters.
const LONGEST_MESSAGE: usize = 200;

/// An App, and the installation of it that tokens are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    endpoint: String,
    id: String,
    key: Secret,
    authority: Option<String>,
}

/// What a token is to be good for. Less is safer: an agent that is talked into something can do no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everything that the App may do there.
    Full,
    /// Reading the content of repositories.
    ReadContents,
    /// Writing the content of repositories.
    WriteContents,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The values of the Secret are malformed.
    #[error("the GitHub App cannot be used: {0}")]
    Malformed(String),
    /// The forge knows the App or installation not, or does not let it have the token.
    #[error("{endpoint} refuses a token for the GitHub App: {reason}")]
    Refused { endpoint: String, reason: String },
    /// The forge cannot be reached, is overloaded, or answers something else: try again later.
    #[error("{endpoint} gives no token for the GitHub App: {reason}")]
    Unavailable { endpoint: String, reason: String },
}

impl AppError {
    /// Returns whether the same call can succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Malformed(_) | Self::Refused { .. } => false,
        }
    }
}

impl App {
    /// Returns the App with this ID (or client ID) and private key, installed under the number `installation` on the
    /// forge whose web address begins with `host`.
    ///
    /// `authority` holds certificates in PEM form that are believed for that host.
    pub fn parse(
        host: &str,
        id: &str,
        installation: &str,
        key: Secret,
        authority: Option<String>,
    ) -> Result<Self, AppError> {
        let (id, installation) = (id.trim(), installation.trim());
        let malformed = |text: &str| Err(AppError::Malformed(text.to_owned()));
        let is_id =
            |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
        if id.is_empty() || id.len() > 64 || !id.chars().all(is_id) {
            return malformed("`appID` is neither a number nor a client ID");
        }
        if installation.is_empty()
            || installation.len() > 20
            || !installation.bytes().all(|byte| byte.is_ascii_digit())
        {
            return malformed("`installationID` is not a number");
        }
        // A key that cannot sign is found before anything is asked.
        jwt::assertion(id, &key, Timestamp::UNIX_EPOCH)
            .map_err(|reason| AppError::Malformed(format!("`privateKey`: {reason}")))?;
        let endpoint = format!("{}/app/installations/{installation}/access_tokens", api_base(host));
        Ok(Self { endpoint, id: id.to_owned(), key, authority })
    }
}

/// Returns where the API of the forge begins whose pages are on `host`: github.com, or GitHub Enterprise on a host of its
/// own.
pub fn api_base(host: &str) -> String {
    if host.eq_ignore_ascii_case("github.com") {
        "https://api.github.com".to_owned()
    } else {
        format!("https://{host}/api/v3")
    }
}

/// Mints tokens and remembers them. Copies share what they remember.
#[derive(Debug, Clone)]
pub struct Tokens {
    clock: SharedClock,
    // A plain mutex: it is never held across an await. The inner ones are: who holds one asks for all who wait.
    slots: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>>,
}

/// What is remembered about one token.
#[derive(Debug, Default)]
struct Slot {
    minted: Option<Minted>,
    // Until when a failure stands, and which.
    failed: Option<(Instant, AppError)>,
}

#[derive(Debug, Clone)]
struct Minted {
    token: Secret,
    expires_at: Timestamp,
}

impl Tokens {
    /// Returns an empty memory.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, slots: Arc::default() }
    }

    /// Returns a token for `repositories`, names without their owner, that is good for five minutes at least where the
    /// forge can be reached, and for a moment otherwise.
    pub async fn token(
        &self,
        app: &App,
        repositories: &[String],
        access: Access,
    ) -> Result<Secret, AppError> {
        let slot = self.slot(app, repositories, access);
        let mut slot = slot.lock().await;
        let now = self.clock.now();
        if let Some(minted) = slot.minted.as_ref().filter(|minted| now + MARGIN < minted.expires_at) {
            return Ok(minted.token.clone());
        }
        let failure = match &slot.failed {
            Some((until, error)) if Instant::now() < *until => error.clone(),
            _ => match mint(app, repositories, access, now).await {
                Ok(minted) => {
                    let token = minted.token.clone();
                    *slot = Slot { minted: Some(minted), failed: None };
                    return Ok(token);
                }
                Err((pause, error)) => {
                    slot.failed = Some((Instant::now() + pause, error.clone()));
                    error
                }
            },
        };
        // The old one is better than none while the forge is away.
        let usable = slot.minted.as_ref().filter(|minted| failure.is_transient() && now < minted.expires_at);
        usable.map(|minted| minted.token.clone()).ok_or(failure)
    }

    fn slot(&self, app: &App, repositories: &[String], access: Access) -> Arc<tokio::sync::Mutex<Slot>> {
        let key = digest::sha256_hex(format!("{}\n{}\n{}", app.endpoint, app.id, app.key.expose()));
        let key = format!("{key} {access:?} {}", repositories.join(" "));
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST_TOKENS {
            slots.clear();
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

/// Asks for one token; an error comes with how long it stands.
async fn mint(
    app: &App,
    repositories: &[String],
    access: Access,
    now: Timestamp,
) -> Result<Minted, (Duration, AppError)> {
    let assertion = jwt::assertion(&app.id, &app.key, now)
        .map_err(|reason| (PAUSE, AppError::Malformed(format!("`privateKey`: {reason}"))))?;
    let mut wanted = serde_json::Map::new();
    if !repositories.is_empty() {
        wanted.insert("repositories".to_owned(), json!(repositories));
    }
    match access {
        Access::Full => {}
        Access::ReadContents => drop(wanted.insert("permissions".to_owned(), json!({"contents": "read"}))),
        Access::WriteContents => drop(wanted.insert("permissions".to_owned(), json!({"contents": "write"}))),
    }
    let body = serde_json::Value::Object(wanted).to_string();
    let answer = http::post(&app.endpoint, &assertion, body, app.authority.as_deref()).await;
    let unavailable = |reason: String| AppError::Unavailable { endpoint: app.endpoint.clone(), reason };
    let answer = answer.map_err(|reason| (PAUSE, unavailable(reason)))?;
    if answer.status == 201 {
        return read(&answer.body)
            .ok_or_else(|| (PAUSE, unavailable("the answer is not a token".to_owned())));
    }
    let pause = answer.retry_after.map_or(PAUSE, Duration::from_secs).clamp(PAUSE, LONGEST_PAUSE);
    Err((pause, refusal(app, &answer)))
}

fn read(body: &[u8]) -> Option<Minted> {
    #[derive(Deserialize)]
    struct Wire {
        token: String,
        expires_at: Timestamp,
    }
    let wire: Wire = serde_json::from_slice(body).ok()?;
    let is_sendable = !wire.token.is_empty() && wire.token.bytes().all(|byte| byte.is_ascii_graphic());
    is_sendable.then(|| Minted { token: Secret::new(wire.token), expires_at: wire.expires_at })
}

/// Says what an answer other than a token means.
fn refusal(app: &App, answer: &Answer) -> AppError {
    let said = message(&answer.body);
    let endpoint = app.endpoint.clone();
    let refused = |reason: &str| AppError::Refused {
        endpoint: endpoint.clone(),
        reason: format!("{reason} ({}{said})", answer.status),
    };
    let lower = said.to_ascii_lowercase();
    match answer.status {
        401 if lower.contains("'exp'") || lower.contains("'iat'") || lower.contains("issued at") => {
            refused("the clock of this machine and that of the server differ; set the clock")
        }
        401 => refused("`appID` and `privateKey` do not belong together, or the key was revoked"),
        403 if answer.is_exhausted || answer.retry_after.is_some() || lower.contains("rate limit") => {
            AppError::Unavailable { endpoint, reason: format!("too many requests ({}{said})", answer.status) }
        }
        403 if lower.contains("suspend") => {
            refused("the installation is suspended; whoever owns the account can lift that")
        }
        403 => refused("the App may not"),
        404 => refused("there is no such installation of this App; look at `installationID`"),
        422 => refused("the installation does not have the repository, or the App not the permission"),
        301 | 302 | 303 | 307 | 308 => {
            refused("the server sends us elsewhere, and the App's credential stays here")
        }
        status => AppError::Unavailable {
            endpoint,
            reason: format!("the server answers with status {status}{said}"),
        },
    }
}

/// Returns what a forge says in its answer, bounded and fit to be shown, after a colon.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Wire {
        message: String,
    }
    let Ok(wire) = serde_json::from_slice::<Wire>(body) else { return String::new() };
    let shown: String =
        wire.message.chars().filter(|shown| !shown.is_control()).take(LONGEST_MESSAGE).collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}
