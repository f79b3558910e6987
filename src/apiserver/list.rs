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
use crate::store::{Entry, Page, Scan, Store, WatchError};

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
    let moment = match asked.filter(|&revision| is_exact && revision != 0) {
        Some(revision) => Moment::At(revision),
        None => Moment::Latest,
    };
    let found = match single_key(resource, namespace, options) {
        Some(key) => one(&state.store, moment, &key, options),
        None => collect(&state.store, moment, &prefix, None, options),
    };
    found.map_err(|error| match error {
        WatchError::Compacted { .. } => {
            ApiError::expired("The resourceVersion for the provided list is too old.")
        }
        WatchError::Future { current } => {
            ApiError::too_large_resource_version(asked.unwrap_or_default(), current)
        }
    })
}

fn go_on(
    state: &State,
    prefix: &str,
    after: &str,
    revision: i64,
    options: &ListOptions,
) -> Result<Listed, ApiError> {
    let moment = u64::try_from(revision).map_or(Moment::Latest, Moment::At);
    collect(&state.store, moment, prefix, Some(after), options).map_err(|error| match error {
        WatchError::Compacted { .. } => {
            let mut error = ApiError::expired(CONTINUE_EXPIRED);
            error.continuation = Token::encode(after, prefix, -1);
            error
        }
        WatchError::Future { current } => {
            ApiError::too_large_resource_version(revision.unsigned_abs(), current)
        }
    })
}

/// Which state of the store is listed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Latest,
    At(u64),
}

impl Moment {
    fn page(
        self,
        store: &Store,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Page, WatchError> {
        match self {
            Self::Latest => Ok(store.list(prefix, after, limit)),
            Self::At(revision) => store.list_at(revision, prefix, after, limit),
        }
    }

    fn scan(self, store: &Store, prefix: &str, after: Option<&str>) -> Result<Scan, WatchError> {
        match self {
            Self::Latest => Ok(store.scan(prefix, after)),
            Self::At(revision) => store.scan_at(revision, prefix, after),
        }
    }
}

/// Returns the key of the only object that can be meant, when the selector names one.
fn single_key(resource: &Resource, namespace: Option<&str>, options: &ListOptions) -> Option<String> {
    let name = options.selection.fields.exact("metadata.name")?;
    let is_name = !name.is_empty() && !name.contains('/');
    let is_one_place = namespace.is_some() || !resource.namespaced;
    (is_name && is_one_place).then(|| resource.key(namespace.unwrap_or_default(), name))
}

/// Lists the object at `key`, if it is there and meant.
fn one(store: &Store, moment: Moment, key: &str, options: &ListOptions) -> Result<Listed, WatchError> {
    // Of all keys that begin with it, the key itself is the first.
    let page = moment.page(store, key, None, Some(1))?;
    let is_meant = |entry: &Entry| &*entry.key == key && is_chosen(options, entry);
    let items = page.entries.into_iter().filter(is_meant).map(|entry| entry.value).collect();
    let metadata = ListMeta { resource_version: page.revision.to_string(), ..ListMeta::default() };
    Ok(Listed { metadata, items })
}

/// Lists what lies under `prefix` after the key `after`: all of it or, with a limit, the first that is chosen. What is
/// listed, and the version of the list, are always of one state, since watches begin where lists end.
fn collect(
    store: &Store,
    moment: Moment,
    prefix: &str,
    after: Option<&str>,
    options: &ListOptions,
) -> Result<Listed, WatchError> {
    let selection = &options.selection;
    let limit = options.limit.unwrap_or(usize::MAX);
    let (revision, chosen, remaining) = if selection.is_everything() {
        let page = moment.page(store, prefix, after, options.limit)?;
        (page.revision, page.entries, page.remaining)
    } else {
        let scan = moment.scan(store, prefix, after)?;
        let mut scan = match selection.fields.exact("metadata.name") {
            Some(name) => scan.with_keys(|key| is_named(key, name)),
            None => scan,
        };
        let chosen: Vec<Entry> =
            scan.by_ref().filter(|entry| is_chosen(options, entry)).take(limit).collect();
        (scan.revision(), chosen, scan.len())
    };
    let mut metadata = ListMeta { resource_version: revision.to_string(), ..ListMeta::default() };
    if remaining > 0
        && let Some(last) = chosen.last()
    {
        metadata.continuation = Token::encode(&last.key, prefix, i64::try_from(revision).unwrap_or(i64::MAX));
        metadata.remaining_item_count = selection.is_everything().then_some(remaining);
    }
    Ok(Listed { items: chosen.into_iter().map(|entry| entry.value).collect(), metadata })
}

/// Whether `key` is that of an object with this name.
pub(crate) fn is_named(key: &str, name: &str) -> bool {
    key.rsplit('/').next() == Some(name)
}

fn is_chosen(options: &ListOptions, entry: &Entry) -> bool {
    let selection = &options.selection;
    // A name is in the key: most lists for one object need no look into the others.
    selection.fields.exact("metadata.name").is_none_or(|name| is_named(&entry.key, name))
        && selection.matches_bytes(&entry.value)
}
