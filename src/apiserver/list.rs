//! Lists: which objects, in which state, in which pieces.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::apiserver::go_json;
use crate::apiserver::options::ListOptions;
use crate::apiserver::resource::Resource;
use crate::apiserver::server::State;
use crate::apiserver::status::ApiError;
use crate::store::{Entry, Page, WatchError};

/// The metadata of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListMeta {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) resource_version: String,
    #[serde(rename = "continue", skip_serializing_if = "String::is_empty")]
    pub(crate) continuation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remaining_item_count: Option<usize>,
}

/// A list as it was found.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) metadata: ListMeta,
    pub(crate) items: Vec<Bytes>,
}

/// Where the next piece of a list begins, as the client carries it back.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    #[serde(rename = "v")]
    version: String,
    /// The revision of the whole list; -1 for the latest state.
    #[serde(rename = "rv")]
    revision: i64,
    /// The last key of the piece before and a zero byte.
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Token {
    fn encode(key: &str, prefix: &str, revision: i64) -> String {
        let start = format!("/{}\0", key.strip_prefix(prefix).unwrap_or(key));
        let token = Self { version: TOKEN_VERSION.to_owned(), revision, start };
        URL_SAFE_NO_PAD.encode(crate::apiserver::encode::to_vec(&token))
    }

    /// Returns the key after which the list goes on, and the revision.
    fn decode(text: &str, prefix: &str) -> Result<(String, i64), ApiError> {
        let fault = |reason: &str| ApiError::bad_request(format!("invalid continue token: {reason}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| fault(&format!("continue key is not valid: {error}")))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| {
            fault(&format!("continue key is not valid: {}", go_json::fault(&bytes).unwrap_or_default()))
        })?;
        if token.version != TOKEN_VERSION {
            return Err(fault(&format!(
                "continue key is not valid: server does not recognize this encoded version {}",
                token.version
            )));
        }
        if token.revision == 0 {
            return Err(fault(
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ));
        }
        if token.start.is_empty() {
            return Err(fault("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"));
        }
        let start = token.start.trim_start_matches('/').trim_end_matches('\0');
        // A key must not climb out of the collection.
        if start.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(fault(&format!("continue key is not valid: {}", token.start)));
        }
        Ok((format!("{prefix}{start}"), token.revision))
    }
}

/// Lists the objects of a collection.
pub(crate) fn list(
    state: &State,
    resource: &Resource,
    namespace: Option<&str>,
    options: &ListOptions,
) -> Result<Listed, ApiError> {
    let prefix = resource.collection(namespace);
    if !options.continuation.is_empty() {
        if !matches!(options.resource_version.as_str(), "" | "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (after, revision) = Token::decode(&options.continuation, &prefix)?;
        return go_on(state, &prefix, &after, revision, options);
    }
    let asked = options
        .revision()
        .map_err(|error| ApiError::bad_request(format!("invalid resource version: {}", error.message)))?;
    let current = state.store.revision();
    if let Some(asked) = asked.filter(|&asked| asked > current) {
        return Err(ApiError::too_large_resource_version(asked, current));
    }
    let is_exact = options.resource_version_match == "Exact"
        || (options.resource_version_match.is_empty() && options.limit.is_some());
    match asked.filter(|&revision| is_exact && revision != 0) {
        Some(revision) => collect(&prefix, options, None, |after, limit| {
            state.store.list_at(revision, &prefix, after, limit).map_err(|error| match error {
                WatchError::Compacted { .. } => {
                    ApiError::expired("The resourceVersion for the provided list is too old.")
                }
                WatchError::Future { current } => ApiError::too_large_resource_version(revision, current),
            })
        }),
        None => collect(&prefix, options, None, |after, limit| Ok(state.store.list(&prefix, after, limit))),
    }
}

fn go_on(
    state: &State,
    prefix: &str,
    after: &str,
    revision: i64,
    options: &ListOptions,
) -> Result<Listed, ApiError> {
    let Ok(revision) = u64::try_from(revision) else {
        return collect(prefix, options, Some(after), |after, limit| {
            Ok(state.store.list(prefix, after, limit))
        });
    };
    collect(prefix, options, Some(after), |after, limit| {
        state.store.list_at(revision, prefix, after, limit).map_err(|error| match error {
            WatchError::Compacted { .. } => {
                let mut error = ApiError::expired(CONTINUE_EXPIRED);
                error.continuation = Token::encode(after.unwrap_or_default(), prefix, -1);
                error
            }
            WatchError::Future { current } => ApiError::too_large_resource_version(revision, current),
        })
    })
}

/// How many entries are looked at in one go when a selector may leave most of them out.
const CHUNK: usize = 1_000;

fn collect(
    prefix: &str,
    options: &ListOptions,
    after: Option<&str>,
    fetch: impl Fn(Option<&str>, Option<usize>) -> Result<Page, ApiError>,
) -> Result<Listed, ApiError> {
    let selection = &options.selection;
    let Some(limit) = options.limit else {
        let page = fetch(after, None)?;
        let items =
            page.entries.into_iter().filter(|entry| is_chosen(options, entry)).map(|entry| entry.value);
        let metadata = ListMeta { resource_version: page.revision.to_string(), ..ListMeta::default() };
        return Ok(Listed { items: items.collect(), metadata });
    };
    let chunk = if selection.is_everything() { limit } else { limit.max(CHUNK) };
    let mut cursor = after.map(str::to_owned);
    let mut chosen: Vec<Entry> = Vec::new();
    loop {
        let page = fetch(cursor.as_deref(), Some(chunk))?;
        let mut seen = 0;
        for entry in &page.entries {
            seen += 1;
            if is_chosen(options, entry) {
                chosen.push(entry.clone());
                if chosen.len() == limit {
                    break;
                }
            }
            cursor = Some(entry.key.to_string());
        }
        let remaining = page.remaining + page.entries.len() - seen;
        if chosen.len() < limit && remaining > 0 {
            continue;
        }
        let mut metadata = ListMeta { resource_version: page.revision.to_string(), ..ListMeta::default() };
        if remaining > 0
            && let Some(last) = chosen.last()
        {
            let revision = i64::try_from(page.revision).unwrap_or(i64::MAX);
            metadata.continuation = Token::encode(&last.key, prefix, revision);
            metadata.remaining_item_count = selection.is_everything().then_some(remaining);
        }
        return Ok(Listed { items: chosen.into_iter().map(|entry| entry.value).collect(), metadata });
    }
}

fn is_chosen(options: &ListOptions, entry: &Entry) -> bool {
    let selection = &options.selection;
    // A name is in the key: most lists for one object need no look into the others.
    if let Some(name) = selection.fields.exact("metadata.name")
        && entry.key.rsplit('/').next() != Some(name)
    {
        return false;
    }
    selection.matches_bytes(&entry.value)
}
