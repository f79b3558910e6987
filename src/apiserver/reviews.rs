//! Questions about the asking client itself: what `kubectl auth can-i` and `kubectl auth whoami` send.
//!
//! Whoever bears the token may do everything that the server does, so the answers are short and true.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::apiserver::answer;
use crate::apiserver::body;
use crate::apiserver::discovery;
use crate::apiserver::encode;
use crate::apiserver::metadata;
use crate::apiserver::negotiate;
use crate::apiserver::path::ObjectPath;
use crate::apiserver::server::State;
use crate::apiserver::status::ApiError;

/// The reviews that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Review {
    Access,
    Rules,
    Subject,
}

impl Review {
    fn kind(self) -> &'static str {
        match self {
            Self::Access => "SelfSubjectAccessReview",
            Self::Rules => "SelfSubjectRulesReview",
            Self::Subject => "SelfSubjectReview",
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::Access | Self::Rules => "authorization.k8s.io/v1",
            Self::Subject => "authentication.k8s.io/v1",
        }
    }
}

/// Returns the review that a request asks for, if any.
pub(crate) fn kind(path: &ObjectPath, method: &Method) -> Option<Review> {
    if *method != Method::POST || path.name.is_some() || path.version != "v1" {
        return None;
    }
    match (path.group.as_str(), path.plural.as_str()) {
        ("authorization.k8s.io", "selfsubjectaccessreviews") => Some(Review::Access),
        ("authorization.k8s.io", "selfsubjectrulesreviews") => Some(Review::Rules),
        ("authentication.k8s.io", "selfsubjectreviews") => Some(Review::Subject),
        _ => None,
    }
}

/// Answers a review.
pub(crate) async fn answer(
    state: &State,
    review: Review,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    let bytes = body::read(body).await?;
    let encoding = negotiate::encoding(&parts.headers, true)?;
    let request = body::plain(&bytes, encoding)?;
    let given = request["kind"].as_str().unwrap_or(review.kind());
    if given != review.kind() {
        return Err(ApiError::bad_request(format!(
            "{given} in version \"v1\" cannot be handled as a {}",
            review.kind()
        )));
    }
    let status = match review {
        Review::Access => access(state, &request["spec"]),
        Review::Rules => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        Review::Subject => json!({
            "userInfo": {"username": "kelos", "groups": ["system:masters", "system:authenticated"]},
        }),
    };
    let mut metadata = Map::new();
    if review == Review::Subject {
        let now = metadata::time(state.clock.now());
        metadata.insert("creationTimestamp".to_owned(), Value::from(now));
    }
    let mut answer = json!({
        "kind": review.kind(),
        "apiVersion": review.api_version(),
        "metadata": metadata,
        "status": status,
    });
    if review != Review::Subject {
        answer["spec"] = if request["spec"].is_object() { request["spec"].clone() } else { json!({}) };
    }
    Ok(answer::json(StatusCode::CREATED, encode::to_line(&answer)))
}

/// Allowed is what is served.
fn access(state: &State, spec: &Value) -> Value {
    let attributes = &spec["resourceAttributes"];
    if !attributes.is_object() {
        return json!({"allowed": true});
    }
    let text = |field: &str| attributes[field].as_str().unwrap_or_default();
    let (group, plural, verb) = (text("group"), text("resource"), text("verb"));
    let is_served = state.registry.all().iter().any(|resource| {
        let is_named =
            (plural == "*" || resource.plural == plural) && (group == "*" || resource.group == group);
        is_named && (verb == "*" || discovery::verbs(resource).contains(&verb))
    });
    if is_served {
        json!({"allowed": true})
    } else {
        json!({"allowed": false, "reason": "the server does not serve this"})
    }
}
