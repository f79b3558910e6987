//! What the query of a request says: options of lists, watches and writes.

use std::borrow::Cow;

use serde_json::Value;

use crate::apiserver::cause::Cause;
use crate::apiserver::managed_fields::MAX_MANAGER_BYTES;
use crate::apiserver::path;
use crate::apiserver::resource::Resource;
use crate::apiserver::selector::{FieldSelector, LabelSelector, Selection};
use crate::apiserver::spelling;
use crate::apiserver::status::ApiError;

/// The parameters of a URL, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads the part of a URL after the question mark. Broken escapes are taken literally.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let decode = |raw: &str| {
            let spaced = raw.replace('+', " ");
            path::decode(&spaced).map_or_else(|| spaced.clone(), Cow::into_owned)
        };
        let pairs = text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            })
            .collect();
        Self { pairs }
    }

    /// Returns the first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A flag is true unless it says `false` or `0`: what apimachinery's conversion does.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
            }),
        }
    }

    /// Returns the pairs as a map of first values.
    pub(crate) fn to_map(&self) -> std::collections::BTreeMap<String, String> {
        self.pairs.iter().rev().cloned().collect()
    }
}

/// What a list or watch asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListOptions {
    pub(crate) selection: Selection,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) limit: Option<usize>,
    pub(crate) continuation: String,
}

impl ListOptions {
    /// Reads the options of a list or watch of `resource`; `watches` says that the path already asks for a watch.
    pub(crate) fn parse(query: &Query, resource: &Resource, watches: bool) -> Result<Self, ApiError> {
        let labels = LabelSelector::parse(query.text("labelSelector"))?;
        let limit = query.number("limit")?;
        let timeout = query.number("timeoutSeconds")?;
        let mut options = Self {
            watch: watches || query.flag("watch").unwrap_or(false),
            bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            send_initial_events: query.flag("sendInitialEvents"),
            resource_version: query.text("resourceVersion").to_owned(),
            resource_version_match: query.text("resourceVersionMatch").to_owned(),
            timeout_seconds: timeout.and_then(|seconds| u64::try_from(seconds).ok()).filter(|&s| s > 0),
            limit: limit.and_then(|limit| usize::try_from(limit).ok()).filter(|&limit| limit > 0),
            continuation: query.text("continue").to_owned(),
            selection: Selection::default(),
        };
        if options.watch
            && options.send_initial_events.is_none()
            && options.resource_version_match.is_empty()
            && matches!(options.resource_version.as_str(), "" | "0")
        {
            // A watch from no version in particular begins with all objects.
            options.send_initial_events = Some(true);
            "NotOlderThan".clone_into(&mut options.resource_version_match);
        }
        let causes = if options.watch { options.watch_causes() } else { options.list_causes() };
        if !causes.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", causes));
        }
        let fields = FieldSelector::parse(query.text("fieldSelector"), resource)?;
        options.selection = Selection { labels, fields };
        Ok(options)
    }

    fn list_causes(&self) -> Vec<Cause> {
        let field = "resourceVersionMatch";
        let matching = self.resource_version_match.as_str();
        let mut causes = Vec::new();
        if !matching.is_empty() {
            if self.resource_version.is_empty() {
                let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                causes.push(Cause::forbidden(field, detail));
            }
            if !self.continuation.is_empty() {
                let detail = "resourceVersionMatch is forbidden when continue is provided";
                causes.push(Cause::forbidden(field, detail));
            }
            if !matches!(matching, "Exact" | "NotOlderThan") {
                let supported = ["Exact", "NotOlderThan", ""];
                causes.push(Cause::not_supported(field, &Value::from(matching), &supported));
            }
            if matching == "Exact" && self.resource_version == "0" {
                let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                causes.push(Cause::forbidden(field, detail));
            }
        }
        if self.send_initial_events.is_some() {
            let detail = "sendInitialEvents is forbidden for list";
            causes.push(Cause::forbidden("sendInitialEvents", detail));
        }
        causes
    }

    fn watch_causes(&self) -> Vec<Cause> {
        let field = "resourceVersionMatch";
        let matching = self.resource_version_match.as_str();
        let mut causes = Vec::new();
        if self.send_initial_events.is_some() && matching != "NotOlderThan" {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(field, detail));
        }
        if !matching.is_empty() {
            if self.send_initial_events.is_none() {
                let detail =
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                causes.push(Cause::forbidden(field, detail));
            }
            if matching != "NotOlderThan" {
                causes.push(Cause::not_supported(field, &Value::from(matching), &["NotOlderThan"]));
            }
            if !self.continuation.is_empty() {
                let detail = "resourceVersionMatch is forbidden when continue is provided";
                causes.push(Cause::forbidden(field, detail));
            }
        }
        causes
    }

    /// Returns the asked resource version as a number; nothing for none, 0 for `0`.
    pub(crate) fn revision(&self) -> Result<Option<u64>, ApiError> {
        match self.resource_version.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| bad_revision("resourceVersion", text)),
        }
    }
}

/// Returns the refusal of a resource version that is not a number. The real server calls it an error of its own.
pub(crate) fn bad_revision(field: &str, text: &str) -> ApiError {
    ApiError::plain(format!(
        "{field}: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
    ))
}

/// How strictly unknown and duplicate fields of a body are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// The options of a write.
#[derive(Debug, Clone)]
pub(crate) struct WriteOptions {
    pub(crate) field_manager: String,
    pub(crate) field_validation: FieldValidation,
    pub(crate) dry_run: bool,
    pub(crate) force: Option<bool>,
}

impl WriteOptions {
    /// Returns the options of the server's own writes.
    pub(crate) fn server() -> Self {
        Self {
            field_manager: String::new(),
            field_validation: FieldValidation::Strict,
            dry_run: false,
            force: None,
        }
    }

    /// Reads the options of a create, update or patch; `kind` names them in refusals, such as `CreateOptions`.
    ///
    /// `is_apply` says whether it is a patch of server-side apply.
    pub(crate) fn parse(query: &Query, kind: &str, is_apply: bool) -> Result<Self, ApiError> {
        let manager = query.text("fieldManager");
        let force = query.flag("force");
        let validation = query.text("fieldValidation");
        let mut causes = Vec::new();
        if kind == "PatchOptions" {
            if is_apply && manager.is_empty() {
                causes.push(Cause::required("fieldManager", "is required for apply patch"));
            }
            if !is_apply && force.is_some() {
                causes.push(Cause::forbidden("force", "may not be specified for non-apply patch"));
            }
        }
        if manager.len() > MAX_MANAGER_BYTES {
            causes.push(Cause::too_long("fieldManager", MAX_MANAGER_BYTES));
        }
        for (position, character) in manager.char_indices() {
            if !spelling::is_printable(character) {
                let detail =
                    format!("invalid character U+{:04X} (at position {position})", u32::from(character));
                causes.push(Cause::invalid("fieldManager", &Value::from(manager), &detail));
            }
        }
        causes.extend(dry_run_causes(query));
        let field_validation = match validation {
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            "" | "Warn" => FieldValidation::Warn,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                causes.push(Cause::not_supported("fieldValidation", &Value::from(other), &supported));
                FieldValidation::Warn
            }
        };
        if !causes.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", kind, "", causes));
        }
        Ok(Self {
            field_manager: manager.to_owned(),
            field_validation,
            dry_run: !query.all("dryRun").is_empty(),
            force,
        })
    }
}

fn dry_run_causes(query: &Query) -> Vec<Cause> {
    let values = query.all("dryRun");
    if values.iter().all(|&value| value == "All") {
        return Vec::new();
    }
    vec![Cause::not_supported("dryRun", &Value::from(values), &["All"])]
}

/// What becomes of the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// The options of a deletion.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    /// Whether the deprecated `orphanDependents: false` asks for the answer 202.
    pub(crate) wants_accepted: bool,
}

impl DeleteOptions {
    /// Reads the options from the body, when there is one, otherwise from the query.
    pub(crate) fn parse(query: &Query, body: Option<&Value>) -> Result<Self, ApiError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (policy, orphan, dry_run, uid, resource_version) = match body {
            Some(body) => {
                let dry_run: Vec<Value> = body["dryRun"].as_array().cloned().unwrap_or_default();
                let preconditions = &body["preconditions"];
                (
                    text(&body["propagationPolicy"]),
                    body["orphanDependents"].as_bool(),
                    dry_run,
                    text(&preconditions["uid"]),
                    text(&preconditions["resourceVersion"]),
                )
            }
            None => (
                query.get("propagationPolicy").filter(|policy| !policy.is_empty()).map(str::to_owned),
                query.flag("orphanDependents"),
                query.all("dryRun").into_iter().map(Value::from).collect(),
                None,
                None,
            ),
        };
        let mut causes = Vec::new();
        if orphan.is_some() && policy.is_some() {
            causes.push(Cause::invalid(
                "propagationPolicy",
                &Value::from(policy.clone()),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        let propagation = match (policy.as_deref(), orphan) {
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (None, None) => None,
            (Some(other), _) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                causes.push(Cause::not_supported("propagationPolicy", &Value::from(other), &supported));
                None
            }
        };
        if dry_run.iter().any(|value| value != "All") {
            causes.push(Cause::not_supported("dryRun", &Value::from(dry_run.clone()), &["All"]));
        }
        if !causes.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", causes));
        }
        Ok(Self {
            propagation,
            dry_run: !dry_run.is_empty(),
            uid,
            resource_version,
            wants_accepted: orphan == Some(false),
        })
    }
}
