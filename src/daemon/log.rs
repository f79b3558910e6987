//! Serves the log of a run as the subresource `log` of its Task.

use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt as _;
use http::{Response, StatusCode, header};
use serde_json::Value;

use crate::apiserver::{SubresourceHandler, SubresourceRequest};
use crate::executor::{Executor, ExecutorError};

/// Returns the handler; `follow=true` keeps the answer open until the run has ended.
pub(super) fn handler(executor: Arc<dyn Executor>) -> SubresourceHandler {
    Arc::new(move |request| answer(Arc::clone(&executor), request).boxed())
}

async fn answer(executor: Arc<dyn Executor>, request: SubresourceRequest) -> Response<Body> {
    let uid = request.object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let follow = request.query.get("follow").is_some_and(|value| matches!(value.as_str(), "true" | "1"));
    match executor.log(uid, follow).await {
        Ok(stream) => text(StatusCode::OK, Body::from_stream(stream)),
        Err(ExecutorError::Absent { .. }) => {
            let phase = request
                .object
                .pointer("/status/phase")
                .and_then(Value::as_str)
                .unwrap_or("not looked at yet");
            let message = format!("the Task {} has no log: its phase is {phase}\n", request.name);
            text(StatusCode::NOT_FOUND, Body::from(message))
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, Body::from(format!("{error}\n"))),
    }
}

fn text(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
